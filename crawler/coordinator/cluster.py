"""Dask distributed, configured in one place: the workers that run the scans.

A `LocalCluster` of processes by default; with `survey.scheduler` set, a running cluster.
Always TLS: without it anyone on the machine could run code in our workers. The truth is
in PostgreSQL, so nothing here is ever saved: losing it all loses only work in flight.

No pool, queue or supervisor of our own: Dask restarts dead workers. It does not re-run a
dead worker's shards by itself (`allowed-failures: 0`): whether at once, later, or in
halves depends on the stage (`crawler.coordinator.shards`), and a probe must not knock twice.
"""

import asyncio
import ctypes
import logging
import re
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, Literal

import dask.config
import dask.system
import distributed
from distributed.security import Security

from crawler.coordinator.settings import SurveySettings
from dane.faults import LocalTrouble, UsageFault

WORKERS_WAIT_S = 60
_LOST_S = 5.0  # without a worker that its nanny should have started again
_ADDRESS = re.compile(r"tls://[^/\s]+:\d{1,5}")
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
# Of each worker: one scan at a time of each line (`crawler.coordinator.stages`). Lines that have
# nothing to do cost a thread that sleeps.
SLOTS: dict[str, float] = dict.fromkeys(
    (
        "resolve",
        "resolve again",
        "hosts",
        "hosts again",
        "probe",
        "authority",
        "servers",
        "assess hosts",
        "assess domains",
        "policies",
    ),
    1.0,
)

_CONFIGURATION: dict[str, Any] = {
    # else the scheduler keeps the arguments of the last 1 000 messages (105 -> 845 MB)
    "distributed.admin.low-level-log-length": 0,
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.comm.require-encryption": True,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.admin.tick.limit": "60s",
    "distributed.worker.daemon": True,
    "distributed.deploy.lost-worker-timeout": f"{_LOST_S}s",
}


# Dask's HTTP servers cannot be left out: they serve nothing, and that on loopback.
NO_DASHBOARD: dict[str, Any] = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}


class ScanNode(distributed.WorkerPlugin):
    """Makes a worker process fit for scans.

    A worker does not end by SIGINT, SIGTERM or SIGHUP (Ctrl-C and a closed terminal reach the
    whole process group): the coordinator stops the scans, keeps what they have, and then ends
    the workers. When it is gone the kernel ends them, also those that stand still.
    """

    name = "danesurvey-scan-node"

    def setup(self, worker: distributed.Worker) -> None:
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)
        # Of the thread that started this process: Dask keeps that one to watch it.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # A heartbeat that meets a scheduler on its way out is no error, but Dask logs it as
        # one, with its traceback. What a worker has to say comes back with its shard.
        logging.getLogger("distributed").setLevel(logging.CRITICAL)


def configuration(settings: SurveySettings) -> dict[str, Any]:
    """Dask's configuration, the same for every process of ours."""
    return {**_CONFIGURATION, "distributed.scheduler.worker-ttl": f"{settings.worker_ttl_s:g}s"}


async def count(workers: distributed.Client) -> int:
    """How many worker processes there are."""
    return len(await _workers(workers))


async def memory(workers: distributed.Client) -> dict[str, int]:
    """Resident bytes of each worker process, as it last said."""
    return {
        str(one["name"]): int(one["metrics"].get("memory", 0)) for one in await _workers(workers)
    }


async def _workers(workers: distributed.Client) -> list[dict[str, Any]]:
    scheduler: Any = workers.scheduler
    with _scheduler_there():
        identity = await scheduler.identity(n_workers=-1)
    return list(identity["workers"].values())


async def on_all(
    workers: distributed.Client,
    function: Callable[..., Any],
    *arguments: object,
    on_error: Literal["ignore", "return"] = "ignore",
) -> Mapping[str, Any]:
    """Call `function` in each worker process: what it returned, by address of the worker.

    `on_error`: what is done with the errors of a worker, also of one that is lost. Raises
    LocalTrouble when the scheduler is gone.
    """
    with _scheduler_there():
        return await workers.run(function, *arguments, on_error=on_error) or {}


@contextmanager
def _scheduler_there() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LocalTrouble(
            f"the workers' scheduler is gone: {error}; `danesurvey survey` goes on"
        ) from None


@asynccontextmanager
async def workers(settings: SurveySettings, directory: Path) -> AsyncIterator[distributed.Client]:
    """A client of a cluster that is up; all of it is gone when the block ends.

    `directory` holds the workers' scratch files. Raises UsageFault for a scheduler without
    TLS, LocalTrouble for one that does not answer, or without a directory.
    """
    with dask.config.set(configuration(settings)):
        if settings.scheduler is not None:
            async with _remote(settings) as client:
                yield client
            return
        _make(directory)
        temporary = Security.temporary()
        processes = settings.workers or dask.system.CPU_COUNT
        cluster = distributed.LocalCluster(
            n_workers=processes,
            threads_per_worker=len(SLOTS),
            resources=SLOTS,
            processes=True,
            protocol="tls",
            host="127.0.0.1",
            security=temporary,
            scheduler_kwargs=NO_DASHBOARD,
            local_directory=str(directory),
            asynchronous=True,
            silence_logs="CRITICAL",  # a lost worker is told by whoever sends shards
        )
        with _blocked(STOPPING):
            await cluster
        async with (
            cluster,
            distributed.Client(cluster, asynchronous=True, security=temporary) as client,
        ):
            await client.register_plugin(ScanNode())
            keeping = asyncio.create_task(_keep(cluster, processes))
            try:
                yield client
            finally:
                keeping.cancel()


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalTrouble(f"the workers' files: {directory}: {error.strerror}") from None


@contextmanager
def _blocked(signals: Iterable[signal.Signals]) -> Iterator[None]:
    """Processes that begin meanwhile have these blocked; other threads of this one take them.

    Python ends by Ctrl-C, with a traceback, while it is still importing what ScanNode is.
    """
    resource_tracker.ensure_running()  # it lifts the mask of the thread that starts it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def _keep(cluster: distributed.LocalCluster, processes: int) -> None:
    """Have lost workers replaced.

    A worker's nanny starts it again, but not one that dies before the nanny has heard that it
    is up: as one does that gets a poisoned row at once. Such a nanny ends too.
    """
    while True:
        await asyncio.sleep(_LOST_S)
        cluster.scale(processes)


@asynccontextmanager
async def _remote(settings: SurveySettings) -> AsyncIterator[distributed.Client]:
    address = scheduler_address(settings)
    try:
        client = await distributed.Client(
            address, asynchronous=True, security=security(settings), timeout="20s"
        )
    except (OSError, TimeoutError) as error:
        raise LocalTrouble(
            f"scheduler {address}: {str(error) or 'no answer'}; `danesurvey scheduler` starts one"
        ) from None
    try:
        await client.register_plugin(ScanNode())
        try:
            await client.wait_for_workers(1, timeout=WORKERS_WAIT_S)
        except TimeoutError:
            raise LocalTrouble(
                f"scheduler {address}: no worker in {WORKERS_WAIT_S} s; "
                "`danesurvey worker` on a node starts some"
            ) from None
        yield client
    finally:
        await client.close()


def scheduler_address(settings: SurveySettings) -> str:
    """The address of the cluster's scheduler. Raises UsageFault unless it is `tls://`."""
    address = settings.scheduler
    if address is None or not _ADDRESS.fullmatch(address):
        raise UsageFault(f"survey.scheduler {address}: must be tls://HOST:PORT (docs/scaling.md)")
    return address


def security(settings: SurveySettings) -> Security:
    """The operator's certificates, for every side of every connection. Raises UsageFault."""
    scheduler_address(settings)
    files = {key: getattr(settings, key) for key in ("tls_ca", "tls_cert", "tls_key")}
    for key, path in files.items():
        if path is None or not path.is_file():
            raise UsageFault(
                f"survey.{key} {path}: no such file; `danesurvey certificates DIR` makes them"
            )
    ca, certificate, key_file = map(str, files.values())
    return Security(
        require_encryption=True,
        tls_ca_file=ca,
        **{
            f"tls_{role}_{part}": file
            for role in ("client", "scheduler", "worker")
            for part, file in (("cert", certificate), ("key", key_file))
        },
    )
