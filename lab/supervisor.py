"""The lab's first process: sets up the namespace, runs every server, ends with them.

Started by `lab.internet` as `python -m lab.supervisor`, inside the namespace if there is one.
It reads what to serve from stdin (a pickle of its parent's), says `ready` or one line of
trouble on stdout, and ends on SIGTERM, on the death of any server, or, when attached, when
its parent closes stdin. It holds the lab's lock (an inherited descriptor) as long as it
lives; that lock, not a process number, says whether the lab is up.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dns.message
import trio

from dane.faults import Fault, LocalTrouble
from lab import addresses, mailserver, nameserver, namespace, nsd
from lab.certificates import Certificates
from lab.plan import MailServer, OddNameServer

PROCESS_FILE = "supervisor.pid"
_ANSWER_S = 0.2
_START_S = 180.0


@dataclass(frozen=True, slots=True)
class AuthoritativeServer:
    """One NSD: its configuration, and an address and a zone to see that it is there."""

    configuration: Path
    address: str
    zone: str


@dataclass(frozen=True, slots=True)
class Work:
    """What the supervisor is told."""

    directory: Path
    isolation: namespace.Isolation
    attached: bool
    authoritative: Sequence[AuthoritativeServer]
    mail: Sequence[MailServer]
    odd: Sequence[OddNameServer]
    seed: int
    now: float


async def supervise(work: Work) -> None:
    """Runs all servers until one ends or the lab is to go down."""
    async with trio.open_nursery() as nursery:
        await nursery.start(_until_signal, nursery.cancel_scope)
        if work.attached:
            nursery.start_soon(_until_parent_ends, nursery.cancel_scope)
        with trio.fail_after(_START_S):
            for server in work.authoritative:
                nursery.start_soon(_authoritative, server)
            certificates = Certificates(work.seed, work.now)
            await nursery.start(mailserver.serve, work.mail, certificates)
            await nursery.start(nameserver.serve, work.odd)
            for server in work.authoritative:
                await _answers(server)
        _say("ready")


async def _authoritative(server: AuthoritativeServer) -> None:
    # not trio.run_process: it starts processes from a thread that ends when idle, and the
    # death signal of prctl(2) comes with the end of the starting thread
    process = subprocess.Popen(  # noqa: ASYNC220
        nsd.command(server.configuration), stdin=subprocess.DEVNULL
    )
    exited = os.pidfd_open(process.pid)
    try:
        await trio.lowlevel.wait_readable(exited)
    finally:
        os.close(exited)
        process.terminate()
        process.wait()
    log = server.configuration.with_name("nsd.log")
    last = log.read_text(errors="replace").splitlines()[-1:] if log.exists() else []
    raise LocalTrouble(f"nsd ended with status {process.returncode}: {' '.join(last)}")


async def _answers(server: AuthoritativeServer) -> None:
    """Returns once the name server answers for its zone (NSD has no other way to say so)."""
    question = dns.message.make_query(server.zone, "SOA").to_wire()
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
        await sock.connect((server.address, addresses.DNS_PORT))
        while True:
            with trio.move_on_after(_ANSWER_S) as waited:
                try:
                    await sock.send(question)
                    reply = dns.message.from_wire(await sock.recv(65535))
                except ConnectionRefusedError:
                    await trio.sleep(0.02)
                    continue
                if reply.answer:
                    return
            if not waited.cancelled_caught:
                await trio.sleep(_ANSWER_S)


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
    if work.isolation is not namespace.Isolation.NONE:
        ipv6 = [address for one in work.mail for address in one.addresses if ":" in address]
        namespace.set_up(ipv6)
    try:
        trio.run(supervise, work)
    except BaseExceptionGroup as group:
        fault = _first_fault(group)
        if fault is None:
            raise
        _say(str(fault))
        return fault.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
