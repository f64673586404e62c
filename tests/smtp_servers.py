"""Mail servers for tests: real sockets and real TLS on loopback, behaving as scripted.

A `Town` is a thread with any number of servers, each at a loopback address of its own and
all at one port, since a probe has one port. A server is an async function of a stream.
"""

import socket
import ssl
import threading
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self

import trio
import trustme

Server = Callable[[trio.SocketStream], Awaitable[None]]

EHLO = b"250-mx.example\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 8BITMIME\r\n"


def tls_context(
    *certificates: trustme.LeafCert,
    ciphers: str = "DEFAULT:@SECLEVEL=0",
    newest: ssl.TLSVersion | None = None,
) -> ssl.SSLContext:
    """A server context for the certificates (one for each kind of key)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers(ciphers)
    if newest is not None:
        with warnings.catch_warnings():  # that it is deprecated is the point
            warnings.simplefilter("ignore", DeprecationWarning)
            context.maximum_version = newest
    for certificate in certificates:
        certificate.configure_cert(context)
    return context


async def read_line(stream: trio.abc.ReceiveStream) -> bytes:
    """A command line; b"" when the client is gone. No client here sends two at once."""
    line = b""
    while not line.endswith(b"\n"):
        data = await stream.receive_some(4096)
        if not data:
            return b""
        line += data
    return line


class SMTP:
    """A mail server that says what it is told to say, and remembers what it heard."""

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        *,
        greeting: bytes = b"220 mx.example ESMTP\r\n",
        ehlo: bytes = EHLO,
        starttls: bytes = b"220 2.0.0 Ready\r\n",
        instead_of_tls: Server | None = None,
    ) -> None:
        self.context = context
        self.greeting = greeting
        self.ehlo = ehlo
        self.starttls = starttls
        self.instead_of_tls = instead_of_tls
        self.heard: list[bytes] = []
        self.names: list[str | None] = []  # SNI of each handshake
        self.connections = 0
        self.at_once = 0
        self.most_at_once = 0
        if context is not None:
            context.sni_callback = lambda _tls, name, _context: self.names.append(name)

    async def __call__(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self._serve(stream)
        finally:
            self.at_once -= 1

    async def _serve(self, stream: trio.SocketStream) -> None:
        await stream.send_all(self.greeting)
        if not await self._commands(stream):
            return
        if self.instead_of_tls is not None:
            await self.instead_of_tls(stream)
            return
        assert self.context is not None
        tls = trio.SSLStream(stream, self.context, server_side=True, https_compatible=True)
        await tls.do_handshake()
        await self.inside(tls)
        await self._commands(tls)

    async def inside(self, stream: trio.abc.Stream) -> None:
        """Once the handshake is done, before the commands inside TLS."""

    async def _commands(self, stream: trio.abc.Stream) -> bool:
        """Answer until QUIT (False) or an agreed STARTTLS (True)."""
        while line := await read_line(stream):
            self.heard.append(line)
            match line.split()[0].upper():
                case b"EHLO":
                    await stream.send_all(self.ehlo)
                case b"STARTTLS":
                    await stream.send_all(self.starttls)
                    if self.starttls.startswith(b"2"):
                        return True
                case b"QUIT":
                    await stream.send_all(b"221 2.0.0 bye\r\n")
                    return False
                case _:
                    await stream.send_all(b"502 5.5.2 no\r\n")
        return False


async def never_answers(stream: trio.SocketStream) -> None:
    """Accepts and says nothing."""
    while await stream.receive_some(4096):
        pass


async def hangs_up(stream: trio.SocketStream) -> None:
    """Closes at once."""


class Town:
    """A context manager: servers in a thread, all at `port`."""

    def __init__(self) -> None:
        self.port = 0
        self._listening: list[tuple[Server, socket.socket]] = []
        self._last = 0
        self._ready = threading.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope: trio.CancelScope | None = None
        self._thread: threading.Thread | None = None

    def add(self, server: Server, address: str | None = None) -> str:
        """Listen for a server, at the next address of 127.77/16 if none is given."""
        if address is None:
            self._last += 1
            address = f"127.77.{self._last}.1"
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listening = socket.create_server((address, self.port), family=family, backlog=1024)
        self.port = listening.getsockname()[1]
        self._listening.append((server, listening))
        return address

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=trio.run, args=(self._serve,), name="mail servers")
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._token is not None
        assert self._scope is not None
        assert self._thread is not None
        self._token.run_sync_soon(self._scope.cancel)
        self._thread.join()

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as self._scope:
            async with trio.open_nursery() as nursery:
                for server, listening in self._listening:
                    listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
                    nursery.start_soon(trio.serve_listeners, _polite(server), [listener])
                self._ready.set()
                await trio.sleep_forever()


def _polite(server: Server) -> Server:
    """The server, with a client that leaves or that breaks TLS being nothing to tell."""

    async def serve(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
            async with stream:
                await server(stream)

    return serve
