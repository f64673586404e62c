"""When a failure is confirmed, and from when to when it lasts.

    following = follow(views, settings, started)
    following.breakages(); following.confirmations(); following.episodes()

The SQL files beside this module say it: `failing.sql` what fails in the run, `endings.sql`
what fails no longer, `confirmations.sql` how many daily looks agree, `breakages.sql` and
`episodes.sql` what comes of it. `rule` says the rule in words, from the settings.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files as package_files

import duckdb
import pyarrow as pa

from reports.dictionary import CONFIRMATIONS, EPISODES, ROLLOVERS
from reports.settings import ConfirmationSettings
from reports.views import read

_MOST_OBSERVED = 64
"""Digests remembered of a row; a server that shows a new certificate to everybody has more."""
_MOST_SAMPLED = 100
"""Domains that an episode names, by which its end is told."""
_LONGEST_SILENCE = timedelta(days=35)
"""An episode without news for longer than from one full run to the next is not seen."""
_RECURRENCE = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Following:
    """The tables of one run that compare it with the runs before."""

    views: duckdb.DuckDBPyConnection

    def breakages(self) -> Iterator[pa.RecordBatch]:
        """The restricted table, in batches."""
        relation = self.views.sql(_statement("breakages.sql"))
        yield from relation.to_arrow_reader(batch_size=16_384)

    def confirmations(self) -> pa.Table:
        return read(self.views, "FROM confirmations").select(CONFIRMATIONS.schema.names)

    def rollovers(self) -> pa.Table:
        return read(self.views, _statement("rollovers.sql")).select(ROLLOVERS.schema.names)

    def episodes(self) -> pa.Table:
        relation = self.views.sql(
            _statement("episodes.sql"),
            params={
                "most_sampled": _MOST_SAMPLED,
                "recurrence_us": _microseconds(_RECURRENCE.total_seconds()),
            },
        )
        found: pa.Table = relation.to_arrow_table()
        return found.select(EPISODES.schema.names)


def follow(
    views: duckdb.DuckDBPyConnection,
    settings: ConfirmationSettings,
    started: datetime,
    *,
    sees_all: bool = True,
) -> Following:
    """Compares the run that the views show, which began at `started`, with those before it.

    `sees_all` False: a run of suspects, from whose silence nothing follows.
    """
    views.execute(f"CREATE TEMP TABLE failing AS {_statement('failing.sql')}")
    moment = {"started_us": _microseconds(started.timestamp())}
    views.execute(
        f"CREATE TEMP TABLE endings AS {_statement('endings.sql')}",
        {
            **moment,
            "sees_all": sees_all,
            "longest_silence_us": _microseconds(_LONGEST_SILENCE.total_seconds()),
        },
    )
    views.execute("DROP VIEW confirmations")
    views.execute(
        f"CREATE TEMP TABLE confirmations AS {_statement('confirmations.sql')}",
        {
            **moment,
            "looks": settings.looks,
            "span_us": _microseconds(settings.span_s),
            "attempts_apart_us": _microseconds(settings.attempts_apart_s),
            "least_gap_us": _microseconds(settings.least_gap_s),
            "greatest_gap_us": _microseconds(settings.greatest_gap_s),
            "most_observed": _MOST_OBSERVED,
        },
    )
    return Following(views)


def rule(settings: ConfirmationSettings) -> str:
    """The rule in one sentence, for posts, lists and notices."""
    return (
        f"A failure is confirmed when {_number(settings.looks)} daily looks agree, the last at "
        f"least {_duration(settings.span_s)} after the first, each with two attempts at least "
        f"{_duration(settings.attempts_apart_s)} apart, and no look between them is good."
    )


def _number(count: int) -> str:
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return words[count] if 0 <= count < len(words) else str(count)


def _duration(seconds: float) -> str:
    for size, unit in ((3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count} {unit}" + ("" if count == 1 else "s")
    return f"{seconds:g} seconds"


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _statement(name: str) -> str:
    return package_files("reports").joinpath(name).read_text("utf-8")
