"""A full disk stops a survey with its exit code, and it goes on once there is room."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.internet import Lab
from tests.e2e.survey_run import Tables, differences, finish, of_state, read, start, wait_for
from tests.postgres_fixture import reachable_directory

SIZE_MIB = 256  # an embedded database with its write-ahead log, the resolvers, a data set
LOCAL_TROUBLE = 3


@pytest.fixture
def small_disk() -> Iterator[Path]:
    with reachable_directory() as directory:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m,mode=0711", "tmpfs", directory]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("may not mount a tmpfs")
        try:
            yield directory
        finally:
            subprocess.run(["umount", "-l", directory], check=True)


def test_a_full_disk(quick_lab: Lab, undisturbed: Tables, small_disk: Path) -> None:
    state = small_disk / "state"
    survey = start(quick_lab, state)
    wait_for(survey, "resolve", "resting")
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 20)):
                pass
        except OSError:
            pass  # full
    assert os.statvfs(small_disk).f_bavail == 0
    _, said = survey.communicate()
    assert survey.returncode == LOCAL_TROUBLE, said
    assert "space" in said
    assert "Traceback" not in said
    assert not of_state(state)
    ballast.unlink()
    finish(start(quick_lab, state))
    assert not differences(read(state), undisturbed)
