"""A published data set, read: which run a report is about, and its rows.

Reports need no database: whoever has the data set (for breakages, the restricted part)
can make them again.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import duckdb

from dane.faults import Refused, UsageFault
from dane.outcomes import FaultKind
from reports.breakage import Breakage, load
from reports.dataset import Dataset, check_month
from reports.dictionary import (
    ANY_FAULT,
    BREAKAGES,
    CONFIRMATIONS,
    CONFIRMED_BREAKAGES,
    BreakageState,
    OperatorKind,
)
from reports.manifest import RunEntry, last_run, vantage
from reports.settings import PublishSettings
from reports.views import open_views, read
from storage.run import RunKind

_SAME_TIME = timedelta(days=2)
"""Two vantages count as two only if they looked at about the same time."""

_WANTED = """
SELECT * FROM breakages
WHERE ($operator IS NULL OR operator = $operator) AND (NOT $confirmed OR state = 'confirmed')
ORDER BY operator_kind, operator, host, domain
"""


@dataclass(frozen=True, slots=True)
class Library:
    """The data set that the settings name."""

    dataset: Dataset
    settings: PublishSettings

    @classmethod
    def of(cls, settings: PublishSettings, state_dir: Path) -> Self:
        return cls(Dataset((settings.directory or state_dir) / "dataset"), settings)

    def run(self, month: str | None, *, full: bool = False) -> RunEntry:
        """The last run, of a month if one is given. Raises UsageFault for what is no month,
        Refused if there is no such run."""
        kinds = (RunKind.FULL,) if full else tuple(RunKind)
        return last_run(self.dataset, check_month(month) if month else None, kinds)

    @contextmanager
    def views(
        self, month: str | None, *, full: bool = False
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """That run's tables in DuckDB."""
        files = self.dataset.files(self.run(month, full=full).key)
        with open_views(self.settings.memory_limit, files) as views:
            yield views

    def breakages(
        self, month: str | None, *, operator: str | None = None, confirmed: bool = False
    ) -> list[Breakage]:
        """Rows of the restricted table, in its order."""
        wanted = {"operator": operator, "confirmed": confirmed}
        with self.views(month) as views:
            return load(read(views, _WANTED, **wanted).cast(BREAKAGES.schema))

    def confirmed_elsewhere(self, directory: Path) -> frozenset[tuple[str, FaultKind]]:
        """(MX host, kind of fault) that another survey confirms from another network.

        `directory` is its `dataset/`. Raises UsageFault where there is none; Refused unless
        both data sets name their vantage, and differently.
        """
        if not directory.is_dir():
            raise UsageFault(f"second vantage {directory}: no such directory")
        other = Dataset(directory)
        ours = self.run(None)
        theirs = last_run(other)
        names = vantage(self.dataset, ours.key), vantage(other, theirs.key)
        if not all(names) or names[0] == names[1]:
            raise Refused(
                f"second vantage {directory}: the two data sets must name different vantages "
                f"(publish.vantage); they are {names[0]!r} and {names[1]!r}"
            )
        if abs(theirs.started - ours.started) > _SAME_TIME:
            raise Refused(
                f"second vantage {directory}: its last run began {theirs.started:%Y-%m-%d}"
            )
        files = other.files(theirs.key)
        # the public list leaves out hosts with few domains; the restricted one has all
        every = {
            (row["host"], FaultKind(row["fault"]))
            for row in files.read(CONFIRMATIONS).to_pylist()
            if row["operator_kind"] == OperatorKind.MX
            and row["state"] == BreakageState.CONFIRMED
            and row["fault"] != ANY_FAULT
        }
        return frozenset(every) | {
            (row["host"], FaultKind(fault))
            for row in files.read(CONFIRMED_BREAKAGES).to_pylist()
            if row["operator_kind"] == OperatorKind.MX
            for fault in row["confirmed_faults"]
        }


def to_json(rows: Sequence[dict[str, Any]]) -> str:
    """A JSON array; dates as ISO 8601."""
    return json.dumps(rows, indent=1, default=str) + "\n"
