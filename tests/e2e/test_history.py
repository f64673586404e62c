"""Days lived through in the lab: everything that the histories declare is found on its day."""

import json

import pytest

from dane.faults import LocalTrouble
from danesurvey.history import live
from tests.postgres_fixture import reachable_directory


def _live(days: int) -> None:
    with reachable_directory() as directory:
        try:
            unmet = live(directory / "history", days=days, say=print)
        except LocalTrouble as trouble:
            pytest.skip(str(trouble))
        assert [str(one) for one in unmet] == []
        manifest = json.loads((directory / "history/state/dataset/manifest.json").read_text())
        assert all(run["simulated"] for run in manifest["runs"])
        assert len(manifest["runs"]) == days  # two before, and two days without one


@pytest.mark.timeout(600)
def test_twelve_days() -> None:
    _live(12)


@pytest.mark.soak
def test_ninety_days() -> None:
    _live(90)
