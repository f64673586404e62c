"""What a running survey shows: a live table on a terminal, else one JSON line a second.

On stderr, for stdout is data.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from crawler.survey.engine import Engine, StagePass

EVERY_S = 1.0
_SHOWN_OUTCOMES = 6


@asynccontextmanager
async def shown(engine: Engine) -> AsyncIterator[None]:
    """Shows the engine's passes for as long as the block runs."""
    console = Console(stderr=True)
    follow = _table(engine, console) if console.is_terminal else _lines(engine)
    task = asyncio.create_task(follow)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _table(engine: Engine, console: Console) -> None:
    with Live(console=console, refresh_per_second=4) as live:
        try:
            while True:
                live.update(table(engine.passes, time.time()))
                await asyncio.sleep(EVERY_S)
        finally:
            live.update(table(engine.passes, time.time()))


async def _lines(engine: Engine) -> None:
    told: list[dict[str, Any]] = []
    try:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await engine.pass_began.wait()
            engine.pass_began.clear()
            told = _tell(engine, told)
    finally:
        _tell(engine, told)


def _tell(engine: Engine, told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Print the passes whose figures have changed since `told`."""
    now = time.time()
    lines = [describe(one, now) for one in engine.passes]
    for index, line in enumerate(lines):
        if index >= len(told) or _figures(told[index]) != _figures(line):
            print(json.dumps(line), file=sys.stderr, flush=True)
    return lines


def _figures(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in ("seconds", "per_second")}


def describe(one: StagePass, now: float) -> dict[str, Any]:
    """One pass as plain values; times in seconds."""
    seconds = max(1e-3, (one.ended or now) - one.began)
    progress = one.progress
    return {
        "stage": one.stage,
        "pass": one.number,
        "state": "done" if one.ended else "resting" if one.resting_until else "running",
        "asked": progress.rows_out,
        "stored": progress.rows_in,
        "seconds": round(seconds, 1),
        "per_second": round(progress.rows_in / seconds, 1),
        "resubmitted": progress.resubmitted,
        "quarantined": progress.quarantined,
        "outcomes": dict(sorted(progress.outcomes.items())),
    }


def table(passes: list[StagePass], now: float) -> Table:
    """The passes so far, a row each."""
    grid = Table(box=None, pad_edge=False)
    for heading in ("stage", "pass", "state", "stored", "per s", "outcomes"):
        right = heading in ("pass", "stored", "per s")
        grid.add_column(heading, justify="right" if right else "left")
    for one in passes:
        line = describe(one, now)
        most = sorted(line["outcomes"].items(), key=lambda item: -item[1])[:_SHOWN_OUTCOMES]
        grid.add_row(
            line["stage"],
            str(line["pass"]),
            line["state"],
            f"{line['stored']:,}",
            f"{line['per_second']:,.0f}",
            "  ".join(f"{word} {count:,}" for word, count in most),
        )
    return grid


def intake_line(*what: object) -> None:
    """One line of talk about a zone that is taken in."""
    print(*what, file=sys.stderr, flush=True)
