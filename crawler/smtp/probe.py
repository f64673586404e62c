"""One connection to one mail server: TCP, the SMTP dialogue, TLS (trio).

`converse` connects once, to exactly the address that it is given, and returns what the
server showed. It does not ask whether it may connect (`crawler.smtp.etiquette`), and it
does not judge the chain (`dane.verify`). Nothing that a server does raises an exception.

Deadlines: connecting, each reply, the handshake, and the whole session; the session's
clock starts when the connection is attempted, so no waiting for our own limits counts.
"""

import errno
import os
import socket
import time
from dataclasses import dataclass
from datetime import datetime

import trio

from crawler.smtp.dialogue import Dialogue, State
from crawler.smtp.settings import ProbeSettings
from crawler.smtp.tls import Offer, TLSEngine, TLSFailure, server_name
from dane import clock
from dane.outcomes import AfterTLS, HostStatus, Undecided

MAX_SESSION = 256 * 1024
"""Bytes that a server may send in one session, TLS included."""
_READ = 16 * 1024

# Connecting failed on this machine: nothing about the server is known.
_OURS = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EADDRNOTAVAIL,
        errno.EAFNOSUPPORT,
        errno.EACCES,
        errno.EPERM,
        errno.ENETDOWN,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What one connection showed.

    `status` None: the handshake was done and `chain` decides. `tls_failed` here means one
    handshake; the host's status of that name needs two (measurement, section 6).
    """

    offer: Offer
    status: HostStatus | None
    connected: datetime  # when connecting began
    duration_ms: int
    chain: tuple[bytes, ...] = ()
    tls_version: str | None = None
    cipher: str | None = None
    tls_group: str | None = None  # of the key exchange; None for RSA key transport
    smtp_code: int | None = None  # the reply that settled it, or the 220 to STARTTLS
    smtp_text: str | None = None
    error: str | None = None
    injected: bool = False
    after_tls: AfterTLS | None = None  # how the session went wrong after the handshake
    undecided: Undecided | None = None  # why the status is our limit, where it is


class _Wire:
    """The TCP stream within the session's byte bound; a broken stream is an ended one.

    On a plain non-blocking socket: trio's own ends every call with a round of its scheduler.
    Here `receive` alone does that, which always waits, so a server that never stops sending
    keeps no other session from its turn.
    """

    __slots__ = ("_socket", "overrun", "received")

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self.received = 0
        self.overrun = False

    async def send(self, data: bytes) -> None:
        while data:
            try:
                data = data[self._socket.send(data) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._socket)
            except OSError:
                return  # the next receive sees the end

    async def receive(self) -> bytes:
        await trio.lowlevel.wait_readable(self._socket)
        try:
            data = self._socket.recv(_READ)
        except OSError:
            return b""
        self.received += len(data)
        if self.received > MAX_SESSION:
            self.overrun = True
            return b""
        return data

    def discard_waiting(self) -> bool:
        """Throw away what has arrived unread; whether there was anything."""
        try:
            return bool(self._socket.recv(_READ))
        except OSError:
            return False


class _Session:
    """The dialogue and the engine on one wire."""

    def __init__(
        self,
        connected: socket.socket,
        settings: ProbeSettings,
        ehlo_name: str,
        offer: Offer,
        sni: bytes | None,
        session_end: float,
    ) -> None:
        self.wire = _Wire(connected)
        self.settings = settings
        self.offer = offer
        self.sni = sni
        self.session_end = session_end
        self.scope = trio.CancelScope()
        self.dialogue = Dialogue(ehlo_name)
        self.engine: TLSEngine | None = None  # once the handshake is done
        self.status: HostStatus | None = None
        self.error: str | None = None
        self.undecided: Undecided | None = None

    async def run(self) -> None:
        """Talk until the end. One scope has all deadlines: whichever passes ends the session."""
        with self.scope:
            await self.talk()
        if not self.scope.cancelled_caught:
            return
        if self.dialogue.state is not State.TLS:
            self.dialogue.timed_out()
        elif self.engine is None:
            self.status = HostStatus.TEMPFAIL
            self.error = "time-out during the handshake"

    def within(self, seconds: float) -> None:
        """The next step may take so long, but not beyond the session's end."""
        self.scope.deadline = min(self.session_end, trio.current_time() + seconds)

    async def talk(self) -> None:
        dialogue = self.dialogue
        while dialogue.state is not State.CLOSED:
            if dialogue.state is State.TLS:
                self.within(self.settings.tls_s)
                if not await self.handshake():
                    return
                dialogue.secured()
            self.within(self.settings.reply_s)
            waiting_in = dialogue.state
            await self.send(dialogue.data_to_send())
            while dialogue.state is waiting_in:
                dialogue.receive(await self.receive())

    async def handshake(self) -> bool:
        engine = TLSEngine(self.offer, self.sni)
        # A TLS server never speaks first: what is here before our hello was sent in plaintext.
        if self.wire.discard_waiting():
            self.dialogue.injected = True
        done = engine.handshake()  # our hello
        try:
            while not done:
                await self.wire.send(engine.data_to_send())
                engine.receive(await self.wire.receive())
                if engine.computes_long:  # the server chooses how much there is to compute
                    done = await trio.to_thread.run_sync(engine.handshake, limiter=_handshakes())
                else:
                    done = engine.handshake()
        except TLSFailure as failure:
            self.fail(failure)
        else:
            self.engine = engine
        await self.wire.send(engine.data_to_send())  # our Finished, or our alert
        return self.engine is not None

    def fail(self, failure: TLSFailure) -> None:
        self.status = HostStatus.TLS_FAILED
        if failure.unsupported:
            self.status, self.undecided = HostStatus.LOCAL_ERROR_SMTP, Undecided.TLS_UNSUPPORTED
        self.error = str(failure)

    async def send(self, data: bytes) -> None:
        if not data:
            return
        if self.engine is None:
            await self.wire.send(data)
            return
        try:
            self.engine.encrypt(data)
        except TLSFailure:
            return  # the next receive sees the end
        await self.wire.send(self.engine.data_to_send())

    async def receive(self) -> bytes:
        if self.engine is None:
            return await self.wire.receive()
        try:
            while (text := self.engine.decrypt()) is None:
                await self.wire.send(self.engine.data_to_send())  # answers to key updates
                self.engine.receive(await self.wire.receive())
        except TLSFailure as failure:
            # A TLS 1.3 server tells only after our Finished that it wants a certificate of ours
            # (RFC 8446 section 4.4.2.4): it belongs to the handshake until the server speaks.
            awaited = self.dialogue.state is State.EHLO_AGAIN
            if failure.alert and awaited and self.engine.version == "TLSv1.3":
                self.fail(failure)
            self.error = str(failure)
            return b""
        return text


_LIMITER: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("handshakes")


def _handshakes() -> trio.CapacityLimiter:
    """Few at once: they compute, and the others' sessions want their turn."""
    try:
        return _LIMITER.get()
    except LookupError:
        _LIMITER.set(trio.CapacityLimiter(2))
        return _LIMITER.get()


async def converse(
    address: str, sni: str, offer: Offer, settings: ProbeSettings, ehlo_name: str
) -> Conversation:
    """Connect to `address` once and go as far as the server lets us.

    `sni` is the TLSA base domain (a key of `dane.names`). Raises only on a bug of ours, and
    trio.Cancelled.
    """
    connected = clock.now()
    began = time.monotonic()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def elapsed_ms() -> int:
        return round((time.monotonic() - began) * 1000)

    def failed(status: HostStatus, error: str) -> Conversation:
        return Conversation(
            offer=offer,
            status=status,
            error=error,
            connected=connected,
            duration_ms=elapsed_ms(),
        )

    session_end = trio.current_time() + settings.session_s
    try:
        tcp = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        return failed(HostStatus.LOCAL_ERROR_SMTP, _reason(error))
    with tcp:
        try:
            with trio.fail_at(min(session_end, trio.current_time() + settings.connect_s)):
                await _connect(tcp, (address, settings.port))
        except trio.TooSlowError:
            return failed(HostStatus.UNREACHABLE, "time-out while connecting")
        except OSError as error:
            ours = error.errno in _OURS or (
                error.errno == errno.ENETUNREACH and not _has_route(family, address)
            )
            status = HostStatus.LOCAL_ERROR_SMTP if ours else HostStatus.UNREACHABLE
            return failed(status, _reason(error))
        session = _Session(tcp, settings, ehlo_name, offer, server_name(sni), session_end)
        await session.run()
    dialogue, engine = session.dialogue, session.engine
    error_text = session.error or dialogue.error
    if session.wire.overrun:
        error_text = f"over {MAX_SESSION} bytes in one session"
    return Conversation(
        offer=offer,
        status=session.status or dialogue.status,
        connected=connected,
        duration_ms=elapsed_ms(),
        chain=engine.chain() if engine else (),
        tls_version=engine.version if engine else None,
        cipher=engine.cipher if engine else None,
        tls_group=engine.group if engine else None,
        smtp_code=dialogue.reply.code if dialogue.reply else None,
        smtp_text=dialogue.reply.text if dialogue.reply else None,
        error=error_text,
        injected=dialogue.injected,
        after_tls=dialogue.after_tls if session.status is None else None,
        undecided=session.undecided,
    )


async def _connect(tcp: socket.socket, address: tuple[str, int]) -> None:
    """Connect a non-blocking socket (connect(2), EINPROGRESS). Raises OSError."""
    code = tcp.connect_ex(address)
    if code == errno.EINPROGRESS:
        await trio.lowlevel.wait_writable(tcp)
        code = tcp.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def _reason(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


def _has_route(family: socket.AddressFamily, address: str) -> bool:
    """Whether this machine has a route: tells our lost network from a router's ICMP answer.

    Connecting a UDP socket sends nothing.
    """
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect((address, 25))
        except OSError:
            return False
    return True
