"""Connected UDP sockets to one resolver, and the questions that are open on each.

To hand a datagram to the kernel is the dearest part of a question: 2.5 µs each alone, 0.5 µs
among sixteen that go in one call, which the kernel cuts up (UDP_SEGMENT, Linux 4.18). It
wants them of equal length: `codec.PADDED`. sendmmsg would save the system calls alone, which
are next to nothing of it (docs/performance.md).
"""

import random
import socket
import struct
from contextlib import suppress
from typing import Protocol

from crawler.dns.codec import PADDED, Question, Response

Address = tuple[str, int]

_TOGETHER = 16  # of 64 each would cost 0.4 µs, but all go to one of the resolver's threads
_RECEIVE_BUFFER = 1 << 20
_SO_RCVBUFFORCE = 33  # <asm-generic/socket.h>; beyond rmem_max, with CAP_NET_ADMIN
_UDP_SEGMENT = 103  # <linux/udp.h>
_CUT = ((socket.SOL_UDP, _UDP_SEGMENT, struct.pack("@H", PADDED)),)


class Asker(Protocol):
    """Who wants a response. `answered` must not block, and may submit further questions."""

    def answered(self, response: Response | None, /) -> None: ...


class Exchange:
    """A question on its way. `sent` and `resent` are trio times.

    What only those sent twice have is set then: `resent`, `answered` (of either copy) and
    `done` (answered or given up).
    """

    __slots__ = ("answered", "asker", "done", "question", "resent", "sent")
    resent: float
    answered: bool
    done: bool

    def __init__(self, question: Question, asker: Asker, sent: float) -> None:
        self.question = question
        self.asker = asker
        self.sent = sent


class Channel:
    """One connected socket and what was sent over it, oldest first, by message id."""

    __slots__ = ("fresh", "recv", "resent", "socket")

    def __init__(self, address: Address) -> None:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.connect(address)  # a random local port; only the resolver can answer
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        except PermissionError:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self.recv = self.socket.recv
        self.fresh: dict[int, Exchange] = {}
        self.resent: dict[int, Exchange] = {}

    @property
    def cuts(self) -> bool:
        """Whether the kernel knows UDP_SEGMENT."""
        try:
            self.socket.setsockopt(socket.SOL_UDP, _UDP_SEGMENT, 0)
        except OSError:
            return False
        return True

    def open(self, table: dict[int, Exchange], exchange: Exchange) -> bytes:
        """The message to send for an exchange, which is kept in `table` under its id."""
        number = random.getrandbits(16)
        while number in self.fresh or number in self.resent:
            number = random.getrandbits(16)
        table[number] = exchange
        return number.to_bytes(2, "big") + exchange.question.packet

    def send(self, messages: list[bytes]) -> None:
        """Send one message, or several of PADDED bytes. What is lost will be sent again."""
        try:
            self._send(messages)
        except ConnectionRefusedError:  # told of an earlier datagram; these were not sent
            with suppress(OSError):
                self._send(messages)
        except OSError:
            pass  # no buffer, no memory

    def _send(self, messages: list[bytes]) -> None:
        if len(messages) == 1:
            self.socket.send(messages[0])
        else:
            self.socket.sendmsg((b"".join(messages),), _CUT)


class Group:
    """The channels of one resolver; they take turns at sending some messages together."""

    __slots__ = ("_filling", "_messages", "_most", "_turn", "channels")

    def __init__(self, channels: list[Channel]) -> None:
        self.channels = channels
        self._turn = 0
        self._filling = channels[0]
        self._messages: list[bytes] = []
        self._most = _TOGETHER if channels[0].cuts else 1

    def submit(self, exchange: Exchange) -> None:
        """Send the question of an exchange, at the latest at the next `flush`."""
        channel = self._filling
        message = channel.open(channel.fresh, exchange)
        if len(message) != PADDED:
            channel.send([message])
            return
        self._messages.append(message)
        if len(self._messages) == self._most:
            self.flush()

    def flush(self) -> None:
        if self._messages:
            self._filling.send(self._messages)
            self._messages.clear()
            self._turn = (self._turn + 1) % len(self.channels)
            self._filling = self.channels[self._turn]
