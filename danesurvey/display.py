"""What a running survey shows: a live table on a terminal, else JSON lines.

On stderr, for stdout is data. A JSON line a stage and second, of those whose figures changed.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from danesurvey.progress import Watch

EVERY_S = 1.0
_SHOWN_OUTCOMES = 6
_PASSING = {"seconds", "per_second", "next_seconds"}  # change though nothing happens


@asynccontextmanager
async def shown(watch: Watch) -> AsyncIterator[None]:
    """Shows the engine's stages for as long as the block runs."""
    console = Console(stderr=True)
    follow = _table(watch, console) if console.is_terminal else _lines(watch)
    task = asyncio.create_task(follow)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _table(watch: Watch, console: Console) -> None:
    with Live(console=console, auto_refresh=False) as live:
        try:
            while True:
                live.update(_screen(watch), refresh=True)
                await asyncio.sleep(EVERY_S)
        finally:
            live.update(_screen(watch), refresh=True)


def _screen(watch: Watch) -> Group:
    told: dict[str, Any] = {
        "stages": watch.stages(),
        "waiting": watch.waiting(),
        "now": watch.now(),
    }
    lines = [*waiting_lines(told), sentence(told["now"])]
    return Group(table(told["stages"]), Text("\n".join(lines)))


async def _lines(watch: Watch) -> None:
    began = watch.engine.stage_changed
    told: dict[str, dict[str, Any]] = {}
    try:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await began.wait()
            began.clear()
            told = _tell(watch, told)
    finally:
        _tell(watch, told)


def _tell(watch: Watch, told: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Print the stages whose figures have changed since `told`."""
    lines = watch.stages()
    now = watch.now()
    for line in lines:
        before = told.get(line["stage"])
        if before is None or _figures(before) != _figures(line):
            print(json.dumps({**line, **now}), file=sys.stderr, flush=True)
    return {line["stage"]: line for line in lines}


def _figures(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in _PASSING}


def table(stages: list[dict[str, Any]]) -> Table:
    """The stages so far, a row each."""
    grid = Table(box=None, pad_edge=False)
    for heading in ("stage", "state", "stored", "under way", "per s", "next in", "outcomes"):
        left = heading in ("stage", "state", "outcomes")
        grid.add_column(heading, justify="left" if left else "right")
    for line in stages:
        most = sorted(line["outcomes"].items(), key=lambda item: -item[1])[:_SHOWN_OUTCOMES]
        grid.add_row(
            line["stage"],
            line["state"],
            f"{line['stored']:,}",
            f"{line['under_way']:,}",
            f"{line['per_second']:,.0f}",
            duration(line["next_seconds"]),
            "  ".join(f"{word} {count:,}" for word, count in most),
        )
    return grid


def waiting_lines(told: dict[str, Any]) -> list[str]:
    """What waits for what, and until when: a line a stage."""
    stored = {one["stage"]: one["stored"] for one in told["stages"]}
    lines = []
    for one in told["waiting"]:
        parts = [f"{one['rows']:,} wait"]
        if one["next"] is not None:
            parts.append(f"next at {datetime.fromisoformat(one['next']).astimezone():%H:%M:%S}")
        if one["at_the_end"]:
            parts.append(f"{one['at_the_end']:,} of them for the end of the run")
        lines.append(f"{one['stage']}: {stored.get(one['stage'], 0):,} done, {', '.join(parts)}")
    if (left_s := (told["now"] or {}).get("to_go_seconds")) is not None:
        lines.append(f"to go: about {duration(left_s)}")
    return lines


def sentence(now: dict[str, Any]) -> str:
    """What is true of all stages now: the line below the table."""
    workers = " ".join(f"{size >> 20}" for size in now["memory"]["workers"].values())
    return (
        f"{now['rows_per_second']:,.0f} names/s, {now['questions_per_second']:,.0f} questions/s; "
        f"canaries {now['canaries'] or 'not asked yet'}; memory "
        f"{now['memory']['coordinator'] >> 20} MiB, workers {workers or '-'}"
    )


def duration(seconds: float | None) -> str:
    """Such as 1:02:03; empty if it is not known."""
    return "" if seconds is None else str(timedelta(seconds=round(max(0.0, seconds))))


def talk(line: str) -> None:
    """One line for people."""
    print(line, file=sys.stderr, flush=True)
