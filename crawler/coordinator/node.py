"""What runs in a worker process: one scan of one shard, with the resolvers of its node.

On a cluster each node has its own resolvers; a scan uses those of the node that it runs on.
`danesurvey worker` hands them to its processes through the environment, which is what a
process that Dask starts again gets too.
"""

import ctypes
import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

import crawler.scan
from crawler.dns.client import Resolvers
from crawler.dns.control import Control
from crawler.scan.context import ScanContext
from crawler.scan.probe_row import Certificates
from dane import clock
from dane.faults import LocalTrouble

_LIBC = ctypes.CDLL(None)
VARIABLE = "DANESURVEY_NODE"
_FLUSH_TRIES = 10  # an Unbound that was killed is back within a second or two
_FLUSH_PAUSE_S = 0.5
_REMEMBERED = 100

Scan = Callable[..., pa.RecordBatch | Sequence[pa.RecordBatch]]
"""`scan(rows, context)`, or `scan(rows, context, related)` where rows refer to other rows."""

_finished: "dict[str, _Finished]" = {}
_stopped: list[str] = []  # passes that were stopped, the latest last; a worker outlives many


def environment(resolvers: Resolvers) -> dict[str, str]:
    """The environment variable that says which resolvers this node has."""
    plain = {
        "first": resolvers.first,
        "second": resolvers.second,
        "control": [str(path) for path in resolvers.control],
    }
    return {VARIABLE: json.dumps(plain)}


def of_this_node(context: ScanContext) -> ScanContext:
    """The context with the resolvers of this node, if it has its own."""
    own = _own_resolvers()
    return replace(context, resolvers=own) if own else context


def _own_resolvers() -> Resolvers | None:
    told = os.environ.get(VARIABLE)
    if told is None:
        return None
    plain = json.loads(told)
    return Resolvers(
        first=tuple((host, port) for host, port in plain["first"]),
        second=tuple((host, port) for host, port in plain["second"]),
        control=tuple(Path(path) for path in plain["control"]),
    )


def flush() -> None:
    """Have this node's own resolvers forget whom they hold for dead. Raises LocalTrouble."""
    own = _own_resolvers()
    for path in own.control if own else ():
        for left in reversed(range(_FLUSH_TRIES)):
            try:
                Control(path).flush()
            except LocalTrouble:
                if not left:
                    raise
                time.sleep(_FLUSH_PAUSE_S)
            else:
                break


def to_bytes(batch: pa.RecordBatch) -> bytes:
    """An Arrow IPC stream: only the rows of a slice, not the buffers that it was cut from."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def from_bytes(stream: bytes) -> pa.RecordBatch:
    """The one batch of a stream made by `to_bytes`."""
    with pa.ipc.open_stream(stream) as reader:
        return reader.read_next_batch()


class _Finished:
    """Rows of a probe scan that is under way, until they are fetched."""

    def __init__(self, context: ScanContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._rows: list[dict[str, Any]] = []
        self._certificates = Certificates()

    def add(self, row: Mapping[str, Any], certificates: Mapping[str, bytes]) -> None:
        shown = {one: certificates[one] for one in row["chain"] if one in certificates}
        with self._lock:
            self._rows.append({"run_id": self._context.run_id, **row})
            self._certificates.der.update(shown)

    def take(self) -> list[bytes]:
        """The rows since the last time, as the scan's results."""
        with self._lock:
            rows, self._rows = self._rows, []
            certificates, self._certificates = self._certificates, Certificates()
        if not rows:
            return []
        schema, of_certificates = self._context.schemas
        return [
            to_bytes(pa.RecordBatch.from_pylist(rows, schema=schema)),
            to_bytes(certificates.rows(self._context.run_id, of_certificates)),
        ]


def finished_rows() -> dict[str, list[bytes]]:
    """What this process's probe scans have finished since the last time, by `fetched_as`."""
    told = {name: finished.take() for name, finished in list(_finished.items())}
    return {name: streams for name, streams in told.items() if streams}


def run_scan(
    scan: Scan,
    rows: bytes,
    related: bytes | None,
    context: ScanContext,
    pass_id: str,
    fetched_as: str | None = None,
) -> tuple[float, float, list[bytes]]:
    """One scan of one shard: how long it took, the CPU time of its thread (s), and its results

    as IPC streams.

    No results if the pass `pass_id` was stopped before this shard had its turn. `fetched_as`:
    a probe scan's rows may be fetched under this name before it is over.
    """
    if pass_id in _stopped:
        return 0.0, 0.0, []
    give_back_memory()  # what the last shard left
    clock.run_ahead(context.days_ahead)
    began, cpu_s = time.monotonic(), time.thread_time()
    more = () if related is None else (from_bytes(related),)
    if fetched_as is not None:
        _finished[fetched_as] = finished = _Finished(context)
        scan = partial(scan, on_row=finished.add)
    try:
        result = scan(from_bytes(rows), of_this_node(context), *more)
    finally:
        if fetched_as is not None:
            del _finished[fetched_as]
    batches = [result] if isinstance(result, pa.RecordBatch) else result
    streams = [to_bytes(one) for one in batches]
    return time.monotonic() - began, time.thread_time() - cpu_s, streams


def give_back_memory() -> None:
    """Freed memory to the operating system: shards are large, and else it stays in heaps."""
    pa.default_memory_pool().release_unused()
    _LIBC.malloc_trim(0)  # malloc_trim(3), of glibc


def stop_scans(pass_id: str) -> None:
    """Cancel this process's scans, which return what they have; no more of this pass."""
    if pass_id not in _stopped:
        _stopped.append(pass_id)
        del _stopped[:-_REMEMBERED]
    crawler.scan.stop()
