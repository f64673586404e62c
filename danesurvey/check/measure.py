"""Runs the scans of the survey for some domains, and tells each as soon as it is known.

A fresh resolver, so that nothing is stale; three looks at what fails, with flushes between
them; one connection to each address, and another to those that fail, with all the manners of
the survey (docs/ethics.md). What is good is told after the first round: only then are failing
lookups asked for again, and failing servers visited again.
"""

import contextlib
import socket
import tempfile
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Literal, Self, TypeVar

import pyarrow as pa

import crawler.scan
from crawler.dns.client import Resolvers
from crawler.dns.unbound import Unbound
from crawler.operators import merges
from crawler.scan import authority, hosts, misplaced, probe, resolve
from crawler.scan.context import LookupKind, ScanContext
from crawler.scan.misplaced import Misplaced
from crawler.smtp.etiquette import missing_identity, require_identity
from dane.faults import LocalTrouble
from dane.names import bucket
from dane.outcomes import HostStatus
from danesurvey.check.findings import (
    RUN_ID,
    Findings,
    Measured,
    domain_failed,
    host_failed,
)
from danesurvey.check.lookups import LAST_PASS, Lookups, Row
from danesurvey.resolvers import resolvers_of, running
from danesurvey.settings import Settings
from storage.schemas import AUTHORITY, CERTIFICATE, DOMAIN_MX, MX_HOST, SMTP_PROBE, Table

T = TypeVar("T")

_RECOVERY_S = 15.0  # a person waits: canaries that stay bad end it sooner than in a survey
_STOP_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked beside the domains.

    `mx`: this host instead of the domain's own MX hosts. `at`: when certificates must be
    valid. `resolver`: one that runs already, as (address, port) on loopback.
    """

    families: frozenset[Literal[4, 6]] = frozenset({4, 6})
    mx: str | None = None
    at: datetime | None = None
    resolver: tuple[str, int] | None = None


class Checker:
    """A context manager that holds the resolvers while domains are measured.

    Without an identity mail servers are not connected to: they are `unprobed`.

    Raises UsageFault for a name that cannot be one, LocalTrouble without a resolver that can be
    believed.
    """

    def __init__(self, settings: Settings, request: Request) -> None:
        self.connects = not missing_identity(settings.probe) or bool(settings.probe.lab_addresses)
        if self.connects:
            require_identity(settings.probe)
        self._settings = settings
        self._request = request
        self._stack = contextlib.ExitStack()
        self._unbounds: list[Unbound] = []
        patience_s = min(_RECOVERY_S, settings.canaries.recovery_s)
        self._context = ScanContext(
            run_id=RUN_ID,
            schemas=(),
            resolvers=Resolvers(first=()),
            client=settings.client,
            canaries=replace(settings.canaries, recovery_s=patience_s),
            # A second handshake would keep the person waiting for another minute.
            probe=replace(settings.probe, both_key_types=False),
            operator_merges=merges(settings.probe.operator_merges),
            at=request.at,
            families=frozenset({4, 6}) if self.connects else frozenset(),
            lab_networks=authority.lab_networks(settings.resolver, settings.probe),
        )
        self._visited: dict[str, float] = {}  # by address, when a visit ended (monotonic)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._context = replace(self._context, resolvers=self._start(stack))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _start(self, stack: contextlib.ExitStack) -> Resolvers:
        if self._request.resolver is not None:
            return Resolvers(first=(self._request.resolver,))
        resolver = self._settings.resolver
        if resolver.address is None:
            first, second = _free_ports()
            resolver = replace(resolver, port=first, second_look_port=second, threads=1)
        directory = self._settings.state_dir / "check"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            scratch = stack.enter_context(tempfile.TemporaryDirectory(dir=directory))
        except OSError as error:
            raise LocalTrouble(f"{directory}: {error.strerror}") from None
        own = {"state_dir": Path(scratch), "resolver": resolver}
        self._unbounds = stack.enter_context(running(self._settings.model_copy(update=own)))
        return resolvers_of(self._unbounds)

    def measure(self, domains: Sequence[str]) -> Generator[Measured, None, None]:
        """Measure domains (keys of `dane.names`) at once; each is told when it is finished."""
        for measured in self._measure(domains):
            yield replace(measured, misplaced=self._misplaced(measured))

    def _misplaced(self, measured: Measured) -> list[Misplaced]:
        """TLSA records for a domain where nobody looks."""
        if not measured.domain_mx["secure"]:
            return []
        by_status = {
            status: [name for name, row in measured.hosts.items() if row["status"] == status]
            for status in (HostStatus.ABSENT, HostStatus.INSECURE, HostStatus.NO_ADDRESS)
        }
        without_tlsa = by_status[HostStatus.ABSENT] + by_status[HostStatus.INSECURE]
        without_address = by_status[HostStatus.NO_ADDRESS]
        if not without_tlsa and not without_address:
            return []
        looking = partial(
            misplaced.scan, measured.domain, without_tlsa, without_address, self._context
        )
        with _in_thread(looking) as scanning:
            return scanning.result()

    def _measure(self, domains: Sequence[str]) -> Generator[Measured, None, None]:
        found = Findings(
            domains,
            Lookups(self._resolve, DOMAIN_MX, domain_failed),
            Lookups(self._look_up_hosts, MX_HOST, host_failed),
            self._context,
        )
        self._look_up(found, passes=1)
        yield from found.finished(found.open)
        yield from self._visit(found, attempt=1)
        if found.open:
            self._look_up(found, passes=LAST_PASS)
            found.authority = self._ask_authorities(found)
            yield from found.finished(found.open)
        attempt = 1
        while found.open:
            attempt += 1
            yield from self._visit(found, attempt)

    def _look_up(self, found: Findings, passes: int) -> None:
        """Up to so many passes over the open domains, and then over their hosts."""
        self._in_passes(found.domains, found.open, passes)
        self._in_passes(found.hosts, found.wanted_hosts(), passes)

    def _in_passes(self, lookups: Lookups, names: Collection[str], passes: int) -> None:
        for number in range(1, passes + 1):
            if due := lookups.due(names, number):
                if number > 1:
                    for unbound in self._unbounds:
                        unbound.flush()
                lookups.ask(due, number)

    def _resolve(self, shard: pa.RecordBatch, passes: int) -> list[Row]:
        rows = _apart(partial(resolve.scan, shard, self._lookup(DOMAIN_MX, passes)))
        return [_only_host(row, self._request.mx) if self._request.mx else row for row in rows]

    def _look_up_hosts(self, shard: pa.RecordBatch, passes: int) -> list[Row]:
        rows = _apart(partial(hosts.scan, shard, self._lookup(MX_HOST, passes)))
        for row in rows:
            of_family = [one for one in row["addresses"] if _family(one) in self._request.families]
            row |= {"addresses": of_family, "address_total": len(of_family)}
        return rows

    def _lookup(self, table: Table, passes: int) -> ScanContext:
        kinds = {1: LookupKind.FIRST, LAST_PASS: LookupKind.LAST}
        kind = kinds.get(passes, LookupKind.LATER)
        return replace(self._context, schemas=(table.schema,), lookup=kind)

    def _visit(self, found: Findings, attempt: int) -> Iterator[Measured]:
        """One connection to each address that is due; domains as they are finished by it."""
        due = found.due_targets()
        if not due:
            return
        shard = found.shard(due, attempt)
        self._keep_distance({address for address, *_ in due})
        told: SimpleQueue[tuple[Row, Mapping[str, bytes]] | None] = SimpleQueue()
        visiting = partial(
            probe.scan,
            shard,
            replace(self._context, schemas=(SMTP_PROBE.schema, CERTIFICATE.schema), canaries=None),
            on_row=lambda row, ders: told.put((row, ders)),
        )
        with _in_thread(visiting) as scanning:
            scanning.add_done_callback(lambda _: told.put(None))
            while (one := told.get()) is not None:
                row, ders = one
                if self.connects:
                    self._visited[row["address"]] = time.monotonic()
                chain = (digest for digest in row["chain"] if digest in ders)
                found.certificates.update((digest, ders[digest]) for digest in chain)
                target = found.add_attempt({**row, "run_id": RUN_ID})
                yield from found.finished(due[target])
            scanning.result()  # raises what ended it early

    def _keep_distance(self, addresses: Iterable[str]) -> None:
        """Wait until the last visit to each of them is long enough ago."""
        ends = [self._visited[one] for one in addresses if one in self._visited]
        if ends:
            due = max(ends) + self._settings.probe.address_interval_s
            time.sleep(max(0.0, due - time.monotonic()))

    def _ask_authorities(self, found: Findings) -> list[Row]:
        """What each server does with the questions that fail; `asked_for` names whose they are."""
        asked_for: dict[tuple[str, str], set[str]] = {}
        for whose, name, rrtype in found.failing_questions():
            asked_for.setdefault((name, rrtype), set()).add(whose)
        if not asked_for:
            return []
        shard = [
            {"bucket": bucket(name), "name": name, "rrtype": rrtype} for name, rrtype in asked_for
        ]
        fields = [AUTHORITY.schema.field(column) for column in ("bucket", "name", "rrtype")]
        rows = _apart(
            partial(
                authority.scan,
                pa.RecordBatch.from_pylist(shard, schema=pa.schema(fields)),
                replace(self._context, schemas=(AUTHORITY.schema,)),
            )
        )
        return [{**row, "asked_for": asked_for[row["name"], row["rrtype"]]} for row in rows]


@contextlib.contextmanager
def _in_thread(scan: Callable[[], T]) -> Iterator["Future[T]"]:
    """A scan in a thread of its own, which ends with the block: Ctrl-C reaches the main one."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        scanning = pool.submit(scan)
        try:
            yield scanning
        finally:
            while not scanning.done():  # it may not have begun yet
                crawler.scan.stop()
                wait([scanning], timeout=_STOP_S)


def _apart(scan: Callable[[], pa.RecordBatch]) -> list[Row]:
    """The rows of a scan."""
    with _in_thread(scan) as scanning:
        rows: list[Row] = scanning.result().to_pylist()
        return rows


def _only_host(row: Row, host: str) -> Row:
    """The domain as if this were its only MX host."""
    known = dict(zip(row["mx_host"], row["mx_preference"], strict=True))
    excess: Row = {"mx_excess_host": [], "mx_excess_preference": []}
    return {
        **row,
        **excess,
        "mx_host": [host],
        "mx_preference": [known.get(host, 0)],
        "mx_total": 1,
    }


def _family(address: str) -> int:
    return 6 if ":" in address else 4


def _free_ports() -> tuple[int, int]:
    """Two ports of 127.0.0.1 that are free for UDP and TCP now."""
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < 2:
            stream = stack.enter_context(socket.socket())
            stream.bind(("127.0.0.1", 0))
            port = int(stream.getsockname()[1])
            datagrams = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            with contextlib.suppress(OSError):
                datagrams.bind(("127.0.0.1", port))
                ports.append(port)
        return ports[0], ports[1]
