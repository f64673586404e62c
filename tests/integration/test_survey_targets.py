"""Which targets a probe shard has: what is promised to the servers holds over all shards."""

import asyncio
import dataclasses
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from crawler.coordinator.budget import Budget
from crawler.coordinator.engine import CrawlSettings, Engine
from crawler.coordinator.shards import Shard
from crawler.coordinator.stages import PROBE
from crawler.coordinator.state import StageState
from crawler.coordinator.targets import ProbeLine
from crawler.dns.client import Resolvers
from crawler.smtp.etiquette import network
from crawler.smtp.settings import ProbeSettings
from dane import clock
from storage import due
from storage import run as runs
from storage.copy import writer
from storage.database import connection, pool
from storage.run import RunKind
from storage.schemas import CERTIFICATE, MX_HOST, SMTP_PROBE, WANTED_HOST
from tests.integration.test_survey_engine import crawl_settings
from tests.storage_rows import batch_of

pytestmark = pytest.mark.asyncio
PASS = {"status": "pass"}


class Probing:
    """A probe line of a new run, and its rows."""

    def __init__(self, engine: Engine, visited_until: datetime | None) -> None:
        self.engine = engine
        self.line = ProbeLine(
            engine,
            PROBE,
            StageState("probe"),
            lambda: False,
            visited_until,
            Budget(engine.settings.probe),
        )

    async def hosts(self, *hosts: dict[str, Any]) -> None:
        """MX hosts with TLSA; `wanted`: how many hosts the domain has that wants it."""
        rows, wanted = [], []
        for given in hosts:
            row = {"tlsa": ["3 1 1 aa"], "tlsa_digest": "d", "operator": "net", **given}
            wanted.append({"host": row["host"], "hosts": row.pop("wanted", 1)})
            rows.append(row)
        run_id = self.engine.run.run_id
        await self.engine.store(
            [
                (MX_HOST, batch_of(MX_HOST, run_id, *rows)),
                (WANTED_HOST, batch_of(WANTED_HOST, run_id, *wanted)),
            ],
            replace=False,
        )
        await self.line.reopen(at_the_end=False)

    async def take(self) -> Shard:
        shard = await self.line.take(last=False)
        assert shard is not None
        return shard

    async def back(self, shard: Shard, **columns: Any) -> None:
        """The shard comes back, every row of it with these columns."""
        now = clock.now()
        rows = [{**row, "connected": now, **columns} for row in shard.rows.to_pylist()]
        kept = [{k: v for k, v in row.items() if k in SMTP_PROBE.schema.names} for row in rows]
        run_id = self.engine.run.run_id
        batches = [batch_of(SMTP_PROBE, run_id, *kept), batch_of(CERTIFICATE, run_id)]
        await self.line.keep(shard, batches)
        self.line.returned(shard, whole=True)

    async def all(self) -> list[Shard]:
        shards = []
        while (shard := await self.line.take(last=False)) is not None:
            shards.append(shard)
        return shards


@asynccontextmanager
async def probing(
    url: str, visited_until: datetime | None = None, **settings: Any
) -> AsyncIterator[Probing]:
    async with pool(url) as database, connection(url) as held, writer(url) as store:
        run = await runs.create(held, RunKind.FULL, {})
        probe = dataclasses.replace(ProbeSettings(), **settings)
        given: CrawlSettings = dataclasses.replace(crawl_settings(), probe=probe)
        nobody: Any = None  # no shard is sent
        yield Probing(
            Engine(database, store, run, nobody, given, (), Resolvers(()), asyncio.Event(), {}),
            visited_until,
        )


def keys(shard: Shard) -> list[tuple[str, str, str, str]]:
    rows = shard.rows.to_pylist()
    return [(row["address"], row["tlsa_digest"], row["operator"], row["sni"]) for row in rows]


async def test_a_probe_an_address_tlsa_rrset_operator_and_name(database_url: str) -> None:
    async with probing(database_url) as here:
        await here.hosts(
            {"host": "mx1.net", "addresses": ["192.0.2.1", "2001:db8::1"], "operator": "mx1.net"},
            {
                "host": "mx2.net",
                "addresses": ["192.0.2.1"],
                "tlsa_base": "mx1.net",
                "operator": "mx2.net",
            },
            {"host": "decided.net", "addresses": ["192.0.2.9"], "status": "tlsa_failed"},
        )
        shard = await here.take()
        assert sorted(keys(shard)) == [
            ("192.0.2.1", "d", "mx1.net", "mx1.net"),
            # the same base domain behind another operator's alias
            ("192.0.2.1", "d", "mx2.net", "mx1.net"),
            ("2001:db8::1", "d", "mx1.net", "mx1.net"),
        ]
        await here.back(shard, **PASS)
        assert not await here.all()


async def test_names_at_an_address_are_sampled_whoever_operates_them(database_url: str) -> None:
    async with probing(database_url, names_per_key=5) as here:
        await here.hosts(
            *(
                {"host": f"mx.tenant{number}.example", "addresses": ["192.0.2.1"]}
                | {"operator": f"tenant{number}.example"}
                for number in range(30)
            ),
            {"host": "mx.other.example", "addresses": ["192.0.2.1"], "tlsa_digest": "other"},
        )
        shards = [shard async for shard in until_done(here)]
        probed = Counter(key[:2] for shard in shards for key in keys(shard))
        assert probed == {("192.0.2.1", "d"): 5, ("192.0.2.1", "other"): 1}
        # what comes later is counted with what is stored
        await here.hosts({"host": "mx.late.example", "addresses": ["192.0.2.1"]})
        assert not await here.all()


async def until_done(here: Probing) -> AsyncIterator[Shard]:
    """Shards one after the other, each back before the next is asked for."""
    while (shard := await here.line.take(last=False)) is not None:
        yield shard
        await here.back(shard, **PASS)
        here.line._visited.clear()  # as if the interval were over


async def test_operators_and_networks_are_in_one_shard_at_a_time(database_url: str) -> None:
    async with probing(database_url, new_per_s=0.1) as here:  # a dozen targets a shard
        await here.hosts(
            *(
                {"host": f"mx{number}.net", "addresses": [f"192.0.{number % 7}.{number}"]}
                | {"operator": f"operator-{number % 11}"}
                for number in range(100)
            )
        )
        seen: set[str] = set()
        out: list[Shard] = []
        while len(seen) < 100:
            taken = await here.all()
            out += taken
            groups: Counter[str] = Counter()
            for shard in out:
                rows = shard.rows.to_pylist()
                groups.update({row["operator"] for row in rows})
                groups.update({network(row["address"]) for row in rows})
            assert set(groups.values()) == {1}
            shard = out.pop(0)
            seen |= {row["host"] for row in shard.rows.to_pylist()}
            await here.back(shard, **PASS)


async def test_an_address_is_told_from_when_on_it_may_be_visited(database_url: str) -> None:
    async with probing(database_url, address_interval_s=50.0) as here:
        await here.hosts({"host": "a.net", "addresses": ["192.0.2.1"]})
        shard = await here.take()
        assert shard.rows.column("not_before").null_count == 1
        before = clock.now()
        await here.back(shard, **PASS)
        await here.hosts(
            {"host": "b.net", "addresses": ["192.0.2.1"]},
            {"host": "c.net", "addresses": ["192.0.2.2"]},
        )
        rows = {row["host"]: row for row in (await here.take()).rows.to_pylist()}
        assert rows["b.net"]["not_before"] >= before + timedelta(seconds=50)
        assert rows["c.net"]["not_before"] is None


async def test_after_a_restart_every_address_counts_as_just_visited(database_url: str) -> None:
    until = clock.now()
    async with probing(database_url, until, address_interval_s=50.0) as here:
        await here.hosts({"host": "a.net", "addresses": ["192.0.2.1"]})
        (row,) = (await here.take()).rows.to_pylist()
        assert row["not_before"] == until + timedelta(seconds=50)


async def test_what_a_lost_shard_may_have_visited_rests(database_url: str) -> None:
    async with probing(database_url, address_interval_s=50.0) as here:
        await here.hosts({"host": "a.net", "addresses": ["192.0.2.1"]})
        before = clock.now()
        here.line.returned(await here.take(), whole=False)
        (row,) = (await here.take()).rows.to_pylist()
        assert row["not_before"] >= before + timedelta(seconds=50)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"most_per_domain": 4}, "addresses for the mail of one domain"),
        ({"most_per_operator": 6}, "targets of one operator"),
        ({"most_per_network": 6}, "targets in one network"),
    ],
)
async def test_what_is_beyond_the_budgets_is_unprobed_with_the_reason(
    database_url: str, settings: dict[str, int], reason: str
) -> None:
    addresses = [f"192.0.2.{number}" for number in range(1, 13)]
    async with probing(database_url, new_per_s=0.05, **settings) as here:
        await here.hosts(
            {"host": "a.net", "addresses": addresses, "wanted": 2, "operator": "net"},
            {"host": "fine.org", "addresses": ["198.51.100.1"], "operator": "org"},
        )
        shards = [shard async for shard in until_done(here)]
        hosts = Counter(row["host"] for shard in shards for row in shard.rows.to_pylist())
        assert hosts["fine.org"] == 1
        assert hosts["a.net"] == 2 if "most_per_domain" in settings else hosts["a.net"] >= 6
        assert hosts["a.net"] < 12
        await here.line.reopen(at_the_end=True)
        assert not await here.all()
        async with here.engine.connection() as held:
            rows = await held.fetch("SELECT address, status, error FROM smtp_probe")
        beyond = [row for row in rows if row["status"] == "unprobed"]
        assert len(beyond) == 12 - hosts["a.net"]
        assert all(reason in row["error"] for row in beyond)
        assert {row["address"] for row in rows} == {*addresses, "198.51.100.1"}


async def test_later_attempts_when_their_time_has_come(database_url: str) -> None:
    async with probing(
        database_url, attempts_after_s=(100.0, 1000.0), address_interval_s=0.0
    ) as here:
        await here.hosts({"host": "a.net", "addresses": ["192.0.2.1"]})
        shard = await here.take()
        connected = clock.now() - timedelta(seconds=90)
        await here.back(shard, status="mismatch", connected=connected)
        assert not await here.all()
        assert here.line.state.next_at == pytest.approx(connected.timestamp() + 100, abs=0.01)
        async with here.engine.connection() as held:
            await held.execute("UPDATE smtp_probe SET connected = connected - interval '20 s'")
        again = await here.take()
        assert again.rows.column("attempt").to_pylist() == [2]
        assert keys(again) == keys(shard)
        await here.back(again, status="mismatch")
        assert not await here.all()


async def test_what_came_back_while_the_database_was_asked_is_not_handed_out_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question may have begun before the rows were committed."""
    async with probing(database_url) as here:
        await here.hosts({"host": "a.net", "addresses": ["192.0.2.1"]})
        shard = await here.take()
        await here.line.reopen(at_the_end=False)
        asked = due.probed

        async def slowly(connection: Any, run: Any, addresses: Any) -> Any:
            rows = await asked(connection, run, addresses)
            await here.back(shard, **PASS)
            return rows

        monkeypatch.setattr(due, "probed", slowly)
        assert await here.line.take(last=False) is None
        monkeypatch.setattr(due, "probed", asked)
        assert not await here.all()
