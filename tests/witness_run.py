"""Run inside the lab: `python -m tests.witness_run SETTINGS DIRECTORY`, JSON both ways.

Standard input: {"hosts": […], "first_fails": […]}. The names of `first_fails` are forwarded by
the first Unbound alone to a server that refuses them. Standard output: of each host its rows of
`mx_host` and `host_verdict` (without probes), and those of `authority` about it.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from crawler.dns.client import Resolvers
from crawler.dns.settings import ClientSettings
from crawler.dns.unbound import Unbound
from crawler.scan import assess, authority, hosts
from crawler.scan.context import LookupKind
from danesurvey.settings import load
from lab import addresses
from storage import assessment
from storage.schemas import AUTHORITY, HOST_VERDICT, MX_HOST
from tests.support.contexts import scan_context

_EVIDENCE = ("name", "rrtype", "zone", "failed_name", "dns_cause", "all_good", "server")


def main(settings_file: str, directory: str) -> None:
    asked = json.load(sys.stdin)
    settings = load(Path(settings_file), ["resolver.threads=1"])
    with (
        Unbound(settings.resolver, Path(directory)) as first,
        Unbound(settings.resolver, Path(directory), second_look=True) as second,
    ):
        assert first.control
        assert second.control
        for name in asked["first_fails"]:
            first.control.ask(f"forward_add {name} {addresses.TLD[0]}")
        context = scan_context(
            MX_HOST.schema,
            client=ClientSettings(direct_try_s=0.5),
            canaries=settings.canaries,
            resolvers=Resolvers(
                (first.address,), (second.address,), (first.control.path, second.control.path)
            ),
            lookup=LookupKind.LAST,
            lab_networks=("127.20.0.0/16",),
            probe=settings.probe,
        )
        names = asked["hosts"]
        shard = pa.RecordBatch.from_pydict(
            {"bucket": pa.array([1] * len(names), pa.int16()), "host": names}
        )
        rows = hosts.scan(shard, context).to_pylist()
        failed = [
            (name, rrtype)
            for row in rows
            for name, rrtype in zip(row["failed_names"], row["failed_types"], strict=True)
        ]
        questions = pa.RecordBatch.from_pydict(
            {
                "bucket": pa.array([1] * len(failed), pa.int16()),
                "name": [name for name, _ in failed],
                "rrtype": [rrtype for _, rrtype in failed],
            }
        )
        of_servers = replace(context, schemas=(AUTHORITY.schema,))
        told = authority.scan(questions, of_servers).to_pylist()
    found: list[dict[str, Any]] = []
    for row in rows:
        about = [one for one in told if one["name"] in row["failed_names"]]
        evidence = json.dumps([{key: one[key] for key in _EVIDENCE} for one in about])
        verdicts = assess.hosts(
            pa.RecordBatch.from_pylist([{**row, "evidence": evidence}], schema=assessment.HOST),
            replace(context, schemas=(HOST_VERDICT.schema,)),
            pa.RecordBatch.from_pylist([], schema=assessment.PROBE),
        )
        found.append({"mx_host": row, "authority": about, "verdict": verdicts.to_pylist()[0]})
    json.dump({one["mx_host"]["host"]: one for one in found}, sys.stdout, default=str)


if __name__ == "__main__":
    main(*sys.argv[1:])
