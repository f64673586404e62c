"""Scripted mail servers: SMTP as far as a STARTTLS probe goes, and every way to fail at it.

All servers of a lab run as tasks of one process. What a reply can say is in the scenario's
`Session`; what it cannot (silence, floods, broken TLS) is a deviation in `FAULTS`. Mail is
never accepted: after STARTTLS the server knows EHLO, NOOP, RSET and QUIT (RFC 5321, 3207).
"""

import contextlib
import ssl
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import trio

from dane.faults import LocalTrouble
from lab import addresses
from lab.certificates import Certificates
from lab.plan import MailServer
from lab.scenarios.scenario import Chain, Port

_LINE_MAX = 4096
_IDLE_S = 300.0
_DRIP_S = 1.0
_SLOW_BANNER_S = 20.0
_QUEUE_FULL_S = 0.1


class _Gone(Exception):
    """The client closed, or the script ends the connection here."""


class Listening:
    """One mail server, at all of its addresses."""

    def __init__(self, server: MailServer, certificates: Certificates) -> None:
        self._server = server
        self._certificates = certificates
        self._connections = 0
        self._clients: set[bytes] = set()

    async def serve(self, stream: trio.SocketStream) -> None:
        """One connection, from greeting to goodbye."""
        with trio.move_on_after(_IDLE_S), contextlib.suppress(_Gone, trio.BrokenResourceError):
            async with stream:
                self._connections += 1
                await _Conversation(self, self._server, stream).run()

    @property
    def is_odd_connection(self) -> bool:
        return self._connections % 2 == 1

    def meets(self, client: bytes) -> bool:
        """Whether no client of that name (of its EHLO) has been here before."""
        is_new = client not in self._clients
        self._clients.add(client)
        return is_new

    @property
    def context(self) -> ssl.SSLContext:
        """What this connection's handshake is made with."""
        in_turn = "keys-in-turn" in self._server.session.faults
        return self._contexts[self.is_odd_connection if in_turn else 0]

    @cached_property
    def _contexts(self) -> Sequence[ssl.SSLContext]:
        chain = self._server.chain
        if "keys-in-turn" not in self._server.session.faults:
            return (_context(self._server, self._certificates),)
        keys = (chain.key, chain.second_key or chain.key)
        servers = [
            replace(self._server, chain=replace(chain, key=key, second_key=None)) for key in keys
        ]
        return [_context(one, self._certificates) for one in servers]


class _Conversation:
    """One SMTP session, before and after TLS."""

    def __init__(self, listening: Listening, server: MailServer, stream: trio.SocketStream) -> None:
        self._listening = listening
        self._session = server.session
        self._host = server.host
        self._stream: trio.abc.Stream = stream
        self._buffer = bytearray()

    def _has(self, fault: str) -> bool:
        return fault in self._session.faults

    async def run(self) -> None:
        if self._has("slow-banner"):
            await trio.sleep(_SLOW_BANNER_S)
        if self._has("close-at-once"):
            raise _Gone
        if self._has("silent"):
            await trio.sleep_forever()
        if self._has("endless-banner"):
            while True:
                await self._stream.send_all(b"220-" + b"x" * 500 + b"\r\n")
        if self._has("long-line"):
            await self._stream.send_all(b"220 " + b"x" * 200_000 + b"\r\n")
        elif self._has("nul-banner"):
            await self._stream.send_all(b"220 \0\0 lab \0\r\n")
        elif self._has("drip"):
            for byte in self._reply(self._session.greeting):
                await self._stream.send_all(bytes((byte,)))
                await trio.sleep(_DRIP_S)
        else:
            await self._stream.send_all(self._reply(self._session.greeting))
        if not self._session.greeting.startswith("2"):
            await self._until_quit()
        if await self._plain():
            await self._encrypted()

    def _reply(self, text: str) -> bytes:
        return "".join(f"{line}\r\n" for line in text.format(host=self._host).split("\n")).encode()

    async def _plain(self) -> bool:
        """Commands before TLS; true once STARTTLS is agreed."""
        offered = ""
        while True:
            verb, argument = await self._command()
            match verb:
                case b"EHLO":
                    offered = self._ehlo(argument)
                    await self._send(offered)
                    if self._has("close-after-ehlo"):
                        raise _Gone
                case b"HELO":
                    await self._send(self._session.helo)
                case b"STARTTLS" if "STARTTLS" in offered.upper():
                    if self._has("injection"):
                        reply = self._reply(self._session.starttls)
                        await self._stream.send_all(reply + b"250 injected\r\n")
                    else:
                        await self._send(self._session.starttls)
                    if self._session.starttls.startswith("220"):
                        return True
                    if self._session.starttls.startswith("421"):
                        raise _Gone
                case _:
                    await self._other(verb)

    def _ehlo(self, client: bytes) -> str:
        hides_starttls = (
            self._has("every-other-starttls") and self._listening.is_odd_connection
        ) or (self._has("first-starttls") and not self._listening.meets(client))
        return self._without_starttls() if hides_starttls else self._session.ehlo

    def _without_starttls(self) -> str:
        return self._session.ehlo.replace("250-STARTTLS\n", "")

    async def _encrypted(self) -> None:
        if self._has("close-at-tls"):
            await self._stream.receive_some(_LINE_MAX)
            raise _Gone
        if self._has("stall-at-tls"):
            await trio.sleep_forever()
        if self._has("garbage-at-tls"):
            await self._stream.send_all(b"this is no TLS record\r\n" * 20)
            raise _Gone
        if self._has("alert-at-tls"):
            await self._stream.receive_some(_LINE_MAX)
            # fatal (2) handshake_failure (40), RFC 8446 section 6
            await self._stream.send_all(bytes((21, 3, 3, 0, 2, 2, 40)))
            raise _Gone
        assert isinstance(self._stream, trio.SocketStream)
        tls = trio.SSLStream(self._stream, self._listening.context, server_side=True)
        try:
            await tls.do_handshake()
        except (trio.BrokenResourceError, ssl.SSLError):
            raise _Gone from None
        self._stream = tls
        self._buffer.clear()
        while True:
            verb, _ = await self._command()
            if verb == b"EHLO":
                await self._send(self._without_starttls())
            else:
                await self._other(verb)

    async def _other(self, verb: bytes) -> None:
        match verb:
            case b"QUIT":
                await self._send("221 2.0.0 Bye")
                await self._stream.aclose()  # with TLS, its goodbye too
                raise _Gone
            case b"NOOP" | b"RSET":
                await self._send("250 2.0.0 Ok")
            case _:
                await self._send("502 5.5.2 Not here")

    async def _until_quit(self) -> None:
        """After a greeting that refuses: QUIT or the client's goodbye (RFC 5321 section 3.1)."""
        if self._session.greeting.startswith("421"):
            raise _Gone
        while True:
            verb, _ = await self._command()
            await self._send("221 2.0.0 Bye" if verb == b"QUIT" else "503 5.5.1 No service")
            if verb == b"QUIT":
                raise _Gone

    async def _command(self) -> tuple[bytes, bytes]:
        """The verb, and what stands after it."""
        while b"\n" not in self._buffer:
            if len(self._buffer) > _LINE_MAX:
                raise _Gone
            received = await self._stream.receive_some(_LINE_MAX)
            if not received:
                raise _Gone
            self._buffer += received
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer[:] = rest
        verb, _, argument = line.strip().partition(b" ")
        return verb.upper(), argument

    async def _send(self, text: str) -> None:
        await self._stream.send_all(self._reply(text))
        if text.startswith("421"):
            raise _Gone


async def serve(
    servers: Sequence[MailServer],
    certificates: Certificates,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    """Serves all of them until cancelled. Raises LocalTrouble if an address is taken."""
    async with trio.open_nursery() as nursery:
        for server in servers:
            if server.port not in (Port.OPEN, Port.DEAD):
                continue
            listening = Listening(server, certificates)
            for address in server.addresses:
                sock = await _listen(address, backlog=0 if server.port is Port.DEAD else 128)
                if server.port is Port.DEAD:
                    await _fill(sock, nursery)
                    continue
                nursery.start_soon(
                    trio.serve_listeners, listening.serve, [trio.SocketListener(sock)]
                )
        task_status.started()


async def _listen(address: str, *, backlog: int) -> trio.socket.SocketType:
    family = trio.socket.AF_INET6 if ":" in address else trio.socket.AF_INET
    sock = trio.socket.socket(family, trio.socket.SOCK_STREAM)
    sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
    try:
        # a numeric address: trio's bind would only look it up
        await sock.bind((address, addresses.SMTP_PORT))
    except OSError as error:
        raise LocalTrouble(
            f"cannot listen on {address} port {addresses.SMTP_PORT}: {error.strerror}"
        ) from None
    sock.listen(backlog)
    return sock


async def _fill(sock: trio.socket.SocketType, nursery: trio.Nursery) -> None:
    """Connects until the queue of a socket that nobody accepts from is full: from then on the
    kernel drops what comes, and connecting times out."""
    while True:
        client = trio.socket.socket(sock.family, trio.socket.SOCK_STREAM)
        with trio.move_on_after(_QUEUE_FULL_S) as waited:
            await client.connect(sock.getsockname())
        nursery.start_soon(_keep, client, sock)
        if waited.cancelled_caught:
            return


async def _keep(*sockets: trio.socket.SocketType) -> None:
    with contextlib.ExitStack() as stack:
        for one in sockets:
            stack.enter_context(one)
        await trio.sleep_forever()


def _context(server: MailServer, certificates: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_TICKET
    faults = server.session.faults
    if "tls-1.0-only" in faults:
        with warnings.catch_warnings():  # that it is deprecated is the point
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    for pem in certificates.pems(server.host, server.chain):
        _load(context, pem)
    if server.chain.only_for is not None:
        other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _load(other, next(certificates.pems("default.lab", Chain(authority=None, send=("leaf",)))))
        other.sni_callback = _by_name({server.chain.only_for: context})
        return other
    if "unrecognized-name" in faults:
        context.sni_callback = _by_name({})
    return context


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:  # OpenSSL reads only from files
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)


def _by_name(
    contexts: Mapping[str, ssl.SSLContext],
) -> Callable[[ssl.SSLObject, str | None, ssl.SSLContext], int | None]:
    """Chooses by the client's server name; without contexts, refuses them all."""

    def choose(tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        if name is not None and name in contexts:
            tls.context = contexts[name]
        elif not contexts:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        return None

    return choose
