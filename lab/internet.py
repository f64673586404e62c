"""The lab as one thing: up, down, and commands run inside.

    with Lab(directory) as lab:
        lab.exec(["danesurvey", "--config", str(lab.settings_file), "survey"])

As a context manager the lab lives no longer than the process that opened it; brought up with
`up(attached=False)` it stays until `down`.
"""

import contextlib
import fcntl
import hashlib
import os
import pickle
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dane import clock
from dane.faults import LocalTrouble, Refused
from lab import addresses, nsd, postfix, settings_file, signer
from lab.contents import Contents
from lab.namespace import Isolation, available
from lab.plan import TTL_S, Plan, by_name_server
from lab.records import absolute
from lab.scenarios import CATALOGUE
from lab.scenarios.scenario import Scenario
from lab.signer import Line, Validity
from lab.supervisor import PROCESS_FILE, AuthoritativeServer, Distance, Work

NEAR = Distance()
CONTENTS_FILE = "contents.json"  # every lab directory has it
_GRACE_S = 10.0
_LOOK_AGAIN_S = 0.02
_RELOAD_S = 30.0
_MEMORY, _MEMORY_NEEDED = Path("/dev/shm"), 1 << 30


class Lab:
    """A miniature Internet whose files are in `directory`.

    `scenarios` are what it is made of; those that need what is not to be had here, such as a
    namespace, are `left_out` and not in `scenarios`. In their place it can have the delegations
    of a real zone file (`zone`), or that many made-up `domains`, whose truth is then written to
    `truth_file`, the share `dead` of them at name servers that never answer. `isolation` is by
    default the best that works here. `certified` is when its certificates were made (seconds since
    1970), by default when it is brought up. Raises LocalTrouble where no lab can run.
    """

    def __init__(
        self,
        directory: Path,
        scenarios: Sequence[Scenario] = CATALOGUE,
        seed: int = 1,
        *,
        zone: Path | None = None,
        domains: int = 0,
        dead: float = 0.0,
        certified: float | None = None,
        distance: Distance = NEAR,
        isolation: Isolation | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self.isolation = isolation or available()
        if zone or domains:
            scenarios = ()
        met = _met(self.isolation)
        self.scenarios = [one for one in scenarios if one.needs <= met]
        self.left_out = [one for one in scenarios if not one.needs <= met]
        self._contents = Contents(
            scenarios=tuple(self.scenarios),
            seed=seed,
            zone=zone,
            domains=domains,
            dead=dead,
            certified=certified,
        )
        self._distance = distance
        self._in_memory = self._memory_directory() if self._contents.is_population else None
        self._supervisor: subprocess.Popen[bytes] | None = None

    @property
    def settings_file(self) -> Path:
        """The danesurvey.toml of a survey of this lab."""
        return self.directory / "danesurvey.toml"

    @property
    def root_hints(self) -> Path:
        return self.directory / "root.hints"

    @property
    def trust_anchor(self) -> Path:
        """The DS of the lab's root, as Unbound's `trust-anchor-file` reads it."""
        return self.directory / "root.anchor"

    @property
    def truth_file(self) -> Path:
        """Parquet: what a survey must find of each made-up domain."""
        return self.directory / "truth.parquet"

    @property
    def is_up(self) -> bool:
        """Whether a supervisor holds this directory's lock, whoever started it."""
        if not self._lock_file.exists():
            return False
        lock = self._lock()
        if lock is None:
            return True
        os.close(lock)
        return False

    def up(self, *, attached: bool = True) -> None:
        """Builds and starts the lab; returns when every server answers.

        Raises Refused if it is up already, LocalTrouble if it cannot start.
        """
        nsd.program()  # told before a hundred thousand zones are signed
        self.directory.mkdir(parents=True, exist_ok=True)
        lock = self._lock()
        if lock is None:
            raise Refused(f"the lab in {self.directory} is up already")
        try:
            # the plan is held by nobody once it is written: it is as large as what NSD then reads
            now = clock.seconds()
            work = self._write(*self._contents.plan(self.truth_file, now), attached=attached)
            self._start(lock, work)
        finally:
            os.close(lock)  # the supervisor holds it now, or nobody does
            if self._in_memory:
                shutil.rmtree(self._in_memory, ignore_errors=True)  # read by now

    def down(self) -> None:
        """Stops the lab and waits until it is gone. Does nothing if there is none."""
        if self.is_up:
            with contextlib.suppress(ProcessLookupError):  # killed before, and the rest just ends
                _stop(os.pidfd_open(self._recorded_pid()))
        if self._supervisor is not None:
            assert self._supervisor.stdin is not None
            self._supervisor.stdin.close()
            self._supervisor.wait()
            self._supervisor = None
        deadline = time.monotonic() + _GRACE_S
        while self.is_up and time.monotonic() < deadline:  # unshare(1) ends after its child
            time.sleep(_LOOK_AGAIN_S)

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.down()

    def command(self, argv: Sequence[str]) -> list[str]:
        """`argv`, made to run inside the lab. Raises Refused if the lab is down."""
        pid = self.supervisor_pid()
        isolation = Isolation((self.directory / "isolation").read_text(encoding="ascii"))
        return [*isolation.enter(pid), *argv]

    def supervisor_pid(self) -> int:
        """The process that everything else of the lab descends from.

        Raises Refused if the lab is down.
        """
        if not self.is_up:
            raise Refused(f"no lab is up in {self.directory}; start one with: danesurvey lab up")
        return self._recorded_pid()

    def _recorded_pid(self) -> int:
        return int((self.directory / PROCESS_FILE).read_text(encoding="ascii"))

    def exec(self, argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[Any]:
        """Runs a command inside and waits for it; `options` are subprocess.run's."""
        options.setdefault("check", False)
        return subprocess.run(self.command(argv), **options)

    def popen(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Starts a command inside; it is the caller's to stop."""
        return subprocess.Popen(self.command(argv), **options)

    def sign_again(self, ahead_s: int) -> None:
        """Signs all zones of a lab that is up as if it were that much later; returns when the
        name servers have them.

        Raises Refused if the lab is down or its zone files are not kept.
        """
        if not self.is_up:
            raise Refused(f"no lab is up in {self.directory}")
        contents = Contents.from_json(self._contents_file.read_text(encoding="ascii"))
        if contents.is_population:
            raise Refused("the zones of so many domains are not signed again")
        now = int(clock.seconds()) + ahead_s
        plan, _ = contents.plan(self.truth_file, now)
        for name, listen, zones in by_name_server(plan):
            directory = self.directory / name
            files = nsd.write_zones(directory, zones)
            if files:
                os.kill(nsd.pid(directory, self.supervisor_pid()), signal.SIGHUP)
                self._wait_until_signed(listen[0], next(iter(files)), now)

    def _wait_until_signed(self, address: str, zone: str, now: int) -> None:
        """Returns when a zone's signatures are of `now`. Raises LocalTrouble if they never are."""
        inception = signer.timestamp(Validity.around(now).inception)
        ask = ["dig", f"@{address}", "+norec", "+dnssec", "+short", absolute(zone), "SOA"]
        deadline = time.monotonic() + _RELOAD_S
        while time.monotonic() < deadline:
            if inception in self.exec(ask, capture_output=True, text=True).stdout:
                return
        raise LocalTrouble(f"the name server at {address} does not read its zones again")

    @property
    def _contents_file(self) -> Path:
        return self.directory / CONTENTS_FILE

    def _memory_directory(self) -> Path | None:
        """Where the zone files of many domains stand until NSD has read them: in memory.

        A disk takes minutes to make a hundred thousand files. None if there is no room.
        """
        try:
            room = shutil.disk_usage(_MEMORY).free
        except OSError:
            return None
        name = hashlib.sha256(bytes(self.directory)).hexdigest()[:16]
        return _MEMORY / f"danesurvey-lab-{name}" if room >= _MEMORY_NEEDED else None

    @property
    def _lock_file(self) -> Path:
        return self.directory / "lock"

    def _lock(self) -> int | None:
        """A descriptor that holds the lab's lock, None if another does."""
        descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def _write(self, plan: Plan, surveyed: Sequence[str], *, attached: bool) -> Work:
        """Writes the plan's files and the survey's settings."""
        if self._in_memory:
            shutil.rmtree(self._in_memory, ignore_errors=True)
            self._in_memory.mkdir(mode=0o700)
        served = []
        zone_files: dict[str, str] = {}
        for name, listen, zones in by_name_server(plan):
            directory = self.directory / name
            shutil.rmtree(directory, ignore_errors=True)
            many = self._in_memory if name == "domains" else None
            real = [addresses.real(one) for one in listen] if self._distance else listen
            configuration, files = nsd.write(directory, real, zones, zone_directory=many)
            if files:
                last = next(reversed(files))
                served.append(AuthoritativeServer(configuration, listen, last))
            if name == "tld":
                zone_files = {origin: files[origin] for origin in surveyed}
                if plan.gone:
                    zone_files = {
                        origin: self._with_gone(origin, file, plan)
                        for origin, file in zone_files.items()
                    }
        self.trust_anchor.write_text(plan.trust_anchor, encoding="ascii")
        self.root_hints.write_text(plan.root_hints, encoding="ascii")
        (self.directory / "isolation").write_text(self.isolation, encoding="ascii")
        self._contents_file.write_text(self._contents.to_json(), encoding="ascii")
        settings_file.write(self.settings_file, self.directory, zone_files)
        return Work(
            self.directory,
            self.isolation,
            attached,
            served,
            plan.mail,
            plan.name_servers,
            plan.dead,
            self._distance,
            plan.seed,
            plan.certified,
        )

    def _with_gone(self, origin: str, file: str, plan: Plan) -> str:
        """A zone file as it was before some delegations went: that one the survey reads."""
        earlier = self.directory / "tld" / f"earlier-{Path(file).name}"
        shutil.copyfile(file, earlier)
        with earlier.open("a", encoding="ascii") as out:
            for domain, rdata in plan.gone.items():
                if domain.endswith(f".{origin}"):
                    out.writelines(f"{Line(domain, TTL_S, one)}\n" for one in rdata)
        return str(earlier)

    def _start(self, lock: int, work: Work) -> None:
        with (self.directory / "lab.log").open("wb") as log:
            supervisor = subprocess.Popen(
                [*self.isolation.unshare, sys.executable, "-P", "-m", "lab.supervisor"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=[lock],
                start_new_session=True,
            )
        assert supervisor.stdin is not None
        assert supervisor.stdout is not None
        try:
            supervisor.stdin.write(pickle.dumps(work))
            supervisor.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; what it said is read below
        said = supervisor.stdout.readline().decode().strip()
        supervisor.stdout.close()
        if said != "ready":
            supervisor.stdin.close()
            supervisor.wait()
            raise LocalTrouble(said or f"the lab did not start; see {self.directory / 'lab.log'}")
        if work.attached:
            self._supervisor = supervisor
        else:
            supervisor.stdin.close()
            # not ours to wait for: it outlives us
            supervisor.returncode = 0


def _met(isolation: Isolation) -> set[str]:
    """What scenarios may need and have here."""
    met = set() if isolation is Isolation.NONE else {"ipv6", "isolation"}
    if isolation is Isolation.ROOT and postfix.is_installed():
        met.add("postfix")
    return met


def _stop(supervisor: int) -> None:
    """Ends the process of a pidfd, kindly first, and waits for it."""
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(supervisor, number)
            signal.pidfd_send_signal(supervisor, signal.SIGCONT)  # it may be stopped
            if select.select([supervisor], [], [], _GRACE_S)[0]:
                return
    except ProcessLookupError:
        pass  # gone between two steps
    finally:
        os.close(supervisor)
