"""Publication of a run: export of made-up rows, the split, counts, changes, statistics.

    python -m bench.publish [--domains 200000 1000000]

Rows are made in an embedded PostgreSQL, and two full runs of each size are published; the
second one is measured, since it is compared with the first. The bars are 10 minutes and 2 GiB for
25 million domains, and time that grows as the domains do: the seconds a million are printed beside
each other.
"""

import argparse
import asyncio
import resource
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from danesurvey.embedded import running
from reports.publish import publish
from reports.settings import PublishSettings
from storage import run as runs
from storage.database import Connection, connection
from storage.migrate import upgrade
from storage.run import RunKind
from storage.schemas import OBSERVATIONS, Table

BAR_S = 600.0
BAR_MIB = 2048
BAR_DOMAINS = 25_000_000
PROVIDERS = 4000

# What a row has that is not empty, zero or null; `n` numbers the rows.
_PROVIDER = f"'p' || (n * 7919 % {PROVIDERS}) || '.example'"
_DOMAIN: dict[str, str] = {
    "bucket": "(n * 4096 / {count})::smallint",
    "domain": "'domain-' || n || '.example'",
}
_VALUES: dict[str, dict[str, str]] = {
    "domain_mx": {
        **_DOMAIN,
        "outcome": "'secure'",
        "secure": "true",
        "passes": "1",
        "questions": "4",
        "mx_preference": "'{{10}}'",
        "mx_host": f"ARRAY['mx.' || {_PROVIDER}]",
        "mx_total": "1",
        "rrsig_algorithm": "13",
        "dnskey_outcome": "'secure'",
        "dnskey_algorithm": "'{{13,13}}'",
        "dnskey_bits": "'{{256,256}}'",
        "dnskey_flags": "'{{256,257}}'",
    },
    "domain_verdict": {
        **_DOMAIN,
        "status": "CASE WHEN n % 5 = 0 THEN 'dane' ELSE 'no_tlsa' END",
        "mx_secure": "true",
        "dane_primary": "n % 5 = 0 AND n % 97 <> {month}",
        "host": f"ARRAY['mx.' || {_PROVIDER}]",
        "host_preference": "'{{10}}'",
        "host_status": "ARRAY[CASE WHEN n % 5 = 0 THEN 'pass' ELSE 'absent' END]",
        "host_class": "ARRAY[CASE WHEN n % 5 = 0 THEN 'P' ELSE 'N' END]",
        "mx_operator": f"ARRAY[{_PROVIDER}]",
        "dns_operator": "ARRAY['dns' || (n % 997) || '.example']",
    },
    "mx_host": {
        "bucket": "(n % 4096)::smallint",
        "host": "'mx.p' || n || '.example'",
        "a_outcome": "'secure'",
        "a_secure": "true",
        "addresses": "ARRAY['192.0.2.1']",
        "tlsa": "ARRAY['3 1 1 ' || n]",
        "tlsa_digest": "n::text",
        "tlsa_outcome": "'secure'",
    },
    "host_verdict": {
        "bucket": "(n % 4096)::smallint",
        "host": "'mx.p' || n || '.example'",
        "status": "'pass'",
        "class": "'P'",
        "usable": "true",
        "operator": "'p' || n || '.example'",
        "address": "ARRAY['192.0.2.1']",
        "address_status": "ARRAY['pass']",
        "address_names": "ARRAY['']",
    },
}
_EMPTY = {"bool": "false", "string": "''", "int16": "0", "int32": "0", "int64": "0"}


def statement(table: Table, run_id: int, count: int, month: int) -> str:
    """Rows of a run, made by PostgreSQL itself."""
    given = _VALUES[table.name]
    columns = []
    for field in table.schema:
        if field.name == "run_id":
            value = str(run_id)
        elif field.name in given:
            value = given[field.name].format(count=count, month=month)
        elif field.nullable:
            value = "NULL"
        elif str(field.type).startswith("list"):
            value = "'{}'"
        elif str(field.type).startswith("timestamp"):
            value = "timestamptz '2026-11-03 12:00+00'"
        else:
            value = _EMPTY[str(field.type)]
        columns.append(value)
    names = ", ".join(f'"{name}"' for name in table.schema.names)
    rows = count if table.name.startswith("domain") else PROVIDERS
    return (
        f"INSERT INTO {table.name} ({names}) SELECT {', '.join(columns)}"
        f" FROM generate_series(0, {rows - 1}) AS n"
    )


async def make(held: Connection, count: int, month: int) -> int:
    run = await runs.create(held, RunKind.FULL, {})
    await held.execute(
        "UPDATE run SET started = $2 WHERE run_id = $1",
        run.run_id,
        datetime(2026, month, 10, tzinfo=UTC),
    )
    for table in OBSERVATIONS:
        if table.name in _VALUES:
            await held.execute(statement(table, run.run_id, count, month))
    await runs.finish(held, run.run_id)
    return run.run_id


async def measure(url: str, directory: Path, count: int) -> float:
    async with connection(url) as held:
        await upgrade(held)
        seconds = 0.0
        for month in (10, 11):
            run_id = await make(held, count, month)
            began = time.perf_counter()
            await publish(held, run_id, PublishSettings(), directory, url=url, force=True)
            seconds = time.perf_counter() - began
        return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--domains", type=int, nargs="+", default=[200_000, 1_000_000])
    for count in parser.parse_args().domains:
        with (
            tempfile.TemporaryDirectory() as temporary,
            running(Path(temporary) / "state") as url,
        ):
            seconds = asyncio.run(measure(url, Path(temporary), count))
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        millions = count / 1e6
        print(
            f"{count:,} domains: {seconds:.1f} s, {seconds / millions:.1f} s a million, "
            f"{seconds / (BAR_S * count / BAR_DOMAINS):.2f} of the bar; "
            f"{peak:.0f} MiB at most: {peak / BAR_MIB:.2f} of the bar"
        )


if __name__ == "__main__":
    main()
