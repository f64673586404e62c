"""Domain lists by file and by HTTP into a real PostgreSQL."""

import gzip
import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from crawler.coordinator.intake import Verdict, ZoneRow, intake
from crawler.zones.settings import IntakeSettings, ZoneSource
from storage.database import Connection, Pool
from storage.database import pool as opened_pool

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with opened_pool(database_url, connections=2) as pool:
        yield pool


def zipped(*members: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for number, member in enumerate(members):
            archive.writestr(f"../{number}.csv", member)
    return out.getvalue()


def damaged(data: bytes, at: int) -> bytes:
    return data[:at] + bytes(byte ^ 0xFF for byte in data[at : at + 4]) + data[at + 4 :]


PLAIN = (
    b"# names of .ch\r\nExample.CH.\r\nwww.example.ch\r\nz\xc3\xbcrich.ch\r\n\r\nother.ch # new\r\n"
)
CSV = b'"id","Domain"\n1,example.ch\n2,"www.example.ch"\n3,xn--zrich-kva.ch\n4,other.ch\n'
FORMS = {
    "plain": (PLAIN, {}),
    "gzip": (gzip.compress(PLAIN), {}),
    "zip": (zipped(PLAIN), {}),
    "csv": (CSV, {}),
    "csv column": (CSV, {"format": "csv", "column": "domain"}),
    "csv with semicolons": (CSV.replace(b",", b";"), {}),
    "csv with tabs": (CSV.replace(b",", b"\t"), {"column": "domain"}),
    "csv with a byte order mark": (b"\xef\xbb\xbf" + CSV, {}),
    "a comma in a comment": (b"# a, b\n" + PLAIN, {}),
    "csv zip": (zipped(CSV), {"column": "Domain"}),
    "csv without a header": (
        b"\n".join(line.split(b",")[1] + b",x" for line in CSV.split(b"\n")[1:-1]),
        {},
    ),
}
NAMES = {"example.ch", "other.ch", "xn--zrich-kva.ch"}


async def take(pool: Pool, directory: Path, source: ZoneSource) -> ZoneRow:
    said: list[str] = []
    (row,) = await intake(
        pool, [source], IntakeSettings(), state_dir=directory / "state", progress=said.append
    )
    assert said
    return row


async def take_data(pool: Pool, directory: Path, data: bytes, **settings: Any) -> ZoneRow:
    path = directory / "list"
    path.write_bytes(data)
    return await take(pool, directory, ZoneSource(zone="ch", kind="list", path=path, **settings))


async def names_of(connection: Connection) -> set[str]:
    rows = await connection.fetch("SELECT * FROM delegation WHERE missing_since IS NULL")
    assert all(row["ds"] is None and row["ns"] == [] for row in rows)
    return {row["domain"] for row in rows}


async def test_forms(pool: Pool, connection: Connection, tmp_path: Path) -> None:
    for what, (data, settings) in FORMS.items():
        row = await take_data(pool, tmp_path, data, **settings)
        assert row.verdict in (Verdict.ACCEPTED, Verdict.UNCHANGED), (what, row.reason)
        assert (row.delegations, row.signed, row.serial) == (3, None, None), what
        assert await names_of(connection) == NAMES, what


async def test_refused(pool: Pool, connection: Connection, tmp_path: Path) -> None:
    assert (await take_data(pool, tmp_path, PLAIN)).verdict is Verdict.ACCEPTED
    for data, reason in (
        (b"<html>", "HTML"),
        (b"", "empty"),
        (b"example.com\nexample.net\n", "no names below ch"),
        (b"not a name at all..\n" * 10, "no names"),
        (zipped(PLAIN, PLAIN), "zip of 2 files"),
        (zipped(PLAIN)[:-10], "damaged zip"),
        (zipped(b"\n" * 10_000_000), "times its size"),
        (damaged(zipped(PLAIN), 60), "damaged zip"),
        (damaged(zipped(PLAIN, method=zipfile.ZIP_LZMA), 60), "damaged zip"),
        (damaged(zipped(PLAIN, method=zipfile.ZIP_BZIP2), 60), "damaged zip"),
        (gzip.compress(PLAIN)[:-4], "cut or damaged"),
        (PLAIN.decode().encode("utf-16"), "no names"),
        (PLAIN.decode().encode("latin-1"), "no names"),
        (b'domain,x\n"example.ch,1\n' + b"other.ch,1\n" * 20_000, "field larger"),
        (b"x" * 3_000_000, "64 KiB"),
    ):
        row = await take_data(pool, tmp_path, data)
        assert row.verdict is Verdict.REFUSED
        assert reason in str(row.reason)
    row = await take_data(pool, tmp_path, CSV, column="name")
    assert "no column 'name'" in str(row.reason)
    assert await names_of(connection) == NAMES


async def test_half_a_list(pool: Pool, connection: Connection, tmp_path: Path) -> None:
    names = [b"n%d.ch\n" % number for number in range(200)]
    assert (await take_data(pool, tmp_path, b"".join(names))).verdict is Verdict.ACCEPTED
    row = await take_data(pool, tmp_path, b"".join(names[:100]))
    assert row.verdict is Verdict.REFUSED
    assert "100 of 200 delegations are gone" in str(row.reason)
    assert len(await names_of(connection)) == 200


async def test_u_labels(pool: Pool, connection: Connection, tmp_path: Path) -> None:
    """As registered (RFC 5891): `ß` is a letter of its own, and some signs are no letters."""
    row = await take_data(pool, tmp_path, "straße.ch\nZÜRICH.ch\n".encode())
    assert row.verdict is Verdict.ACCEPTED
    assert await names_of(connection) == {"xn--strae-oqa.ch", "xn--zrich-kva.ch"}
    assert (await take_data(pool, tmp_path, "☃.ch\n".encode())).verdict is Verdict.REFUSED


async def test_by_http(pool: Pool, connection: Connection, tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path != "/names.gz":
            raise web.HTTPNotFound
        return web.Response(body=gzip.compress(PLAIN), headers={"Content-Encoding": "gzip"})

    app = web.Application()
    app.router.add_get("/{name}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        good = ZoneSource(zone="ch", kind="list", url=f"{base}/names.gz")
        assert (await take(pool, tmp_path, good)).verdict is Verdict.ACCEPTED
        missing = ZoneSource(zone="ch", kind="list", url=f"{base}/none")
        row = await take(pool, tmp_path, missing)
        assert (row.verdict, row.reason) == (
            Verdict.REFUSED,
            "the list did not come: HTTP 404",
        )
    finally:
        await runner.cleanup()
    assert await names_of(connection) == NAMES


async def test_a_zone_knows_more_than_a_list(
    pool: Pool, connection: Connection, tmp_path: Path
) -> None:
    """A name that is in a zone and in a list keeps its DS and NS."""
    zone = tmp_path / "zone"
    zone.write_text(
        "ch. 900 IN SOA a.ch. b.ch. 1 2 3 4 5\nother.ch. 900 IN NS ns.other.ch.\n"
        f"other.ch. 900 IN DS 1 13 2 {'ab' * 32}\n"
    )
    path = tmp_path / "list"
    path.write_bytes(PLAIN)
    names = ZoneSource(zone=".", kind="list", path=path)
    for source in (names, ZoneSource(zone="ch", kind="file", path=zone)):
        assert (await take(pool, tmp_path, source)).verdict is Verdict.ACCEPTED
    path.write_bytes(PLAIN + b"third.ch\n")
    assert (await take(pool, tmp_path, names)).verdict is Verdict.ACCEPTED
    rows = await connection.fetch("SELECT domain, zone, ns FROM delegation ORDER BY domain")
    assert [tuple(row) for row in rows] == [
        ("example.ch", ".", []),
        ("other.ch", "ch", ["ns.other.ch"]),
        ("third.ch", ".", []),
        ("xn--zrich-kva.ch", ".", []),
    ]
