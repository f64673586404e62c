"""A cluster's processes: the scheduler, a node's workers, and the certificates of both.

Each node has its own resolvers; the database is reached by the coordinator alone.
"""

import asyncio
import contextlib
import datetime
import signal
from collections.abc import Sequence
from pathlib import Path

import dask.config
import dask.system
import distributed
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from crawler.coordinator.cluster import (
    NO_DASHBOARD,
    SLOTS,
    configuration,
    scheduler_address,
    security,
)
from crawler.coordinator.node import environment
from crawler.dns.unbound import Unbound
from dane.faults import LocalTrouble, Refused
from danesurvey.resolvers import resolvers_of, running
from danesurvey.settings import Settings

_VALID_DAYS = 825
_NO_SCHEDULER_S = 20  # after that a worker gives up


def scheduler(settings: Settings) -> None:
    """Run the cluster's scheduler until SIGINT or SIGTERM. Raises UsageFault, LocalTrouble."""
    address = scheduler_address(settings.survey)

    async def serve() -> None:
        try:
            async with distributed.Scheduler(
                host=address, security=security(settings.survey), **NO_DASHBOARD
            ):
                await _until_stopped()
        except OSError as error:
            raise LocalTrouble(f"scheduler {address}: {error.strerror or error}") from None

    with dask.config.set(configuration(settings.survey)):
        asyncio.run(serve())


def worker(settings: Settings) -> None:
    """Run this node's resolvers and workers until SIGINT or SIGTERM.

    Raises UsageFault, LocalTrouble.
    """
    address = scheduler_address(settings.survey)
    tls = security(settings.survey)

    async def serve(unbounds: Sequence[Unbound]) -> None:
        async with contextlib.AsyncExitStack() as stack:
            nannies = [
                await stack.enter_async_context(
                    distributed.Nanny(
                        address,
                        nthreads=len(SLOTS),
                        resources=SLOTS,
                        security=tls,
                        local_directory=str(settings.state_dir / "workers"),
                        env=environment(resolvers_of(unbounds)),
                        death_timeout=_NO_SCHEDULER_S,
                        **NO_DASHBOARD,
                    )
                )
                for _ in range(settings.survey.workers or dask.system.CPU_COUNT)
            ]
            stopped = asyncio.create_task(_until_stopped())
            ended = [asyncio.ensure_future(nanny.finished()) for nanny in nannies]
            try:
                await asyncio.wait({stopped, *ended}, return_when=asyncio.FIRST_COMPLETED)
                if not stopped.done():
                    raise LocalTrouble(f"scheduler {address} is gone; start this node again")
            finally:
                for task in (stopped, *ended):
                    task.cancel()

    with dask.config.set(configuration(settings.survey)), running(settings) as unbounds:
        try:
            asyncio.run(serve(unbounds))
        except (OSError, TimeoutError) as error:
            raise LocalTrouble(f"scheduler {address}: {str(error) or 'no answer'}") from None


async def _until_stopped() -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    await stopping.wait()


def make_certificates(directory: Path) -> None:
    """A certificate authority and one certificate for every process of a cluster.

    Files ca.pem, node.pem and node.key (mode 0600) in `directory`; copy them to each node.
    Whoever has node.key can run code on the cluster. Raises Refused if they are there.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = [directory / name for name in ("ca.pem", "node.pem", "node.key")]
    for path in files:
        if path.exists():
            raise Refused(f"{path} is there already")
    authority_key, node_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _certificate("danesurvey cluster", authority_key, None, authority_key)
    node = _certificate("danesurvey node", node_key, authority, authority_key)
    pem = serialization.Encoding.PEM
    contents = (
        authority.public_bytes(pem),
        node.public_bytes(pem),
        node_key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    for path, content in zip(files, contents, strict=True):
        path.touch(mode=0o600, exist_ok=False)
        path.write_bytes(content)


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )
