"""The resolver client: questions out, responses in, over connected UDP sockets (trio).

    async with Client(resolvers, settings, try_s=5.0).serving() as client:
        response = await client.ask(Question("example.org", MX))  # None: no reply in time

At least 16 sockets a resolver thread: Unbound's threads share the port by SO_REUSEPORT, and
the kernel gives all datagrams of one socket to one thread. One task drains all sockets
through one epoll descriptor; a task a question, or even a wake-up a question, would cost
more than all the rest (docs/performance.md).

Each question is sent once, once more after `resend_s`, and given up at `try_s` after the
first sending. Its asker is told exactly once. Truncated answers are fetched by TCP.

Signs that the resolver sheds load, and what is done (`Client.has_room`):
- of a question sent twice one copy was answered and the other never: a datagram was lost.
  More than 1 % of a period's (`resend_s`): the window is halved, and grows again by a
  twentieth of what it may be a period.
- nothing at all is received for a period while questions are open: no more than one new
  question a tick, so that a resolver that stands still does not use up the names.
"""

import os
import random
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Protocol, TypeVar

import trio

from crawler.dns.channel import Address, Asker, Channel, Exchange, Group
from crawler.dns.codec import Question, Response, decode
from crawler.dns.lookup import Lookup
from crawler.dns.rdata import Flaw
from crawler.dns.settings import ClientSettings
from crawler.dns.stream import Stream
from dane import clock
from dane.faults import LocalTrouble

T = TypeVar("T")

TICK_S = 0.05  # how exact deadlines are
_DRAIN = 128  # datagrams of one socket before the others' turn
# A round costs some 40 µs whatever it finds: the CPU that a cold resolver needs itself. When
# few datagrams came the next round waits a little for more; the window hides the delay.
_WORTH_A_ROUND = 64
_GATHER_S = 0.004
_BIGGEST = 4096  # a datagram is at most codec.UDP_PAYLOAD
_MIN_WINDOW = 16
_MOST_SOCKETS = 128  # a scan: open files are limited to 1024 on many machines
_NOT_OURS = frozenset({Flaw.OTHER_QUESTION, Flaw.NOT_A_RESPONSE, Flaw.SHORT})


@dataclass(frozen=True, slots=True)
class Resolvers:
    """The validating resolvers of a scan: (address, port) pairs, all on loopback.

    `second` is the one with qname minimisation (measurement, section 3.4); without it second
    looks are left out. `control`: the Unix control sockets of them all, for flushes.
    `threads`: of each resolver; default: one a core, as Unbound is configured.
    """

    first: tuple[Address, ...]
    second: tuple[Address, ...] = ()
    control: tuple[Path, ...] = ()
    threads: int | None = None


class Client:
    """See the module. Not thread-safe: it belongs to one `trio.run`.

    Raises LocalTrouble if there are not enough file descriptors.
    """

    def __init__(self, resolvers: Resolvers, settings: ClientSettings, *, try_s: float) -> None:
        self._try_s = try_s
        self._resend_s = min(settings.resend_s, try_s / 2)
        self._most = settings.window
        self.window = float(settings.window)
        self.young = 0  # questions younger than resend_s
        self.slow = 0  # older ones, and those on TCP
        self.sent = self.received = self.lost = 0
        self.now = 0.0  # trio time of the current round
        self.now_us = 0  # wall clock of the current round: microseconds since 1970
        self._period = [0.0, 0, 0, 0]  # start of the current period; sent, received, lost then
        self.silent = False
        self._epoll = select.epoll()
        self._groups: list[Group] = []
        self._streams: list[Stream] = []
        self._by_descriptor: dict[int, Channel] = {}
        self._in_round = False
        self._ticked: list[Ticked] = []
        threads = resolvers.threads or os.cpu_count() or 1
        # The second resolver is asked little.
        first = min(settings.sockets * threads, _MOST_SOCKETS), resolvers.first
        try:
            for sockets, addresses in (first, (settings.sockets, resolvers.second)):
                if not addresses:
                    continue
                self._streams.append(Stream(addresses[0], try_s))
                turns = islice(cycle(addresses), sockets)
                self._groups.append(Group([self._channel(address) for address in turns]))
        except OSError as error:
            self._close()
            raise LocalTrouble(
                f"no {first[0]} UDP sockets to a resolver: {error.strerror}; "
                "raise the open-file limit (ulimit -n)"
            ) from error

    def _channel(self, address: Address) -> Channel:
        channel = Channel(address)
        self._by_descriptor[channel.socket.fileno()] = channel
        self._epoll.register(channel.socket, select.EPOLLIN)
        return channel

    def _close(self) -> None:
        self._epoll.close()
        for channel in self._by_descriptor.values():
            channel.socket.close()

    @property
    def has_second_look(self) -> bool:
        return len(self._groups) > 1

    @property
    def sockets(self) -> int:
        """Of the first resolver."""
        return len(self._groups[0].channels)

    @property
    def has_room(self) -> bool:
        """Whether the resolver should be given another question now (see the module)."""
        return self.young < self.window > self.slow and not self.silent

    def each_tick(self, ticked: "Ticked") -> None:
        """Have `ticked.tick()` called about every TICK_S."""
        self._ticked.append(ticked)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Client"]:
        """Serve until the block ends; what is open then is dropped without a word."""
        self.now, self.now_us = trio.current_time(), clock.microseconds()
        self._period[0] = self.now  # nothing can have been received before
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve)
                for stream in self._streams:
                    nursery.start_soon(stream.run)
                yield self
                nursery.cancel_scope.cancel()
        finally:
            self._close()

    async def look_up(self, steps: Lookup[T]) -> T:
        """Carry one lookup through."""
        try:
            question = next(steps)
            while True:
                question = steps.send(await self.ask(question))
        except StopIteration as end:
            result: T = end.value
            return result

    async def ask(self, question: Question, *, channel: int | None = None) -> Response | None:
        """Ask one question, over the socket of that number if given; None: no reply in time."""
        waiter = _Waiter()
        self.now = trio.current_time()
        self.submit(question, waiter, channel)
        await waiter.told.wait()
        return waiter.response

    def submit(self, question: Question, asker: Asker, channel: int | None = None) -> None:
        """Send a question; `asker.answered` is called later, never from within this call."""
        group = self._groups[question.resolver]
        exchange = Exchange(question, asker, self.now)
        self.young += 1
        self.sent += 1
        if channel is not None:
            one = group.channels[channel % len(group.channels)]
            one.send([one.open(one.fresh, exchange)])
            return
        group.submit(exchange)
        if not self._in_round:
            group.flush()

    async def _serve(self) -> None:
        ticked = 0.0
        while True:
            before = self.received
            self.now = trio.current_time()
            self.now_us = clock.microseconds()
            self._in_round = True
            for ready, _ in self._epoll.poll(0):
                self._drain(self._by_descriptor[ready])
            if self.now >= ticked + TICK_S:
                ticked = self.now
                self._tick()
            self._in_round = False
            for group in self._groups:
                group.flush()
            received = self.received - before
            if not received:
                with trio.move_on_at(ticked + TICK_S):
                    await trio.lowlevel.wait_readable(self._epoll.fileno())
            elif received < _WORTH_A_ROUND:
                await trio.sleep(_GATHER_S)
            else:
                await trio.lowlevel.checkpoint()

    def _drain(self, channel: Channel) -> None:
        fresh, resent, recv = channel.fresh, channel.resent, channel.recv
        for _ in range(_DRAIN):
            try:
                wire = recv(_BIGGEST)
            except BlockingIOError:
                return
            except OSError:
                continue  # nobody listened to an earlier datagram: its question is re-sent
            self.received += 1
            number = wire[0] << 8 | wire[1] if len(wire) > 1 else -1
            exchange = fresh.get(number)
            once = exchange is not None
            if exchange is None:
                exchange = resent.get(number)
                if exchange is None:
                    continue  # later than its deadline
            response = decode(wire, exchange.question)
            if response.flaw is not None and response.flaw in _NOT_OURS:
                continue
            if once:
                del fresh[number]
                self.young -= 1
            else:
                del resent[number]
                if exchange.done:
                    continue  # the other copy was quicker
                self.slow -= 1
                exchange.answered = exchange.done = True
            if response.tc:
                self._ask_by_tcp(exchange)
            else:
                exchange.asker.answered(response)

    def _ask_by_tcp(self, exchange: Exchange) -> None:
        self.slow += 1

        def taken(response: Response | None) -> None:
            self.slow -= 1
            exchange.asker.answered(response)

        self._streams[exchange.question.resolver].submit(exchange.question, taken)

    def _tick(self) -> None:
        self._watch_losses()
        for group in self._groups:
            for channel in group.channels:
                self._send_again(channel, group)
        for channel in self._by_descriptor.values():
            self._give_up(channel)
        for stream in self._streams:
            stream.expire(self.now)
        for ticked in self._ticked:
            ticked.tick()

    def _send_again(self, channel: Channel, group: Group) -> None:
        before = self.now - self._resend_s
        fresh = channel.fresh
        while fresh:
            number = next(iter(fresh))
            exchange = fresh[number]
            if exchange.sent > before:
                return
            del fresh[number]
            self.young -= 1
            self.slow += 1
            exchange.resent = self.now
            exchange.answered = exchange.done = False
            channel.resent[number] = exchange
            other = random.choice(group.channels)
            self.sent += 1
            other.send([other.open(other.resent, exchange)])

    def _give_up(self, channel: Channel) -> None:
        before = self.now - (self._try_s - self._resend_s)
        resent = channel.resent
        while resent:
            number = next(iter(resent))
            exchange = resent[number]
            if exchange.resent > before:
                return
            del resent[number]
            if exchange.answered:
                self.lost += 1  # the other copy was answered, this one never
            elif not exchange.done:
                exchange.done = True
                self.slow -= 1
                exchange.asker.answered(None)

    def _watch_losses(self) -> None:
        start, sent, received, lost = self._period
        if self.now - start < self._resend_s:
            return
        self.silent = self.received == received and self.young + self.slow > 0
        if self.lost - lost > max(1.0, 0.01 * (self.sent - sent)):
            self.window = max(float(_MIN_WINDOW), self.window / 2)
        else:
            self.window = min(float(self._most), self.window + self._most / 20)
        self._period = [self.now, self.sent, self.received, self.lost]


class Ticked(Protocol):
    def tick(self) -> None: ...


class _Waiter:
    __slots__ = ("response", "told")

    def __init__(self) -> None:
        self.told = trio.Event()
        self.response: Response | None = None

    def answered(self, response: Response | None) -> None:
        self.response = response
        self.told.set()
