"""The lab's first process: sets up the namespace, runs every server, ends with them.

Started by `lab.internet` as `python -m lab.supervisor`, inside the namespace if there is one.
It reads what to serve from stdin (a pickle of its parent's), says `ready` or one line of
trouble on stdout, and ends on SIGTERM, on the death of any server, or, when attached, when
its parent closes stdin. It holds the lab's lock (an inherited descriptor) as long as it
lives; that lock, not a process number, says whether the lab is up.
"""

import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dns.message
import trio

from dane.faults import Fault, LocalTrouble
from lab import addresses, mailserver, nameserver, namespace, nsd, postfix
from lab.certificates import Certificates
from lab.plan import MailServer, OddNameServer
from lab.scenarios.scenario import Port

PROCESS_FILE = "supervisor.pid"
_ANSWER_S = 1.0
_RETRY_S = 0.02
_START_S = 180.0
_SESSIONS = 500  # open files beside those that are listened on: connections of a survey


@dataclass(frozen=True, slots=True)
class AuthoritativeServer:
    """One NSD: its configuration, and where it is asked, and a zone to see that it is there."""

    configuration: Path
    addresses: Sequence[str]
    zone: str


@dataclass(frozen=True, slots=True)
class Distance:
    """How far away the name servers are: the latency of the farthest, the share of UDP replies
    that get lost. With neither, they are asked directly."""

    latency_ms: int = 0
    loss: float = 0.0

    def __bool__(self) -> bool:
        return self.latency_ms > 0 or self.loss > 0


@dataclass(frozen=True, slots=True)
class Work:
    """What the supervisor is told."""

    directory: Path
    isolation: namespace.Isolation
    attached: bool
    authoritative: Sequence[AuthoritativeServer]
    mail: Sequence[MailServer]
    odd: Sequence[OddNameServer]
    dead: Sequence[str]
    distance: Distance
    seed: int
    certified: float


async def supervise(work: Work) -> None:
    """Runs all servers until one ends or the lab is to go down."""
    async with trio.open_nursery() as nursery:
        await nursery.start(_until_signal, nursery.cancel_scope)
        for address in work.dead:
            nursery.start_soon(_never_answer, address)
        if work.attached:
            nursery.start_soon(_until_parent_ends, nursery.cancel_scope)
        with trio.move_on_after(_START_S) as starting:
            for server in work.authoritative:
                nursery.start_soon(_authoritative, server)
            if work.distance:
                nursery.start_soon(_run, _forwarder(work), "the forwarder")
            certificates = Certificates(work.seed, work.certified)
            await nursery.start(mailserver.serve, work.mail, certificates)
            await nursery.start(nameserver.serve, work.odd)
            for real in (one for one in work.mail if one.port is Port.POSTFIX):
                await _start_postfix(work.directory / "postfix", real, certificates, nursery)
            for server in work.authoritative:
                await _answers(server)
        if starting.cancelled_caught:
            raise LocalTrouble(f"not every server of the lab answers after {_START_S:g} s")
        _say("ready")


async def _authoritative(server: AuthoritativeServer) -> None:
    try:
        await _run(nsd.command(server.configuration), "nsd")
    except LocalTrouble as trouble:
        log = server.configuration.with_name("nsd.log")
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        why = next((line for line in lines if "error: " in line), "it does not say why")
        raise LocalTrouble(f"{trouble}: {why.rpartition('error: ')[2]}") from None


async def _start_postfix(
    directory: Path, server: MailServer, certificates: Certificates, nursery: trio.Nursery
) -> None:
    """Returns when it greets."""
    (address,) = server.addresses
    chain = next(certificates.pems(server.host, server.chain))
    nursery.start_soon(_run, postfix.write(directory, server.host, address, chain), "postfix")
    while True:
        try:
            stream = await trio.open_tcp_stream(address, addresses.SMTP_PORT)
        except OSError:  # it does not listen yet
            await trio.sleep(_RETRY_S)
            continue
        async with stream:
            await stream.receive_some()
            return


def _refuse_taken(address: str) -> None:
    """Raises LocalTrouble if another name server has the address.

    NSD allows address reuse, so on the host's own loopback a second one could start beside the
    first, and would seem to answer.
    """
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as trial:
            if kind == socket.SOCK_STREAM:  # connections in TIME_WAIT are nobody's
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((address, addresses.DNS_PORT))
            except OSError as error:
                raise LocalTrouble(
                    f"cannot listen on {address} port {addresses.DNS_PORT}: {error.strerror}"
                ) from None


def _forwarder(work: Work) -> list[str]:
    pairs = [
        f"{public}={addresses.real(public)}"
        for server in work.authoritative
        for public in server.addresses
    ]
    options = [str(work.distance.latency_ms), str(work.distance.loss)]
    return [sys.executable, "-P", "-m", "lab.forwarder", *options, *pairs]


async def _run(command: Sequence[str], name: str) -> None:
    """Runs a server for as long as the lab is up. Raises LocalTrouble when it ends."""
    # not trio.run_process: it starts processes from a thread that ends when idle, and the
    # death signal of prctl(2) comes with the end of the starting thread
    process = subprocess.Popen(  # noqa: ASYNC220
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,  # ours is for one line to the parent
    )
    exited = os.pidfd_open(process.pid)
    try:
        await trio.lowlevel.wait_readable(exited)
    finally:
        os.close(exited)
        process.kill()  # stopped or not; NSD's other processes see it and end
        process.wait()
    raise LocalTrouble(f"{name} ended with status {process.returncode}")


async def _answers(server: AuthoritativeServer) -> None:
    """Returns once the name server answers for its zone (NSD has no other way to say so)."""
    question = dns.message.make_query(server.zone, "SOA").to_wire()
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
        await sock.connect((server.addresses[0], addresses.DNS_PORT))
        while True:
            with trio.move_on_after(_ANSWER_S) as waited:
                try:
                    await sock.send(question)
                    reply = dns.message.from_wire(await sock.recv(65535))
                except ConnectionRefusedError:
                    await trio.sleep(_RETRY_S)
                    continue
                if reply.answer:
                    return
            if not waited.cancelled_caught:
                await trio.sleep(_ANSWER_S)


async def _never_answer(address: str) -> None:
    """A name server's socket that nobody reads. Without it the kernel would say that nobody
    is there, and a resolver would not have to wait."""
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
        await sock.bind((address, addresses.DNS_PORT))
        await trio.sleep_forever()


async def _until_signal(scope: trio.CancelScope, *, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()


async def _until_parent_ends(scope: trio.CancelScope) -> None:
    async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
        while await stdin.receive_some(1):
            pass
    scope.cancel()


def _say(line: str) -> None:
    """One line to the parent; from then on stdout goes where stderr goes."""
    os.write(1, f"{line}\n".encode())
    os.dup2(2, 1)


def _first_fault(error: BaseException) -> Fault | None:
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_first_fault, error.exceptions)), None)
    return error if isinstance(error, Fault) else None


def main() -> int:
    work: Work = pickle.load(sys.stdin.buffer)
    # /proc is the host's also inside a process namespace, so this is the number outside
    (work.directory / PROCESS_FILE).write_text(os.readlink("/proc/self"), encoding="ascii")
    try:
        _prepare(work)
        trio.run(supervise, work)
    except (BaseExceptionGroup, Fault) as error:
        fault = _first_fault(error)
        if fault is None:
            raise
        _say(str(fault))
        return fault.exit_code
    return 0


def _prepare(work: Work) -> None:
    """What the process needs before its servers start."""
    # thousands of mail servers and dead name servers, a socket each
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    needed = len(work.dead) + sum(len(one.addresses) for one in work.mail) + _SESSIONS
    if most != resource.RLIM_INFINITY and needed > most:
        raise LocalTrouble(
            f"the lab's servers need {needed} open files, {most} are allowed (ulimit -Hn): "
            "fewer domains, or a higher limit"
        )
    if work.isolation is not namespace.Isolation.NONE:
        ipv6 = [
            address
            for one in work.mail
            for address in one.addresses
            if ":" in address and one.port is not Port.ELSEWHERE
        ]
        namespace.set_up(ipv6)
    for server in work.authoritative:
        for address in server.addresses:
            _refuse_taken(address)


if __name__ == "__main__":
    sys.exit(main())
