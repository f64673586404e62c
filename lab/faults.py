"""Our own faults, on purpose: what a survey must never blame a domain for.

Each is a context: the fault is there inside it, and gone afterwards whatever happens. They act
on a lab that is up, from outside it. A survey's own part in them is to notice, to pause, and
to end with the tables of an undisturbed run.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from crawler.dns.installation import command
from dane.faults import LocalTrouble, Refused
from lab.internet import Lab
from lab.namespace import Isolation

DAY_S = 86_400
SMALLEST_MTU = 1280  # of IPv6 (RFC 8200 section 5); larger packets are cut into fragments
_LARGEST_MTU = 65_536
_PROC = Path("/proc")
_CONFIGURATION = "unbound.conf"


@contextlib.contextmanager
def silent_network(lab: Lab) -> Iterator[None]:
    """Every name server and mail server of the lab is silent: packets come in and none go out."""
    with _stopped(_with_descendants(lab.supervisor_pid())):
        yield


@contextlib.contextmanager
def stopped_resolver(lab: Lab) -> Iterator[None]:
    """Every Unbound inside the lab is stopped. Raises Refused if there is none."""
    with _stopped(_resolvers(lab)):
        yield


@contextlib.contextmanager
def killed_resolver(lab: Lab) -> Iterator[None]:
    """Every Unbound inside the lab is killed, once; whoever started them may start new ones.

    Raises Refused if there is none.
    """
    for pid in _resolvers(lab):
        os.kill(pid, signal.SIGKILL)
    yield


@contextlib.contextmanager
def second_resolver(lab: Lab) -> Iterator[None]:
    """On the port of the first resolver inside the lab another one, which does not validate.

    The kernel hands questions to both, by the sender's port (SO_REUSEPORT). Raises Refused if
    there is no resolver, LocalTrouble if no other can be beside it.
    """
    configuration = _directory(_resolvers(lab)[0]) / _CONFIGURATION
    with tempfile.TemporaryDirectory(prefix="danesurvey-lab-", dir="/var/tmp") as scratch:
        other = Path(scratch) / "resolver"
        shutil.copytree(configuration.parent, other, ignore=shutil.ignore_patterns("run"))
        for directory in (other.parent, other):  # it runs as a user of its own
            directory.chmod(0o755)
        text = configuration.read_text().replace("validator iterator", "iterator")
        text = text.replace("control-enable: yes", "control-enable: no")
        (other / _CONFIGURATION).write_text(text)
        process = lab.popen(
            [*map(str, command())],
            cwd=other,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        with process:
            try:
                said = process.stderr.readline()
                if "start of service" not in said:
                    raise LocalTrouble(f"no second resolver: {said.strip()}")
                yield
            finally:
                process.kill()


@contextlib.contextmanager
def empty_root_key(lab: Lab) -> Iterator[None]:
    """Nobody knows the root's key: its file is empty, and the resolvers inside have none.

    A resolver that has no trust anchor takes everything for insecure.
    """
    with contextlib.ExitStack() as undo:
        undo.enter_context(_changed(lab.trust_anchor, lambda _: ""))
        for pid in _running_resolvers(lab):
            undo.callback(_reload, pid)
            undo.enter_context(_changed(_directory(pid) / _CONFIGURATION, _without_anchors))
            _reload(pid)
        yield


@contextlib.contextmanager
def dropped_fragments(lab: Lab) -> Iterator[None]:
    """Inside the lab the MTU is the smallest of the Internet, and no fragment arrives.

    Raises Refused without a namespace, whose network could be changed.
    """
    if lab.isolation is Isolation.NONE:
        raise Refused("the network of this machine itself is not changed: a namespace is needed")
    # The kernel drops every fragment when there is no memory to put packets together in.
    limits = [f"/proc/sys/net/{one}_{bound}_thresh" for one in ("ipv4/ipfrag", "ipv6/ip6frag")
              for bound in ("low", "high")]  # fmt: skip
    found = [_inside_the_network(lab, "cat", limit) for limit in limits]
    try:
        _inside_the_network(lab, "ip", "link", "set", "lo", "mtu", str(SMALLEST_MTU))
        for limit in limits:
            _inside_the_network(lab, "sh", "-c", f"echo 0 > {limit}")
        yield
    finally:
        for limit, value in reversed([*zip(limits, found, strict=True)]):
            _inside_the_network(lab, "sh", "-c", f"echo {value.strip()} > {limit}")
        _inside_the_network(lab, "ip", "link", "set", "lo", "mtu", str(_LARGEST_MTU))


@contextlib.contextmanager
def wrong_clock(lab: Lab, ahead_s: int) -> Iterator[None]:
    """The survey's clock is wrong by so much: for the lab, for its signatures are of then.

    A clock of the survey's processes alone is not to be had (time namespaces leave the wall
    clock alone), and a difference shows no more on one side than on the other.
    """
    lab.sign_again(-ahead_s)
    try:
        yield
    finally:
        lab.sign_again(0)


FAULTS: dict[str, Callable[[Lab], AbstractContextManager[None]]] = {
    "network": silent_network,
    "resolver": stopped_resolver,
    "resolver-killed": killed_resolver,
    "second-resolver": second_resolver,
    "rootkey": empty_root_key,
    "clock": lambda lab: wrong_clock(lab, -2 * DAY_S),
    "fragments": dropped_fragments,
}
"""Faults by the name that `danesurvey lab fault` knows; `clock` is two days slow."""


@contextlib.contextmanager
def _stopped(pids: list[int]) -> Iterator[None]:
    """Processes that exist and do nothing (SIGSTOP)."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # the lab went down meanwhile
                os.kill(pid, signal.SIGCONT)


def _with_descendants(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        children = (_PROC / f"{one}/task/{one}/children").read_text(encoding="ascii")
        found += map(int, children.split())
    return found


@contextlib.contextmanager
def _changed(file: Path, change: Callable[[str], str]) -> Iterator[None]:
    """A text file with another content."""
    text = file.read_text()
    file.write_text(change(text))
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):  # its owner took the directory away
            file.write_text(text)


def _without_anchors(configuration: str) -> str:
    lines = configuration.splitlines(keepends=True)
    return "".join(line for line in lines if "trust-anchor:" not in line)


def _reload(resolver: int) -> None:
    """Have an Unbound read its configuration again; its caches are lost then."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(resolver, signal.SIGHUP)


def _resolvers(lab: Lab) -> list[int]:
    """Every Unbound inside the lab, the first started first. Raises Refused if there is none."""
    found = _running_resolvers(lab)
    if not found:
        raise Refused("no Unbound runs inside the lab")
    return found


def _running_resolvers(lab: Lab) -> list[int]:
    if lab.isolation is Isolation.NONE:
        raise Refused("without a namespace it cannot be told which resolver is the lab's")
    return sorted(pid for pid in _inside(lab) if _name(pid) == "unbound")


def _directory(pid: int) -> Path:
    """Where a process works."""
    return Path(os.readlink(_PROC / f"{pid}/cwd"))


def _inside_the_network(lab: Lab, *argv: str) -> str:
    """What a command prints that changes the lab's network. Raises LocalTrouble."""
    done = lab.exec(argv, capture_output=True, text=True)
    if done.returncode:
        raise LocalTrouble(f"{' '.join(argv)}: {done.stderr.strip()}")
    said: str = done.stdout
    return said


def _inside(lab: Lab) -> Iterator[int]:
    """Processes in the lab's network namespace, whoever started them."""
    namespace = os.readlink(_PROC / f"{lab.supervisor_pid()}/ns/net")
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # ended, or not ours to look at
                if os.readlink(entry / "ns/net") == namespace:
                    yield int(entry.name)


def _name(pid: int) -> str:
    try:
        return (_PROC / f"{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
