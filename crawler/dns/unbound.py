"""The survey's own Unbound: started, watched, restarted, flushed, and gone with us.

    with Unbound(settings, directory) as resolver:
        resolver.address  # ("127.0.0.1", 5301)
        resolver.flush()

A private copy of the system's binary runs in `directory`, since Debian's AppArmor profile
confines the packaged path. As root it runs as user `unbound` (or `nobody`): it parses what
strangers send. Nothing is installed, enabled or left behind.

It ends with its parent, `kill -9` included: the kernel sends PR_SET_PDEATHSIG when the
*thread* that started a child ends, therefore a thread of its own starts it, watches it and
lives exactly as long. That thread also starts it again after a crash; `restarts` tells.

With `[resolver] address` set nothing is started: that one must be an Unbound on loopback,
with its control socket, for without flushing no second look is one.
"""

import ipaddress
import logging
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

from crawler.dns.configuration import (
    ADDRESS,
    CONTROL,
    HINTS,
    Machine,
    accepted,
    configuration,
)
from crawler.dns.control import Control
from crawler.dns.settings import ResolverSettings
from dane.faults import Fault, LocalTrouble, UsageFault

log = logging.getLogger(__name__)

READY_S = 30.0  # until a started Unbound serves; it takes 0.05 s
STOP_S = 10.0  # until a stopped one is killed
STEADY_S = 10.0  # one that lived as long as this is started again at once
RESTART_S = 1.0  # else after this, at most:
SHORT_LIVES = 5
_SEARCHED = (*os.get_exec_path(), "/usr/local/sbin", "/usr/sbin", "/sbin")


def find(program: str, beside: Path | None = None) -> Path:
    """An installed program of Unbound's, or LocalTrouble that says how to get it."""
    places = (str(beside.parent), *_SEARCHED) if beside else _SEARCHED
    found = shutil.which(program, path=os.pathsep.join(places))
    if not found:
        raise LocalTrouble(f"no `{program}` on this machine: apt install unbound")
    return Path(found)


def binary(settings: ResolverSettings) -> Path:
    """The installed Unbound that is copied: `[resolver] unbound`, else found on PATH."""
    if settings.unbound is None:
        return find("unbound")
    if not settings.unbound.is_file():
        raise UsageFault(f"[resolver] unbound: no file {settings.unbound}")
    return settings.unbound


def usable_configuration(
    settings: ResolverSettings, machine: Machine, *, second_look: bool = False
) -> str:
    """`configuration` without what the installed Unbound does not know."""
    text = configuration(settings, machine, second_look=second_look)
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        _lay_out(settings, directory)
        return accepted(text, find("unbound-checkconf", binary(settings)), directory)


def loopback(text: str) -> tuple[str, int]:
    """("127.0.0.1", 53) of "127.0.0.1:53" or "[::1]:53". UsageFault unless on loopback."""
    host, _, port = text.rpartition(":")
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        number = int(port)
    except ValueError:
        raise UsageFault(f"[resolver] address {text!r} is not ADDRESS:PORT") from None
    if not address.is_loopback:
        raise UsageFault(f"[resolver] address {text}: a resolver is believed only on loopback")
    return str(address), number


class Unbound:
    """One running resolver. Methods are synchronous, and any thread may call them."""

    def __init__(
        self, settings: ResolverSettings, directory: Path, *, second_look: bool = False
    ) -> None:
        self._settings = settings
        self._second_look = second_look
        self._directory = directory / ("second" if second_look else "first")
        self._keeper: _Keeper | None = None
        given = settings.second_look_address if second_look else settings.address
        if given is None:
            port = settings.second_look_port if second_look else settings.port
            self.address = (ADDRESS, port)
            self._control = Control(self._directory / CONTROL)
            self._ours = True
            return
        control = settings.second_look_control if second_look else settings.control
        if control is None:
            key = "second_look_control" if second_look else "control"
            raise UsageFault(
                f"[resolver] {key}: needed beside the address {given} (Unbound's Unix control "
                "socket), for without flushing our own outages become a domain's fault"
            )
        self.address = loopback(given)
        self._control = Control(control)
        self._ours = False

    def __enter__(self) -> Self:
        if self._ours:
            refuse_taken(self.address)  # before the files of one that runs are touched
            prepare(self._settings, self._directory, second_look=self._second_look)
            self._keeper = _Keeper(self._directory, self.address)
            self._keeper.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._keeper:
            self._keeper.end()

    @property
    def restarts(self) -> int:
        """How often it had to be started again. Its cache and its statistics were lost then."""
        return self._keeper.restarts if self._keeper else 0

    @property
    def pid(self) -> int | None:
        """Of the Unbound that we started; None of one that was there before."""
        return self._keeper.pid if self._keeper else None

    @property
    def control(self) -> Control:
        """Its control socket. Waits while a crashed Unbound of ours starts again."""
        if self._keeper:
            self._keeper.wait_ready()
        return self._control

    def flush(self) -> None:
        """`flush_infra all`, `flush_bogus`: on recovery and before every later pass."""
        self.control.flush()

    def forget(self, name: str, rrtype: str) -> None:
        """Drop one RRset from the cache."""
        self.control.forget(name, rrtype)

    def statistics(self) -> dict[str, float]:
        """For the run's record. `requestlist_exceeded` or `_overwritten` above 0 is our fault."""
        return {**self.control.statistics(), "restarts": self.restarts}


def prepare(settings: ResolverSettings, directory: Path, *, second_look: bool = False) -> None:
    """Lay out `directory`: binary, configuration, root hints, a place for the socket."""
    source = binary(settings)
    checkconf = find("unbound-checkconf", source)
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    _lay_out(settings, directory)
    _copy(source, directory / "unbound")
    text = configuration(settings, Machine.here(), second_look=second_look)
    (directory / "unbound.conf").write_text(accepted(text, checkconf, directory))


def _lay_out(settings: ResolverSettings, directory: Path) -> None:
    run = directory / Path(CONTROL).parent
    run.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        # Only this one belongs to the unprivileged user: what root writes and starts stays
        # out of its reach.
        user = _unprivileged()
        os.chown(run, user.pw_uid, user.pw_gid)
    if settings.root_hints:
        try:
            _copy(settings.root_hints, directory / HINTS)
        except OSError as error:
            raise UsageFault(
                f"[resolver] root_hints {settings.root_hints}: {error.strerror}"
            ) from error


def _copy(source: Path, target: Path) -> None:
    """Replace `target` as a whole: a binary that runs cannot be written to."""
    new = target.with_name(target.name + ".new")
    shutil.copyfile(source, new)
    new.chmod(source.stat().st_mode & 0o755 | 0o444)
    new.replace(target)


def _unprivileged() -> pwd.struct_passwd:
    """Debian's package made a user `unbound`; everyone has `nobody`."""
    try:
        return pwd.getpwnam("unbound")
    except KeyError:
        return pwd.getpwnam("nobody")


def _command() -> list[str | Path]:
    """setpriv(1) sets the death signal after the change of user, which would clear it."""
    setpriv: list[str | Path] = [find_setpriv(), "--no-new-privs", "--pdeathsig", "KILL"]
    if os.geteuid() == 0:
        user = _unprivileged()
        setpriv += ["--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
    return [*setpriv, "--", "./unbound", "-d", "-c", "unbound.conf"]


def find_setpriv() -> Path:
    found = shutil.which("setpriv", path=os.pathsep.join(_SEARCHED))
    if not found:
        raise LocalTrouble("no `setpriv` on this machine: apt install util-linux")
    return Path(found)


class _Keeper(threading.Thread):
    """Starts Unbound, reads its log, starts it again when it dies, until told to end."""

    def __init__(self, directory: Path, address: tuple[str, int]) -> None:
        super().__init__(name=f"unbound-{address[1]}", daemon=True)
        self.restarts = 0
        self.pid: int | None = None
        self._directory = directory
        self._address = address
        self._process: subprocess.Popen[str] | None = None
        self._tail: deque[str] = deque(maxlen=5)  # what it last complained of
        self._failure: Fault | None = None
        self._settled = threading.Event()  # ready, or given up
        self._ending = threading.Event()
        self._starting = threading.Lock()  # never a start after `end`

    def begin(self) -> None:
        """Start it and return when it serves. Raises LocalTrouble."""
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.end()
            raise

    def wait_ready(self) -> None:
        if not self._settled.wait(READY_S):
            raise LocalTrouble(f"Unbound did not start within {READY_S:.0f} s: {self._said()}")
        if self._failure:
            raise self._failure

    def end(self) -> None:
        """Stop it and wait until it is gone."""
        with self._starting:
            self._ending.set()
            process = self._process
        if process:
            process.terminate()
        self.join(STOP_S)
        if self.is_alive() and process:
            process.kill()
            self.join()

    def run(self) -> None:
        short_lives = 0
        try:
            while not self._ending.is_set():
                began = time.monotonic()
                served = self._one_life()
                if self._ending.is_set():
                    return
                short_lives = short_lives + 1 if time.monotonic() - began < STEADY_S else 0
                if short_lives >= SHORT_LIVES or not (served or self.restarts):
                    raise LocalTrouble(f"Unbound ends as soon as it starts: {self._said()}")
                self.restarts += 1
                log.warning("Unbound died and is started again: %s", self._said())
                if short_lives:
                    self._ending.wait(RESTART_S)
        except Fault as fault:
            self._failure = fault
        except OSError as error:
            self._failure = LocalTrouble(f"Unbound cannot be started: {error}")
        finally:
            self._settled.set()

    def _one_life(self) -> bool:
        """Run it until it dies; True if it served."""
        with self._starting:
            if self._ending.is_set():
                return False
            refuse_taken(self._address)
            self._process = subprocess.Popen(
                _command(),
                cwd=self._directory,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,  # a Ctrl-C is ours to handle
                text=True,
                errors="replace",
            )
        self.pid = self._process.pid
        served = False
        with self._process as process:
            assert process.stderr
            for line in process.stderr:
                if "info: start of service" in line:
                    served = True
                    self._settled.set()
                elif " info: " not in line:  # validation failures are told by EDE, too
                    self._tail.append(line.strip())
        self._settled.clear()
        self.pid = None
        if code := process.returncode:
            self._tail.append(f"exit code {code}" if code > 0 else f"signal {-code}")
        return served

    def _said(self) -> str:
        return "; ".join(self._tail) or "it said nothing"


def _environment() -> dict[str, str]:
    """Ours without what may hold secrets: database and zone passwords."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("DANESURVEY_", "PG"))}


def refuse_taken(address: tuple[str, int]) -> None:
    """LocalTrouble if another process listens on `address`.

    Asked before each start, because with SO_REUSEPORT a second Unbound of the same user
    would bind beside the first, and the two would answer alternately.
    """
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as trial:
            if kind == socket.SOCK_STREAM:  # connections in TIME_WAIT are nobody's
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(address)
            except OSError as error:
                host, port = address
                who = holder(port) or f"see `ss -lntup 'sport = :{port}'`"
                raise LocalTrouble(
                    f"port {port} of {host}: {error.strerror} ({who}): stop that, "
                    "or set [resolver] port and second_look_port"
                ) from error


def holder(port: int) -> str | None:
    """ "unbound, pid 4711" that listens on `port`; None if it cannot be told."""
    inodes = set()
    for table, listening in (("udp", "07"), ("udp6", "07"), ("tcp", "0A"), ("tcp6", "0A")):
        try:
            lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == listening and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(fd) in inodes for fd in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()}, pid {process.name}"
        except OSError:  # ended meanwhile, or another user's
            continue
    return None
