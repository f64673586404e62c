"""The Parquet files of one run as DuckDB views: what every statistic is asked of.

Views: one a published table of the run, under the table's name and with both its parts
(`breakages` and `episodes` are the restricted ones); `previous_month_domains`,
`previous_month_operators` and `previous_month_zones`, of the last full run of the month before;
`previous_run_confirmations`, `previous_run_episodes` and `previous_run_domains`, of the run
before; `past_episodes`, of the runs of a year before; `recent_probes` and `recent_mx_hosts`, of
the run and of recent ones; `names`, of the last full run. Where there is no such run they
have no rows. `macros.sql` adds what is settled and how small cells are folded.
DuckDB gets a memory limit and spills to a directory of its own, loads no extension, and
reads nothing but the files that are named here.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files as package_files
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from dane.faults import LocalTrouble, UsageFault
from reports import location
from reports.columns import PublishedTable
from reports.dataset import Files
from reports.derived_tables import (
    CHANGES,
    DOMAIN_CHANGES,
    DOMAIN_COUNTS,
    HOST_COUNTS,
    NAMES_TABLE,
    OPERATORS,
)
from reports.dictionary import (
    BREAKAGES,
    CERTIFICATES,
    CONFIRMATIONS,
    DOMAINS,
    EPISODES,
    MX_HOSTS,
    PROBES,
    ROLLOVERS,
    SPLIT,
    UNSIGNED_SAMPLE,
    ZONES,
)

_GLOB = re.compile(r"[*?\[]")
"""What DuckDB would take for a pattern in a path."""
_THREADS = 4
"""At most: they share the memory limit."""
_VIEWS = (
    DOMAINS,
    UNSIGNED_SAMPLE,
    *SPLIT,
    CERTIFICATES,
    BREAKAGES,
    CONFIRMATIONS,
    EPISODES,
    ROLLOVERS,
    DOMAIN_COUNTS,
    HOST_COUNTS,
    OPERATORS,
    DOMAIN_CHANGES,
)


@contextmanager
def open_views(
    memory_limit: str,
    files: Files,
    *,
    previous_month: Files | None = None,
    previous_run: Files | None = None,
    recent_runs: Sequence[Files] = (),
    past_runs: Sequence[Files] = (),
    names: Files | None = None,
    floor: int = 10,
    scratch: Path | None = None,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB connection with the views of a run; it spills below `scratch`, by default
    the system's directory for temporary files.

    Raises UsageFault for a memory limit that DuckDB does not understand; inside the block,
    LocalTrouble when memory and disk do not suffice.
    """
    with TemporaryDirectory(prefix="duckdb-", dir=scratch) as spill:
        try:
            connection = duckdb.connect(
                config={
                    "memory_limit": memory_limit,
                    "temp_directory": spill,
                    "threads": min(_THREADS, os.cpu_count() or 1),
                    "preserve_insertion_order": False,
                    # what is built in suffices; never fetch one from the network
                    "autoinstall_known_extensions": False,
                    "autoload_known_extensions": False,
                }
            )
        except (duckdb.ParserException, duckdb.InvalidInputException) as error:
            raise UsageFault(f"publish.memory_limit: {_one_line(error)}") from error
        try:
            for table in _VIEWS:
                own = files.parts(SPLIT[table]) if table in SPLIT else []
                _create_view(connection, table.name, table, files.parts(table) + own)
            for name, table, earlier in (
                ("previous_month_domains", DOMAINS, previous_month),
                ("previous_run_confirmations", CONFIRMATIONS, previous_run),
                ("previous_run_episodes", EPISODES, previous_run),
                ("previous_run_domains", DOMAINS, previous_run),
            ):
                _create_view(connection, name, table, earlier.parts(table) if earlier else [])
            for table in (PROBES, MX_HOSTS):
                parts = [
                    part
                    for run in (files, *recent_runs)
                    for of in (table, SPLIT[table])
                    for part in run.parts(of)
                ]
                _create_view(connection, f"recent_{table.name}", table, parts)
            _create_view(
                connection,
                "previous_month_operators",
                OPERATORS,
                previous_month.parts(OPERATORS) if previous_month else [],
            )
            zones = [
                part
                for table in (ZONES, SPLIT[ZONES])
                for part in (previous_month.parts(table) if previous_month else [])
            ]
            _create_view(connection, "previous_month_zones", ZONES, zones)
            _create_view(connection, "public_changes", CHANGES, files.parts(CHANGES))
            named = (names or files).parts(NAMES_TABLE)
            _create_view(connection, "names", NAMES_TABLE, named)
            past = [part for run in past_runs for part in run.parts(EPISODES)]
            _create_view(connection, "past_episodes", EPISODES, past)
            connection.register("location", location.SCHEMA.empty_table())
            connection.execute(macros(floor))
            yield connection
        except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
            raise LocalTrouble(f"statistics: {_one_line(error)}") from error
        finally:
            connection.close()


def macros(floor: int) -> str:
    """What the statistics need beside the tables, for a floor of so many domains."""
    text = (package_files("reports") / "macros.sql").read_text("utf-8")
    return Template(text).safe_substitute(floor=floor)


def read(connection: duckdb.DuckDBPyConnection, query: str, **parameters: object) -> pa.Table:
    """The rows of a query, in its order; `$name` in it stands for a parameter."""
    table: pa.Table = connection.sql(query, params=parameters).to_arrow_table()
    return table


def _create_view(
    connection: duckdb.DuckDBPyConnection, name: str, table: PublishedTable, parts: list[Path]
) -> None:
    if parts:
        paths = ", ".join(_quoted(_GLOB.sub(r"[\g<0>]", str(part))) for part in parts)
        source = f"read_parquet([{paths}], hive_partitioning = false, union_by_name = true)"
    else:
        empty = f"no_{name}"
        connection.register(empty, table.schema.empty_table())
        source = f'"{empty}"'
    filled = ", ".join(f'coalesce("{column}", \'\') AS "{column}"' for column in table.blanks)
    columns = f"* REPLACE ({filled})" if filled else "*"
    connection.execute(f'CREATE VIEW "{name}" AS SELECT {columns} FROM {source}')


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _one_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
