"""Zone files into a real PostgreSQL: what is taken in, what is refused, what is kept."""

import gzip
import lzma
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio
import zstandard

from crawler.coordinator.intake import Verdict, intake
from crawler.zones.settings import IntakeSettings, ZoneSource
from dane.faults import UsageFault
from dane.names import bucket
from dane.sample import is_sampled
from storage.database import Connection
from tests.integration.intake_run import Intake, intake_into, zone_text

pytestmark = pytest.mark.asyncio

DATA = Path(__file__).parents[3] / "shared/data/zones"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")


@pytest_asyncio.fixture
async def take(database_url: str, tmp_path: Path) -> AsyncIterator[Intake]:
    async with intake_into(database_url, tmp_path) as take:
        yield take


async def test_rows_and_snapshot(take: Intake, connection: Connection) -> None:
    row = await take.data(zone_text(["a", "b-c", "deep.c"], 7, unsigned=2))
    assert (row.verdict, row.serial, row.delegations, row.signed) == (Verdict.ACCEPTED, 7, 5, 3)
    assert (row.records, row.added, row.removed, row.written) == (10, 3, 0, 3)
    found = await connection.fetch("SELECT * FROM delegation ORDER BY domain")
    assert [dict(one) for one in found] == [
        {
            "bucket": bucket(f"{name}.example"),
            "domain": f"{name}.example",
            "zone": "example",
            "ds": [f"{len(name)} 13 2 {name.encode().hex():0>64}"],
            "ns": ["ns1.host.test"],
            "sampled_one_of": None,
            "missing_since": None,
        }
        for name in ("a", "b-c", "deep.c")
    ]
    snapshot = await connection.fetchrow("SELECT * FROM zone_snapshot")
    assert snapshot["accepted"]
    assert snapshot["reason"] is None
    assert (snapshot["serial"], snapshot["delegations"], snapshot["signed"]) == (7, 5, 3)
    assert len(snapshot["sha256"]) == 64
    assert snapshot["size"] == row.bytes == snapshot["received"]


async def test_a_sample_of_the_unsigned_stands_beside_the_signed(
    take: Intake, connection: Connection
) -> None:
    async def sampled() -> dict[str, int]:
        rows = await connection.fetch(
            "SELECT domain, sampled_one_of FROM delegation"
            " WHERE ds = '{}' AND missing_since IS NULL"
        )
        return {row["domain"]: row["sampled_one_of"] for row in rows}

    names = [f"zz{number:06}.example" for number in range(900)]
    row = await take.data(zone_text(["a"], 1, unsigned=900), unsigned_sample=30)
    assert (row.delegations, row.signed) == (901, 1)
    chosen = {name for name in names if is_sampled(name.encode(), 30)}
    assert await sampled() == dict.fromkeys(chosen, 30)
    assert 15 < len(chosen) < 45
    now_signed = min(chosen).removesuffix(".example")
    text = zone_text(["a", now_signed], 2, unsigned=900)
    await take.data(text, unsigned_sample=60)
    fewer = {name for name in chosen if is_sampled(name.encode(), 60)}
    assert await sampled() == dict.fromkeys(fewer - {f"{now_signed}.example"}, 60)
    await take.data(zone_text(["a", now_signed], 3, unsigned=900))
    assert await sampled() == {}
    assert await take.names() == {"a.example", f"{now_signed}.example"}


async def test_only_what_changed_is_written(take: Intake) -> None:
    names = [f"n{number}" for number in range(1000)]
    await take.data(zone_text(names, 1))
    row = await take.data(zone_text([*names[10:], "new1", "new2"], 2))
    assert (row.added, row.removed, row.written) == (2, 10, 12)
    again = await take.data(zone_text([*names[10:], "new1", "new2"], 2))
    assert again.verdict is Verdict.UNCHANGED


async def test_a_changed_ds_is_written(take: Intake) -> None:
    text = zone_text(["a", "b"], 1)
    await take.data(text)
    row = await take.data(text.replace(b"\t1 13 2", b"\t2 13 2", 1).replace(b" 1 1800", b" 2 1800"))
    assert (row.added, row.removed, row.written) == (0, 0, 1)


async def test_forgotten_after_three_snapshots(take: Intake, connection: Connection) -> None:
    await take.data(zone_text(["a", "b", *"defghijklmnopqrstu"], 1))
    for serial, known in ((2, True), (3, True), (4, False)):
        row = await take.data(zone_text(["a", *"defghijklmnopqrstu"], serial))
        assert row.verdict is Verdict.ACCEPTED
        assert "b.example" not in await take.names()
        kept = await connection.fetchval("SELECT count(*) FROM delegation WHERE domain='b.example'")
        assert bool(kept) is known


async def test_a_name_comes_back(take: Intake, connection: Connection) -> None:
    names = ["a", "b", *"defghijklmnopqrstu"]
    await take.data(zone_text(names, 1))
    await take.data(zone_text(names[1:], 2))
    row = await take.data(zone_text(names, 3))
    assert (row.added, row.removed) == (1, 0)
    assert "a.example" in await take.names()


async def test_the_real_changes_of_gov(take: Intake) -> None:
    if not DATA.is_dir():
        pytest.skip("../shared/data is not here")
    before: set[str] = set()
    for name in ("gov-2024-02-14.czds.txt.gz", "gov-2024-06-30.zone.gz", "gov-2026-06-30.zone.gz"):
        (row,) = await take.source(ZoneSource(zone="GOV.", kind="file", path=DATA / name))
        now = await take.names()
        assert row.verdict is Verdict.ACCEPTED
        assert (row.added, row.removed) == (len(now - before), len(before - now))
        assert row.signed == len(now)
        before = now


SHRUNK = [
    pytest.param({"unsigned": 3000}, {"unsigned": 2949}, None, id="51 of 3100, under 2 %"),
    pytest.param({"unsigned": 1000}, {"unsigned": 949}, "delegations are gone", id="51 of 1100"),
    pytest.param({"unsigned": 1000}, {"unsigned": 950}, None, id="50 of 1100"),
    pytest.param({"signed": 100}, {"signed": 89}, "signed delegations are gone", id="11 %"),
    pytest.param({"signed": 100}, {"signed": 90}, None, id="10 %"),
    pytest.param({}, {"serial": 0}, "older", id="older serial"),
    pytest.param({"serial": 2**32 - 1}, {"serial": 3}, None, id="serial wraps (RFC 1982)"),
]


@pytest.mark.parametrize(("before", "after", "reason"), SHRUNK)
async def test_loss(
    take: Intake, before: dict[str, int], after: dict[str, int], reason: str | None
) -> None:
    def text(serial: int = 1, signed: int = 100, unsigned: int = 1000) -> bytes:
        return zone_text([f"n{number:04}" for number in range(signed)], serial, unsigned=unsigned)

    assert (await take.data(text(**before))).verdict is Verdict.ACCEPTED
    old = await take.names()
    row = await take.data(text(**{"serial": 2, **after}))
    if reason is None:
        assert row.verdict is Verdict.ACCEPTED
        return
    assert row.verdict is Verdict.REFUSED
    assert reason in str(row.reason)
    assert await take.names() == old
    if "gone" in reason:
        again = await take.data(text(**{"serial": 2, **after}), accept_shrink=True)
        assert again.verdict is Verdict.ACCEPTED


REFUSED = {
    "empty": (b"", "empty"),
    "html": (b"<!DOCTYPE html><html><body>error", "HTML"),
    "json": (b'{"message": "no"}', "JSON"),
    "git-lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git-lfs"),
    "dig failed": (b"; <<>> DiG 9.18 <<>> axfr example\n; Transfer failed.\n", "transfer failed"),
    "dig timeout": (b";; communications error to 192.0.2.1#53: timed out\n", "connection failed"),
    "dig referral": (
        b";; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 1\n;; AUTHORITY SECTION:\n"
        b"example. 900 IN NS ns.example.\n",
        "dig answer",
    ),
    "a referral": (b"example. 900 IN NS ns.example.\n", "no SOA"),
    "outside": (zone_text(["a"]) + b"a.other. 900 IN NS ns.example.\n", "outside the zone"),
    "line": (zone_text(["a"]) + b"b.example. 900 IN TXT " + b"x" * 70_000 + b"\n", "64 KiB"),
    "two zones": (zone_text(["a"], 1) + zone_text(["b"], 2), "two different SOA"),
    "parentheses": (zone_text(["a"]) + b"b.example. 900 IN NS (\n", "parentheses"),
    "include": (zone_text(["a"]) + b"$INCLUDE /etc/passwd\n", "not allowed"),
    "words": (b"Service unavailable, please try again later\n", "line 1"),
    "cut gzip": (gzip.compress(zone_text(["a"]))[:-3], "cut or damaged"),
    "crc": (gzip.compress(zone_text(["a"]))[:-8] + bytes(8), "cut or damaged"),
    "garbage": (gzip.compress(zone_text(["a"])) + b"garbage after the end", "cut or damaged"),
    "bomb": (gzip.compress(zone_text(["a"]) + b"\n" * 70_000_000, 1), "times its size"),
    "cut xz": (lzma.compress(zone_text(["a"]))[:-9], "cut or damaged"),
    "xz memory": (
        lzma.compress(zone_text(["a"]), filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 28}]),
        "cut or damaged: Memory usage limit",
    ),
    "xz garbage": (lzma.compress(zone_text(["a"])) + b"garbage", "cut or damaged"),
    "cut zstd": (zstandard.compress(zone_text(["a"]))[:-3], "cut or damaged"),
    "zstd garbage": (zstandard.compress(zone_text(["a"])) + b"garbage", "cut or damaged"),
    "no delegation": (zone_text([]), "no delegation"),
    "endless set": (
        zone_text(["a"])
        + b"".join(b"b.example. 900 IN NS n%d.test.\n" % number for number in range(6000)),
        "more NS and DS records",
    ),
}


async def test_refused(take: Intake, connection: Connection) -> None:
    assert (await take.data(zone_text(["a", "b"]))).verdict is Verdict.ACCEPTED
    for what, (data, reason) in REFUSED.items():
        row = await take.data(data)
        assert row.verdict is Verdict.REFUSED, what
        assert reason in str(row.reason), what
        assert await take.names() == {"a.example", "b.example"}, what
        kept = await connection.fetchrow(
            "SELECT * FROM zone_snapshot ORDER BY snapshot_id DESC LIMIT 1"
        )
        assert not kept["accepted"]
        assert kept["reason"] == row.reason


async def cut_everywhere(take: Intake, count: int) -> None:
    """A gzip file, and a plain one that promises a final SOA, cut at random places."""
    text = zone_text([f"n{number:04}" for number in range(300)], 1, unsigned=700)
    good = await take.data(text)
    assert good.verdict is Verdict.ACCEPTED
    old = await take.names()
    text = text.replace(b"n0000", b"changed")
    packed = gzip.compress(text)
    random = Random(1)
    for _ in range(count):
        row = await take.data(packed[: random.randrange(len(packed))])
        assert row.verdict is Verdict.REFUSED
        end = random.randrange(len(text) - 1)
        row = await take.data(text[:end], promises_final_soa=True)
        assert row.verdict is Verdict.REFUSED, end
    assert await take.names() == old


async def test_cut_at_random(take: Intake) -> None:
    await cut_everywhere(take, 100)


@pytest.mark.soak
async def test_cut_at_random_a_thousand_times(take: Intake) -> None:
    await cut_everywhere(take, 1000)


async def test_a_promised_final_soa(take: Intake) -> None:
    text = zone_text(["a", "b"], final_soa=False)
    row = await take.data(text, promises_final_soa=True)
    assert row.verdict is Verdict.REFUSED
    assert "last record" in str(row.reason)
    assert (await take.data(text)).verdict is Verdict.ACCEPTED


async def test_a_missing_file_costs_only_itself(take: Intake, tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(zone_text(["a"]))
    rows = await intake(
        take.pool,
        [
            ZoneSource(zone="other", kind="file", path=tmp_path / "none"),
            ZoneSource(zone="example", kind="file", path=tmp_path / "good"),
        ],
        IntakeSettings(),
        state_dir=tmp_path / "state",
        progress=take.said.append,
    )
    assert [row.verdict for row in rows] == [Verdict.FAILED, Verdict.ACCEPTED]


async def test_one_zone_twice(take: Intake, tmp_path: Path) -> None:
    source = ZoneSource(zone="example", kind="file", path=tmp_path)
    with pytest.raises(UsageFault, match="twice"):
        await intake(
            take.pool,
            [source, ZoneSource(zone="EXAMPLE.", kind="list", path=tmp_path)],
            IntakeSettings(),
            state_dir=tmp_path,
            progress=take.said.append,
        )
