"""kill -9 of every process of a survey; run again, its tables are those of an undisturbed run."""

import os
import random
import signal
import subprocess
from pathlib import Path

import pytest

from lab.internet import Lab
from tests.e2e.survey_run import (
    Tables,
    differences,
    finish,
    kill,
    lines,
    postgres_pid,
    read,
    start,
    unbound_pids,
    wait_for,
    worker_pids,
)
from tests.postgres_fixture import reachable_directory

STAGES = ("resolve", "hosts", "probe", "authority", "assess hosts", "assess domains")
VICTIMS = ("coordinator", "worker", "postgres", "postgres, told to stop", "unbound")
MOST_LINES = 6  # of progress between two kills


def test_killed_in_each_stage(quick_lab: Lab, undisturbed: Tables) -> None:
    """One run, whose coordinator is killed as often as it has stages."""
    with reachable_directory() as directory:
        state = directory / "state"
        for stage in STAGES:
            killed = start(quick_lab, state)
            wait_for(killed, stage)
            kill(killed)
        assert '"stage": "assess domains"' in finish(start(quick_lab, state))
        assert not differences(read(state), undisturbed)


@pytest.mark.parametrize(
    "kills", [10, pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])]
)
def test_killed_at_random(quick_lab: Lab, undisturbed: Tables, kills: int) -> None:
    """Any process at any moment; a run that ends all the same is compared, and another begun."""
    chance = random.Random(7)
    done = 0
    while done < kills:
        with reachable_directory() as directory:
            state = directory / "state"
            while True:
                survey = start(quick_lab, state)
                while done < kills and survives(survey, state, chance):
                    done += 1
                if survey.poll() == -signal.SIGKILL:
                    done += 1
                    continue
                finish(survey)
                break
            assert not differences(read(state), undisturbed)


def survives(survey: "subprocess.Popen[str]", state: Path, chance: random.Random) -> bool:
    """Kill one of its processes; False if that was the coordinator, or the survey has ended."""
    said = lines(survey)
    for _ in range(chance.randint(1, MOST_LINES)):
        if next(said, None) is None:
            survey.wait()
            return False
    victim = chance.choice(VICTIMS)
    if victim == "coordinator":
        kill(survey)
        return False
    server = postgres_pid(state)
    pids = {
        "worker": worker_pids(survey),
        "unbound": unbound_pids(survey),
        "postgres": [server] if server else [],
        "postgres, told to stop": [server] if server else [],
    }[victim]
    if pids:
        number = signal.SIGINT if victim.endswith("stop") else signal.SIGKILL
        os.kill(chance.choice(pids), number)
    return True
