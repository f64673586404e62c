"""The whole catalogue surveyed once: every cell that a scenario declares is compared.

Expectations come from docs/measurement.md by way of the scenarios. What is known to differ
stands in known_differences.toml with its reason; an entry that has become right fails.
"""

import asyncio
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from dane.outcomes import DnsCause
from danesurvey.embedded import running
from lab.internet import Lab
from lab.scenarios.scenario import Expected

KNOWN = Path(__file__).with_name("known_differences.toml")
KEY = dict.fromkeys(("domain_verdict", "domain_mx", "domain_policy"), "domain")  # else "host"


@pytest.fixture(scope="session")
def surveyed(lab: Lab) -> Iterator[str]:
    """The database of a finished survey of the lab."""
    state = lab.directory / "state"
    command = [sys.executable, "-m", "danesurvey", "--config", str(lab.settings_file)]
    command += ["--set", "client.try_s=2", "--set", "client.passes_s=[0.5]"]  # so few names
    done = lab.exec([*command, "survey"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    with running(state) as url:
        yield url


@pytest.fixture(scope="session")
def tables(surveyed: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Table to key to row."""
    return asyncio.run(_read(surveyed))


async def _read(url: str) -> dict[str, dict[str, dict[str, Any]]]:
    connection = await asyncpg.connect(url)
    try:
        found = {}
        for table in ("domain_mx", "mx_host", "host_verdict", "domain_verdict", "domain_policy"):
            rows = await connection.fetch(f"SELECT * FROM {table}")
            found[table] = {row[KEY.get(table, "host")]: dict(row) for row in rows}
        return found
    finally:
        await connection.close()


def cells(lab: Lab) -> list[Expected]:
    return [cell for one in lab.scenarios if one.surveyed for cell in one.expected()]


@pytest.mark.timeout(600)
def test_every_declared_cell(lab: Lab, tables: dict[str, dict[str, dict[str, Any]]]) -> None:
    known = tomllib.loads(KNOWN.read_text())
    differences, mended = [], []
    for cell in cells(lab):
        row = tables[cell.table].get(cell.key)
        found = row[cell.column] if row else "no row"
        name = f"{cell.scenario}.{cell.table}.{cell.column}"
        if row is not None and cell.met_by(found):
            if name in known:
                mended.append(name)
        elif name not in known:
            differences.append(f"{name:60} {cell.value!s:40} {found}")
    assert not differences, "\n".join([f"{'cell':60} {'expected':40} found", *sorted(differences)])
    assert not mended, f"right by now, take them out of {KNOWN.name}: {mended}"


def test_every_cause_is_told_as_it_was_built(
    lab: Lab, tables: dict[str, dict[str, dict[str, Any]]]
) -> None:
    """Why a lookup fails: every word of the vocabulary has a scenario, and is told of it."""
    declared = [cell for cell in cells(lab) if cell.column == "dns_cause"]
    assert {cell.value for cell in declared} == set(DnsCause)
    others = [
        f"{cell.key}: {tables[cell.table][cell.key]['dns_cause']}, not {cell.value}"
        for cell in declared
        if tables[cell.table][cell.key]["dns_cause"] != cell.value
    ]
    assert not others


def test_unsurveyed_scenarios_have_no_row(
    lab: Lab, tables: dict[str, dict[str, dict[str, Any]]]
) -> None:
    left_out = [one.domain for one in lab.scenarios if not one.surveyed]
    assert left_out
    assert not [domain for domain in left_out if domain in tables["domain_verdict"]]


def test_nothing_is_asked_twice(tables: dict[str, dict[str, dict[str, Any]]]) -> None:
    assert set(tables["domain_mx"]) == set(tables["domain_verdict"])
    assert set(tables["mx_host"]) == set(tables["host_verdict"])
