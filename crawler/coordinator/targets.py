"""The line of the stage probe: every (address, TLSA RRset, operator, SNI) is connected to.

What is promised to the servers holds over shards that come and go (docs/ethics.md). A scan
keeps it within its shard; between shards, here:

- An operator's names and a network's addresses (/24, /48) are in one shard at a time, so that
  whoever counts the connections to them counts all of them.
- A shard has only so many of an operator's and of a network's that they do not hold it up.
- An address is told from when on it may be connected to again (`not_before`). After a restart
  of this process, and where a worker was lost, every address counts as just visited.
- Of the names at one (address, TLSA RRset) so many are probed (`names_per_key`), the first that
  are due, whoever operates them. What has a row or is under way counts.
- Who publishes many addresses costs us no more than a share: `Budget`.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pyarrow as pa

from crawler.coordinator.budget import Budget
from crawler.coordinator.engine import Engine
from crawler.coordinator.frontier import Frontier, buckets_of
from crawler.coordinator.line import StageLine
from crawler.coordinator.lookups import LINGER_S
from crawler.coordinator.quarantine import blank
from crawler.coordinator.shards import Shard
from crawler.coordinator.stage import Stage
from crawler.coordinator.state import StageState
from crawler.scan.context import ScanContext
from crawler.smtp.etiquette import network
from dane import clock
from dane.names import BUCKETS, bucket
from dane.outcomes import HostStatus
from storage import due
from storage.copy import Stored
from storage.database import Connection, patiently
from storage.due import ASK_PROBE
from storage.schemas import SMTP_PROBE

SHARD_S = 120.0  # of new connections at their rate
VISIT_S = 5.0  # about; how many of one operator's a shard may have follows from it
CONNECTIONS_A_ROW = 2  # a failed handshake, or another key type, is one more
_FETCH_ROWS = 20_000
_FEW = 20  # targets: so many are worth a shard while the stage before is at work

Key = tuple[str, str, str, str]  # address, tlsa_digest, operator, sni
Row = Mapping[str, Any]  # the columns of ASK_PROBE


class ProbeLine(StageLine):
    """First attempts and later ones. `before`: whether the stage before is at work.

    `visited_until`: when the last connection of an earlier process may have ended.
    """

    fetched = True

    def __init__(
        self,
        engine: Engine,
        stage: Stage,
        state: StageState,
        before: Callable[[], bool],
        visited_until: datetime | None,
        budget: Budget,
    ) -> None:
        super().__init__(engine, stage, state)
        self.retry_wait_s = max(
            engine.settings.survey.worker_lost_wait_s, engine.settings.probe.address_interval_s
        )
        self._before = before
        self._frontier = Frontier()
        self._budget = budget
        self._interval = timedelta(seconds=engine.settings.probe.address_interval_s)
        self._visited_until = visited_until
        self._visited: dict[str, datetime] = {}  # when the last visit of an address ended
        self._taken: dict[tuple[Key, int], None] = {}  # targets that are under way
        self._names: Counter[tuple[str, str]] = Counter()  # of those, by address and TLSA RRset
        # Came back since the latest questions began, which may not have seen their rows.
        self._back: set[tuple[Key, int]] = set()
        self._early: dict[int, set[tuple[Key, int]]] = {}  # stored attempts, by shard under way
        self._busy: Counter[str] = Counter()  # operators and networks of those
        self._lingers_until: float | None = None
        self._closing = False

    async def reopen(self, *, at_the_end: bool) -> None:
        self._frontier.open(range(BUCKETS))
        self._closing = at_the_end
        if at_the_end:
            return

        async def probed(held: Connection) -> list[Any]:
            batches = due.probed_by(held, self.engine.run, _FETCH_ROWS)
            return [row async for rows in batches for row in rows]

        for row in await patiently(self.engine.pool, probed):
            self._budget.spend(row, row["targets"])

    def open(self, rows: pa.RecordBatch, _: Stored) -> None:
        """These hosts have new rows."""
        self._frontier.open(buckets_of(rows))

    # --- what is due --------------------------------------------------------------------------

    async def take(self, *, last: bool) -> Shard | None:
        settings = self.engine.settings.probe
        most = max(1, int(SHARD_S * settings.new_per_s / self.engine.nodes))
        plan = _Plan(self, most)
        self._back.clear()  # the database has the rows of all that came back until now
        self.look_at, dates = math.inf, list[datetime]()
        for attempt, rest_s in enumerate(settings.attempts_after_s, start=2):
            until = clock.now() - timedelta(seconds=rest_s)
            rows = await self._again(attempt, until, most)
            for row in rows:
                plan.add(dict(row))
            following = await patiently(
                self.engine.pool,
                partial(due.next_target, run=self.engine.run, attempt=attempt, after=until),
            )
            if following is not None:
                dates.append(following + timedelta(seconds=rest_s))
        left: list[range] = []
        while not plan.full and (buckets := self._frontier.take()) is not None:
            before = plan.asked
            whole = await self._first(buckets, plan)
            self._frontier.had(buckets, plan.asked - before, most)
            if not whole:
                left.append(buckets)
        for one in left:
            self._frontier.open(one)
        dates += plan.dates
        await self._mark_reached(plan)
        next_at = min(dates, default=None)
        self.state.next_at = None if next_at is None else next_at.timestamp()
        if next_at is not None:
            rest_s = max(0.0, (next_at - clock.now()).total_seconds())
            self.look_at = min(self.look_at, time.monotonic() + rest_s)
        return self._hand(plan)

    async def _mark_reached(self, plan: "_Plan") -> None:
        """Say whose visit is a canary of port 25."""
        addresses = {row["address"] for row in plan.rows}
        reached = await patiently(
            self.engine.pool, partial(due.reached, run=self.engine.run, addresses=addresses)
        )
        for row in plan.rows:
            row["reached"] = row["address"] in reached

    def _hand(self, plan: "_Plan") -> Shard | None:
        now = time.monotonic()
        if len(plan.rows) < _FEW and plan.rows and self._before():
            # A shard of few that meets a silent server would keep its slot from the others.
            self._lingers_until = self._lingers_until or now + LINGER_S
            if now < self._lingers_until:
                self._frontier.open({bucket(row["host"]) for row in plan.rows})
                self.look_at = min(self.look_at, self._lingers_until)
                return None
        self._lingers_until = None
        if not plan.rows:
            return None
        self.look_at = 0.0
        for row in plan.rows:
            key = _key(row)
            self._taken[key, row["attempt"]] = None
            self._names[key[:2]] += row["attempt"] == 1
            self._busy.update(_groups(row))
            self._budget.spend(row)
        return Shard(pa.RecordBatch.from_pylist(plan.rows, schema=ASK_PROBE))

    async def _again(self, attempt: int, until: datetime, most: int) -> Sequence[Any]:
        rows = most + len(self._taken)
        return await patiently(
            self.engine.pool,
            lambda held: due.targets_again(held, self.engine.run, attempt, until, rows),
        )

    async def _first(self, buckets: range, plan: "_Plan") -> bool:
        """Add what hosts of these buckets have not been probed for; False if some must wait."""
        engine = self.engine
        hosts = await patiently(
            engine.pool, lambda held: due.hosts_to_probe(held, engine.run, buckets)
        )
        addresses = sorted({address for host in hosts for address in host["addresses"]})
        probed: set[Key] = set()
        names: Counter[tuple[str, str]] = Counter()
        for row in await patiently(
            engine.pool, lambda held: due.probed(held, engine.run, addresses)
        ):
            probed.add(_key(row))
            names[row["address"], row["tlsa_digest"]] += 1
        whole = True
        beyond: list[tuple[Row, str]] = []
        for host in hosts:
            for number, address in enumerate(self._budget.order(host)):
                row = _first_attempt(host, address)
                key = _key(row)
                taken = self._names[key[:2]] + plan.names[key[:2]]
                attempt = (key, 1)
                if key in probed or attempt in self._taken or key in plan.keys:
                    continue
                if attempt in self._back:
                    whole = False  # the next question will see whether it has a row
                    continue
                if names[key[:2]] + taken >= engine.settings.probe.names_per_key:
                    continue
                reason = self._budget.refusal(row, number, host["hosts"])
                if reason is not None:
                    beyond.append((row, reason))
                elif not plan.add(row):
                    whole = False
        if self._closing:
            await self._unprobed(beyond)
        return whole

    async def _unprobed(self, beyond: Sequence[tuple[Row, str]]) -> None:
        """Store what is beyond the budgets of the run as such, with the reason."""
        rows = {_key(row): self._beyond(row, reason) for row, reason in beyond}
        if rows:
            batch = pa.RecordBatch.from_pylist(list(rows.values()), schema=SMTP_PROBE.schema)
            await self.engine.store([(SMTP_PROBE, batch)], replace=True)
            self.count(batch)

    def _beyond(self, row: Row, reason: str) -> dict[str, Any]:
        given = {name: row[name] for name in SMTP_PROBE.schema.names if name in row}
        status = HostStatus.UNPROBED.value
        run_id = self.engine.run.run_id
        return {**blank(SMTP_PROBE.schema), **given, "run_id": run_id} | {
            "status": status,
            "error": reason,
        }

    def may_visit(self, row: Row) -> bool:
        return not any(self._busy[group] for group in _groups(row))

    def has(self, row: Row) -> bool:
        return (_key(row), row["attempt"]) in self._taken

    def came_back(self, row: Row) -> bool:
        return (_key(row), row["attempt"]) in self._back

    def not_before(self, address: str) -> datetime | None:
        """When the address may be connected to again, if that is not now."""
        visited = self._visited.get(address, self._visited_until)
        return None if visited is None else visited + self._interval

    def _stored_of(self, shard: Shard) -> set[tuple[Key, int]]:
        return self._early.setdefault(id(shard), set())

    # --- what comes back ----------------------------------------------------------------------

    async def keep_early(self, shard: Shard, batches: Sequence[pa.RecordBatch]) -> None:
        await self.engine.store(self.parts(batches), replace=True)
        self._stored_of(shard).update(_attempts(batches[0]))
        self.count(batches[0])

    def stored_early(self, shard: Shard) -> list[bool]:
        early = self._early.pop(id(shard), set())
        return [one in early for one in _attempts(shard.rows)]

    async def keep(self, shard: Shard, batches: Sequence[pa.RecordBatch]) -> int:
        rows = batches[0]
        for address, connected, took_ms in zip(
            *(rows.column(name).to_pylist() for name in ("address", "connected", "duration_ms")),
            strict=True,
        ):
            self._visit(address, connected + timedelta(milliseconds=took_ms))
        # The scan's rows are all of them: those that were fetched are replaced by themselves.
        await self.engine.store(self.parts(batches), replace=True)
        early = self._stored_of(shard)
        new = pa.array([one not in early for one in _attempts(rows)], pa.bool_())
        self.count(rows.filter(new).replace_schema_metadata(rows.schema.metadata))
        return rows.num_rows

    def _visit(self, address: str, ended: datetime) -> None:
        self._visited[address] = max(ended, self._visited.get(address, ended))

    def returned(self, shard: Shard, *, whole: bool) -> None:
        self._early.pop(id(shard), None)
        rows = shard.rows.to_pylist()
        now = clock.now()
        for row in rows:
            key = _key(row)
            del self._taken[key, row["attempt"]]
            self._back.add((key, row["attempt"]))
            self._names[key[:2]] -= row["attempt"] == 1
            self._busy.subtract(_groups(row))
            if not whole:  # who knows which of them
                self._visit(row["address"], now)
        self._names, self._busy = +self._names, +self._busy
        if not whole:
            self._frontier.open({bucket(row["host"]) for row in rows})
        for address, ended in list(self._visited.items()):
            if ended + self._interval <= now:
                del self._visited[address]
        if self._visited_until is not None and self._visited_until + self._interval <= now:
            self._visited_until = None


class _Plan:
    """The targets of the next shard."""

    def __init__(self, line: ProbeLine, most: int) -> None:
        settings = line.engine.settings.probe
        self.rows: list[dict[str, Any]] = []
        self.keys: set[Key] = set()
        self.names: Counter[tuple[str, str]] = Counter()
        self.dates: list[datetime] = []  # from when on others may be connected to
        self.asked = 0
        self._line = line
        self._most = most
        self._groups: Counter[str] = Counter()
        self._most_a_group = max(1, int(settings.per_operator * SHARD_S / VISIT_S))
        self._most_an_address = max(1, int(SHARD_S / max(1.0, settings.address_interval_s)))

    @property
    def full(self) -> bool:
        return len(self.rows) >= self._most

    def add(self, row: dict[str, Any]) -> bool:
        """Add a target; False if it must wait."""
        line, groups = self._line, _groups(row)
        self.asked += 1
        if line.has(row):
            return True
        if line.came_back(row):
            return False
        if self.full or not line.may_visit(row):
            return False
        place = f"address {row['address']}"
        if (
            any(self._groups[group] >= self._most_a_group for group in groups)
            or self._groups[place] >= self._most_an_address
        ):
            return False
        row["not_before"] = not_before = line.not_before(row["address"])
        if not_before is not None and not_before > clock.now() + timedelta(seconds=SHARD_S / 2):
            self.dates.append(not_before)
            return False
        self._groups.update((*groups, place))
        key = _key(row)
        self.keys.add(key)
        self.names[key[:2]] += row["attempt"] == 1
        self.rows.append(row)
        return True


def _key(row: Any) -> Key:
    return row["address"], row["tlsa_digest"], row["operator"], row["sni"]


def _attempts(rows: pa.RecordBatch) -> list[tuple[Key, int]]:
    names = ("address", "tlsa_digest", "operator", "sni", "attempt")
    columns: list[list[Any]] = [rows.column(name).to_pylist() for name in names]
    return [(one[:4], one[4]) for one in zip(*columns, strict=True)]


def _groups(row: Row) -> tuple[str, str]:
    return f"operator {row['operator']}", f"network {network(row['address'])}"


def _first_attempt(host: Any, address: str) -> dict[str, Any]:
    return {
        "bucket": bucket(address),
        "address": address,
        "attempt": 1,
        "earlier": [],
        **{
            name: host[name]
            for name in ("tlsa_digest", "operator", "sni", "host", "tlsa", "dns_asked")
        },
    }


def longest_s(context: ScanContext, rows: pa.RecordBatch) -> float:
    """How long probing `rows` may take, if every session takes as long as it may."""
    settings = context.probe
    of_operator, of_address = (
        max(Counter(rows.column(name).to_pylist()).values()) for name in ("operator", "address")
    )
    return settings.address_interval_s + CONNECTIONS_A_ROW * max(
        rows.num_rows / settings.new_per_s,
        of_operator * settings.session_s / settings.per_operator,
        of_address * (settings.address_interval_s + settings.session_s),
    )
