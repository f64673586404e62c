"""One embedded server: commands come and go, the first starts it, the last waits for its end.

The locks are those that the package's page explains.
"""

import contextlib
import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from dane.faults import LocalTrouble
from danesurvey.directories import make_directory
from danesurvey.embedded import keeper
from danesurvey.embedded.place import (
    ENVIRONMENT,
    NAME,
    PORT,
    WHEEL,
    Place,
    open_lock,
    reason,
    try_exclusive,
)

_SILENT_S = 60.0  # a server that says nothing for so long is given up
_STOP_S = 60.0
_LOOK_S = 0.02  # between two looks at a server that comes or goes
_LONGEST_LOG = 16 << 20  # bytes; a longer log starts anew

# fsync stays on. The rest serves COPY: few checkpoints (but recovery within a minute), no
# replication. What parallel queries share does not fit a container's /dev/shm: plain files.
_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "64",
    "shared_buffers": "256MB",
    "work_mem": "32MB",
    "maintenance_work_mem": "128MB",
    "dynamic_shared_memory_type": "mmap",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "wal_buffers": "16MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # statements carry names of domains: they stay out of the log
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


def enter(place: Place) -> int:
    """Register as a user of the server, start it if there is none; the held lock."""
    with _door(place):
        users = open_lock(place.home / "users.lock")
        try:
            # Waits while a keeper stops the server.
            fcntl.flock(users, fcntl.LOCK_SH)
            _ready(place)
        except BaseException:
            os.close(users)
            raise
        return users


def leave(place: Place, users: int) -> None:
    """Give up the server; the last one waits until it is gone."""
    with _door(place):
        last = try_exclusive(users)
        os.close(users)
        if not last:
            return
        alive = open_lock(place.home / "alive.lock")
        try:
            deadline = time.monotonic() + _STOP_S
            while not try_exclusive(alive):
                if time.monotonic() > deadline:
                    raise LocalTrouble(
                        f"the embedded PostgreSQL is still shutting down; see {place.log}"
                    )
                time.sleep(_LOOK_S)
        finally:
            os.close(alive)
        _reap(place)
        if not place.socket.is_relative_to(place.home):
            with contextlib.suppress(OSError):
                place.socket.rmdir()


@contextlib.contextmanager
def _door(place: Place) -> Iterator[None]:
    door = open_lock(place.home / "door.lock")
    try:
        fcntl.flock(door, fcntl.LOCK_EX)
        yield
    finally:
        os.close(door)


def _ready(place: Place) -> None:
    """Return when the server takes connections, having started it if there was none."""
    log_start: int | None = None
    deadline = time.monotonic() + _SILENT_S
    while True:
        alive = open_lock(place.home / "alive.lock")
        try:
            if try_exclusive(alive):
                if log_start is not None:
                    _reap(place)
                    raise LocalTrouble(_why_not(place, log_start))
                log_start = _start(place, alive)
        finally:
            # Not unlocked: the keeper shares it by now.
            os.close(alive)
        answer = place.account.run(
            place.binaries / "pg_isready", "-q", "-h", place.socket, "-p", str(PORT), "-t", "5"
        ).returncode
        if answer == 0:
            return
        if answer == 1:  # it answers that it is starting: recovery may take minutes
            deadline = time.monotonic() + _SILENT_S
        if time.monotonic() > deadline:
            raise LocalTrouble(f"the embedded PostgreSQL does not answer; see {place.log}")
        time.sleep(_LOOK_S)


_children: dict[Path, int] = {}
"""Keepers that this process started: theirs is the exit status that only we can collect."""


def _reap(place: Place) -> None:
    child = _children.pop(place.home, None)
    if child is not None:
        os.waitpid(child, 0)


# Starting


def _start(place: Place, alive: int) -> int:
    """Start a keeper with its server; the size of the log before it.

    The caller holds the door and `alive` exclusively.
    """
    _reap(place)
    if not place.data.exists():
        _initialise(place, alive)
    _check_version(place)
    _clear_stale(place)
    socket = place.socket
    make_directory(socket, 0o700)
    if os.lstat(socket).st_uid not in (os.geteuid(), place.account.uid):
        raise LocalTrouble(f"{socket} belongs to somebody else: remove it")
    place.account.owns(socket)
    log_start = place.log.stat().st_size if place.log.exists() else 0
    if log_start > _LONGEST_LOG:
        place.log.unlink()
        log_start = 0
    settings = {"unix_socket_directories": str(socket), **_SETTINGS}
    command = [*place.account.alias, str(place.binaries / "postgres"), "-D", str(place.data)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    plan = json.dumps(
        {
            "users": str(place.home / "users.lock"),
            "command": command,
            "user": place.account.uid,
            "group": place.account.gid,
        }
    )
    log_flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    _children[place.home] = os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", keeper.__file__, plan],
        ENVIRONMENT,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(place.log), log_flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            (os.POSIX_SPAWN_DUP2, alive, keeper.ALIVE_FD),
        ],
        setsid=True,
    )
    return log_start


def _initialise(place: Place, alive: int) -> None:
    """Make the data directory, whole or not at all.

    Its programs inherit the lock `alive`: they may live longer than we do.
    """
    new = place.home / "data.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    place.account.owns(new)
    initdb = (
        place.binaries / "initdb",
        "--locale=C",
        "--encoding=UTF8",
        "--auth=trust",
        f"--username={NAME}",
        "--no-instructions",
        "-D",
        new,
    )
    # A server of one user on its standard input: no socket, no other process.
    single = (place.binaries / "postgres", "--single", "-j", "-D", new, "postgres")
    for program, said in ((initdb, ""), (single, f"CREATE DATABASE {NAME};\n\n")):
        done = place.account.run(*program, input=said, pass_fds=(alive,))
        if done.returncode != 0:
            shutil.rmtree(new, ignore_errors=True)
            why = reason(done.stderr or done.stdout)
            raise LocalTrouble(f"the embedded PostgreSQL cannot be set up: {why}")
    new.rename(place.data)
    directory = os.open(place.home, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _check_version(place: Place) -> None:
    """Data of another major version cannot be used (PostgreSQL manual, section 18.6)."""
    theirs = (place.data / "PG_VERSION").read_text().strip()
    ours = place.account.run(place.binaries / "postgres", "--version").stdout.split()[-1]
    if theirs != ours.partition(".")[0]:
        raise LocalTrouble(
            f"{place.data} was made by PostgreSQL {theirs} and {WHEEL} brings {ours}: dump it"
            f" with the old version, or move it away"
        )


def _clear_stale(place: Place) -> None:
    """Remove what a killed server left; `alive.lock` says that none of ours is there."""
    pid_file = place.data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().partition("\n")[0])
        # Somebody may have started a server here by hand.
        if os.path.samefile(f"/proc/{pid}/cwd", place.data):
            raise LocalTrouble(f"a PostgreSQL that is not ours (pid {pid}) runs on {place.data}")
    except (FileNotFoundError, PermissionError, ProcessLookupError, ValueError):
        pass
    pid_file.unlink(missing_ok=True)
    for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
        (place.socket / name).unlink(missing_ok=True)


def _why_not(place: Place, since: int) -> str:
    """What the log says from byte `since` on: what this start wrote."""
    with contextlib.suppress(FileNotFoundError), place.log.open("rb") as log:
        log.seek(since)
        said = log.read(65536).decode("utf-8", "replace")
        return f"the embedded PostgreSQL did not start: {reason(said)} (see {place.log})"
    return "the embedded PostgreSQL did not start, and left no log"
