"""Questions to authoritative servers and their replies as bytes (trio).

UDP over a connected socket, so that only the server's address can answer; TCP as RFC 7766 has
it. What the bytes say is `crawler.dns.opaque`'s part, and at which pace a server is asked is
`crawler.dns.authority`'s.

A server is asked a dozen questions one after another. Within `shared_sockets` they go over one
UDP socket and one TCP connection: a new one for each would cost us, the network and the server
several packets more. A socket serves one question at a time, is used again only after a reply,
and is closed when it has been idle for a moment: no server keeps a connection open for us.
"""

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import dns.exception
import trio

_LARGEST = 65535
_IDLE_S = 1.0
_MOST_IDLE = 256  # sockets: open files are limited

_Key = tuple[str, int, bool]
"""Address, port, and whether it is TCP."""


@dataclass(slots=True)
class _Idle:
    """Sockets that wait for the next question to their server, the latest last."""

    sockets: dict[_Key, list[tuple[float, trio.socket.SocketType]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    count: int = 0

    def take(self, key: _Key) -> trio.socket.SocketType | None:
        """A socket to this server, if one waits."""
        self.close_before(trio.current_time() - _IDLE_S)
        waiting = self.sockets.get(key)
        if not waiting:
            return None
        self.count -= 1
        return waiting.pop()[1]

    def keep(self, key: _Key, sock: trio.socket.SocketType) -> None:
        if self.count >= _MOST_IDLE:
            sock.close()
            return
        self.count += 1
        self.sockets[key].append((trio.current_time(), sock))

    def close_before(self, time: float) -> None:
        """Close what has been idle since before then."""
        for key in list(self.sockets):
            waiting = self.sockets[key]
            while waiting and waiting[0][0] <= time:
                self.count -= 1
                waiting.pop(0)[1].close()
            if not waiting:
                del self.sockets[key]


_idle: trio.lowlevel.RunVar[_Idle | None] = trio.lowlevel.RunVar("idle sockets", None)


@asynccontextmanager
async def shared_sockets() -> AsyncIterator[None]:
    """Have all `exchange` of this trio run share sockets until the block ends."""
    idle = _Idle()
    _idle.set(idle)
    try:
        yield
    finally:
        _idle.set(None)
        idle.close_before(float("inf"))


async def exchange(wire: bytes, address: str, port: int, *, tcp: bool, timeout_s: float) -> bytes:
    """The reply to the question `wire`, recognised by its id.

    Raises dns.exception.Timeout without one in time, EOFError for a connection that is closed
    before the reply has ended, OSError.
    """
    idle, key = _idle.get(), (address, port, tcp)
    used = idle.take(key) if idle is not None else None
    if used is not None:
        # A server may have closed its connection, or answer one question on each: that says
        # nothing of the server, so then the question goes over a new one.
        with suppress(*((EOFError, OSError) if tcp else ())), trio.move_on_after(timeout_s):
            return await _ask(used, wire, key, idle)
    if used is None or tcp:
        with trio.move_on_after(timeout_s):
            return await _ask(await _opened(key), wire, key, idle)
    raise dns.exception.Timeout(timeout=timeout_s)  # type: ignore[no-untyped-call]


async def _opened(key: _Key) -> trio.socket.SocketType:
    address, port, tcp = key
    family = trio.socket.AF_INET6 if ":" in address else trio.socket.AF_INET
    kind = trio.socket.SOCK_STREAM if tcp else trio.socket.SOCK_DGRAM
    sock = trio.socket.socket(family, kind)
    try:
        if tcp:
            sock.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
        await sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return sock


async def _ask(sock: trio.socket.SocketType, wire: bytes, key: _Key, idle: _Idle | None) -> bytes:
    """Ask over this socket, which waits for the next question after a reply, else is closed."""
    reply = None
    try:
        reply = await (_over_tcp if key[2] else _over_udp)(sock, wire)
    finally:
        if reply is not None and idle is not None:
            idle.keep(key, sock)
        else:
            sock.close()
    return reply


async def _over_udp(sock: trio.socket.SocketType, wire: bytes) -> bytes:
    await sock.send(wire)
    while True:
        reply = await sock.recv(_LARGEST)
        if reply[:2] == wire[:2]:
            return reply


async def _over_tcp(sock: trio.socket.SocketType, wire: bytes) -> bytes:
    message = memoryview(len(wire).to_bytes(2) + wire)
    while message:
        message = message[await sock.send(message) :]
    length = int.from_bytes(await _exactly(sock, 2))
    return await _exactly(sock, length)


async def _exactly(sock: trio.socket.SocketType, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        more = await sock.recv(count - len(received))
        if not more:
            raise EOFError
        received += more
    return bytes(received)
