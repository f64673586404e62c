"""A small lab whose surveys take seconds, and what an undisturbed one finds."""

from collections.abc import Iterator

import pytest

from lab.internet import Lab
from lab.scenarios import CATALOGUE
from tests.e2e.survey_run import Tables, finish, read, start
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


@pytest.fixture(scope="session")
def quick_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    scenarios = [one for one in CATALOGUE if one.name in QUICK]
    assert len(scenarios) == len(QUICK)
    with Lab(tmp_path_factory.mktemp("quick-lab"), scenarios) as lab:
        yield lab


@pytest.fixture(scope="session")
def undisturbed(quick_lab: Lab) -> Tables:
    with reachable_directory() as directory:
        finish(start(quick_lab, directory / "state"))
        return read(directory / "state")
