"""What scenarios declare, held against the tables of a survey of the lab."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from lab.scenarios.scenario import Expected, Scenario

KEYS = {
    "domain_mx": "domain",
    "domain_verdict": "domain",
    "mx_host": "host",
    "host_verdict": "host",
}
"""The tables that scenarios speak of, and the column that their rows go by."""

_NO_ROW = "no row"


@dataclass(frozen=True, slots=True)
class Difference:
    """One cell that is not as declared; `found` is `no row` where the row is missing."""

    expected: Expected
    found: Any

    def __str__(self) -> str:
        cell = self.expected
        return (
            f"{cell.scenario:32} {cell.table:14} {cell.key:44} {cell.column:16} "
            f"expected {cell.value!r}, found {self.found!r}"
        )


def differences(
    scenarios: Iterable[Scenario], tables: Mapping[str, pa.Table]
) -> Iterator[Difference]:
    """Every declared cell of one run that is not so; `tables` by name, as in KEYS.

    A domain that a zone scan must leave out (`Scenario.surveyed`) must have no row.
    """
    rows = {name: {row[key]: row for row in tables[name].to_pylist()} for name, key in KEYS.items()}
    for scenario in scenarios:
        if not scenario.surveyed:
            for name in ("domain_mx", "domain_verdict"):
                if scenario.domain in rows[name]:
                    absent = Expected(scenario.name, name, scenario.domain, "domain", _NO_ROW)
                    yield Difference(absent, scenario.domain)
            continue
        for cell in scenario.expected():
            row = rows[cell.table].get(cell.key)
            if row is None:
                yield Difference(cell, _NO_ROW)
            elif not cell.met_by(row[cell.column]):
                yield Difference(cell, row[cell.column])
