"""What all lines of a run share: the database, the workers, the resolvers, who is left alone."""

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import distributed
import pyarrow as pa

from crawler.coordinator import node
from crawler.coordinator.canaries import CanaryHistory
from crawler.coordinator.cluster import count, on_all
from crawler.coordinator.settings import SurveySettings
from crawler.coordinator.shards import Progress
from crawler.coordinator.state import StageState
from crawler.dns.client import Resolvers
from crawler.dns.settings import CanarySettings, ClientSettings, ResolverSettings
from crawler.dns.unbound import Unbound
from crawler.opt_out import OptOut
from crawler.scan.authority import lab_networks
from crawler.scan.canary_round import Round
from crawler.scan.context import Family, LookupKind, ScanContext
from crawler.smtp.settings import ProbeSettings
from dane.faults import LocalTrouble
from storage.copy import Stored, Writer
from storage.database import Connection, Pool, patiently
from storage.run import Run, RunKind, analyze
from storage.schemas import Table

log = logging.getLogger(__name__)

FIRST_ROWS = 5_000  # of a shard, while it is not known how long a row takes
SMALLEST_SHARD = 50
SHARDS_PER_SLOT = 3  # at least, so that the last shards end close together
_ANALYZE_FIRST = 1_000  # rows of a table; then at each _ANALYZE_MORE times as many
_ANALYZE_MORE = 8
_NO_WORKER_S = 60.0  # until it is said


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CrawlSettings:
    """The settings of everything that the crawler does."""

    resolver: ResolverSettings
    client: ClientSettings
    canaries: CanarySettings
    probe: ProbeSettings
    survey: SurveySettings


class Engine:
    """One run in one process. Made inside the event loop.

    `usual_failures`: the share of failing names of the stages resolve and hosts in the last
    run; more than three times that is taken for our own fault first.
    `families`: of addresses, that this machine has.
    """

    def __init__(
        self,
        pool: Pool,
        writer: Writer,
        run: Run,
        workers: distributed.Client,
        settings: CrawlSettings,
        unbounds: Sequence[Unbound],
        resolvers: Resolvers,
        stopping: asyncio.Event,
        usual_failures: Mapping[str, float],
        families: Collection[Family] = (4, 6),
    ) -> None:
        self.pool = pool
        self.run = run
        self.workers = workers
        self.settings = settings
        self.resolvers = resolvers
        self.stopping = stopping
        self.usual_failures = usual_failures
        self.nodes = 1  # worker processes
        self.stages: list[StageState] = []
        self.stage_changed = asyncio.Event()  # cleared by whoever shows it
        self.canaries = CanaryHistory(run.record.get("canaries", {}))
        self.opt_out = OptOut(settings.probe.opt_out)
        self._merges: Mapping[str, str] = run.record.get("operator_merges", {})
        self._families = frozenset(families)
        self._unbounds = unbounds
        self._writer = writer
        self._stored: dict[str, int] = {}

    def add_rounds(self, rounds: Iterable[Round]) -> None:
        """What the canaries of one scan showed. A resolver of ours that they blame is restarted."""
        if self.canaries.add(rounds):
            for unbound in self._unbounds:
                unbound.restart("canaries say that it does not validate")

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection of the pool, for a cursor that is read while shards are under way."""
        async with self.pool.acquire() as held:
            yield held  # type: ignore[misc]  # the pool's proxy is a connection

    async def store(
        self, parts: Sequence[tuple[Table, pa.RecordBatch]], *, replace: bool
    ) -> Stored:
        """The parts of a shard in one transaction; statistics of a table that has grown."""
        stored = await self._writer.store(parts, replace=replace)
        for table, batch in parts:
            before = self._stored.get(table.name, 0)
            self._stored[table.name] = rows = before + batch.num_rows
            mark = _ANALYZE_FIRST
            while mark <= before:
                mark *= _ANALYZE_MORE
            if rows >= mark and "run_id" in table.key:
                await patiently(self.pool, partial(analyze, table=table, run_id=self.run.run_id))
        return stored

    @property
    def writer(self) -> Writer:
        return self._writer

    async def flush_once(self) -> object | None:
        """Have all resolvers forget what they hold against servers (measurement, section 1),

        also those of a cluster's nodes; what was in the way, if anything was.
        """
        try:
            await asyncio.gather(*(asyncio.to_thread(one.flush) for one in self._unbounds))
        except LocalTrouble as trouble:
            return trouble
        # A worker may be lost just now: its successor does it.
        told = await on_all(self.workers, node.flush, on_error="return")
        return next((one for one in told.values() if one is not None), None)

    async def count_nodes(self) -> None:
        """For as long as the crawl lasts. Raises LocalTrouble when there is none for too long."""
        patience_s = self.settings.survey.patience_s
        loop = asyncio.get_running_loop()
        last, told = loop.time(), False
        while True:
            nodes = await count(self.workers)
            now = loop.time()
            if nodes:
                last, told, self.nodes = now, False, nodes
            elif now - last > patience_s:
                raise LocalTrouble(
                    f"no worker for {patience_s:g} s; `danesurvey survey` goes on from here"
                )
            elif now - last > _NO_WORKER_S and not told:
                told = True
                log.warning("no worker for %g s: waiting for new ones", now - last)
            await asyncio.sleep(2.0)

    def context(
        self,
        tables: Sequence[Table],
        *,
        share: float = 0.0,
        lookup: LookupKind = LookupKind.FIRST,
        usual_failing_share: float = 0.0,
    ) -> ScanContext:
        """What a scan that fills these tables is given; `share`: of the questions to the DNS."""
        settings, probe = self.settings, self.settings.probe
        return ScanContext(
            run_id=self.run.run_id,
            schemas=tuple(table.schema for table in tables),
            resolvers=self.resolvers,
            client=self.client(share),
            canaries=settings.canaries,
            probe=dataclasses.replace(
                probe,
                new_per_s=probe.new_per_s / self.nodes,
                both_key_types=probe.both_key_types and self.run.kind is RunKind.FULL,
            ),
            operator_merges=self._merges,
            lookup=lookup,
            usual_failing_share=usual_failing_share,
            families=self._families,
            lab_networks=lab_networks(settings.resolver, probe),
        )

    def client(self, share: float) -> ClientSettings:
        """The DNS client's settings for one scan: its share of what all of them may do.

        The window is a worker's. In a cluster, whose nodes come and go, what two more nodes
        would be given is left.
        """
        client = self.settings.client
        scans = self.nodes + (2 if self.settings.survey.scheduler else 0)
        per_s = client.questions_per_s_per_name_server_set * share / scans
        return dataclasses.replace(
            client,
            window=max(1, int(client.window * share)),
            questions_per_s_per_name_server_set=max(per_s, 1e-3),
        )

    def shard_rows(self, progress: Progress) -> int:
        """Rows of a shard that takes about `survey.shard_s`, by what the last ones took."""
        survey = self.settings.survey
        if progress.seconds_a_row is None:
            rows = FIRST_ROWS
        else:
            rows = int(survey.shard_s / progress.seconds_a_row)
        return min(max(SMALLEST_SHARD, rows), survey.shard_rows)

    def fair_rows(self, total: int) -> int:
        """Rows of a shard such that every slot gets some shards of `total` rows."""
        return max(SMALLEST_SHARD, -(-total // (self.nodes * SHARDS_PER_SLOT)))


def cut(batch: pa.RecordBatch, rows: int) -> list[pa.RecordBatch]:
    """Slices of at most `rows` rows, as even as can be; none for an empty batch."""
    parts = -(-batch.num_rows // rows) or 1
    size = -(-batch.num_rows // parts) or 1
    return [batch.slice(start, size) for start in range(0, batch.num_rows, size)]
