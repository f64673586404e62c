"""What a history is: how domains and servers change from day to day, and what must be found when.

Everything is data, as in `lab.scenarios`. Days are counted from the first daily survey; on
`BEFORE` and until the first change a history is as its first phase says. What must be found
comes from docs/measurement.md and the RFCs, never from what our own code answers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lab.scenarios.scenario import (
    EE,
    PLAIN,
    WRONG,
    Chain,
    Columns,
    Host,
    OneOf,
    Scenario,
    Session,
    Signing,
)

BEFORE = -1
"""The day of all phases that are older than the script."""

OUTAGE_DAY, MISSING_ZONE_DAY, PORT_25_DAY = 6, 8, 9
"""On these days no name server answers us; a registry's zone file is cut; no mail server can be
connected to. On the first and the last nothing is published."""
MISSING_ZONE = "hashed"


@dataclass(frozen=True, slots=True)
class Full:
    """The day of a full run: the first day of a month, counted from 1."""

    number: int


@dataclass(frozen=True, slots=True)
class Found:
    """On a day, the rows of a table that match `where`: there is one at least, and each has these
    values; without values (None) there is no such row.

    Beside the tables of the data set there are `runs` (published), `exceptions` (domain, action),
    `notices` (host), and `post` (last_month, last_year: whether it has that column).
    """

    day: int | Full
    table: str
    where: Mapping[str, Any]
    values: Columns | None

    def unmet(self, rows: Sequence[Mapping[str, Any]]) -> str | None:
        """What is wrong, in a line; None if nothing is."""
        matching = [row for row in rows if all(row[key] == one for key, one in self.where.items())]
        where = " ".join(f"{key}={one}" for key, one in self.where.items())
        if self.values is None:
            return f"{self.table} has {where}, and must not" if matching else None
        if not matching:
            return f"{self.table} has no {where}"
        for row in matching:
            for column, value in self.values.items():
                if not _met(value, row[column]):
                    return f"{self.table} {where}: {column} is {row[column]!r}, must be {value!r}"
        return None


def _met(wanted: object, found: object) -> bool:
    if wanted is SOME:
        return found is not None
    if isinstance(wanted, OneOf):
        return found in wanted
    return bool(wanted == found)


SOME = object()
"""Any value but null."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One script. `phases`: from a day on, the scenarios of this history; `opt_out` and `merges`:
    from a day on, lines of these files; `approvals`: (host, kind of fault), always on."""

    name: str
    what: str
    why: str
    phases: Mapping[int, tuple[Scenario, ...]]
    found: tuple[Found, ...]
    opt_out: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    merges: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    approvals: tuple[tuple[str, str], ...] = ()

    def scenarios(self, day: int) -> tuple[Scenario, ...]:
        """Those of a day."""
        return self.phases[max(one for one in self.phases if one <= max(day, BEFORE))]

    def opted_out(self, day: int) -> Iterator[str]:
        for since, lines in self.opt_out.items():
            if since <= day:
                yield from lines

    def merged(self, day: int) -> dict[str, str]:
        return {
            name: operator
            for since, table in self.merges.items()
            if since <= day
            for name, operator in table.items()
        }


# --- what most histories are made of ------------------------------------------------------------

NEXT = Chain(key="ecdsa-next")
"""The next key of a host."""
LONG = Chain(valid_s=(-400 * 86_400, 1200 * 86_400))
"""A certificate that outlives the script, for records that ask for dates."""


def state(
    name: str,
    *,
    tlsa: tuple[str, ...] = EE,
    chain: Chain | None = None,
    session: Session | None = None,
    tld: str = PLAIN,
    signing: Signing | None = None,
    records: tuple[str, ...] = ("@ MX 10 mx",),
    **more: Any,
) -> Scenario:
    """A domain with one MX host of its own."""
    return Scenario(
        name=name,
        what="",
        why="",
        verdict={},
        tld=tld,
        records=records,
        hosts=(Host(tlsa=tlsa, chain=chain or Chain(), session=session or Session()),),
        zones={"@": signing or Signing()},
        **more,
    )


def broken(name: str, **more: Any) -> Scenario:
    """Its TLSA record is of a certificate that no server has."""
    return state(name, tlsa=WRONG, **more)


def record_of(chain: Chain) -> str:
    """The source of a TLSA record of another key of the host (lab.scenarios, Host.tlsa)."""
    return f"key:{chain.key}"


def without_servers(scenario: Scenario, **changes: Any) -> Scenario:
    """The same domain with other records and no mail host of its own."""
    return replace(scenario, hosts=(), **changes)


def breakage(day: int | Full, host: str, **values: Any) -> Found:
    """A host's breakages have these values."""
    return Found(day, "breakages", {"host": host}, values)


def no_breakage(day: int | Full, host: str) -> Found:
    return Found(day, "breakages", {"host": host}, None)


def episode(day: int | Full, host: str, **values: Any) -> Found:
    """Of a broken host."""
    return Found(day, "episodes", {"operator_kind": "mx", "host": host}, values)


def no_episode(day: int | Full, host: str) -> Found:
    return Found(day, "episodes", {"host": host}, None)


def status(day: int | Full, domain: str, **values: Any) -> Found:
    return Found(day, "domains", {"domain": domain}, values)


def rollover(day: int | Full, host: str, grade: str) -> Found:
    return Found(day, "rollovers", {"host": host}, {"grade": grade})


def no_rollover(day: int | Full, host: str) -> Found:
    return Found(day, "rollovers", {"host": host}, None)


def exception(day: int | Full, domain: str, action: str | None) -> Found:
    wanted = None if action is None else {"action": action}
    return Found(day, "exceptions", {"domain": domain}, wanted)


def noticed(day: int | Full, host: str, *, yes: bool = True) -> Found:
    return Found(day, "notices", {"host": host}, {} if yes else None)
