"""What a provider does to all of its customers at once, and months that are compared."""

from collections.abc import Iterator
from typing import Any

from lab.histories.history import BEFORE, Found, Full, History, state, status
from lab.scenarios.scenario import RIGHT, UNSIGNED, Scenario, Signing


def _customers(
    provider: str, count: int, *, mx: str, signing: Signing = RIGHT
) -> Iterator[Scenario]:
    """Domains without servers of their own, at the provider's MX host."""
    for number in range(count):
        yield Scenario(
            name=f"{provider}-{number}",
            what="",
            why="",
            verdict={},
            records=(f"@ MX 10 {mx}.",),
            hosts=(),
            zones={"@": signing},
        )


def _phase(provider: str, count: int, *, tlsa: bool, **more: Any) -> tuple[Scenario, ...]:
    mx = more.pop("mx", f"mx.{provider}.plain")
    host = state(provider) if tlsa else state(provider, tlsa=())
    return (host, *_customers(provider, count, mx=mx, **more))


def _each(day: int | Full, provider: str, count: int, **values: Any) -> tuple[Found, ...]:
    return tuple(
        status(day, f"{provider}-{number}.plain", **values) for number in range(0, count, 7)
    )


def _none(day: int | Full, provider: str, count: int) -> tuple[Found, ...]:
    return tuple(
        Found(day, "domains", {"domain": f"{provider}-{number}.plain"}, None)
        for number in range(0, count, 7)
    )


PROVIDERS = (
    History(
        name="signs",
        what="a provider with DANE signs 50 zones",
        why="measurement 7: signed, they are DANE domains; a full run sees them first",
        phases={
            BEFORE: _phase("signs", 50, tlsa=True, signing=UNSIGNED),
            3: _phase("signs", 50, tlsa=True),
        },
        found=(
            *_none(2, "signs", 50),
            *_each(Full(1), "signs", 50, status="dane"),
        ),
    ),
    History(
        name="drops-ds",
        what="a provider removes the DS of 40 zones",
        why="measurement 2: without DS they are no signed delegations",
        phases={
            BEFORE: _phase("drops-ds", 40, tlsa=True),
            3: _phase("drops-ds", 40, tlsa=True, signing=UNSIGNED),
        },
        found=(
            *_each(2, "drops-ds", 40, status="dane"),
            *_none(3, "drops-ds", 40),
            *_none(Full(1), "drops-ds", 40),
        ),
    ),
    History(
        name="publishes",
        what="a provider publishes TLSA records for all of its customers",
        why="measurement 7 row 11",
        phases={
            BEFORE: _phase("publishes", 20, tlsa=False),
            3: _phase("publishes", 20, tlsa=True),
        },
        found=(*_none(2, "publishes", 20), *_each(Full(1), "publishes", 20, status="dane")),
    ),
    History(
        name="moves",
        what="a provider moves its customers to an MX host without TLSA records",
        why="measurement 7 row 8",
        phases={
            BEFORE: (*_phase("moves", 20, tlsa=True), state("moves-to", tlsa=())),
            3: (
                *_phase("moves", 20, tlsa=True, mx="mx.moves-to.plain"),
                state("moves-to", tlsa=()),
            ),
        },
        found=(
            *_each(2, "moves", 20, status="dane"),
            *_each(3, "moves", 20, status="no_tlsa"),
            *_each(Full(1), "moves", 20, status="no_tlsa"),
        ),
    ),
    History(
        name="months",
        what="the post beside last month and last year; a month without a full run has no column",
        why="measurement 9: daily and full runs never mix",
        phases={BEFORE: (state("months"),)},
        found=(
            Found(Full(1), "post", {}, {"last_month": True, "last_year": True}),
            # the second month has no full run
            Found(Full(3), "post", {}, {"last_month": False, "last_year": False}),
        ),
    ),
)
