"""Does each thread of our own Unbound still serve? Found out without the network.

`version.bind CH TXT` is answered by the thread that gets the datagram, which asks nobody. The
threads share the port by SO_REUSEPORT, and the kernel gives all datagrams of one socket to one
of them: of 16 sockets a thread, each thread gets some. A thread that stands still leaves its own
unanswered while all others answer, so that every canary that it gets is bad, for ever. A control
socket that was deleted does no harm at first, but nothing can be flushed any more.
"""

import os
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from crawler.dns.control import Control
from dane.faults import LocalTrouble

EVERY_S = 10.0
PATIENCE_S = 20.0
"""A fault that lasts so long does not pass by itself; overload does."""
_REPLY_S = 5.0
_SENDINGS = 2
_SOCKETS_A_THREAD = 16
_QUESTION = b"\0\0" + bytes.fromhex("0001000000000000") + b"\7version\4bind\0" + b"\0\x10\0\3"


class Liveness(threading.Thread):
    """Looks every EVERY_S until `end`. `wedged` is called with the fault that lasts."""

    def __init__(
        self,
        address: tuple[str, int],
        control: Path,
        threads: int,
        *,
        serves: Callable[[], bool],
        wedged: Callable[[str], None],
    ) -> None:
        super().__init__(name=f"liveness-{address[1]}", daemon=True)
        self._address = address
        self._control = control
        self._sockets = _SOCKETS_A_THREAD * threads
        self._serves = serves
        self._wedged = wedged
        self._ending = threading.Event()

    def end(self) -> None:
        self._ending.set()

    def run(self) -> None:
        since = None
        while not self._ending.wait(EVERY_S):
            began = time.monotonic()
            fault = self.fault() if self._serves() else None
            if fault is None or not self._serves():  # it may have ended meanwhile
                since = None
                continue
            since = began if since is None else since
            if time.monotonic() - since >= PATIENCE_S and not self._ending.is_set():
                self._wedged(fault)
                since = None

    def fault(self) -> str | None:
        """What is wrong now, in a few words."""
        try:
            Control(self._control, timeout_s=_REPLY_S).ask("status")
        except LocalTrouble as trouble:
            return str(trouble)
        silent = self._silent()
        return f"{silent} of {self._sockets} sockets get no answer" if silent else None

    def _silent(self) -> int:
        """How many sockets get no answer, however often they ask."""
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        with ExitStack() as stack:
            waiting = {}
            for _ in range(self._sockets):
                one = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
                one.setblocking(False)
                one.connect(self._address)
                waiting[one.fileno()] = one
            for _ in range(_SENDINGS):
                for one in waiting.values():
                    with suppress(OSError):
                        one.send(os.urandom(2) + _QUESTION[2:])
                self._receive(waiting)
            return len(waiting)

    def _receive(self, waiting: dict[int, socket.socket]) -> None:
        """Take out those that are answered, until all are or the time is over."""
        poll = select.poll()
        for descriptor in waiting:
            poll.register(descriptor, select.POLLIN)
        end = time.monotonic() + _REPLY_S / _SENDINGS
        while waiting and (left_s := end - time.monotonic()) > 0:
            for descriptor, _ in poll.poll(left_s * 1000):
                with suppress(OSError):  # nobody listens: that is no answer
                    waiting[descriptor].recv(512)
                    del waiting[descriptor]
                    poll.unregister(descriptor)
