"""The lab as one thing: up, down, and commands run inside.

    with Lab(directory) as lab:
        lab.exec(["danesurvey", "--config", str(lab.settings_file), "survey"])

As a context manager the lab lives no longer than the process that opened it; brought up with
`up(attached=False)` it stays until `down`.
"""

import fcntl
import os
import pickle
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dane.faults import LocalTrouble, Refused
from lab import nsd, settings_file
from lab.namespace import Isolation, available
from lab.plan import Builder, Plan, by_name_server
from lab.records import NS, A, absolute
from lab.scenarios import CATALOGUE
from lab.scenarios.scenario import Scenario
from lab.signer import Line
from lab.supervisor import PROCESS_FILE, AuthoritativeServer, Work

_GRACE_S = 10.0


class Lab:
    """A miniature Internet whose files are in `directory`.

    `scenarios` are what it is made of; those that need a namespace are left out where there is
    none (`scenarios` then says what is in). Raises LocalTrouble where no lab can run.
    """

    def __init__(
        self, directory: Path, scenarios: Sequence[Scenario] = CATALOGUE, seed: int = 1
    ) -> None:
        self.directory = directory.absolute()
        self.isolation = available()
        isolated = self.isolation is not Isolation.NONE
        self.scenarios = [one for one in scenarios if isolated or not one.needs]
        self._seed = seed
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
    def is_up(self) -> bool:
        """Whether a supervisor holds this directory's lock, whoever started it."""
        if not self._lock_file.exists():
            return False
        lock = self._lock()
        if lock is None:
            return True
        os.close(lock)
        return False

    def plan(self) -> Plan:
        """Builds everything that is to be served, from the scenarios."""
        builder = Builder(self._seed)
        for scenario in self.scenarios:
            builder.add(scenario)
        return builder.finish()

    def up(self, *, attached: bool = True) -> None:
        """Builds and starts the lab; returns when every server answers.

        Raises Refused if it is up already, LocalTrouble if it cannot start.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        lock = self._lock()
        if lock is None:
            raise Refused(f"the lab in {self.directory} is up already")
        try:
            self._start(lock, self._write(self.plan(), attached=attached))
        finally:
            os.close(lock)  # the supervisor holds it now, or nobody does

    def down(self) -> None:
        """Stops the lab and waits until it is gone. Does nothing if there is none."""
        if self.is_up:
            pid = self._pid()
            try:
                supervisor = os.pidfd_open(pid)
            except ProcessLookupError:
                pass
            else:
                _stop(supervisor)
        if self._supervisor is not None:
            assert self._supervisor.stdin is not None
            self._supervisor.stdin.close()
            self._supervisor.wait()
            self._supervisor = None

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
        if not self.is_up:
            raise Refused(f"no lab is up in {self.directory}; start one with: danesurvey lab up")
        isolation = Isolation((self.directory / "isolation").read_text(encoding="ascii"))
        return [*isolation.enter(self._pid()), *argv]

    def exec(self, argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[Any]:
        """Runs a command inside and waits for it; `options` are subprocess.run's."""
        options.setdefault("check", False)
        return subprocess.run(self.command(argv), **options)

    def popen(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Starts a command inside; it is the caller's to stop."""
        return subprocess.Popen(self.command(argv), **options)

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

    def _pid(self) -> int:
        return int((self.directory / PROCESS_FILE).read_text(encoding="ascii"))

    def _write(self, plan: Plan, *, attached: bool) -> Work:
        """Writes the plan's files and the survey's settings."""
        served = []
        for name, listen, zones in by_name_server(plan):
            directory = self.directory / name
            shutil.rmtree(directory, ignore_errors=True)
            configuration = nsd.write(directory, listen, zones)
            served.append(AuthoritativeServer(configuration, listen[0], next(iter(zones))))
        self.trust_anchor.write_text(plan.trust_anchor, encoding="ascii")
        self.root_hints.write_text(_hints(plan.root["."]), encoding="ascii")
        (self.directory / "isolation").write_text(self.isolation, encoding="ascii")
        zone_files = {
            origin: self.directory / "tld" / f"{n:06}.zone" for n, origin in enumerate(plan.tlds)
        }
        settings_file.write(self.settings_file, self.directory, zone_files)
        return Work(self.directory, self.isolation, attached, served, plan.mail, plan.name_servers)

    def _start(self, lock: int, work: Work) -> None:
        with (self.directory / "lab.log").open("wb") as log:
            supervisor = subprocess.Popen(
                [*self.isolation.unshare, sys.executable, "-m", "lab.supervisor"],
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


def _stop(supervisor: int) -> None:
    """Ends the process of a pidfd, kindly first, and waits for it."""
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(supervisor, number)
            if select.select([supervisor], [], [], _GRACE_S)[0]:
                return
    except ProcessLookupError:
        pass  # gone between two steps
    finally:
        os.close(supervisor)


def _hints(root: list[Line]) -> str:
    """The root's own NS and their addresses, as `root-hints` reads them."""
    servers = {line.rdata.text for line in root if line.owner == "." and line.rdata.type == NS}
    return "".join(
        f"{line}\n"
        for line in root
        if (line.owner == "." and line.rdata.type == NS)
        or (line.rdata.type == A and absolute(line.owner) in servers)
    )
