"""The zone scanner: a master file in, signed delegations and counts out.

Reading, unpacking and scanning overlap in threads (isal and Arrow release the interpreter
lock). Each block goes the fast way (`crawler.zones.plain`) if it can; a block that cannot
is tried again in pieces, and only the pieces that are not plain go through the general
reader (`crawler.zones.master`). Memory is bounded by the block size, whatever the zone's.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pyarrow as pa

from crawler.zones import compiled, plain
from crawler.zones.acceptance import foreign
from crawler.zones.assembly import Assembly, Ordered, ReadAgain, Serials, Stage, Unordered
from crawler.zones.master import MAX_LINE, Kind, MasterFile
from crawler.zones.plain import Block, Zone
from crawler.zones.spread import Spread
from dane.faults import Refused

BLOCK = 2 << 20
_PIECE = 32 << 10
_UNPACKED_AHEAD = 2  # blocks: the unpacking thread never waits for the next to be asked for


@dataclass(frozen=True, slots=True)
class ZoneScan:
    """A scanned zone. The delegations are read from its stage."""

    zone: str  # the apex, a key
    serial: int
    size: int  # bytes, unpacked
    records: int  # a repeated SOA counts once
    delegations: int
    signed: int
    ends_with_soa: bool  # the last record repeats the first SOA
    stage: Stage

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The signed delegations (`delegations.SCHEMA`), and the sample of the others, in no
        order to rely on."""
        return self.stage.batches()


def scan(
    chunks: Callable[[], Iterator[bytes]],
    stage: Callable[[], Stage],
    *,
    origin: str | None = None,
    directory: Path | None = None,
    work: Path | None = None,
    threads: int = 2,
    unsigned_sample: int = 0,
) -> ZoneScan:
    """Scan a zone.

    `chunks` opens the file's bytes anew at each call: a file whose owners are not in order,
    or more than one label below the apex, is read a second time. `origin` is the apex (a key);
    by default the owner of the first SOA is. `directory` allows `$INCLUDE` (relative to it) and
    `$GENERATE`. Temporary files are made in `work`. With `unsigned_sample` one in so many
    delegations without DS comes too, with an empty DS set (`dane.sample`). Raises Refused for
    what is not a whole zone.
    """
    apex = _apex(_known(chunks()), directory) if origin is None else origin
    zone = Zone(apex, unsigned_sample)
    with _system_memory():
        for ordered in (True, False):
            staged = stage()
            try:
                if ordered:
                    return _pass(zone, chunks(), Ordered(staged, zone), staged, directory, threads)
                with Spread(zone, work) as spread:
                    unordered = Unordered(staged, spread)
                    return _pass(zone, chunks(), unordered, staged, directory, threads)
            except ReadAgain:
                staged.close()
            except BaseException:
                staged.close()
                raise
    raise AssertionError("what is read without an order is never out of it")


def _pass(
    zone: Zone,
    chunks: Iterator[bytes],
    assembly: Assembly,
    stage: Stage,
    directory: Path | None,
    threads: int,
) -> ZoneScan:
    """Read the zone once. Raises ReadAgain, Refused."""
    scanner = _Scanner(zone, assembly, directory)
    with (
        ThreadPoolExecutor(1, "unpack") as unpacker,
        ThreadPoolExecutor(threads, "zone") as readers,
    ):
        scanner.run(_Blocks(_known(chunks)), unpacker, readers, threads)
    count = assembly.finish()
    stage.finish()
    return scanner.result(count, stage)


@contextmanager
def _system_memory() -> Iterator[None]:
    """Arrow's own pool keeps much of what large, short-lived arrays of many threads used."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def _apex(chunks: Iterator[bytes], directory: Path | None) -> str:
    """The owner of the first SOA, which registry files begin with."""
    for block in _Blocks(chunks):
        for record in MasterFile(None, directory=directory).read(_lines(bytes(block))):
            if record.kind is Kind.SOA:
                return record.owner
        break
    raise Refused("no SOA record: not a whole zone (or give the origin)")


def _known(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The chunks. Raises Refused if they begin as something that is no zone."""
    first = next(chunks, b"")
    if what := foreign(first):
        raise Refused(what)
    yield first
    yield from chunks


class _Blocks:
    """Blocks of whole lines: each begins with a newline, and ends with one.

    They lie in a few buffers that are used again: the pages of new ones cost more than what
    is copied into them.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._free: list[bytearray] = []

    def __iter__(self) -> Iterator[memoryview]:
        rest = b""
        for chunk in self._chunks:
            end = chunk.rfind(b"\n") + 1
            if end:
                yield self._block(rest, memoryview(chunk)[:end])
                rest = chunk[end:]
            else:
                rest += chunk
            if len(rest) > MAX_LINE + 1:
                raise Refused("a line over 64 KiB")
        if rest:
            yield self._block(rest, b"\n")

    def _block(self, start: bytes, end: bytes | memoryview) -> memoryview:
        after = 1 + len(start)
        length = after + len(end)
        buffer = self._free.pop() if self._free else bytearray()
        if len(buffer) < length:
            buffer = bytearray(length + MAX_LINE)
        buffer[0] = ord("\n")
        buffer[1:after] = start
        buffer[after:length] = end
        return memoryview(buffer)[:length]

    def release(self, block: memoryview) -> None:
        """The block is not looked at again."""
        self._free.append(cast(bytearray, block.obj))


def _lines(block: bytes) -> list[bytes]:
    return block.split(b"\n")[1:-1]


def _pieces(block: bytes) -> Iterator[bytes]:
    """The block in blocks of about 32 KiB."""
    at = 0
    while at < len(block) - 1:
        end = block.find(b"\n", at + _PIECE)
        end = end if end > 0 else len(block) - 1
        yield block[at : end + 1]
        at = end


class _Scanner:
    """One pass over a zone."""

    def __init__(self, zone: Zone, assembly: Assembly, directory: Path | None) -> None:
        self._zone = zone
        self._assembly = assembly
        self._master = MasterFile(zone.apex, directory=directory)
        self._below = f".{zone.apex}"
        self._soas = Serials()
        self._records = 0
        self._size = 0

    def run(self, blocks: _Blocks, unpacker: Executor, readers: Executor, threads: int) -> None:
        """Read all blocks; the next ones are unpacked and read ahead."""
        unread = iter(blocks)
        unpacked: deque[Future[memoryview | None]] = deque()
        ahead: deque[tuple[memoryview, Future[Block | None]]] = deque()

        def following() -> memoryview | None:
            while len(unpacked) <= _UNPACKED_AHEAD:
                unpacked.append(unpacker.submit(next, unread, None))
            return unpacked.popleft().result()

        while True:
            while len(ahead) <= threads and (block := following()) is not None:
                ahead.append((block, readers.submit(self._read, block)))
            if not ahead:
                break
            block, result = ahead.popleft()
            self._size += len(block) - 1
            self._add(block, result.result())
            blocks.release(block)
        self._master.finish()

    def _read(self, block: bytes | memoryview) -> Block | None:
        assembly = self._assembly
        if not assembly.needs_rows and (
            found := compiled.read(block, self._zone, orders=assembly.orders)
        ):
            return found
        return plain.read(
            bytes(block), self._zone, orders=assembly.orders, with_rows=assembly.needs_rows
        )

    def _add(self, block: memoryview, result: Block | None) -> None:
        if result is not None and not self._master.is_open:
            self._add_plain(result)
            return
        for piece in _pieces(bytes(block)):
            if not self._master.is_open and (read := self._read(piece)) is not None:
                self._add_plain(read)
            else:
                self._add_general(_lines(piece))

    def _add_plain(self, block: Block) -> None:
        for value in block.soas:
            self._soas.add(value)
        if block.ends_with_soa:
            self._soas.last_at = self._records + block.records
        self._assembly.add_block(block)
        self._records += block.records
        self._master.owner = block.last_owner
        self._master.line += block.records

    def _add_general(self, lines: Iterable[bytes]) -> None:
        apex = self._zone.apex
        for record in self._master.read(lines):
            if not (record.owner == apex or apex == "." or record.owner.endswith(self._below)):
                raise self._master.refuse(f"{record.owner} is outside the zone {apex}")
            if record.kind is Kind.SOA:
                if record.owner != apex:
                    raise self._master.refuse(f"an SOA of {record.owner}, not of {apex}")
                self._soas.add(record.value)
                self._soas.last_at = self._records + 1
            elif record.kind is not Kind.OTHER and record.owner != apex:
                self._assembly.add_record(record)
            self._records += 1

    def result(self, delegations: int, stage: Stage) -> ZoneScan:
        """What was found. Raises Refused without an SOA."""
        if self._soas.first is None:
            raise Refused("no SOA record: not a whole zone")
        return ZoneScan(
            zone=self._zone.apex,
            serial=self._soas.serial,
            size=self._size,
            records=self._records - self._soas.repeats,
            delegations=delegations,
            signed=stage.signed,
            ends_with_soa=self._soas.closes(self._records),
            stage=stage,
        )
