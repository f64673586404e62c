"""Our own faults, on purpose: what a survey must never blame a domain for.

Each is a context: the fault is there inside it, and gone afterwards whatever happens. They act
on a lab that is up, from outside it. A survey's own part in them is to notice, to pause, and
to end with the tables of an undisturbed run.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from dane.faults import Refused
from lab.internet import Lab
from lab.namespace import Isolation

_PROC = Path("/proc")


@contextlib.contextmanager
def silent_network(lab: Lab) -> Iterator[None]:
    """Every name server and mail server of the lab is silent: packets come in and none go out."""
    with _stopped(_with_descendants(lab.supervisor_pid())):
        yield


@contextlib.contextmanager
def stopped_resolver(lab: Lab) -> Iterator[None]:
    """Every Unbound inside the lab is stopped. Raises Refused if there is none."""
    if lab.isolation is Isolation.NONE:
        raise Refused("without a namespace it cannot be told which resolver is the lab's")
    resolvers = [pid for pid in _inside(lab) if _name(pid) == "unbound"]
    if not resolvers:
        raise Refused("no Unbound runs inside the lab")
    with _stopped(resolvers):
        yield


@contextlib.contextmanager
def empty_root_key(lab: Lab) -> Iterator[None]:
    """The file with the root's key is empty: a resolver that starts now can validate nothing."""
    key = lab.trust_anchor.read_bytes()
    lab.trust_anchor.write_bytes(b"")
    try:
        yield
    finally:
        lab.trust_anchor.write_bytes(key)


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
    "rootkey": empty_root_key,
    "clock": lambda lab: wrong_clock(lab, 30 * 86400),
}
"""Faults by the name that `danesurvey lab fault` knows; `clock` is 30 days fast."""


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
