"""Whatever modules a stranger keeps in the working directory, none of them is ever imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from danesurvey.demo import run
from lab.internet import Lab
from tests.postgres_fixture import reachable_directory

DANESURVEY = Path(sys.executable).with_name("danesurvey")
MODULES = (
    *("lab", "danesurvey", "crawler", "storage", "reports", "dane", "migrations"),
    *("multiprocessing", "json", "signal", "typer", "distributed", "pyarrow", "sitecustomize"),
)


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A directory whose modules write down that they ran."""
    path = tmp_path / "theirs"
    path.mkdir()
    for name in MODULES:
        ran = f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r} + '\\n')"
        (path / f"{name}.py").write_text(f"{ran}\nraise SystemExit('{name} of a stranger')\n")
    return path


def test_of_a_lab_and_its_survey(tmp_path: Path, theirs: Path) -> None:
    def danesurvey(*words: str | Path) -> str:
        done = subprocess.run(
            [DANESURVEY, *words], cwd=theirs, capture_output=True, text=True, check=False
        )
        assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    with reachable_directory() as directory:
        place = ("--directory", directory / "lab")
        # with latency a second process of the lab's stands before the name servers
        settings = danesurvey("lab", "up", *place, "--domains", "5", "--latency", "1")
        try:
            danesurvey("lab", "exec", *place, "--", DANESURVEY, "--config", settings, "survey")
        finally:
            danesurvey("lab", "down", *place)


def test_of_the_demo(
    quick_lab: Lab, tmp_path: Path, theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(theirs)
    assert run(quick_lab, ["lab", "list"], quiet=True) == 0
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()


def test_every_process_of_ours_starts_without_it() -> None:
    """`python -m` of a module looks into the working directory first, unless `-P` forbids it."""
    root = Path(__file__).parents[2]
    for package in ("danesurvey", "lab", "crawler", "storage", "reports"):
        for path in (root / package).rglob("*.py"):
            assert 'sys.executable, "-m"' not in path.read_text("utf-8"), path
