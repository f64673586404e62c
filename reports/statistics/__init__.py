"""Every published number: the `.sql` files beside this module, run over a run's Parquet files.

A file is one SELECT of (metric, dimension, key, value, unit) over the views of
`reports.views`; anyone who has the data set can run it in DuckDB and get the same rows.
Percentages are truncated to two decimals, in integers: (part * 10000 // whole) / 100.
"""

from collections.abc import Iterator
from importlib.resources import files as package_files

import duckdb
import pyarrow as pa

from reports.derived_tables import STATISTICS
from reports.views import read


def statements() -> Iterator[tuple[str, str]]:
    """(file name, SQL) of every statistic, by name."""
    for entry in sorted(package_files(__name__).iterdir(), key=lambda one: one.name):
        if entry.name.endswith(".sql"):
            yield entry.name, entry.read_text("utf-8")


def compute(connection: duckdb.DuckDBPyConnection, kind: str) -> pa.Table:
    """All statistics of the run that the connection's views show, sorted by their key."""
    schema = STATISTICS.schema
    names = [name for name in schema.names if name != "kind"]
    tables = []
    for _, sql in statements():
        rows = read(connection, sql).select(names)
        rows = rows.append_column("kind", pa.array([kind] * rows.num_rows, pa.string()))
        tables.append(rows.select(schema.names).cast(schema))
    every = pa.concat_tables(tables)
    return every.sort_by([(name, "ascending") for name in STATISTICS.key]).combine_chunks()
