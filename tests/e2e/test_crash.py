"""kill -9 of every process of a survey; run again, its tables are those of an undisturbed run."""

import contextlib
import os
import random
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from lab.internet import Lab
from tests.e2e.survey_run import (
    Tables,
    differences,
    finish,
    kill,
    lines,
    postgres_children,
    postgres_pid,
    read,
    start,
    unbound_pids,
    wait_for,
    worker_pids,
)
from tests.postgres_fixture import reachable_directory

STAGES = (
    ("resolve", None),
    ("hosts", None),
    ("probe", None),
    ("authority", None),
    ("assess hosts", None),
    ("assess domains", None),
    ("assess domains", "done"),  # that is: while it publishes
)
POSTGRES = ("postgres", "child of postgres", "postgres, told to stop")
VICTIMS = ("coordinator", "worker", "unbound", *POSTGRES)
MOST_LINES = 6  # of progress between two kills


def test_killed_in_each_stage(quick_lab: Lab, undisturbed: Tables) -> None:
    """One run, whose coordinator is killed as often as it has stages."""
    with reachable_directory() as directory:
        state = directory / "state"
        for stage, doing in STAGES:
            killed = start(quick_lab, state)
            wait_for(killed, stage, doing)
            kill(killed)
        assert '"stage": "assess domains"' in finish(start(quick_lab, state))
        assert not differences(read(state), undisturbed)


def test_postgres_killed_while_it_publishes(quick_lab: Lab) -> None:
    with reachable_directory() as directory:
        state = directory / "state"
        survey = start(quick_lab, state)
        wait_for(survey, "assess domains", "done")
        while not list(state.glob("dataset/.staging*")):
            assert survey.poll() is None
        server = postgres_pid(state)
        assert server is not None
        os.kill(server, signal.SIGKILL)
        finish(survey)
        assert not list(state.glob("dataset/.staging*"))


def test_killed_at_random(quick_lab: Lab, undisturbed: Tables) -> None:
    kill_at_random(quick_lab, undisturbed, random.Random(7))


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(20))
def test_killed_in_the_midst_of_thousands(
    thousands: Lab, undisturbed_thousands: Tables, seed: int
) -> None:
    kill_at_random(thousands, undisturbed_thousands, random.Random(seed))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_postgres_restarted_twenty_times(thousands: Lab, undisturbed_thousands: Tables) -> None:
    chance = random.Random(7)
    kill_at_random(thousands, undisturbed_thousands, chance, POSTGRES, kills=20)


def kill_at_random(
    lab: Lab,
    undisturbed: Tables,
    chance: random.Random,
    victims: Sequence[str] = VICTIMS,
    kills: int = 10,
) -> None:
    """Any of them at any moment; a run that ends all the same is compared, and another begun."""
    done = 0
    while done < kills:
        with reachable_directory() as directory:
            state = directory / "state"
            while True:
                survey = start(lab, state)
                while done < kills and survey.poll() is None:
                    done += strike(survey, state, chance, victims)
                if survey.poll() != -signal.SIGKILL:
                    break
            finish(survey)
            wrong = differences(read(state), undisturbed)
            assert not wrong, "\n".join(wrong)


def strike(
    survey: "subprocess.Popen[str]", state: Path, chance: random.Random, victims: Sequence[str]
) -> int:
    """Let it work for a while, then kill one of its processes; how many were."""
    said = lines(survey)
    for _ in range(chance.randint(1, MOST_LINES)):
        if next(said, None) is None:
            survey.wait()
            return 0
    victim = chance.choice(victims)
    if victim == "coordinator":
        kill(survey)
        return 1
    server = postgres_pid(state)
    pids = {
        "worker": worker_pids(survey),
        "unbound": unbound_pids(survey),
        "postgres": [server] if server else [],
        "postgres, told to stop": [server] if server else [],
        "child of postgres": postgres_children(server) if server else [],
    }[victim]
    if not pids:
        return 0
    with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
        os.kill(chance.choice(pids), signal.SIGINT if victim.endswith("stop") else signal.SIGKILL)
    return 1
