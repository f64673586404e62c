"""A function in a process of its own: its result, its faults, and its end."""

import asyncio
import multiprocessing
import operator
import os
import select
import signal
import subprocess
import sys

import pytest

from dane.faults import LocalTrouble, UsageFault
from reports.aside import call
from reports.dataset import check_month

WAITING = """
import asyncio, multiprocessing, signal
from reports.aside import call

async def main():
    task = asyncio.create_task(call(signal.pause))
    await asyncio.sleep(0)
    print(multiprocessing.active_children()[0].pid, flush=True)
    await task

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.asyncio
async def test_result_comes_from_another_process() -> None:
    assert await call(operator.add, 1, 2) == 3
    assert await call(os.getpid) != os.getpid()
    assert not multiprocessing.active_children()


@pytest.mark.asyncio
async def test_a_fault_is_raised_here() -> None:
    with pytest.raises(UsageFault, match="not a month"):
        await call(check_month, "x")


@pytest.mark.asyncio
async def test_a_bug_is_not_a_fault(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="truediv failed"):
        await call(operator.truediv, 1, 0)
    assert "ZeroDivisionError" in capfd.readouterr().err


@pytest.mark.asyncio
async def test_killed_from_outside() -> None:
    with pytest.raises(LocalTrouble, match="SIGKILL"):
        await call(signal.raise_signal, signal.SIGKILL)


@pytest.mark.asyncio
async def test_cancelled_it_is_gone() -> None:
    task = asyncio.create_task(call(signal.pause))
    await asyncio.sleep(0)  # the task's first step starts the process
    assert multiprocessing.active_children()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not multiprocessing.active_children()


def test_it_ends_with_its_parent() -> None:
    command = [sys.executable, "-c", WAITING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.kill()
            readable, _, _ = select.select([child], [], [], 30)
        finally:
            os.close(child)
    assert readable, "the process outlived its parent"
