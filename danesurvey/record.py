"""A run's record: with what it was made, and what it counted. `publish` and people read it.

Settings hold no secrets (those stay in files and the environment); the database's URL might,
and is left out.
"""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import dask.system

from crawler.dns.unbound import Unbound, home
from crawler.operators import merges
from dane.outcomes import FAILED, LOCAL, HostStatus
from danesurvey.settings import Settings
from storage import census
from storage.database import Connection
from storage.run import Run

_LIBRARIES = ("distributed", "pyarrow", "asyncpg", "trio", "cryptography")
# Words of each stage that are our own fault, and those that are a failure of theirs.
_OURS: Mapping[str, frozenset[str]] = {
    "resolve": frozenset(LOCAL),
    "hosts": frozenset({HostStatus.LOCAL_ERROR}),
    "probe": frozenset({HostStatus.LOCAL_ERROR_SMTP}),
}
_THEIRS: Mapping[str, frozenset[str]] = {
    "resolve": frozenset(FAILED),
    "hosts": frozenset({HostStatus.ADDRESS_FAILED, HostStatus.TLSA_FAILED}),
}


async def of_start(
    connection: Connection, settings: Settings, unbounds: Sequence[Unbound]
) -> dict[str, Any]:
    """What is known when a run begins."""
    return {
        "settings": settings.model_dump(mode="json", exclude={"database"}),
        "software": {
            "danesurvey": importlib.metadata.version("danesurvey"),
            **{name: importlib.metadata.version(name) for name in _LIBRARIES},
            "python": platform.python_version(),
            "postgresql": await connection.fetchval("SHOW server_version"),
            "unbound": next((one for one in map(_version, unbounds) if one), None),
        },
        "host": {"system": platform.platform(), "cores": dask.system.CPU_COUNT},
        "resolver": {"configuration": _configuration(settings)},
        "operator_merges": dict(merges(settings.probe.operator_merges)),
        "zones": await census.zones(connection),
    }


async def of_end(connection: Connection, run: Run) -> dict[str, Any]:
    """What a run has counted so far, by stage."""
    outcomes = await census.outcomes(connection, run)
    domains = sum(outcomes["resolve"].values())
    # Rows hold the questions of their last lookup, sessions those of all lookups that were told.
    told = sum(
        one["questions"] for part in run.record.get("sessions", ()) for one in part["stages"]
    )
    questions = max(told, await census.questions(connection, run))
    return {
        "outcomes": outcomes,
        "local": {stage: _count(outcomes[stage], words) for stage, words in _OURS.items()},
        "quarantined": await census.quarantined(connection, run),
        "local_disagreement": await census.local_disagreement(connection, run),
        "questions": {
            "all": questions,
            "a_domain": round(questions / domains, 3) if domains else None,
        },
    }


def failing_shares(record: Mapping[str, Any]) -> dict[str, float]:
    """The share of failing names of each lookup stage, of the record of a run that ended."""
    shares = {}
    for stage, words in _THEIRS.items():
        counts = record.get("outcomes", {}).get(stage, {})
        shares[stage] = _count(counts, words) / max(1, sum(counts.values()))
    return shares


def _count(counts: Mapping[str, int], words: frozenset[str]) -> int:
    return sum(count for word, count in counts.items() if word in words)


def _version(unbound: Unbound) -> str | None:
    """Of a running Unbound with a control socket."""
    control = unbound.control
    if control is None:
        return None
    for line in control.ask("status").splitlines():
        key, _, value = line.partition(":")
        if key == "version":
            return value.strip()
    return None


def _configuration(settings: Settings) -> dict[str, str] | None:
    """The configurations that we gave our resolvers; None of those that run already."""
    directory = settings.state_dir / "unbound"
    files = {
        which: home(directory, second_look=second) / "unbound.conf"
        for which, second in (("first", False), ("second", True))
    }
    given = {"first": settings.resolver.address, "second": settings.resolver.second_look_address}
    return {
        which: path.read_text("utf-8")
        for which, path in files.items()
        if given[which] is None and path.is_file()
    } or None
