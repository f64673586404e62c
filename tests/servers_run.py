"""Run inside the lab: `python -m tests.servers_run SETTINGS DIRECTORY`, JSON both ways.

Standard input: names of hosts. Standard output: the rows of `tlsa_server`, of two rounds.
"""

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa

from crawler.dns.client import Resolvers
from crawler.dns.settings import ClientSettings
from crawler.dns.unbound import Unbound
from crawler.scan import servers
from danesurvey.settings import load
from storage.due import ASK_SERVERS
from storage.schemas import TLSA_SERVER
from tests.support.contexts import scan_context


def main(settings_file: str, directory: str) -> None:
    hosts = json.load(sys.stdin)
    settings = load(Path(settings_file), ["resolver.threads=1"])
    rows: list[dict[str, Any]] = []
    with Unbound(settings.resolver, Path(directory)) as resolver:
        context = scan_context(
            TLSA_SERVER.schema,
            client=ClientSettings(direct_try_s=0.5),
            canaries=settings.canaries,
            resolvers=Resolvers(first=(resolver.address,)),
            lab_networks=("127.20.0.0/16",),
            probe=settings.probe,
        )
        for number in (1, 2):
            asked = [
                {"bucket": 1, "host": host, "name": f"_25._tcp.{host}", "round": number}
                for host in hosts
            ]
            shard = pa.RecordBatch.from_pylist(asked, schema=ASK_SERVERS)
            found = servers.scan(shard, context).to_pylist()
            rows += found
            hosts = [row["host"] for row in found if not row["settled"]]
    json.dump(rows, sys.stdout, default=str)


if __name__ == "__main__":
    main(*sys.argv[1:])
