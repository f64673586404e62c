"""Our own faults during a survey: it goes on by itself, and no name changes outcome.

Each run is disturbed in several stages, one after the other, and must end with the tables of
an undisturbed one; what is wrong from the start is refused with the reason. The full forms
last a minute, the outage of the network five (docs/reliability.md has what they came to).
"""

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from crawler.dns.canaries import Health
from crawler.dns.settings import ResolverSettings
from danesurvey.embedded import running
from lab import faults
from lab.faults import FAULTS
from lab.internet import Lab
from lab.namespace import Isolation
from lab.scenarios import CATALOGUE
from storage import run as storage_run
from storage.database import connection
from tests.e2e.conftest import QUICK
from tests.e2e.survey_run import TABLES, Tables, command, differences, finish, lines, read, start
from tests.lab_fixture import unbound
from tests.postgres_fixture import reachable_directory

# Rounds of canaries that notice a fault of seconds.
ATTENTIVE = ("--set", "canaries.every_s=1", "--set", "canaries.reply_s=1")
DOWN, WRONG = Health.NETWORK_DOWN.value, Health.VALIDATION_WRONG.value
# What changes when zones are signed again.
_SIGNED = ("rrsig_inception", "rrsig_expiration")


@pytest.fixture(autouse=True)
def isolated(quick_lab: Lab) -> None:
    if quick_lab.isolation is Isolation.NONE:
        pytest.skip("needs a namespace: whose resolver it is cannot be told")


@pytest.fixture
def own_lab(tmp_path: Path) -> Iterator[Lab]:
    """The quick lab again, to be signed again."""
    with Lab(tmp_path / "lab", [one for one in CATALOGUE if one.name in QUICK]) as lab:
        yield lab


Disturbances = Sequence[tuple[str, str, float]]
"""Stage, fault, and how many seconds it lasts."""


def survey(lab: Lab, disturbances: Disturbances, *options: str) -> tuple[Tables, Counter[str]]:
    """The tables of a survey that was disturbed at the beginning of stages, in their order,
    and what its canaries saw: rounds by health."""
    with reachable_directory() as directory, contextlib.ExitStack() as injected:
        state = directory / "state"
        process = start(lab, state, *options, "survey")
        left = list(disturbances)
        for line in lines(process):
            if left and line["stage"] == left[0][0]:
                _, fault, seconds = left.pop(0)
                injected.enter_context(broken(lab, fault, seconds))
        finish(process)
        assert not left
        return read(state), rounds(state)


@contextlib.contextmanager
def broken(lab: Lab, fault: str, seconds: float) -> Iterator[None]:
    """Broken at once and for so long, whatever the block does; well again after it."""
    with contextlib.ExitStack() as there:
        there.enter_context(FAULTS[fault](lab))
        mended = threading.Timer(seconds, there.close)
        mended.start()
        try:
            yield
            mended.join()
        finally:
            mended.cancel()


def rounds(state: Path) -> Counter[str]:
    async def ask(url: str) -> Mapping[str, Any]:
        async with connection(url) as held:
            run = await storage_run.latest(held)
            assert run is not None
            return run.record

    with running(state) as url:
        record = asyncio.run(ask(url))
    assert record["canaries"]["failed"] is False
    return Counter(record["canaries"]["rounds"])


def unsigned(tables: Tables) -> Tables:
    """Without the dates of signatures."""
    return {
        table: [{k: v for k, v in row.items() if k not in _SIGNED} for row in tables[table]]
        for table in TABLES
    }


def test_resolver_stopped_and_killed_network_silent(quick_lab: Lab, undisturbed: Tables) -> None:
    disturbances = [
        ("resolve", "resolver", 4),
        ("hosts", "resolver-killed", 0),
        ("probe", "network", 4),
        ("authority", "network", 4),
    ]
    found, health = survey(quick_lab, disturbances, *ATTENTIVE)
    assert not differences(found, undisturbed)
    assert health[DOWN]


def test_root_key_lost_and_a_second_resolver(quick_lab: Lab, undisturbed: Tables) -> None:
    disturbances = [
        ("resolve", "rootkey", 3),
        ("hosts", "second-resolver", 3),
        ("probe", "fragments", 1),
    ]
    found, health = survey(quick_lab, disturbances, *ATTENTIVE)
    assert not differences(found, undisturbed)
    assert health[DOWN] + health[WRONG]


def refused(lab: Lab, state: Path) -> str:
    """Why a survey does not begin."""
    done = lab.exec(command(lab, state, "survey"), capture_output=True, text=True)
    assert done.returncode in (1, 2, 3), done.stderr
    return str(done.stderr.splitlines()[-1])


def test_what_is_wrong_from_the_start_is_refused(own_lab: Lab, tmp_path: Path) -> None:
    with reachable_directory() as directory:
        state = directory / "state"
        with faults.wrong_clock(own_lab, -2 * faults.DAY_S):
            assert "clock: 47.0 h behind" in refused(own_lab, state)
        with faults.wrong_clock(own_lab, 2 * faults.DAY_S):
            assert "clock: 2.0 days after" in refused(own_lab, state)
        with faults.empty_root_key(own_lab):
            assert "no DS or DNSKEY record of the root" in refused(own_lab, state)
        port = ResolverSettings().port  # of the survey's own
        with unbound(own_lab, tmp_path / "stranger", port):
            assert f"port {port}" in refused(own_lab, state)


MINUTE, FIVE_MINUTES = 60.0, 300.0


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "disturbances",
    [
        [("resolve", "resolver", MINUTE), ("hosts", "resolver", MINUTE)],
        [("resolve", "resolver-killed", 0), ("hosts", "resolver-killed", 0)],
        [("resolve", "rootkey", MINUTE), ("hosts", "rootkey", MINUTE)],
        [("resolve", "second-resolver", MINUTE), ("hosts", "second-resolver", MINUTE)],
        [("resolve", "network", FIVE_MINUTES)],
        [("hosts", "network", FIVE_MINUTES)],
        [("probe", "network", FIVE_MINUTES)],
        [("authority", "network", FIVE_MINUTES)],
        [("resolve", "fragments", MINUTE)],
    ],
    ids=lambda some: "-".join(dict.fromkeys(word for one in some for word in one[:2])),
)
def test_for_minutes(
    thousands: Lab, undisturbed_thousands: Tables, disturbances: Disturbances
) -> None:
    found, health = survey(thousands, disturbances)
    print(disturbances, dict(health))
    assert not differences(found, undisturbed_thousands)


@pytest.mark.soak
def test_clock_two_days_slow_for_a_minute(own_lab: Lab, undisturbed: Tables) -> None:
    found, health = survey(own_lab, [("resolve", "clock", MINUTE)])
    assert not differences(unsigned(found), unsigned(undisturbed))
    assert health[DOWN]
