"""Killed with -9 in each stage and run again: the tables of an undisturbed run.

On a lab of its own, without the scenarios that only time-outs tell: each run takes seconds.
"""

from collections.abc import Iterator

import pytest

from lab.internet import Lab
from lab.scenarios import CATALOGUE
from tests.e2e.survey_run import Tables, finish, kill, read, stages, start
from tests.postgres_fixture import reachable_directory

QUICK = (
    "ee-spki",
    "ta-spki",
    "ee-stranger",
    "provider",
    "hosted",
    "no-tlsa",
    "unsigned-provider",
    "implicit-mx",
    "null-mx",
    "no-starttls",
    "expired",
)
STAGES = ("resolve", "hosts", "probe", "authority", "assess hosts", "assess domains")


@pytest.fixture(scope="module")
def quick_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    scenarios = [one for one in CATALOGUE if one.name in QUICK]
    assert len(scenarios) == len(QUICK)
    with Lab(tmp_path_factory.mktemp("quick-lab"), scenarios) as lab:
        yield lab


@pytest.fixture(scope="module")
def undisturbed(quick_lab: Lab) -> Tables:
    with reachable_directory() as directory:
        finish(start(quick_lab, directory / "state"))
        return read(directory / "state")


@pytest.mark.parametrize("stage", STAGES)
def test_killed_in_a_stage(quick_lab: Lab, undisturbed: Tables, stage: str) -> None:
    with reachable_directory() as directory:
        state = directory / "state"
        killed = start(quick_lab, state)
        for begun in stages(killed):
            if begun == stage:
                break
        kill(killed)
        said = finish(start(quick_lab, state))
        assert '"stage": "assess domains"' in said
        assert read(state) == undisturbed
