"""A function called in a process of its own, for the sake of memory and of stopping.

The process takes its arguments by a pipe (none is in an argument list), ignores signals
that are meant for its parent, and ends with it, `kill -9` included: a thread of it waits
at the pipe, which the kernel closes when the parent is gone.
"""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar

from dane.faults import Fault, LocalTrouble

P = ParamSpec("P")
T = TypeVar("T")

_CONTEXT = multiprocessing.get_context("spawn")


async def call(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """The result of a function of a module; function, arguments and result are pickled.

    A Fault that it raises is raised here; another exception is a bug, leaves its traceback
    on stderr and is a RuntimeError here. Cancelled: the process is killed. Raises
    LocalTrouble if something else killed it.
    """
    ours, theirs = _CONTEXT.Pipe()
    process = _CONTEXT.Process(
        target=_answer, args=(theirs, function, arguments, named), daemon=True
    )
    process.start()
    theirs.close()
    try:
        await _readable(ours.fileno())
        fault, result = ours.recv()
    except EOFError:
        process.join()
        if (code := process.exitcode or 0) < 0:
            killed = signal.Signals(-code).name
            raise LocalTrouble(
                f"the process of {function.__name__} was ended by {killed}; is memory short?"
            ) from None
        raise RuntimeError(f"{function.__name__} failed; its traceback is above") from None
    finally:
        process.kill()
        process.join()
        ours.close()
    if fault is not None:
        raise fault
    value: T = result
    return value


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)


def _answer(
    pipe: "Connection[Any, Any]",
    function: Callable[..., object],
    arguments: tuple[object, ...],
    named: dict[str, object],
) -> None:
    """In the new process."""
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(pipe,), daemon=True).start()
    try:
        answer: tuple[Fault | None, object] = (None, function(*arguments, **named))
    except Fault as fault:
        answer = (fault, None)
    pipe.send(answer)


def _end_with_parent(pipe: "Connection[Any, Any]") -> None:
    """Nothing is ever sent here: the pipe becomes readable when its other end is closed."""
    with contextlib.suppress(OSError):
        pipe.poll(None)
    os._exit(1)
