"""What of a run may be public: the rows of each table that go into its public part.

A row that names an MX host is public if enough domains depend on the host and if the host is
not `unsettled`. Names that strangers chose (subject alternative names, subjects, issuers)
are shown only if enough domains depend on them. Domains are public in zones whose
licence allows it, and such a zone's own hosts need no others. The `.sql` files beside this
module say it, one a table.
"""

from collections.abc import Iterator, Mapping
from importlib.resources import files as package_files

import duckdb
import pyarrow as pa

from reports.columns import PublishedTable
from reports.dictionary import (
    ADDRESSES,
    MX_HOSTS,
    PROBES,
    PUBLIC_CERTIFICATES,
    PUBLIC_DOMAINS,
    PUBLIC_ROLLOVERS,
    SPLIT,
    ZONES,
)
from reports.views import read

_BATCH = 16_384


def prepare(views: duckdb.DuckDBPyConnection, open_zones: Mapping[str, str]) -> None:
    """Tables of what may be named: `public_host`, `public_name`, `open_zone`.

    `open_zones` is the licence of each zone whose names may be passed on. The view `names`
    is that of the last full run.
    """
    zones = pa.table(
        {
            "zone": pa.array(open_zones.keys(), pa.string()),
            "licence": pa.array(open_zones.values(), pa.string()),
        }
    )
    views.register("open_zone", zones)
    views.execute(_statement("prepare"))


def parts(
    views: duckdb.DuckDBPyConnection,
) -> Iterator[tuple[PublishedTable, Iterator[pa.RecordBatch]]]:
    """Both parts of each table in two parts, and the public tables that are cut from
    restricted ones. Each is to be read before the next one."""
    for public in (MX_HOSTS, ADDRESSES, PROBES, ZONES):
        restricted = SPLIT[public]
        views.execute(f"CREATE OR REPLACE TEMP VIEW public_part AS {_statement(public.name)}")
        key = ", ".join(f'"{name}"' for name in public.key)
        yield public, _rows(views, f"SELECT * FROM public_part ORDER BY {key}")
        same = " AND ".join(f'p."{name}" = t."{name}"' for name in public.key)
        yield (
            restricted,
            _rows(
                views,
                f'SELECT * FROM "{public.name}" t WHERE NOT EXISTS'
                f" (SELECT 1 FROM public_part p WHERE {same}) ORDER BY {key}",
            ),
        )
    yield PUBLIC_CERTIFICATES, _rows(views, _statement("certificates"))
    yield PUBLIC_DOMAINS, _rows(views, _statement("domains"))
    yield PUBLIC_ROLLOVERS, _rows(views, _statement("rollovers"))


def named_zones(views: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """The zones that the public manifest may name."""
    rows = read(views, f"SELECT zone FROM ({_statement(ZONES.name)})")
    return frozenset(str(zone) for zone in rows.column("zone").to_pylist())


def named_operators(views: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """The operators of MX hosts that may be named."""
    rows = read(views, "SELECT name FROM names WHERE kind = 'mx_operator'")
    return frozenset(str(name) for name in rows.column("name").to_pylist())


def _rows(views: duckdb.DuckDBPyConnection, query: str) -> Iterator[pa.RecordBatch]:
    yield from views.sql(query).to_arrow_reader(batch_size=_BATCH)


def _statement(name: str) -> str:
    return (package_files(__name__) / f"{name}.sql").read_text("utf-8")
