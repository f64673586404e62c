"""Killed with -9 in each stage and run again: the tables of an undisturbed run."""

import pytest

from lab.internet import Lab
from tests.e2e.survey_run import Tables, differences, finish, kill, read, stages, start
from tests.postgres_fixture import reachable_directory

STAGES = ("resolve", "hosts", "probe", "authority", "assess hosts", "assess domains")


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
        assert not differences(read(state), undisturbed)
