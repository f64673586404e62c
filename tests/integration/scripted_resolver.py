"""A resolver on real sockets that does what a test says, by UDP and by TCP.

`script(wire, number)` gets each datagram and its number, and returns the datagrams to send
back; `stream_script` likewise for messages by TCP, where None ends the connection.
"""

import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.integration.dns_world import free_port

Script = Callable[[bytes, int], Sequence[bytes]]
StreamScript = Callable[[bytes, int], Sequence[bytes] | None]


@dataclass
class Resolver:
    address: tuple[str, int]
    arrivals: list[tuple[float, bytes]] = field(default_factory=list)  # monotonic seconds, wire
    by_tcp: list[bytes] = field(default_factory=list)
    senders: list[tuple[str, int]] = field(default_factory=list)  # of each datagram
    connections: int = 0


def echo(
    wire: bytes, *, rcode: int = 0, flags: int = 0x81A0, records: Sequence[bytes] = ()
) -> bytes:
    """A response to the question in `wire`, with AD unless `flags` says otherwise."""
    question = wire[12 : wire.index(b"\0", 12) + 5]
    counts = struct.pack(">HHHH", 1, len(records), 0, 0)
    return wire[:2] + struct.pack(">H", flags | rcode) + counts + question + b"".join(records)


def mx_record(preference: int = 10) -> bytes:
    """An MX record of the asked name that points at that name."""
    return b"\xc0\x0c" + struct.pack(">HHIHH", 15, 1, 60, 4, preference) + b"\xc0\x0c"


def truncated(wire: bytes) -> bytes:
    return echo(wire, flags=0x83A0)


@contextmanager
def scripted(
    script: Script, stream_script: StreamScript = lambda _, __: None
) -> Iterator[Resolver]:
    """Serve in a thread until the block ends."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        socket.create_server(("127.0.0.1", free_port())) as listener,
    ):
        datagrams.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
        datagrams.bind(listener.getsockname())
        datagrams.setblocking(False)
        resolver = Resolver(listener.getsockname())
        ending_read, ending = socket.socketpair()
        with ending_read, ending:
            thread = threading.Thread(
                target=_serve,
                args=(resolver, datagrams, listener, ending_read, script, stream_script),
            )
            thread.start()
            try:
                yield resolver
            finally:
                ending.send(b".")
                thread.join()


def _serve(
    resolver: Resolver,
    datagrams: socket.socket,
    listener: socket.socket,
    ending: socket.socket,
    script: Script,
    stream_script: StreamScript,
) -> None:
    streams: dict[socket.socket, bytearray] = {}
    while True:
        readable, _, _ = select.select([datagrams, listener, ending, *streams], [], [])
        for one in readable:
            if one is ending:
                for stream in streams:
                    stream.close()
                return
            if one is listener:
                resolver.connections += 1
                streams[listener.accept()[0]] = bytearray()
            elif one is datagrams:
                _drain(resolver, datagrams, script)
            elif not _read(resolver, one, streams[one], stream_script):
                del streams[one]
                one.close()


def _drain(resolver: Resolver, datagrams: socket.socket, script: Script) -> None:
    while True:
        try:
            wire, source = datagrams.recvfrom(65535)
        except BlockingIOError:
            return
        number = len(resolver.arrivals)
        resolver.arrivals.append((time.monotonic(), wire))
        resolver.senders.append(source)
        for reply in script(wire, number):
            datagrams.sendto(reply, source)


def _read(
    resolver: Resolver, stream: socket.socket, buffer: bytearray, script: StreamScript
) -> bool:
    try:
        received = stream.recv(65536)
    except OSError:
        return False
    buffer += received
    while len(buffer) >= 2 and len(buffer) >= (end := 2 + int.from_bytes(buffer[:2], "big")):
        wire = bytes(buffer[2:end])
        del buffer[:end]
        number = len(resolver.by_tcp)
        resolver.by_tcp.append(wire)
        replies = script(wire, number)
        if replies is None:
            return False
        for reply in replies:
            stream.sendall(len(reply).to_bytes(2, "big") + reply)
    return bool(received)
