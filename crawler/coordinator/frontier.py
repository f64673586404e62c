"""Which buckets may have rows that are due: a hint; the database has the truth.

At the start all may. A bucket that was asked about is closed until something opens it: a new
row that makes others due, or a shard that came back without some of its rows.
"""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from dane.names import BUCKETS

FIRST_BUCKETS = 16  # asked about at first; how many rows they have tells how wide to ask next


def buckets_of(rows: pa.RecordBatch) -> set[int]:
    """The buckets of rows with a column `bucket`."""
    numbers: list[Any] = rows.column("bucket").to_pylist()
    return set(numbers)


class Frontier:
    def __init__(self) -> None:
        self._open = bytearray(BUCKETS)
        self._next = 0
        self._width = FIRST_BUCKETS
        self._rows_a_bucket = 0.0
        self.open(range(BUCKETS))

    def open(self, buckets: Iterable[int]) -> None:
        for bucket in buckets:
            self._open[bucket] = 1

    @property
    def open_buckets(self) -> int:
        return sum(self._open)

    @property
    def rows(self) -> int:
        """About how many rows the open buckets have, by what the last ones had."""
        return round(self._rows_a_bucket * self.open_buckets)

    def take(self) -> range | None:
        """The next range of buckets to ask about, now closed; None if none is open."""
        start = self._open.find(1, self._next)
        if start < 0:
            start = self._open.find(1)
        if start < 0:
            return None
        stop = min(start + self._width, BUCKETS)
        stop = self._open.rfind(1, start, stop) + 1
        self._open[start:stop] = bytes(stop - start)
        self._next = stop
        return range(start, stop)

    def had(self, buckets: range, rows: int, wanted: int) -> None:
        """These buckets had so many rows: the next question is to find as many as `wanted`."""
        self._rows_a_bucket = rows / len(buckets)
        width = wanted * len(buckets) // rows if rows else BUCKETS
        self._width = max(1, min(width, 4 * self._width, BUCKETS))
