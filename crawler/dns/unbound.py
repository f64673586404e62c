"""The survey's own Unbound: started, watched, restarted, flushed, and gone with us.

    with Unbound(settings, directory) as resolver:
        resolver.address  # ("127.0.0.1", 5301)
        resolver.flush()

It ends with its parent, `kill -9` included: the kernel sends PR_SET_PDEATHSIG when the
*thread* that started a child ends, therefore a thread of its own starts it, watches it and
lives exactly as long. That thread also starts it again after a crash; `restarts` tells. One
that runs and does not serve any more (`crawler.dns.liveness`) is ended, and so started again.

With `[resolver] address` set nothing is started: that one must be an Unbound on loopback,
with its control socket, for without flushing no second look is one.
"""

import ipaddress
import logging
import os
import re
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from crawler.dns.configuration import ADDRESS, CONTROL
from crawler.dns.control import Control
from crawler.dns.installation import command, environment, prepare
from crawler.dns.liveness import Liveness
from crawler.dns.ports import refuse_taken
from crawler.dns.settings import ResolverSettings
from dane.faults import Fault, LocalTrouble, UsageFault

log = logging.getLogger(__name__)
T = TypeVar("T")

READY_S = 30.0  # until a started Unbound serves; it takes 0.05 s
STOP_S = 10.0  # until a stopped one is killed
_CONTROL_S = 5.0  # a resolver that runs answers at once
DYING_S = 2.0  # between a refused command and the end of a dying one
STEADY_S = 10.0  # one that lived as long as this is started again at once
RESTART_S = 1.0  # else after this
MOST_FAILURES = 5  # starts in a row that came to nothing; the very first is final


_ADDRESS_AND_PORT = re.compile(r"\[(.+)\](?::(\d+))?|([^@#]+)[@#](\d+)|([^:]+):(\d+)|(.+)")


def loopback(text: str) -> tuple[str, int]:
    """An address and a port, by default 53, from `127.0.0.1`, `127.0.0.1:53`, `[::1]:53`,

    `::1@53` or `127.0.0.1#53`. Raises UsageFault unless it is on loopback: elsewhere the AD
    bit proves nothing.
    """
    found = _ADDRESS_AND_PORT.fullmatch(text)
    host, port = (*filter(None, found.groups()), "53")[:2] if found else ("", "53")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise UsageFault(f"resolver address {text!r} is not ADDRESS or ADDRESS:PORT") from None
    if not 0 < int(port) < 65536:
        raise UsageFault(f"resolver address {text}: {port} is no port")
    if not address.is_loopback:
        raise UsageFault(f"resolver address {text}: a resolver is believed only on loopback")
    return str(address), int(port)


def home(directory: Path, *, second_look: bool) -> Path:
    """Where below `directory` one of the two lives."""
    return directory / ("second" if second_look else "first")


def is_served(control: Path) -> bool:
    """Does an Unbound answer on this control socket?"""
    try:
        Control(control, timeout_s=_CONTROL_S).ask("status")
    except LocalTrouble:
        return False
    return True


class Unbound:
    """One running resolver. Methods are synchronous, and any thread may call them."""

    def __init__(
        self, settings: ResolverSettings, directory: Path, *, second_look: bool = False
    ) -> None:
        self._settings = settings
        self._second_look = second_look
        self._directory = home(directory, second_look=second_look)
        self._keeper: _Keeper | None = None
        self._liveness: Liveness | None = None
        given = settings.second_look_address if second_look else settings.address
        if given is None:
            port = settings.second_look_port if second_look else settings.port
            self.address = (ADDRESS, port)
            self._control: Control | None = Control(self._directory / CONTROL)
            self._ours = True
            return
        control = settings.second_look_control if second_look else settings.control
        if control is None:
            key = "second_look_control" if second_look else "control"
            log.warning(
                "[resolver] %s is not set: %s is never flushed, so that its cache may repeat "
                "a failure that is over, and a later pass is no second look",
                key,
                given,
            )
        self.address = loopback(given)
        self._control = Control(control) if control else None
        self._ours = False

    def __enter__(self) -> Self:
        if self._ours:
            # before the files of one that runs are touched
            refuse_taken(self.address)
            if is_served(self._directory / CONTROL):
                raise LocalTrouble(
                    f"an Unbound runs in {self._directory}, another command's: wait for that, "
                    "or set another state_dir"
                )
            prepare(self._settings, self._directory, second_look=self._second_look)
            self._keeper = _Keeper(self._directory, self.address)
            self._keeper.begin()
            self._liveness = Liveness(
                self.address,
                self._directory / CONTROL,
                self._settings.threads or os.cpu_count() or 1,
                serves=self._keeper.serves,
                wedged=self._keeper.kill,
            )
            self._liveness.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._liveness:
            self._liveness.end()
        if self._keeper:
            self._keeper.end()

    def restart(self, reason: str) -> None:
        """End the one that we started, and so have it started again, with empty caches.

        For one that serves and is still not to be believed, by what canaries say. Returns at
        once; whatever needs its control socket next waits for it. Does nothing to a given one.
        """
        if self._keeper:
            self._keeper.kill(reason)

    @property
    def restarts(self) -> int:
        """How often it had to be started again. Its cache and its statistics were lost then."""
        return self._keeper.restarts if self._keeper else 0

    @property
    def pid(self) -> int | None:
        """Of the Unbound that we started; None of one that was there before."""
        return self._keeper.pid if self._keeper else None

    @property
    def control(self) -> Control | None:
        """Its control socket; None of a given one whose socket is not set.

        Waits while a crashed Unbound of ours starts again.
        """
        if self._keeper:
            self._keeper.wait_ready()
        return self._control

    def flush(self) -> None:
        """`flush_infra all`, `flush_bogus`: on recovery and before every later pass.

        Does nothing without a control socket.
        """
        if self._control is not None:
            self._through_crashes(Control.flush)

    def judge_at(self, at: datetime) -> None:
        """Judge signatures as of `at`, with nothing left in the caches.

        Raises LocalTrouble without a control socket.
        """
        if self._control is None:
            raise LocalTrouble(
                f"the resolver at {self.address[0]} has no control socket to be "
                "told the date by: set [resolver] control"
            )
        self._through_crashes(lambda control: control.judge_at(at))

    def forget(self, name: str, rrtype: str) -> None:
        """Drop one RRset from the cache, if there is a control socket. `name`: a key of

        `dane.names`.
        """
        if self._control is not None:
            self._through_crashes(lambda control: control.forget(name, rrtype))

    def statistics(self) -> dict[str, float]:
        """For the run's record. `requestlist_exceeded` or `_overwritten` above 0 is our fault.

        Only `restarts` of one that does not answer: nothing depends on the rest.
        """
        if self._control is None:
            return {}
        try:
            counted = self._through_crashes(Control.statistics)
        except LocalTrouble as trouble:
            log.warning("no statistics: %s", trouble)
            counted = {}
        return {**counted, "restarts": self.restarts}

    def _through_crashes(self, action: Callable[[Control], T]) -> T:
        """Do it; and once more if Unbound died meanwhile. A new one has nothing to forget."""
        assert self._control is not None
        if self._keeper is None:
            return action(self._control)
        process = self._keeper.wait_ready()
        try:
            return action(self._control)
        except LocalTrouble:
            try:
                process.wait(DYING_S)
            except subprocess.TimeoutExpired:
                pass
            else:
                self._keeper.wait_ready()
                return action(self._control)
            raise


class _Keeper(threading.Thread):
    """Starts Unbound, reads its log, starts it again when it dies, until told to end."""

    def __init__(self, directory: Path, address: tuple[str, int]) -> None:
        super().__init__(name=f"unbound-{address[1]}", daemon=True)
        self.restarts = 0
        self._directory = directory
        self._address = address
        self._process: subprocess.Popen[str] | None = None  # the latest, alive or not
        self._serving = False  # it said so
        self._tail: deque[str] = deque(maxlen=5)  # what it last complained of
        self._failure: Fault | None = None
        self._changed = threading.Condition()  # guards the four above
        self._ending = threading.Event()

    def begin(self) -> None:
        """Start it and return when it serves. Raises LocalTrouble."""
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.end()
            raise

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process and process.returncode is None else None

    def wait_ready(self) -> subprocess.Popen[str]:
        """The process that serves; waits for it. Raises LocalTrouble if there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure or self._alive(), READY_S)
            if self._failure:
                raise self._failure
            if process := self._alive():
                return process
        raise LocalTrouble(f"Unbound did not start within {READY_S:.0f} s: {self._said()}")

    def serves(self) -> bool:
        """Whether it runs, and said that it serves."""
        return self._alive() is not None

    def kill(self, reason: str) -> None:
        """End one that runs: it is started again."""
        if process := self._alive():
            log.warning("Unbound at port %d: %s: it is restarted", self._address[1], reason)
            process.kill()

    def _alive(self) -> subprocess.Popen[str] | None:
        process = self._process
        return process if process and self._serving and process.returncode is None else None

    def end(self) -> None:
        """Stop it and wait until it is gone."""
        with self._changed:  # never a start after this
            self._ending.set()
            process = self._process
        if process:
            process.terminate()
        self.join(STOP_S)
        if self.is_alive() and process:
            process.kill()
            self.join()

    def run(self) -> None:
        failures = 0
        try:
            while not self._ending.is_set():
                began = time.monotonic()
                served = self._one_life()
                if self._ending.is_set():
                    return
                failures = 0 if served else failures + 1
                if failures >= MOST_FAILURES or not (served or self.restarts):
                    raise LocalTrouble(f"Unbound ends as soon as it starts: {self._said()}")
                self.restarts += 1
                log.warning("Unbound died and is started again: %s", self._said())
                if time.monotonic() - began < STEADY_S:
                    self._ending.wait(RESTART_S)
        except Fault as fault:
            self._fail(fault)
        except OSError as error:
            self._fail(LocalTrouble(f"Unbound cannot be started: {error}"))

    def _fail(self, fault: Fault) -> None:
        with self._changed:
            self._failure = fault
            self._changed.notify_all()

    def _one_life(self) -> bool:
        """Run it until it dies; True if it served."""
        with self._changed:
            if self._ending.is_set():
                return False
            refuse_taken(self._address)
            self._tail.clear()
            self._process = subprocess.Popen(
                command(),
                cwd=self._directory,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,  # a Ctrl-C is ours to handle
                text=True,
                errors="replace",
            )
        with self._process as process:
            assert process.stderr
            for line in process.stderr:
                if "info: start of service" in line:
                    with self._changed:
                        self._serving = True
                        self._changed.notify_all()
                elif " info: " not in line:  # validation failures are told by EDE, too
                    self._tail.append(line.strip())
        if code := process.returncode:
            self._tail.append(f"exit code {code}" if code > 0 else f"signal {-code}")
        with self._changed:
            served, self._serving = self._serving, False
        return served

    def _said(self) -> str:
        return "; ".join(self._tail) or "it said nothing"
