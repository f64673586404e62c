"""Stopped by a signal: partial results stored, everything gone, and the same tables in the end."""

import os
import signal
import subprocess

import pytest

from danesurvey.stopping import AGAIN_S, STOPPED
from lab.internet import Lab
from tests.e2e.survey_run import (
    Tables,
    differences,
    finish,
    of_state,
    read,
    start,
    wait_for,
    worker_pids,
)
from tests.postgres_fixture import reachable_directory

GONE_WITHIN_S = 10
MOMENTS = (
    ("resolve", "running"),
    ("resolve", "resting"),
    ("hosts", "running"),
    ("probe", "running"),  # while it rests is no moment of its own: the other stages run then
    ("authority", "running"),
    ("assess hosts", "running"),
    ("assess domains", "done"),  # that is: while it publishes
)


def test_stopped_at_every_moment(quick_lab: Lab, undisturbed: Tables) -> None:
    """By turns Ctrl-C and a closed terminal, which the whole process group gets, and SIGTERM."""
    with reachable_directory() as directory:
        state = directory / "state"
        for turn, (stage, doing) in enumerate(MOMENTS):
            process = start(quick_lab, state)
            wait_for(process, stage, doing)
            match turn % 3:
                case 0:
                    os.killpg(process.pid, signal.SIGINT)
                case 1:
                    process.send_signal(signal.SIGTERM)
                case 2:
                    os.killpg(process.pid, signal.SIGHUP)
            _, said = process.communicate(timeout=GONE_WITHIN_S)
            if doing != "done":  # it may have been just too late
                assert process.returncode == STOPPED, (stage, doing, said)
                assert "`danesurvey survey` goes on" in said
            assert not of_state(state), (stage, doing)
        finish(start(quick_lab, state))
        assert not differences(read(state), undisturbed)


def test_a_second_signal_does_not_wait(quick_lab: Lab) -> None:
    """Here it would wait for workers that stand still. The same one twice at once is one."""
    with reachable_directory() as directory:
        state = directory / "state"
        process = start(quick_lab, state)
        wait_for(process, "resolve", "resting")
        for pid in worker_pids(process):
            os.kill(pid, signal.SIGSTOP)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert any("again to stop at once" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=AGAIN_S)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=GONE_WITHIN_S)
        assert process.returncode == STOPPED
        assert "stopped at once" in said
