"""Distance: passes DNS to the name servers, late and sometimes not at all.

The kernel's own delays (netem) are not to be had everywhere, so a process stands between: it
listens on the public addresses of the name servers, asks them on their real ones, and keeps
each reply for the latency of its address. Loss is of UDP replies; TCP arrives, late. Plain
sockets and one heap: at 15 000 questions a second a task each would be the bottleneck.

Run as `python -m lab.forwarder LATENCY_MS LOSS PUBLIC=REAL…`.
"""

import contextlib
import hashlib
import heapq
import random
import selectors
import socket
import sys
import time
from collections.abc import Callable, Sequence
from itertools import count

from lab import addresses

_BATCH = 64  # datagrams before the loop looks at its heap again
_DATAGRAM_MAX = 65535
_PENDING_MAX = 65536
_BUFFER = 4 << 20


def latency_s(address: str, most_ms: int) -> float:
    """The latency of an address: between a tenth of the most and the most, always the same."""
    part = hashlib.blake2b(address.encode(), digest_size=2).digest()
    return most_ms / 1000 * (0.1 + 0.9 * int.from_bytes(part) / 65535)


class Clock:
    """What is to happen later, in order."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = count()

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (time.monotonic() + delay_s, next(self._count), action))

    def run(self) -> float | None:
        """Does what is due; seconds until the next, None if there is nothing."""
        while self._due:
            wait_s = self._due[0][0] - time.monotonic()
            if wait_s > 0:
                return wait_s
            heapq.heappop(self._due)[2]()
        return None


class Datagrams:
    """The UDP side of one address. Message IDs are its own towards the real server."""

    def __init__(self, public: str, real: str, delay_s: float, loss: float, clock: Clock) -> None:
        self.listener = _udp(public)
        self.upstream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.upstream.setblocking(False)
        self.upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self.upstream.connect((real, addresses.DNS_PORT))
        self._delay_s = delay_s
        self._loss = loss
        self._clock = clock
        self._random = random.Random(public)
        self._next_id = 0
        self._pending: dict[int, tuple[tuple[str, int], bytes]] = {}

    def ask(self) -> None:
        """Passes on what clients asked."""
        for _ in range(_BATCH):
            try:
                question, client = self.listener.recvfrom(_DATAGRAM_MAX)
            except BlockingIOError:
                return
            if len(question) < 12:
                continue
            self._next_id = (self._next_id + 1) % _PENDING_MAX
            self._pending[self._next_id] = (client, question[:2])
            self._send(self.upstream.send, self._next_id.to_bytes(2, "big") + question[2:])

    def answer(self) -> None:
        """Takes replies and keeps them for a while."""
        for _ in range(_BATCH):
            try:
                reply = self.upstream.recv(_DATAGRAM_MAX)
            except (BlockingIOError, ConnectionRefusedError):
                return
            pending = self._pending.pop(int.from_bytes(reply[:2], "big"), None)
            if pending is None or self._random.random() < self._loss:
                continue
            self._clock.after(self._delay_s, self._reply(pending, reply))

    def _reply(self, pending: tuple[tuple[str, int], bytes], reply: bytes) -> Callable[[], None]:
        client, message_id = pending
        return lambda: self._send(
            lambda data: self.listener.sendto(data, client), message_id + reply[2:]
        )

    @staticmethod
    def _send(send: Callable[[bytes], int], data: bytes) -> None:
        # a full buffer loses datagrams, as networks do
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            send(data)


class Connection:
    """One TCP connection and its twin: what the server says comes late, its end included."""

    def __init__(self, client: socket.socket, real: str, delay_s: float, clock: Clock) -> None:
        self.client = client
        self.server = socket.create_connection((real, addresses.DNS_PORT))
        self._delay_s = delay_s
        self._clock = clock

    def ask(self) -> bool:
        """Passes on what the client said; false at its end."""
        said = _received(self.client)
        if said:
            _sent(self.server, said)
        else:
            _shut(self.server, socket.SHUT_WR)
        return bool(said)

    def answer(self) -> bool:
        """Takes what the server said; false at its end."""
        said = _received(self.server)
        self._clock.after(self._delay_s, lambda: self._say(said))
        return bool(said)

    def _say(self, said: bytes) -> None:
        if said:
            _sent(self.client, said)
        else:
            _shut(self.client, socket.SHUT_RDWR)


def _received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(_DATAGRAM_MAX)
    except OSError:  # reset: an end like another
        return b""


def _sent(sock: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):  # the other side has gone
        sock.sendall(data)


def _shut(sock: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(how)


class Forwarder:
    """All addresses, one loop."""

    def __init__(self, most_ms: int, loss: float, pairs: Sequence[tuple[str, str]]) -> None:
        self._selector = selectors.DefaultSelector()
        self._clock = Clock()
        for public, real in pairs:
            delay_s = latency_s(public, most_ms)
            datagrams = Datagrams(public, real, delay_s, loss, self._clock)
            self._watch(datagrams.listener, datagrams.ask)
            self._watch(datagrams.upstream, datagrams.answer)
            listener = socket.create_server((public, addresses.DNS_PORT), backlog=256)
            self._watch(listener, self._accepts(listener, real, delay_s))

    def run(self) -> None:
        """Forwards for ever."""
        while True:
            for key, _ in self._selector.select(self._clock.run()):
                key.data()

    def _watch(self, sock: socket.socket, action: Callable[[], None]) -> None:
        self._selector.register(sock, selectors.EVENT_READ, action)

    def _accepts(self, listener: socket.socket, real: str, delay_s: float) -> Callable[[], None]:
        def accept() -> None:
            client, _ = listener.accept()
            connection = Connection(client, real, delay_s, self._clock)
            self._watch_until_end(connection.client, connection.ask)
            self._watch_until_end(connection.server, connection.answer)

        return accept

    def _watch_until_end(self, sock: socket.socket, action: Callable[[], bool]) -> None:
        def step() -> None:
            if not action():
                # closed when the connection is garbage: the twin may still have to speak
                self._selector.unregister(sock)

        self._watch(sock, step)


def _udp(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    sock.bind((address, addresses.DNS_PORT))
    return sock


def main() -> None:
    most_ms, loss, *pairs = sys.argv[1:]
    forwarder = Forwarder(int(most_ms), float(loss), [_pair(one) for one in pairs])
    forwarder.run()


def _pair(text: str) -> tuple[str, str]:
    public, _, real = text.partition("=")
    return public, real


if __name__ == "__main__":
    main()
