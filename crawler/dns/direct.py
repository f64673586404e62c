"""One question to one authoritative server, bytes in and bytes out (trio).

UDP over a connected socket, so that only the server's address can answer; TCP with a
connection of its own. What the bytes say is `crawler.dns.opaque`'s part, and at which pace a
server is asked is `crawler.dns.authority`'s.
"""

import dns.exception
import trio

_LARGEST = 65535


async def exchange(wire: bytes, address: str, port: int, *, tcp: bool, timeout_s: float) -> bytes:
    """The reply to the question `wire`, recognised by its id.

    Raises dns.exception.Timeout without one in time, EOFError for a connection that is closed
    before the reply has ended, OSError.
    """
    with trio.move_on_after(timeout_s):
        return await (_over_tcp if tcp else _over_udp)(wire, address, port)
    raise dns.exception.Timeout(timeout=timeout_s)  # type: ignore[no-untyped-call]


async def _over_udp(wire: bytes, address: str, port: int) -> bytes:
    family = trio.socket.AF_INET6 if ":" in address else trio.socket.AF_INET
    with trio.socket.socket(family, trio.socket.SOCK_DGRAM) as sock:
        await sock.connect((address, port))
        await sock.send(wire)
        while True:
            reply = await sock.recv(_LARGEST)
            if reply[:2] == wire[:2]:
                return reply


async def _over_tcp(wire: bytes, address: str, port: int) -> bytes:
    async with await trio.open_tcp_stream(address, port) as stream:
        await stream.send_all(len(wire).to_bytes(2) + wire)
        length = int.from_bytes(await _exactly(stream, 2))
        return await _exactly(stream, length)


async def _exactly(stream: trio.SocketStream, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        more = await stream.receive_some(count - len(received))
        if not more:
            raise EOFError
        received += more
    return bytes(received)
