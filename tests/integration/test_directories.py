"""Settings and directories that another user could change are refused, by root most of all.

The users are made up by number; to give a file to one of them the test must be root.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dane.faults import Refused, UsageFault
from danesurvey.directories import objection, refuse_unsafe
from danesurvey.settings import load
from tests.postgres_fixture import reachable_directory

MALLORY = 4242
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "directory"
    path.mkdir(mode=0o755)
    return path


def danesurvey(*words: str | Path, cwd: Path, **more: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-P", "-m", "danesurvey", *map(str, words)]
    env = {k: v for k, v in os.environ.items() if not k.startswith("DANESURVEY_")} | more
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


# --- the rule ---------------------------------------------------------------------------------


def test_what_is_ours_alone(directory: Path) -> None:
    assert objection(directory) is None
    assert objection(directory / "not/there/yet") is None
    assert objection(Path("/etc/passwd")) is None


@pytest.mark.parametrize(
    ("mode", "reason"), [(0o777, "everybody"), (0o757, "everybody"), (0o755, None), (0o700, None)]
)
def test_what_everybody_may_write_to(directory: Path, mode: int, reason: str | None) -> None:
    file = directory / "file"
    file.touch()
    directory.chmod(mode)
    found = objection(file)
    assert (found is None) == (reason is None)
    assert reason is None or (reason in str(found) and str(directory) in str(found))


@as_root
def test_what_a_group_may_write_to(directory: Path) -> None:
    directory.chmod(0o775)
    assert objection(directory) is None, "root's own group has no other member"
    os.chown(directory, 0, MALLORY)
    assert "the group 4242" in str(objection(directory))


def test_the_sticky_bit_protects_what_is_in_a_directory_but_not_itself(directory: Path) -> None:
    (directory / "ours").mkdir()
    directory.chmod(0o1777)
    assert objection(directory / "ours") is None
    assert "everybody" in str(objection(directory))


@as_root
@pytest.mark.parametrize("stranger", ["", "inner", "inner/file"])
def test_what_belongs_to_somebody_else(directory: Path, stranger: str) -> None:
    (directory / "inner").mkdir()
    file = directory / "inner/file"
    file.touch()
    os.chown(directory / stranger, MALLORY, MALLORY)
    assert "belongs to user 4242" in str(objection(file))


@as_root
def test_a_link_through_a_strangers_directory(directory: Path) -> None:
    target = directory / "target"
    target.touch()
    theirs = directory / "theirs"
    theirs.mkdir()
    link = theirs / "link"
    link.symlink_to(target)
    os.chown(theirs, MALLORY, MALLORY)
    assert "belongs to user 4242" in str(objection(link))

    onward = directory / "onward"
    onward.symlink_to(theirs / "link")
    theirs_target = theirs / "file"
    theirs_target.touch()
    (directory / "to-theirs").symlink_to(theirs_target)
    assert "belongs to user 4242" in str(objection(directory / "to-theirs"))


# --- settings ---------------------------------------------------------------------------------


@as_root
def test_root_never_reads_settings_in_a_strangers_directory() -> None:
    """`./danesurvey.toml` comes before /etc, and names the Unbound that is started."""
    with reachable_directory() as top:
        theirs = top / "theirs"
        theirs.mkdir(mode=0o777)
        (theirs / "danesurvey.toml").write_text('[resolver]\nunbound = "./unbound"\n')
        unbound = theirs / "unbound"
        unbound.write_text(f"#!/bin/sh\ntouch {theirs}/ran\n")
        unbound.chmod(0o755)
        for path in (theirs, theirs / "danesurvey.toml", unbound):
            os.chown(path, MALLORY, MALLORY)
        done = danesurvey("resolver", "config", cwd=theirs)
        assert done.returncode == 2
        assert "settings file danesurvey.toml: " in done.stderr
        assert "belongs to user 4242" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not (theirs / "ran").exists()


@as_root
def test_nor_by_name_nor_by_the_environment(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = directory / "danesurvey.toml"
    file.write_text("")
    assert load(file)
    os.chown(file, MALLORY, MALLORY)
    with pytest.raises(UsageFault, match="belongs to user 4242"):
        load(file)
    monkeypatch.setenv("DANESURVEY_CONFIG", str(file))
    with pytest.raises(UsageFault, match="belongs to user 4242"):
        load()


def test_settings_that_everybody_may_write_to(directory: Path) -> None:
    file = directory / "danesurvey.toml"
    file.write_text("")
    file.chmod(0o666)
    with pytest.raises(UsageFault, match=r"settings file .*: can be written to by everybody"):
        load(file)


@as_root
def test_an_unbound_that_somebody_else_could_replace(directory: Path) -> None:
    unbound = directory / "unbound"
    unbound.touch()
    os.chown(unbound, MALLORY, MALLORY)
    with pytest.raises(UsageFault, match=r"\[resolver\] unbound .*belongs to user 4242"):
        load(flags=[f"resolver.unbound={unbound}"])


def test_a_program_is_never_found_in_the_working_directory(directory: Path) -> None:
    unbound = directory / "unbound-checkconf"
    unbound.write_text(f"#!/bin/sh\ntouch {directory}/ran\nexit 1\n")
    unbound.chmod(0o755)
    done = danesurvey("resolver", "config", cwd=directory, PATH=f".::{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    assert not (directory / "ran").exists()


# --- state directories ------------------------------------------------------------------------


@as_root
@pytest.mark.parametrize("words", [["survey"], ["doctor"], ["status"], ["zone", "fetch"]], ids=str)
def test_no_command_works_in_a_strangers_state_directory(words: list[str]) -> None:
    with reachable_directory() as top:
        state = top / "state"
        state.mkdir()
        os.chown(state, MALLORY, MALLORY)
        zones = 'zones=[{zone="plain",kind="file",path="/dev/null"}]'
        nobody = "resolver.address=127.0.0.1:9"  # if it were to ask, in spite of all
        done = danesurvey(*("--state-dir", state, "--set", zones, "--set", nobody), *words, cwd=top)
        assert done.returncode == 1, done.stderr
        assert "belongs to user 4242" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert list(state.iterdir()) == []


@pytest.mark.parametrize("entry", ["postgres", "dataset", "unbound", "unbound/unbound.conf"])
def test_no_symbolic_link_is_followed(directory: Path, entry: str) -> None:
    elsewhere = directory / "elsewhere"
    elsewhere.mkdir()
    state = directory / "state"
    (state / entry).parent.mkdir(parents=True)
    (state / entry).symlink_to(elsewhere)
    with pytest.raises(Refused, match=f"{entry} is a symbolic link"):
        refuse_unsafe(state)
    done = danesurvey("--state-dir", state, "status", cwd=directory)
    assert done.returncode == 1
    assert "is a symbolic link" in done.stderr
    assert list(elsewhere.iterdir()) == []


@as_root
def test_nor_is_what_a_stranger_put_in_one(directory: Path) -> None:
    (directory / "unbound").mkdir()
    os.chown(directory / "unbound", MALLORY, MALLORY)
    with pytest.raises(Refused, match="unbound belongs to user 4242"):
        refuse_unsafe(directory)
