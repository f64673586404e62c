"""The dictionary describes every column, and docs/dataset.md says what it says."""

import json
from pathlib import Path

import pytest

from reports import documentation
from reports.columns import PublishedTable
from reports.dictionary import TABLES
from storage.schemas import DOMAIN_VERDICT

DOCUMENT = Path(__file__).parents[2] / "docs" / "dataset.md"


def test_document_is_up_to_date() -> None:
    _, marker, below = DOCUMENT.read_text("utf-8").partition(documentation.MARKER)
    assert marker
    assert below == documentation.generated(), (
        "run: python -m reports.documentation docs/dataset.md"
    )


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table.access}-{table.name}")
def test_every_column_is_described(table: PublishedTable) -> None:
    names = [column.name for column in table.columns]
    assert len(set(names)) == len(names)
    assert set(table.key) <= set(names)
    assert not table.schema.metadata
    for column in table.columns:
        assert column.description.endswith("."), column.name
    fields = json.loads(json.dumps(table.frictionless()))["fields"]
    assert [field["name"] for field in fields] == names


def test_types_are_those_of_the_run_tables() -> None:
    domains = next(table for table in TABLES if table.name == "domains")
    for name in ("status", "mx_secure", "dane_primary", "deliverable", "mx_operator"):
        assert domains.schema.field(name).equals(DOMAIN_VERDICT.schema.field(name))
