"""Port 25 is closed to us while DNS is fine: what fails meanwhile is no server's fault."""

import dataclasses
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
import trio
import trustme

from crawler.dns.canaries import Health
from crawler.scan import probe
from crawler.scan.canary_round import rounds_of
from crawler.smtp.settings import ProbeSettings
from dane import tlsa
from storage.schemas import CERTIFICATE, SMTP_PROBE
from tests.integration.dns_world import CANARIES, CLIENT, TLSA_DATA, World, world
from tests.smtp_servers import SMTP, Town, tls_context
from tests.support.contexts import scan_context

COUNT = 40
HOST, RECORD = "mx10.good.world", f"3 1 1 {TLSA_DATA.hex()}"
COLUMNS = ("bucket", "address", "tlsa_digest", "operator", "sni", "attempt", "host", "tlsa")
SHARD = pa.schema(
    [
        *(SMTP_PROBE.schema.field(name) for name in (*COLUMNS, "dns_asked")),
        pa.field("reached", pa.bool_(), nullable=False),
    ]
)
SETTINGS = ProbeSettings(
    lab_addresses=("127.0.0.0/8",), address_interval_s=0.5, new_per_s=1000, reply_s=5
)


@pytest.fixture(scope="module")
def dns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world")) as up:
        yield up


class Firewall:
    """Closes connections to the servers behind it at once, for so long from the first one."""

    def __init__(self, closed_s: float) -> None:
        self.visits: list[float] = []
        self._server = SMTP(tls_context(trustme.CA().issue_cert("mx.example")))
        self._closed_s = closed_s

    async def __call__(self, stream: trio.SocketStream) -> None:
        self.visits.append(time.monotonic())
        if self.visits[-1] - self.visits[0] >= self._closed_s:
            await self._server(stream)


def scan(
    dns: World, firewall: Firewall, *, reached: bool, recovery_s: float = 60.0
) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows, and the health of each round. Every other server is behind the firewall, and each
    has an operator and an address block of its own."""
    town, good = Town(), SMTP(tls_context(trustme.CA().issue_cert("mx.example")))
    keys = [
        {
            "bucket": 1,
            "address": town.add(firewall if number % 2 else good, f"127.{100 + number}.0.1"),
            "tlsa_digest": tlsa.rrset_digest([tlsa.parse_text(RECORD)]),
            "operator": f"{number}.example",
            "sni": HOST,
            "attempt": 1,
            "host": HOST,
            "tlsa": [RECORD],
            "dns_asked": datetime.now(UTC),
            "reached": reached,
        }
        for number in range(COUNT)
    ]
    with town:
        rows, _ = probe.scan(
            pa.RecordBatch.from_pylist(keys, schema=SHARD),
            scan_context(
                SMTP_PROBE.schema,
                CERTIFICATE.schema,
                probe=dataclasses.replace(SETTINGS, port=town.port),
                resolvers=dns.resolvers,
                client=CLIENT,
                canaries=dataclasses.replace(CANARIES, recovery_s=recovery_s),
            ),
        )
    return rows.to_pylist(), [health for _, health in rounds_of(rows)]


def test_servers_that_the_last_run_reached_are_visited_again(dns: World) -> None:
    firewall = Firewall(closed_s=2.0)
    rows, rounds = scan(dns, firewall, reached=True, recovery_s=8.0)
    assert {row["status"] for row in rows} == {"mismatch"}
    assert len(rows) == COUNT
    assert Health.PORT_25_DOWN in rounds
    assert len(firewall.visits) >= COUNT  # each twice


def test_in_a_first_run_there_are_no_canaries(dns: World) -> None:
    rows, rounds = scan(dns, Firewall(closed_s=9999.0), reached=False)
    assert sorted(row["status"] for row in rows) == ["mismatch"] * 20 + ["tempfail"] * 20
    assert set(rounds) == {Health.GOOD}


def test_a_port_that_stays_closed_leaves_targets_missing(dns: World) -> None:
    rows, rounds = scan(dns, Firewall(closed_s=9999.0), reached=True, recovery_s=4.0)
    assert {row["status"] for row in rows} == {"mismatch"}
    assert len(rows) == COUNT / 2
    assert rounds.count(Health.PORT_25_DOWN) >= 2
