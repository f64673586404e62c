"""Statistics of a month: wall time and peak memory over a synthetic data set.

    python -m bench.statistics [--domains 1000000]
    python -m bench.statistics --domains 25000000 --keep /var/tmp/months

Makes two months of Parquet files (rows drawn from a few thousand kinds of domain, most of
them at large providers, 3 % broken or failing), then computes breakages and statistics of
the second month in a process of its own, as publication does. The bars are 60 s and
2 GiB for 25 million domains (docs/design.md, section 7); the time is compared with what
DuckDB needs to read every column of the month's domains once.
"""

import argparse
import itertools
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from dane.names import BUCKETS
from reports import confirmation, derived, statistics
from reports.columns import PublishedTable
from reports.dataset import Files, RunKey, write_table
from reports.derived_tables import CHANGES, DOMAIN_CHANGES
from reports.dictionary import (
    ADDRESSES,
    BREAKAGES,
    CERTIFICATES,
    DOMAINS,
    MX_HOSTS,
    PROBES,
    SPLIT,
    ZONES,
)
from reports.run_files import bucket_ranges
from reports.settings import ConfirmationSettings
from reports.views import open_views
from storage.export import ROW_GROUP

BAR_S = 60.0
BAR_MIB = 2048
BAR_DOMAINS = 25_000_000
NOW = 1_795_000_000_000_000  # µs
PROVIDERS = 4000  # weights fall as 1/rank, as in past posts

# share of domains, status, stage, class and status of the hosts, secure MX, DANE
KINDS: tuple[tuple[float, str, str | None, str, str, bool, bool], ...] = (
    (0.16, "dane", None, "P", "pass", True, True),
    (0.50, "no_tlsa", None, "N", "absent", True, False),
    (0.24, "insecure_mx_host", None, "N", "insecure", True, False),
    (0.05, "no_mail", None, "-", "no_address", True, False),
    (0.02, "insecure", None, "N", "insecure", False, False),
    (0.02, "broken", None, "F", "mismatch", True, False),
    (0.007, "lookup_failed", "tlsa", "L", "tlsa_failed", True, False),
    (0.003, "lookup_failed", "mx", "-", "no_address", False, False),
)


def neutral(table: PublishedTable) -> dict[str, Any]:
    """A row with nothing in it."""
    row: dict[str, Any] = {}
    for column in table.columns:
        if not column.required:
            row[column.name] = None
        elif pa.types.is_list(column.type):
            row[column.name] = []
        elif pa.types.is_timestamp(column.type):
            row[column.name] = NOW
        elif pa.types.is_binary(column.type):
            row[column.name] = b""
        else:
            row[column.name] = {"string": "", "bool": False, "double": 0.0}.get(str(column.type), 0)
    return row


def hosts_of(provider: int) -> list[str]:
    return [f"mx{number}.provider{provider}.example" for number in (1, 2)]


def domain_kinds() -> tuple[pa.Table, list[float]]:
    """One row a (provider, kind), and their cumulative weights."""
    rows, weights = [], []
    for provider in range(PROVIDERS):
        for share, status, stage, host_class, host_status, secure, dane in KINDS:
            operator = f"provider{provider}.example"
            rows.append(
                neutral(DOMAINS)
                | {
                    "zone": "example",
                    "status": status,
                    "stage": stage,
                    "level": "primary" if status == "broken" else None,
                    "mx_secure": secure,
                    "dane_primary": dane,
                    "deliverable": {"dane": True, "broken": False}.get(status),
                    "mx_host": hosts_of(provider),
                    "mx_preference": [10, 20],
                    "host_status": [host_status] * 2,
                    "host_class": [host_class] * 2,
                    "mx_operator": [operator],
                    "dns_operator": [f"dns{provider % 997}.example"],
                    "mx_outcome": "bogus" if stage == "mx" else "secure",
                    "mx_answer_secure": secure,
                    "mx_total": 2,
                    "passes": 4 if stage else 1,
                    "questions": 4,
                    "rrsig_signer": operator,
                    "rrsig_algorithm": 13 if provider % 10 else 8,
                    "dnskey_algorithm": [13, 13],
                    "dnskey_bits": [256, 256],
                    "dnskey_flags": [256, 257],
                    "nsec3param_iterations": provider % 3,
                    "nsec3param_salt_length": 0,
                }
            )
            weights.append(share / (provider + 1))
    return pa.Table.from_pylist(rows, schema=DOMAINS.schema), list(itertools.accumulate(weights))


def domains(count: int, kinds: pa.Table, weights: list[float], seed: int) -> Iterator[pa.Table]:
    """The month's domains in order of their buckets, a row group at a time."""
    chance = random.Random(seed)
    # a little of the month is new, so that the months differ
    first = count // 100 * (seed - 1)
    for start in range(0, count, ROW_GROUP):
        rows = min(ROW_GROUP, count - start)
        drawn = chance.choices(range(len(weights)), cum_weights=weights, k=rows)
        numbers = range(start, start + rows)
        named = [f"domain-{first + number}.example" for number in numbers]
        columns: dict[str, Any] = {
            "bucket": pa.array([number * BUCKETS // count for number in numbers], pa.int16()),
            "domain": pa.array(named, pa.string()),
        }
        table = kinds.take(pa.array(drawn))
        for name, column in columns.items():
            table = table.set_column(
                table.schema.get_field_index(name), DOMAINS.schema.field(name), column
            )
        yield table


def others() -> Iterator[tuple[PublishedTable, list[dict[str, Any]]]]:
    """Every provider has two hosts, each with an address and two sessions."""
    hosts, addresses, probes, certificates = [], [], [], []
    for provider in range(PROVIDERS):
        operator = f"provider{provider}.example"
        for number, host in enumerate(hosts_of(provider)):
            address = f"192.0.{provider % 256}.{provider // 256 + 64 * number}"
            status, host_class = ("pass", "P") if provider % 50 else ("mismatch", "F")
            digest = f"{provider:064x}"
            hosts.append(
                neutral(MX_HOSTS)
                | {
                    "bucket": provider,
                    "host": host,
                    "operator": operator,
                    "status": status,
                    "class": host_class,
                    "usable": True,
                    "tlsa": [f"3 1 1 {digest}"],
                    "tlsa_digest": digest,
                    "tlsa_base": host,
                    "tlsa_outcome": "secure",
                    "dns_operator": [f"dns{provider % 997}.example"],
                    "rrsig_signer": operator,
                    "rrsig_original_ttl": 3600,
                }
            )
            of_address = {"host": host, "address": address, "status": status, "operator": operator}
            addresses.append(neutral(ADDRESSES) | of_address)
            for attempt in (1, 2):
                probes.append(
                    neutral(PROBES)
                    | of_address
                    | {
                        "tlsa_digest": digest,
                        "sni": host,
                        "attempt": attempt,
                        "chain": [digest],
                        "connected": NOW + attempt * 3_600_000_000,
                        "tls_version": "TLSv1.3",
                    }
                )
        certificates.append(
            neutral(CERTIFICATES) | {"sha256": digest, "key_type": "rsa", "key_bits": 2048}
        )
    yield MX_HOSTS, hosts
    yield ADDRESSES, addresses
    yield PROBES, probes
    yield CERTIFICATES, certificates
    yield ZONES, [neutral(ZONES) | {"zone": "example", "kind": "file"}]


def make_month(root: Path, count: int, seed: int) -> Files:
    files = Files(root, RunKey(f"2026-{9 + seed:02}", seed))
    kinds, weights = domain_kinds()
    write_table(files, DOMAINS, domains(count, kinds, weights, seed))
    for table, rows in others():
        write_table(files, table, [pa.Table.from_pylist(rows, schema=table.schema)])
    for table in SPLIT.values():
        write_table(files, table, [])
    return files


def measure(root: Path) -> dict[str, float]:
    """Breakages and statistics of the second month, in this process."""
    before, now = (Files(root, RunKey(f"2026-{9 + seed:02}", seed)) for seed in (1, 2))
    began = time.perf_counter()
    opened = partial(open_views, "1.5GB", previous_month=before)
    with opened(now) as views:
        started = datetime.fromtimestamp(NOW / 1e6, UTC)
        following = confirmation.follow(views, ConfirmationSettings(), started, sees_all=True)
        write_table(now, BREAKAGES, following.breakages())
    found = time.perf_counter()
    with opened(now) as views:
        for table, counted in derived.counts(views):
            write_table(now, table, [counted])
        nobody = DOMAIN_CHANGES.schema.empty_table().select(["bucket", "domain"])
        slices = bucket_ranges(now.rows(DOMAINS))
        write_table(now, DOMAIN_CHANGES, derived.domain_changes(views, nobody, slices))
    with opened(now) as views:
        write_table(now, CHANGES, [derived.public_changes(views)])
        rows = statistics.compute(views, "full").num_rows
    done = time.perf_counter()
    return {
        "breakages_s": found - began,
        "statistics_s": done - found,
        "rows": rows,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def read_everything(root: Path) -> float:
    """Seconds to read every column of the month's domains once."""
    files = Files(root, RunKey("2026-11", 2))
    began = time.perf_counter()
    with open_views("1.5GB", files) as views:
        views.sql(
            f"SELECT {', '.join(f'max({name})' for name in DOMAINS.schema.names)} FROM domains"
        ).to_arrow_table()
    return time.perf_counter() - began


def in_process(what: str, root: Path) -> Any:
    """The same file, asked for one measurement in a new process."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.statistics", "--measure", what, "--keep", str(root)],
        check=True,
        stdout=subprocess.PIPE,
    )
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--domains", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="directory for the data; else temporary")
    parser.add_argument("--measure", choices=["statistics", "read"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        work = measure if options.measure == "statistics" else read_everything
        print(json.dumps(work(options.keep)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        root = options.keep or Path(temporary)
        for seed in (1, 2):
            if not Files(root, RunKey(f"2026-{9 + seed:02}", seed)).parts(DOMAINS):
                make_month(root, options.domains, seed)
        spent = in_process("statistics", root)
        whole = spent["breakages_s"] + spent["statistics_s"]
        reading = in_process("read", root)
        share = options.domains / BAR_DOMAINS
        print(f"{options.domains:,} domains, {spent['rows']:,} statistics")
        print(f"breakages {spent['breakages_s']:.1f} s, statistics {spent['statistics_s']:.1f} s")
        print(
            f"{whole:.1f} s: {whole / (BAR_S * share):.2f} of the bar, "
            f"{whole / reading:.2f} times reading all of the domains once ({reading:.1f} s)"
        )
        print(f"{spent['peak_mib']:.0f} MiB resident: {spent['peak_mib'] / BAR_MIB:.2f} of the bar")


if __name__ == "__main__":
    main()
