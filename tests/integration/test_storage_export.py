"""Parquet files: the declared schema, the same bytes every time, whole or not there."""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dane.faults import LocalTrouble
from storage import run
from storage.copy import writer
from storage.database import Connection
from storage.export import ROW_GROUP, export, export_table, write
from storage.run import RunKind
from storage.schemas import DOMAIN_MX, OBSERVATIONS, Table
from tests.storage_rows import batch_of

NUMBERS = pa.schema(
    [
        pa.field("n", pa.int32(), nullable=False),
        pa.field("words", pa.list_(pa.field("item", pa.string(), nullable=False)), nullable=False),
    ],
    metadata={"any": "thing"},
)
QUERY = "SELECT n::bigint, ARRAY['a', n::text] FROM generate_series($1::int, $2::int) AS n"


@pytest.mark.asyncio
async def test_a_table_comes_out_as_it_went_in(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    current = await run.create(connection, RunKind.FULL, {})
    rows = [
        {"domain": name, "mx_host": [], "mx_preference": [10], "ede_text": "tab\tand \\N"}
        for name in ("b.example", "a.example", "\\000.example", "a-b.example")
    ]
    batch = batch_of(DOMAIN_MX, current.run_id, *rows)
    async with writer(database_url) as store:
        await store.store([(DOMAIN_MX, batch)])
    path = tmp_path / "new" / "part-0.parquet"
    assert export_table(database_url, DOMAIN_MX, current.run_id, path) == 4
    table = pq.read_table(path)
    assert table.schema.equals(DOMAIN_MX.schema)
    assert table.schema.metadata is None
    assert table == pa.Table.from_batches([batch]).sort_by(
        [(name, "ascending") for name in DOMAIN_MX.key]
    )


@pytest.mark.parametrize("table", OBSERVATIONS, ids=lambda table: table.name)
@pytest.mark.asyncio
async def test_no_rows_are_a_file_too(
    connection: Connection, database_url: str, tmp_path: Path, table: Table
) -> None:
    current = await run.create(connection, RunKind.FULL, {})
    assert export_table(database_url, table, current.run_id, tmp_path / "x.parquet") == 0
    assert pq.read_schema(tmp_path / "x.parquet").equals(table.schema)


def test_the_same_rows_are_the_same_bytes(database_url: str, tmp_path: Path) -> None:
    files = [tmp_path / "one.parquet", tmp_path / "other" / "two.parquet"]
    last = 2 * ROW_GROUP + 5
    for file in files:
        assert export(database_url, QUERY, (1, last), file, NUMBERS) == last
    assert files[0].read_bytes() == files[1].read_bytes()
    metadata = pq.read_metadata(files[0])
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [
        ROW_GROUP,
        ROW_GROUP,
        5,
    ]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["one.parquet"]


def test_the_borders_of_batches_leave_no_trace(tmp_path: Path) -> None:
    numbers = pa.array(range(ROW_GROUP + 1000), pa.int32())
    words = pa.array([["w"] * (n % 3) for n in range(len(numbers))], NUMBERS.field("words").type)
    whole = pa.record_batch([numbers, words], schema=NUMBERS)
    chance = random.Random(1)
    cuts = [0, *sorted(chance.sample(range(len(numbers)), 30)), len(numbers)]
    pieces = [whole.slice(start, end - start) for start, end in itertools.pairwise(cuts)]
    assert write(tmp_path / "whole", NUMBERS, [whole]) == len(numbers)
    assert write(tmp_path / "pieces", NUMBERS, pieces) == len(numbers)
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "pieces").read_bytes()


def test_rows_that_the_schema_does_not_hold_leave_no_file(
    database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "x.parquet"
    export(database_url, QUERY, (1, 2), file, NUMBERS)
    before = file.read_bytes()
    large = "SELECT n::bigint << 40, '{}'::text[] FROM generate_series($1::int, $2::int) AS n"
    with pytest.raises(pa.ArrowInvalid):
        export(database_url, large, (1, 2), file, NUMBERS)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_an_interrupted_export_leaves_no_file(tmp_path: Path) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pylist([{"n": 1, "words": []}], schema=NUMBERS)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "x.parquet", NUMBERS, batches())
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written_is_local_trouble(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalTrouble, match="cannot be written"):
        write(tmp_path / "file" / "x.parquet", NUMBERS, [])


def test_no_database_is_local_trouble(tmp_path: Path) -> None:
    with pytest.raises(LocalTrouble, match="survey at 127"):
        export("postgresql://u:secret@127.0.0.1:1/survey", QUERY, (1, 2), tmp_path / "x", NUMBERS)
    assert list(tmp_path.iterdir()) == []
