"""A small lab whose surveys take seconds, and what an undisturbed one finds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.internet import Lab
from lab.scenarios import CATALOGUE
from tests.e2e.survey_run import Tables, end_all, finish, read, start
from tests.postgres_fixture import reachable_directory

# Without the scenarios that only time-outs tell.
QUICK = (
    "ee-spki",
    "ta-spki",
    "ee-stranger",
    "provider",
    "hosted",
    "no-tlsa",
    "unsigned-provider",
    "implicit-mx",
    "null-mx",
    "no-starttls",
    "expired",
)


# Beside the lab's own settings: a survey of twenty domains shall not wait.
HASTE = {
    "passes_s = [0.5, 1.0, 2.0]": "passes_s = [0.3, 0.3]",
    "attempts_after_s = [0.5, 0.5]": "attempts_after_s = [0.3]",
    "every_s = 2.0": "every_s = 1.0",
}


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    yield
    end_all()


@pytest.fixture(scope="session")
def quick_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    scenarios = [one for one in CATALOGUE if one.name in QUICK]
    assert len(scenarios) == len(QUICK)
    with Lab(tmp_path_factory.mktemp("quick-lab"), scenarios) as lab:
        text = lab.settings_file.read_text()
        for usual, hasty in HASTE.items():
            assert usual in text
            text = text.replace(usual, hasty)
        lab.settings_file.write_text(text + "\n[survey]\nworker_lost_wait_s = 1.0\n")
        yield lab


@pytest.fixture(scope="session")
def surveyed(quick_lab: Lab) -> Iterator[Path]:
    """The state directory after an undisturbed survey."""
    with reachable_directory() as directory:
        finish(start(quick_lab, directory / "state"))
        yield directory / "state"


@pytest.fixture(scope="session")
def undisturbed(surveyed: Path) -> Tables:
    """What it found."""
    return read(surveyed)


@pytest.fixture(scope="session")
def thousands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of which a stage takes seconds."""
    with Lab(tmp_path_factory.mktemp("thousands"), domains=3000) as lab:
        yield lab


@pytest.fixture(scope="session")
def undisturbed_thousands(thousands: Lab) -> Tables:
    """What an undisturbed survey of it finds."""
    with reachable_directory() as directory:
        finish(start(thousands, directory / "state"))
        return read(directory / "state")
