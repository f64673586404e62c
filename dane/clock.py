"""The time, for every date that is stored or compared.

No other module reads the calendar clock (a test searches for it), so that a lab can live
through months in minutes: `run_ahead` moves the clock of this process into the future.
Real time stays where the world outside reads it too: TSIG, TLS of the cluster, times of
files; and timers, which are monotonic.
"""

import time
from datetime import UTC, datetime, timedelta

_A_DAY_S = 86_400.0

_ahead_s = 0.0


def run_ahead(days: float) -> None:
    """Move the clock of this process so many days ahead of real time; 0 sets it right."""
    global _ahead_s
    _ahead_s = days * _A_DAY_S


def days_ahead() -> float:
    """How many days this process is ahead of real time."""
    return _ahead_s / _A_DAY_S


def now() -> datetime:
    """The time, aware, in UTC."""
    return datetime.now(UTC) + timedelta(seconds=_ahead_s)


def seconds() -> float:
    """The time in seconds since 1970 (UTC)."""
    return time.time() + _ahead_s


def microseconds() -> int:
    """The time in microseconds since 1970 (UTC)."""
    return time.time_ns() // 1000 + round(_ahead_s * 1_000_000)
