"""A limit of memory by a cgroup: the kernel kills, nothing is lost, the next survey goes on."""

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.internet import Lab
from tests.e2e.survey_run import Tables, command, differences, finish, of_state, read, start
from tests.postgres_fixture import reachable_directory

ENOUGH, TOO_LITTLE = 700 << 20, 250 << 20
"""A survey of this lab takes 415 MB with its database, its resolvers and two workers."""
_GONE_S = 20


@contextlib.contextmanager
def limited(size: int) -> Iterator[Path]:
    """The `cgroup.procs` of a new group; skips where none can be made (cgroups(7))."""
    for parent, knob in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        group = parent / f"danesurvey-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if not (group / knob).exists():
                continue
            (group / knob).write_text(str(size))
            yield group / "cgroup.procs"
            return
        finally:
            deadline = time.monotonic() + _GONE_S
            while group.exists():
                with contextlib.suppress(OSError):  # its last process is about to go
                    group.rmdir()
                assert time.monotonic() < deadline, "processes are left in the group"
                time.sleep(0.1)
    pytest.skip("no cgroup with a limit of memory can be made here")


def test_what_a_survey_takes(quick_lab: Lab, undisturbed: Tables) -> None:
    with reachable_directory() as directory, limited(ENOUGH) as group:
        state = directory / "state"
        finish(within(quick_lab, state, group))
        assert differences(read(state), undisturbed) == []


def test_killed_for_want_of_memory(quick_lab: Lab, undisturbed: Tables) -> None:
    with reachable_directory() as directory:
        state = directory / "state"
        with limited(TOO_LITTLE) as group:
            survey = within(quick_lab, state, group)
            survey.communicate()
            assert survey.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL, 3)
        assert of_state(state) == []
        finish(start(quick_lab, state))
        assert differences(read(state), undisturbed) == []


def within(lab: Lab, state: Path, group: Path) -> "subprocess.Popen[str]":
    """A survey whose processes are all in the group."""
    line = f"echo $$ > {group} && exec {shlex.join(command(lab, state, 'survey'))}"
    return lab.popen(
        ["sh", "-c", line],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
