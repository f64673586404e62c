"""Run inside the lab: `python -m tests.authority_run SETTINGS DIRECTORY [FLAG…]`, JSON both ways.

Standard input: a list of [name, rrtype]. Standard output: the rows of `authority`.
"""

import json
import sys
from pathlib import Path

import pyarrow as pa

from crawler.dns.client import Resolvers
from crawler.dns.settings import ClientSettings
from crawler.dns.unbound import Unbound
from crawler.operators import merges
from crawler.scan.authority import scan
from danesurvey.settings import load
from storage.schemas import AUTHORITY
from tests.support.contexts import scan_context


def main(settings_file: str, directory: str, *flags: str) -> None:
    asked = json.load(sys.stdin)
    settings = load(Path(settings_file), ["resolver.threads=1", *flags])
    shard = pa.RecordBatch.from_pydict(
        {
            "bucket": pa.array([1] * len(asked), pa.int16()),
            "name": [name for name, _ in asked],
            "rrtype": [rrtype for _, rrtype in asked],
        }
    )
    with Unbound(settings.resolver, Path(directory)) as resolver:
        rows = scan(
            shard,
            scan_context(
                AUTHORITY.schema,
                run_id=7,
                client=ClientSettings(direct_try_s=0.5),
                canaries=settings.canaries,
                resolvers=Resolvers(first=(resolver.address,)),
                lab_networks=("127.20.0.0/16",),
                probe=settings.probe,
                operator_merges=merges(settings.probe.operator_merges),
            ),
        )
    json.dump(rows.to_pylist(), sys.stdout, default=str)


if __name__ == "__main__":
    main(*sys.argv[1:])
