"""The catalogue for readers: a table, or JSON lines."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from lab.scenarios import CATALOGUE
from lab.scenarios.scenario import Has, Lacks, OneOf, Scenario


def as_table(scenarios: Sequence[Scenario] = CATALOGUE) -> Iterator[str]:
    """One line a scenario: domain, expected status, what it is, why. Header first."""
    rows = [("DOMAIN", "STATUS", "WHAT", "WHY")]
    rows += [(one.domain, _text(one.verdict["status"]), one.what, one.why) for one in scenarios]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        yield "  ".join((*cells, row[3]))


def as_json(scenarios: Sequence[Scenario] = CATALOGUE) -> Iterator[str]:
    """One object a scenario, with every expected cell as [table, key, column, value]."""
    for one in scenarios:
        cells = [[cell.table, cell.key, cell.column, _plain(cell.value)] for cell in one.expected()]
        described = {"name": one.name, "domain": one.domain, "what": one.what, "why": one.why}
        yield json.dumps({**described, "needs": sorted(one.needs), "expect": cells})


def _text(value: object) -> str:
    if isinstance(value, OneOf):
        return "|".join(sorted(map(str, value.values)))
    return str(value)


def _plain(value: object) -> Any:
    match value:
        case OneOf(values):
            return {"one_of": sorted(values, key=str)}
        case Has(values):
            return {"has": sorted(values)}
        case Lacks(values):
            return {"lacks": sorted(values)}
    return value
