"""Runs of every kind, what their records say, and how long their rows are kept."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from danesurvey.embedded import running
from lab.internet import Lab
from storage import run as storage_run
from storage.database import Connection, connection
from tests.e2e.survey_run import command, finish, start

T = TypeVar("T")

NOT_DANE = {"no_tlsa", "no_mail", "insecure", "insecure_mx_host"}
SUSPECT = {"broken", "lookup_failed"}


def ask(state: Path, question: Callable[[Connection], Awaitable[T]]) -> T:
    async def main(url: str) -> T:
        async with connection(url) as held:
            return await question(held)

    with running(state) as url:
        return asyncio.run(main(url))


def said(lab: Lab, state: Path, *words: str) -> str:
    done = lab.exec(command(lab, state, *words), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


@pytest.fixture(scope="module")
def state(quick_lab: Lab, surveyed: Path) -> Path:
    """After a full run, one of DANE domains, one of suspects, and one more full run."""
    for words in (("--only", "dane"), ("--only", "suspects"), ()):
        finish(start(quick_lab, surveyed, "--set", "survey.keep_full_runs=1", "survey", *words))
    return surveyed


@pytest.fixture(scope="module")
def runs(state: Path) -> Sequence[storage_run.Run]:
    """The oldest first."""
    return ask(state, storage_run.runs)[::-1]


def test_each_kind_starts_from_the_right_one(runs: Sequence[storage_run.Run]) -> None:
    assert [(one.kind.value, one.base) for one in runs] == [
        ("full", None),
        ("dane", 1),
        ("suspects", 2),
        ("full", None),
    ]
    assert all(one.published and one.finished for one in runs)


def test_only_dane_and_only_suspects(state: Path, runs: Sequence[storage_run.Run]) -> None:
    async def statuses(held: Connection) -> dict[int, set[str]]:
        rows = await held.fetch(
            "SELECT run_id, array_agg(DISTINCT status) AS words FROM domain_verdict GROUP BY 1"
        )
        return {row["run_id"]: set(row["words"]) for row in rows}

    found = ask(state, statuses)
    assert found[2]
    assert not found[2] & NOT_DANE
    assert found[2] & SUSPECT
    assert found[3] == SUSPECT
    assert found[4] > NOT_DANE - {"insecure"}


def test_an_old_full_run_is_dropped_once_it_is_published(
    state: Path, runs: Sequence[storage_run.Run]
) -> None:
    async def partitions(held: Connection) -> set[str]:
        rows = await held.fetch("SELECT relname FROM pg_class WHERE relname LIKE 'domain\\_mx\\__'")
        return {row["relname"] for row in rows}

    assert [one.run_id for one in runs if one.dropped] == [1]
    assert ask(state, partitions) == {"domain_mx_2", "domain_mx_3", "domain_mx_4"}


def test_runs_lists_them(quick_lab: Lab, state: Path) -> None:
    lines = [json.loads(line) for line in said(quick_lab, state, "runs", "--json").splitlines()]
    assert [(one["run"], one["kind"], one["state"]) for one in lines] == [
        (4, "full", "published"),
        (3, "suspects", "published"),
        (2, "dane", "published"),
        (1, "full", "published"),
    ]
    assert said(quick_lab, state, "runs").startswith("run 4 (full): published, started ")


def test_a_runs_record(quick_lab: Lab, runs: Sequence[storage_run.Run]) -> None:
    record: Any = runs[-1].record
    assert record["settings"]["client"]["passes_s"] == [0.3, 0.3]
    assert "database" not in record["settings"]
    assert {"danesurvey", "python", "postgresql", "unbound"} <= set(record["software"])
    assert all(record["software"].values())
    assert 'module-config: "validator iterator"' in record["resolver"]["configuration"]["first"]
    zones = {one["zone"]: one for one in record["zones"]}
    assert set(zones) == {"plain", "hashed"}
    assert all(one["serial"] and one["sha256"] and one["signed"] for one in zones.values())
    domains = sum(record["outcomes"]["resolve"].values())
    assert domains == sum(record["outcomes"]["assess domains"].values()) >= 10
    assert record["local"] == {"resolve": 0, "hosts": 0, "probe": 0}
    assert record["quarantined"] == 0
    assert record["canaries"]["failed"] is False
    assert record["canaries"]["rounds"]["good"] >= 5
    assert record["questions"]["all"] > domains
    assert record["questions"]["a_domain"] == pytest.approx(
        record["questions"]["all"] / domains, abs=1e-3
    )
    (session,) = record["sessions"]
    assert session["began"] < session["until"]
    first, second = session["resolver"]
    assert first["queries"] > second["queries"] > 0
    stages = [one["stage"] for one in session["stages"]]
    assert stages[0] == "resolve"
    assert stages[-1] == "policies"
    assert all(one["state"] == "done" for one in session["stages"])


def test_status_of_the_last_run(quick_lab: Lab, state: Path) -> None:
    found = json.loads(said(quick_lab, state, "status", "--json"))
    assert (found["run"], found["state"], found["running"]) == (4, "published", False)
    assert found["questions"]["a_domain"] > 1
    text = said(quick_lab, state, "status")
    assert "assess domains" in text
    assert "processes that worked on it: 1" in text
    assert "outcomes of our own: 0" in text
    assert "run 1 (full): published" in (lines := said(quick_lab, state, "runs"))
    assert lines.rstrip().endswith(", rows dropped")


def test_any_run_is_published_whose_rows_are_there(quick_lab: Lab, state: Path) -> None:
    found = json.loads(said(quick_lab, state, "publish", "--run", "3", "--json"))
    assert found["run"] == 3
    assert found["rows"]["restricted/domains"] > 0
    for run, code, reason in (("1", 1, "its rows were dropped"), ("99", 2, "no run 99")):
        words = command(quick_lab, state, "publish", "--run", run)
        done = quick_lab.exec(words, capture_output=True, text=True)
        assert (done.returncode, reason in done.stderr) == (code, True), done.stderr
