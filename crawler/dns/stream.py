"""Questions over TCP to one resolver, for answers that do not fit into a datagram (RFC 7766).

One connection, opened when there is something to ask, with up to `PIPELINE` questions in
flight, answered in any order. It is opened anew after it ends; what was not answered is
sent again until its deadline.
"""

import random
from collections import deque
from collections.abc import Callable

import trio

from crawler.dns.codec import Question, Response, decode
from crawler.dns.rdata import Flaw

PIPELINE = 100
_RECONNECT_S = 0.1
_NOT_OURS = frozenset({Flaw.OTHER_QUESTION, Flaw.NOT_A_RESPONSE})


class _Asked:
    __slots__ = ("due", "question", "taken")

    def __init__(
        self, question: Question, taken: Callable[[Response | None], None], due: float
    ) -> None:
        self.question = question
        self.taken = taken
        self.due = due


class Stream:
    """`submit` questions while `run` runs; `expire` must be called now and then."""

    def __init__(self, address: tuple[str, int], deadline_s: float) -> None:
        self._address = address
        self._deadline_s = deadline_s
        self._waiting: deque[_Asked] = deque()
        self._sent: dict[int, _Asked] = {}
        self._more = trio.Event()

    def submit(self, question: Question, taken: Callable[[Response | None], None]) -> None:
        """`taken` is called just once: with the response, or with None at the deadline."""
        due = trio.current_time() + self._deadline_s
        self._waiting.append(_Asked(question, taken, due))
        self._more.set()

    def expire(self, now: float) -> None:
        """Give up what is past its deadline."""
        while self._waiting and self._waiting[0].due <= now:
            self._waiting.popleft().taken(None)
        for number in [number for number, asked in self._sent.items() if asked.due <= now]:
            self._sent.pop(number).taken(None)

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            if not self._waiting:
                self._more = trio.Event()
                await self._more.wait()
            try:
                async with await trio.open_tcp_stream(*self._address) as stream:
                    await self._session(stream)
            except OSError:
                await trio.sleep(_RECONNECT_S)  # refused or reset: the deadlines go on
            self._waiting.extendleft(reversed(self._sent.values()))
            self._sent.clear()

    async def _session(self, stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read, stream, nursery.cancel_scope)
            while True:
                frames = b""
                while self._waiting and len(self._sent) < PIPELINE:
                    asked = self._waiting.popleft()
                    number = random.getrandbits(16)
                    while number in self._sent:
                        number = random.getrandbits(16)
                    self._sent[number] = asked
                    message = number.to_bytes(2, "big") + asked.question.packet
                    frames += len(message).to_bytes(2, "big") + message
                self._more = trio.Event()
                if frames:
                    try:
                        await stream.send_all(frames)
                    except trio.BrokenResourceError:
                        return nursery.cancel_scope.cancel()
                else:
                    await self._more.wait()

    async def _read(self, stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        """Take responses until the resolver ends the connection, then end the session."""
        buffer = bytearray()
        try:
            while received := await stream.receive_some():
                buffer += received
                while len(buffer) >= 2:
                    end = 2 + int.from_bytes(buffer[:2], "big")
                    if len(buffer) < end:
                        break
                    self._take(bytes(buffer[2:end]))
                    del buffer[:end]
        except trio.BrokenResourceError:
            pass
        scope.cancel()

    def _take(self, wire: bytes) -> None:
        number = int.from_bytes(wire[:2], "big")
        asked = self._sent.get(number)
        if asked is None:
            return
        response = decode(wire, asked.question)
        if response.flaw in _NOT_OURS:
            return
        del self._sent[number]
        self._more.set()
        asked.taken(response)
