"""Zones in tars and directories, and where intake keeps its files, into a real PostgreSQL."""

import fcntl
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
import pytest_asyncio
import zstandard

from crawler.coordinator.intake import Verdict
from crawler.zones.settings import ZoneSource
from dane.faults import LocalTrouble
from storage.database import Connection
from tests.integration.intake_run import Intake, intake_into, zone_text

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def take(database_url: str, tmp_path: Path) -> AsyncIterator[Intake]:
    async with intake_into(database_url, tmp_path) as take:
        yield take


def of_zone(zone: str, names: Iterable[str] = ("a",), serial: int = 1) -> bytes:
    return zone_text(names, serial).replace(b"example.", f"{zone}.".encode())


def tar_of(members: dict[str, bytes], **headers: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.pax_headers = headers
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


SPARSE = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "one"}


def every(path: Path) -> ZoneSource:
    return ZoneSource(zone="*", kind="file", path=path)


async def test_packed_and_many(take: Intake, tmp_path: Path) -> None:
    directory = tmp_path / "zones"
    directory.mkdir()
    (directory / "one.xz").write_bytes(lzma.compress(of_zone("other")))
    (directory / "two.zst").write_bytes(zstandard.compress(zone_text(["b"])))
    packed = {
        "../../third": of_zone("third", "c"),
        "fourth.gz": gzip.compress(of_zone("fourth", "c")),
    }
    (directory / "three.tar.gz").write_bytes(gzip.compress(tar_of(packed)))
    rows = await take.source(every(directory))
    assert {row.verdict for row in rows} == {Verdict.ACCEPTED}
    assert await take.names() == {"a.other", "b.example", "c.third", "c.fourth"}


async def test_of_a_tar_only_the_members_that_changed_are_read(
    take: Intake, tmp_path: Path
) -> None:
    path = tmp_path / "zones.tar"
    path.write_bytes(tar_of({"one": of_zone("one"), "two": of_zone("two")}))
    await take.source(every(path))
    path.write_bytes(tar_of({"one": of_zone("one"), "two": of_zone("two", serial=2)}))
    rows = await take.source(every(path))
    assert [row.verdict for row in rows] == [Verdict.UNCHANGED, Verdict.ACCEPTED]


async def test_a_damaged_file_costs_only_itself(take: Intake, tmp_path: Path) -> None:
    directory = tmp_path / "zones"
    directory.mkdir()
    (directory / "a.gz").write_bytes(gzip.compress(of_zone("one"))[:12])
    (directory / "b.tar").write_bytes(
        tar_of({"cut": of_zone("two")[:30], "three": of_zone("three")})
    )
    (directory / "c").write_bytes(of_zone("four"))
    rows = await take.source(every(directory))
    assert [row.verdict for row in rows] == [
        Verdict.REFUSED,
        Verdict.REFUSED,
        Verdict.ACCEPTED,
        Verdict.ACCEPTED,
    ]
    assert str(rows[0].reason).startswith("a.gz: cut or damaged")
    assert str(rows[1].reason).startswith("b.tar:cut: line 1")
    assert await take.names() == {"a.three", "a.four"}


@pytest.mark.parametrize("change", ["cut", "garbage", "checksum", "header"])
async def test_nothing_of_a_damaged_tar_is_taken(take: Intake, tmp_path: Path, change: str) -> None:
    """A tar that was cut between two members looks whole but for its end."""
    tar = tar_of({"one": of_zone("one"), "two": of_zone("two")})
    path = tmp_path / "zones.tar"
    path.write_bytes(
        {
            "cut": tar[: tar.index(b"two") // 512 * 512],
            "garbage": tar + b"more",
            "checksum": gzip.compress(tar)[:-8] + bytes(8),
            "header": tar_of({"one": of_zone("one")}, **SPARSE),
        }[change]
    )
    (row,) = await take.source(every(path))
    assert row.verdict is Verdict.REFUSED
    assert await take.names() == set()


async def test_names_of_files_are_bytes_from_strangers(
    take: Intake, connection: Connection, tmp_path: Path
) -> None:
    directory = tmp_path / "zones"
    directory.mkdir()
    (directory / os.fsdecode(b"a\xff")).write_bytes(of_zone("one"))
    (directory / "b.tar").write_bytes(tar_of({"\x1b[31m\udcff": of_zone("two"), "\u202e": b""}))
    rows = await take.source(every(directory))
    assert [row.verdict for row in rows] == [Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.REFUSED]
    origins = await connection.fetch("SELECT origin FROM zone_snapshot ORDER BY snapshot_id")
    assert [row["origin"] for row in origins] == [
        "a\\udcff",
        "b.tar:\\x1b[31m\\udcff",
        "b.tar:\\u202e",
    ]
    assert all(line.isascii() and line.isprintable() for line in take.said)


async def test_a_directory_of_nothing(take: Intake, tmp_path: Path) -> None:
    (tmp_path / "zones").mkdir()
    (row,) = await take.source(every(tmp_path / "zones"))
    assert row.verdict is Verdict.REFUSED
    assert "no file in it" in str(row.reason)


async def test_what_a_killed_process_left_is_cleared(take: Intake, tmp_path: Path) -> None:
    directory = tmp_path / "state/zones"
    (directory / "scratch/zone-1").mkdir(parents=True)
    (directory / "scratch/zone-1/0.arrow").write_bytes(b"rows")
    (directory / "czds").mkdir()
    (directory / "czds/.com.json-1").write_bytes(b"{")
    (directory / ".gov.axfr-1").write_bytes(b"half")
    await take.data(zone_text(["a"]))
    assert {one.name for one in directory.rglob("*")} == {"czds", "lock"}


async def test_one_process_at_a_time(take: Intake, tmp_path: Path) -> None:
    directory = tmp_path / "state/zones"
    directory.mkdir(parents=True)
    with (directory / "lock").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(LocalTrouble, match="another command"):
            await take.data(zone_text(["a"]))
    assert (await take.data(zone_text(["a"]))).verdict is Verdict.ACCEPTED
