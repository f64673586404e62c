"""The tables that are SQL over the others: the `.sql` files beside this module.

`counts` runs them over the views of `reports.views`, in the order in which they need each
other. Nothing here reads or writes files.
"""

from collections.abc import Iterable, Iterator
from importlib.resources import files as package_files
from string import Template

import duckdb
import pyarrow as pa

from reports.columns import PublishedTable
from reports.derived_tables import (
    CHANGES,
    DOMAIN_CHANGES,
    DOMAIN_COUNTS,
    HOST_COUNTS,
    NAMES_TABLE,
    OPERATORS,
)
from reports.views import read

# Which name gives way first in a cell that is too small, and the last one.
_GIVING_WAY = ("dns_operator", "zone", "mx_operator")
_DUCKDB_TYPES = ("SMALLINT", *["VARCHAR"] * 8)
# By what else the totals of a name are published.
_PUBLISHED_WITHIN = ((), ("mx_secure",), ("dane_primary", "mx_secure"))


def names(views: duckdb.DuckDBPyConnection) -> pa.Table:
    """The names on which enough domains of this run depend (`names.sql`)."""
    return read(views, statement("names")).select(NAMES_TABLE.schema.names)


def counts(views: duckdb.DuckDBPyConnection) -> Iterator[tuple[PublishedTable, pa.Table]]:
    """The public tables of counts."""
    yield DOMAIN_COUNTS, domain_counts(views)
    for table, name in ((HOST_COUNTS, "host_counts"), (OPERATORS, "operators")):
        yield table, read(views, statement(name)).select(table.schema.names)


def domain_changes(
    views: duckdb.DuckDBPyConnection, unsurveyed: pa.Table, slices: Iterable[range]
) -> Iterator[pa.RecordBatch]:
    """What the headlines gained and lost since the month before, domain by domain.

    `unsurveyed` are the (bucket, domain) of delegations that the run did not look up. The
    buckets of a slice are compared at a time, which bounds the memory.
    """
    fields = zip(DOMAIN_CHANGES.schema.names, _DUCKDB_TYPES, strict=True)
    columns = ", ".join(f'"{name}" {kind}' for name, kind in fields)
    views.execute(f"CREATE TEMP TABLE domain_change ({columns})")
    views.register("unsurveyed", unsurveyed)
    for buckets in slices:
        views.execute(statement("changes"), {"first": buckets.start, "last": buckets.stop - 1})
    key = ", ".join(DOMAIN_CHANGES.key)
    relation = views.sql(f"SELECT * FROM domain_change ORDER BY {key}")
    yield from relation.to_arrow_reader(batch_size=16_384)


def public_changes(views: duckdb.DuckDBPyConnection) -> pa.Table:
    """The changes by reason and operator (`public_changes.sql`)."""
    return read(views, statement("public_changes")).select(CHANGES.schema.names)


def domain_counts(views: duckdb.DuckDBPyConnection) -> pa.Table:
    """Every surveyed domain in one cell, the names of small cells folded."""
    views.execute(statement("domain_cells"))
    for dimension in _GIVING_WAY:
        _fold(views, "fold_small_cells", dimension=dimension)
    for dimension in _GIVING_WAY:
        for columns in _PUBLISHED_WITHIN:
            _fold(views, "fold_rests", dimension=dimension, within=", ".join([dimension, *columns]))
    key = ", ".join(DOMAIN_COUNTS.key)
    cells = read(views, f"SELECT * FROM cell ORDER BY {key}")
    return cells.select(DOMAIN_COUNTS.schema.names)


def _fold(views: duckdb.DuckDBPyConnection, name: str, **words: str) -> None:
    views.execute(Template(statement(name)).substitute(words))


def statement(name: str) -> str:
    """The SQL of a file in `reports/derived/`."""
    return (package_files(__name__) / f"{name}.sql").read_text("utf-8")
