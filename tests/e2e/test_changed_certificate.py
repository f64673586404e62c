"""A server changes its key and leaves its TLSA record: the second survey knows the old one."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from danesurvey.embedded import running
from lab.internet import Lab
from lab.scenarios import CATALOGUE
from lab.scenarios.scenario import Chain, Scenario
from storage.database import connection
from tests.e2e.survey_run import finish, start
from tests.postgres_fixture import reachable_directory

HOST = "mx.ee-spki.plain"


@pytest.fixture
def state() -> Iterator[Path]:
    with reachable_directory() as directory:
        yield directory / "state"


def _with_new_key(before: Scenario, record: str) -> Scenario:
    (host,) = before.hosts
    usage, selector, matching_type, data = record.split()
    stale = f"{usage} {selector} {matching_type} hex:{data}"
    return replace(before, hosts=(replace(host, chain=Chain(key="ecdsa-new"), tlsa=(stale,)),))


def _rows(state: Path, query: str) -> list[tuple[object, ...]]:
    async def read(url: str) -> list[tuple[object, ...]]:
        async with connection(url) as held:
            return [tuple(row) for row in await held.fetch(query, HOST)]

    with running(state) as url:
        return asyncio.run(read(url))


def test_a_record_of_the_key_that_an_earlier_run_saw(tmp_path: Path, state: Path) -> None:
    (scenario,) = (one for one in CATALOGUE if one.name == "ee-spki")
    with Lab(tmp_path / "lab", [scenario]) as lab:
        finish(start(lab, state))
    verdicts = "SELECT status, causes FROM host_verdict WHERE host = $1 ORDER BY run_id"
    assert _rows(state, verdicts) == [("pass", [])]
    (((record,),),) = _rows(state, "SELECT tlsa FROM mx_host WHERE host = $1")

    with Lab(tmp_path / "lab", [_with_new_key(scenario, record)]) as lab:
        finish(start(lab, state))
    assert _rows(state, verdicts)[1:] == [("mismatch", ["stale_certificate"])]
    attempts = "SELECT record_cause FROM smtp_probe WHERE host = $1 AND run_id = 2 ORDER BY attempt"
    assert _rows(state, attempts)[:2] == [(["unknown"],), (["stale_certificate"],)]
