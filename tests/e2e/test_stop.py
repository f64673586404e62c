"""Ctrl-C and SIGTERM: partial results stored, everything gone, and the same tables in the end."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from danesurvey.survey import STOPPED
from lab.internet import Lab
from tests.e2e.survey_run import Tables, differences, finish, read, stages, start
from tests.postgres_fixture import reachable_directory

GONE_WITHIN_S = 10


@pytest.mark.parametrize(
    ("number", "whole_group"),
    [(signal.SIGINT, True), (signal.SIGTERM, False)],
    ids=["ctrl-c", "sigterm"],
)
def test_stopped_and_gone_on_with(
    quick_lab: Lab,
    undisturbed: Tables,
    number: signal.Signals,
    whole_group: bool,
) -> None:
    with reachable_directory() as directory:
        state = directory / "state"
        process = start(quick_lab, state)
        for stage in stages(process):
            if stage == "hosts":
                break
        if whole_group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        _, said = process.communicate(timeout=GONE_WITHIN_S)
        assert process.returncode == STOPPED, said
        assert "danesurvey survey" in said
        assert not of_state(state)
        finish(start(quick_lab, state))
        assert not differences(read(state), undisturbed)


def of_state(state: Path) -> list[str]:
    """Command lines of processes that name the state directory or work in it."""
    found = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True)
    here = str(state)
    lines = [line for line in found.stdout.splitlines() if here in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "cwd").startswith(here):
                lines.append(f"{process.name} works in {here}")
        except OSError:
            continue
    return lines
