"""The directories that danesurvey keeps its files in, and who else could change them.

What another user can replace must not be read as settings, run or written over, least of all by
root. The rule is that of ssh and sudo: every part of the path belongs to us or to root, and
nobody else may write to it. A directory like /tmp, where only its owner may remove an entry (the
sticky bit), may stand above ours.
"""

import contextlib
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from dane.faults import LocalTrouble, Refused

_INNER = ("unbound", "workers", "zones", "check")  # root writes below these itself
_EVERY_UID = 0xFFFFFFFF


def make_directory(path: Path, mode: int) -> None:
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


def objection(path: Path) -> str | None:
    """Who beside us and root could change what is at `path`, in a few words; None if nobody.

    Of a path that does not exist the part that does is looked at. Raises OSError.
    """
    path = path.absolute()
    for whole in dict.fromkeys((path, path.resolve())):
        for part in (*reversed(whole.parents), whole):
            try:
                status = part.lstat()
            except FileNotFoundError:
                break
            if (reason := _writer(status, is_last=part == whole)) is not None:
                return f"{part} {reason}" if part != path else reason
    return None


def refuse_unsafe(state_dir: Path) -> None:
    """Raise Refused unless nobody else could have put anything into a state directory.

    No symbolic link is followed in it: its files are where it is.
    """
    try:
        if (reason := objection(state_dir)) is not None:
            raise Refused(f"directory {state_dir}: {reason}")
        for entry in _entries(state_dir):
            with contextlib.suppress(FileNotFoundError):  # another command's, gone by now
                _refuse_entry(entry, ours=entry.parent == state_dir)
    except (FileNotFoundError, NotADirectoryError):
        return  # whoever needs it makes it, or says so
    except OSError as error:
        raise LocalTrouble(f"{error.filename or state_dir}: {error.strerror}") from None


def _entries(state_dir: Path) -> Iterator[Path]:
    for entry in state_dir.iterdir():
        yield entry
        if entry.name in _INNER and entry.is_dir():
            yield from entry.iterdir()


def _refuse_entry(entry: Path, *, ours: bool) -> None:
    """`ours`: it must be, unlike what belongs to a service such as the resolver."""
    status = entry.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise Refused(
            f"{entry} is a symbolic link: none is followed in a state directory; "
            "set state_dir or publish.directory, or mount a file system there"
        )
    if ours and status.st_uid not in _trusted():
        raise Refused(f"{entry} belongs to {_user(status.st_uid)}, not to us")


def _writer(status: os.stat_result, *, is_last: bool) -> str | None:
    """Who else may replace this part of a path or what is in it."""
    foreign = status.st_uid not in _trusted()
    if foreign and (is_last or not _is_unknown_here(status.st_uid)):
        return f"belongs to {_user(status.st_uid)}, not to {_user(os.geteuid())} or root"
    if stat.S_ISLNK(status.st_mode):
        return None  # its mode says nothing; who owns it made it
    if status.st_mode & stat.S_ISVTX and stat.S_ISDIR(status.st_mode) and not is_last:
        return None
    if status.st_mode & stat.S_IWOTH:
        return "can be written to by everybody (chmod o-w)"
    if status.st_mode & stat.S_IWGRP and not _is_private(status.st_gid):
        return f"can be written to by the group {_group(status.st_gid)} (chmod g-w)"
    return None


def _trusted() -> tuple[int, int]:
    return 0, os.geteuid()


def _is_unknown_here(uid: int) -> bool:
    """Whether we are in a user namespace that cannot tell whose this is (user_namespaces(7))."""
    if uid != int(Path("/proc/sys/kernel/overflowuid").read_text()):
        return False
    lines = Path("/proc/self/uid_map").read_text().splitlines()
    return sum(int(line.split()[2]) for line in lines) < _EVERY_UID


def _is_private(gid: int) -> bool:
    """Whether a group has no member but us, as Debian makes one for each user."""
    if gid != os.getegid():
        return False
    try:
        user = pwd.getpwuid(os.geteuid())
        group = grp.getgrgid(gid)
    except KeyError:
        return False
    return group.gr_name == user.pw_name and not {*group.gr_mem} - {user.pw_name}


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
