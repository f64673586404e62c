"""Run inside the lab: `python -m tests.authority_run SETTINGS DIRECTORY`, JSON both ways.

Standard input: a list of [name, rrtype]. Standard output: the rows of `authority`.
"""

import json
import sys
import tomllib
from pathlib import Path

import pyarrow as pa

from crawler.dns.client import Resolvers
from crawler.dns.settings import ClientSettings, ResolverSettings
from crawler.dns.unbound import Unbound
from crawler.scan.authority import scan
from storage.schemas import AUTHORITY


def main(settings_file: str, directory: str) -> None:
    asked = json.load(sys.stdin)
    section = tomllib.loads(Path(settings_file).read_text())["resolver"]
    for key in ("root_hints", "trust_anchor"):
        section[key] = Path(section[key])
    shard = pa.RecordBatch.from_pydict(
        {
            "bucket": pa.array([1] * len(asked), pa.int16()),
            "name": [name for name, _ in asked],
            "rrtype": [rrtype for _, rrtype in asked],
        }
    )
    with Unbound(ResolverSettings(**section, threads=1), Path(directory)) as resolver:
        rows = scan(
            shard,
            schema=AUTHORITY.schema,
            client=ClientSettings(direct_try_s=0.5),
            resolver=Resolvers(first=(resolver.address,)),
            run_id=7,
            lab_addresses=("127.20.0.0/16",),
        )
    json.dump(rows.to_pylist(), sys.stdout, default=str)


if __name__ == "__main__":
    main(*sys.argv[1:])
