"""How probe targets are cut: who must be counted together is never at work apart."""

from collections import defaultdict

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.coordinator.engine import cut
from crawler.coordinator.probe import by_operator, in_turn, network

OPERATORS = st.sampled_from([f"operator-{number}.example" for number in range(12)])
ADDRESSES = st.one_of(
    st.builds(lambda net, host: f"192.0.{net}.{host}", st.integers(0, 9), st.integers(1, 9)),
    st.builds(
        lambda net, host: f"2001:db8:{net:x}::{host:x}", st.integers(1, 9), st.integers(1, 9)
    ),
)
TARGETS = st.lists(st.tuples(OPERATORS, ADDRESSES), min_size=1, max_size=60)


def batch(targets: list[tuple[str, str]]) -> pa.RecordBatch:
    operators, addresses = zip(*targets, strict=True)
    return pa.RecordBatch.from_pydict(
        {"operator": list(operators), "address": list(addresses), "row": list(range(len(targets)))}
    )


def rows(batches: list[pa.RecordBatch]) -> list[int]:
    return sorted(int(str(row)) for one in batches for row in one.column("row").to_pylist())


@given(TARGETS, st.integers(1, 5))
@settings(deadline=None)
def test_no_operator_and_no_network_is_in_two_lines(
    targets: list[tuple[str, str]], parts: int
) -> None:
    lines = by_operator(batch(targets), parts)
    assert len(lines) <= parts
    assert rows(lines) == list(range(len(targets)))
    where: dict[str, set[int]] = defaultdict(set)
    for number, line in enumerate(lines):
        for one in line.to_pylist():
            where[one["operator"]].add(number)
            where[network(one["address"])].add(number)
    assert all(len(numbers) == 1 for numbers in where.values())


@given(TARGETS, st.integers(1, 20))
@settings(deadline=None)
def test_no_address_is_in_two_shards_of_a_line(targets: list[tuple[str, str]], most: int) -> None:
    shards = in_turn(batch(targets), most)
    assert len(shards) <= -(-len(targets) // most)
    assert rows(shards) == list(range(len(targets)))
    where: dict[str, set[int]] = defaultdict(set)
    for number, shard in enumerate(shards):
        for one in shard.to_pylist():
            where[one["address"]].add(number)
    assert all(len(numbers) == 1 for numbers in where.values())


def test_an_operators_addresses_are_spread_over_a_line() -> None:
    large = [("large.example", f"192.0.2.{host}") for host in range(90)]
    small = [(f"small-{number}.example", f"198.51.100.{number}") for number in range(10)]
    shards = in_turn(batch(large + small), 10)
    assert len(shards) == 10
    assert {one.column("operator").to_pylist().count("large.example") for one in shards} == {9}


@given(st.integers(0, 500), st.integers(1, 60))
def test_slices_are_even_and_complete(count: int, most: int) -> None:
    parts = cut(pa.RecordBatch.from_pydict({"row": list(range(count))}), most)
    assert rows(parts) == list(range(count))
    sizes = [one.num_rows for one in parts]
    assert all(0 < size <= most for size in sizes)
    assert not sizes or sizes[0] - sizes[-1] <= len(sizes)
