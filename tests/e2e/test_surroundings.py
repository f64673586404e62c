"""What is wrong with the machine is one line with what to do, and exit code 3; no traceback."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import plan
from lab.internet import Lab
from lab.namespace import Isolation
from tests.e2e.survey_run import command, finish, start
from tests.postgres_fixture import reachable_directory

Done = "subprocess.CompletedProcess[str]"


@pytest.fixture
def directory() -> Iterator[Path]:
    with reachable_directory() as path:
        yield path


def run(lab: Lab, state: Path, *words: str, before: str = "") -> Done:
    """A command in the lab, in a shell that does `before` first."""
    line = f"{before} exec {shlex.join(command(lab, state, *words))}"
    return lab.exec(["sh", "-c", line], capture_output=True, text=True)


def complains(done: Done, *words: str) -> None:
    said = [one for one in done.stderr.splitlines() if not one.startswith('{"stage"')]
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert said[-1].startswith("danesurvey: ")
    for word in words:
        assert word in said[-1]


def diagnoses(done: Done, check: str, *words: str) -> None:
    """The doctor's own way: a line of the check, and exit code 1."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = (one for one in done.stdout.splitlines() if one.split()[:2] == ["failed", check])
    for word in words:
        assert word in line


def test_a_read_only_state_directory(quick_lab: Lab, directory: Path) -> None:
    if quick_lab.isolation is not Isolation.ROOT:
        pytest.skip("mounts a file system read-only")
    state = directory / "state"
    made = run(quick_lab, state, "db", "upgrade")
    assert made.returncode == 0, made.stderr
    here = shlex.quote(str(directory))
    mount = f"mount --bind {here} {here} && mount -o remount,ro,bind {here} &&"

    def read_only(*words: str) -> Done:
        line = f"{mount} exec {shlex.join(command(quick_lab, state, *words))}"
        inside = ["unshare", "--mount", "sh", "-c", line]
        return quick_lab.exec(inside, capture_output=True, text=True)

    diagnoses(read_only("doctor"), "resolver", "Read-only file system", str(state))
    complains(read_only("survey"), "Read-only file system", str(state))


@pytest.mark.parametrize("name", ["unbound", "workers", "postgres"])
def test_a_file_in_place_of_a_directory(quick_lab: Lab, directory: Path, name: str) -> None:
    state = directory / "state"
    state.mkdir()
    (state / name).touch()
    complains(run(quick_lab, state, "survey"), str(state / name))
    if name == "unbound":
        diagnoses(run(quick_lab, state, "doctor"), "resolver", str(state / name))


@pytest.mark.parametrize("kib", [600_000, 1_000_000, 1_500_000, 2_000_000])
def test_too_small_an_address_space(quick_lab: Lab, directory: Path, kib: int) -> None:
    limit = f"ulimit -v {kib};"
    complains(run(quick_lab, directory / "state", "survey", before=limit), "ulimit -v")
    done = run(quick_lab, directory / "state", "doctor", before=limit)
    assert done.returncode in (1, 3)
    assert "Traceback" not in done.stderr
    assert "ulimit -v" in done.stdout + done.stderr


def test_a_path_with_unusual_characters(quick_lab: Lab, directory: Path) -> None:
    """A comma separates in lists of PostgreSQL, a space in configuration files."""
    finish(start(quick_lab, directory / 'a, b "c" é' / "state"))


def test_an_outage_at_the_start(quick_lab: Lab, directory: Path) -> None:
    """Exit code 3: the sample unit starts it again, since an outage passes."""
    hints = directory / "hints"
    hints.write_text(". 3600 NS a.\na. 3600 A 127.48.0.1\n")  # nobody answers there
    done = run(quick_lab, directory / "state", "--set", f"resolver.root_hints={hints}", "survey")
    complains(done, "no survey now", "fresh_names")


def test_a_resolver_that_stays_wrong_is_no_outage(quick_lab: Lab, directory: Path) -> None:
    """One that does not validate an algorithm: here since the zone of that algorithm is broken."""
    text = quick_lab.settings_file.read_text()
    right, wrong = f'"13" = "{plan.CANARY}"', f'"13" = "{plan.CANARY_BROKEN}"'
    assert right in text
    settings = directory / "danesurvey.toml"
    settings.write_text(text.replace(right, wrong))
    done = run(quick_lab, directory / "state", "--config", str(settings), "survey")
    assert done.returncode == 1, done.stderr
    assert "no survey now" in done.stderr
    assert "resolver_algorithms" in done.stderr
