"""Run in an empty network namespace: `python -m tests.no_syn_run`; prints JSON.

The namespace is made to have every address of the Internet, all of them on loopback, so that
a connection attempt to any is counted by the kernel, and is refused at once. All addresses of
`crawler.addresses`' tests that are not public are probed, and then one that is.
"""

import ipaddress
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from crawler.scan import probe
from crawler.smtp.settings import ProbeSettings
from dane import tlsa
from storage.schemas import CERTIFICATE, SMTP_PROBE
from tests.support.contexts import scan_context
from tests.unit.test_addresses import CARRIERS, EDGES, WRAPPED

PUBLIC = ("8.8.8.8", "2a00::1")
RECORD = "3 1 1 " + "00" * 32


def connections() -> int:
    """Connections that this namespace has tried to open (RFC 2012 tcpActiveOpens)."""
    names, values = (
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if "Tcp:" in line
    )
    return int(dict(zip(names, values, strict=True))["ActiveOpens"])


def statuses(addresses: list[str]) -> list[str]:
    names = ("bucket", "address", "tlsa_digest", "operator", "sni", "attempt", "host", "tlsa")
    rows, _ = probe.scan(
        pa.RecordBatch.from_pylist(
            [
                {
                    "bucket": 1,
                    "address": address,
                    "tlsa_digest": tlsa.rrset_digest([tlsa.parse_text(RECORD)]),
                    "operator": f"{number}.example",
                    "sni": "mx.example",
                    "attempt": 1,
                    "host": "mx.example",
                    "tlsa": [RECORD],
                    "dns_asked": datetime.now(UTC),
                }
                for number, address in enumerate(addresses)
            ],
            schema=pa.schema([SMTP_PROBE.schema.field(name) for name in (*names, "dns_asked")]),
        ),
        scan_context(
            SMTP_PROBE.schema,
            CERTIFICATE.schema,
            probe=ProbeSettings(
                ehlo_name="survey.example",
                contact="survey@survey.example",
                information_page="https://survey.example/",
                new_per_s=10_000,
                connect_s=2,
            ),
        ),
    )
    return [str(status) for status in rows.column("status").to_pylist()]


def main() -> None:
    without_routes = statuses(list(PUBLIC))
    for command in (
        "link set lo up",
        "route add local 0.0.0.0/0 dev lo",
        "-6 route add local ::/0 dev lo",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    reserved = [address for address, public in EDGES if not public]
    reserved += [CARRIERS[kind](ipaddress.IPv4Address(address)) for kind, address in WRAPPED]
    before = connections()
    found = statuses(reserved)
    attempts = connections() - before
    public = statuses(list(PUBLIC))
    print(
        json.dumps(
            {
                "reserved": len(reserved),
                "statuses": sorted(set(found)),
                "connections": attempts,
                "without_routes": without_routes,
                "public": public,
                "public_connections": connections() - before - attempts,
            }
        )
    )


if __name__ == "__main__":
    main()
