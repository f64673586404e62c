"""Buckets that may have due rows, and how rows are cut into shards."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from crawler.coordinator.engine import cut
from crawler.coordinator.frontier import FIRST_BUCKETS, Frontier
from dane.names import BUCKETS

SETS = st.sets(st.integers(0, BUCKETS - 1), max_size=50)


def taken(frontier: Frontier, rows_a_bucket: int = 1, wanted: int = 500) -> list[range]:
    found = []
    while (buckets := frontier.take()) is not None:
        found.append(buckets)
        frontier.had(buckets, rows_a_bucket * len(buckets), wanted)
    return found


def test_at_the_start_every_bucket_is_asked_about_once() -> None:
    ranges = taken(Frontier())
    assert [bucket for one in ranges for bucket in one] == list(range(BUCKETS))
    assert len(ranges[0]) == FIRST_BUCKETS
    assert max(map(len, ranges)) <= 500


def test_full_buckets_are_asked_about_one_by_one_and_empty_ones_all_at_once() -> None:
    frontier = Frontier()
    assert all(len(one) == 1 for one in taken(frontier, rows_a_bucket=6000)[1:])
    frontier.open(range(BUCKETS))
    assert len(taken(frontier, rows_a_bucket=0)) < 10


@given(SETS, SETS)
def test_what_is_opened_is_asked_about_again(first: set[int], second: set[int]) -> None:
    frontier = Frontier()
    taken(frontier)
    frontier.open(first)
    buckets = frontier.take()
    frontier.open(second)
    asked = {bucket for one in [buckets or range(0), *taken(frontier)] for bucket in one}
    assert asked >= first | second
    assert frontier.take() is None


@given(st.integers(0, 500), st.integers(1, 60))
def test_slices_are_even_and_complete(count: int, most: int) -> None:
    parts = cut(pa.RecordBatch.from_pydict({"row": list(range(count))}), most)
    rows = [row for one in parts for row in one.column("row").to_pylist()]
    assert rows == list(range(count))
    sizes = [one.num_rows for one in parts]
    assert all(0 < size <= most for size in sizes)
    assert not sizes or sizes[0] - sizes[-1] <= len(sizes)
