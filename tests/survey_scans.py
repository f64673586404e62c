"""Scans that misbehave, for tests of the loop that hands shards to workers.

Importable by name, for a worker process gets a scan by reference.
"""

import os
import signal
import time
from pathlib import Path

import pyarrow as pa
import trio

import crawler.scan
from crawler.scan.context import ScanContext

POISON, BUG, STALL, HANG = "poison", "bug", "stall", "hang"


def names(*wanted: str) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"name": list(wanted)})


def scan(
    shard: pa.RecordBatch, context: ScanContext, *, log: Path, once: bool = False
) -> pa.RecordBatch:
    """Each row comes back, but for names that end, stop or block the process, or raise.

    `log` gets a line a name and process; with `once` a name misbehaves the first time only.
    """
    for name in map(str, shard.column("name").to_pylist()):
        seen = once and any(line.split()[1] == name for line in log.read_text().splitlines())
        with log.open("a") as out:
            out.write(f"{os.getpid()} {name} {time.time()}\n")
        if seen:
            continue
        if name == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        elif name == STALL:
            os.kill(os.getpid(), signal.SIGSTOP)
        elif name == BUG:
            raise ValueError(name)
        elif name == HANG:
            never_return()
    return shard


def patient(
    shard: pa.RecordBatch, context: ScanContext, *, log: Path, begun: Path
) -> pa.RecordBatch:
    """Gives back half of its rows when it is stopped, which it waits for.

    `begun` is a FIFO that gets a line.
    """
    begun.write_text("begun\n")
    crawler.scan.run(trio.sleep_forever)
    return shard.slice(0, shard.num_rows // 2)


def never_return() -> None:
    """Never returns, and cannot be cancelled."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [])
    while True:
        signal.sigwait({signal.SIGUSR1})
