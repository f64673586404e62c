"""A survey of a lab as a process: run, watched, killed, and its tables read."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg

from danesurvey.embedded import running
from danesurvey.embedded.place import choose
from lab.internet import Lab

# What a disturbed run may differ in: when, how often, and in which pass something was asked.
_CIRCUMSTANCES = {
    "run_id",
    "passes",
    "questions",
    "first_asked",
    "last_asked",
    "asked",
    "dns_asked",
    "connected",
    "duration_ms",
    "attempt",
    "first_run",
}
_ASKED_SERVER = re.compile(r" from [0-9a-f.:]+")  # of several, in an extended error's text
TABLES = ("domain_mx", "mx_host", "host_verdict", "domain_verdict", "authority")
_started: "list[subprocess.Popen[str]]" = []
Tables = Mapping[str, Sequence[Mapping[str, Any]]]


def command(lab: Lab, state: Path, *words: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "danesurvey",
        "--config",
        str(lab.settings_file),
        "--state-dir",
        str(state),
        *words,
    ]


def start(lab: Lab, state: Path, *words: str) -> "subprocess.Popen[str]":
    """A command in the lab, its progress lines on `stderr`, in a process group of its own.

    It ends with the test at the latest (conftest.py).
    """
    process = lab.popen(
        command(lab, state, *(words or ("survey",))),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    _started.append(process)
    return process


def end_all() -> None:
    """End what a failed test left running."""
    while _started:
        process = _started.pop()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def finish(process: "subprocess.Popen[str]") -> str:
    """What it said, once it has ended well."""
    _, said = process.communicate()
    assert process.returncode == 0, said[-4000:]
    return said


def lines(process: "subprocess.Popen[str]") -> Iterator[dict[str, Any]]:
    """Its progress lines, as they come; what else it says is shown if the test fails."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith('{"stage"'):
            yield json.loads(line)
        else:
            print(line, end="")


def wait_for(process: "subprocess.Popen[str]", stage: str, state: str | None = None) -> None:
    """Until it says that it is in that stage (and state)."""
    for line in lines(process):
        if line["stage"] == stage and state in (None, line["state"]):
            return
    raise AssertionError(f"it ended before {stage}: {process.wait()}")


def kill(process: "subprocess.Popen[str]") -> None:
    """kill -9 of the coordinator itself: the kernel tells nobody else."""
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def worker_pids(process: "subprocess.Popen[str]") -> list[int]:
    """The worker processes of a survey."""
    return _children(process.pid, "multiprocessing.spawn")


def unbound_pids(process: "subprocess.Popen[str]") -> list[int]:
    """Its resolvers."""
    return _children(process.pid, "./unbound")


def postgres_pid(state: Path) -> int | None:
    """The embedded server of a state directory, if it runs."""
    try:
        return int((choose(state).data / "postmaster.pid").read_text().split()[0])
    except (OSError, IndexError):
        return None


def postgres_children(server: int) -> list[int]:
    """The processes of an embedded server; when one is killed it ends the others, and recovers."""
    return _children(server, "postgres: ")


def _children(parent: int, word: str) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            ppid = int(status.read_text().rpartition(")")[2].split()[1])
            command_line = (status.parent / "cmdline").read_bytes().decode()
        except OSError:
            continue
        if ppid == parent and word in command_line:
            found.append(int(status.parent.name))
    return found


def of_state(state: Path) -> list[str]:
    """Command lines of processes that name the state directory or work in it."""
    found = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True)
    here = str(state)
    lines = [line for line in found.stdout.splitlines() if here in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "cwd").startswith(here):
                lines.append(f"{process.name} works in {here}")
        except OSError:
            continue
    return lines


def read(state: Path) -> Tables:
    """The tables of the last run, without what depends on circumstances."""
    with running(state) as url:
        return asyncio.run(_read(url))


def differences(found: Tables, expected: Tables) -> list[str]:
    """A line a row that is in one of them only."""
    return [
        f"{table}: {sign} {row}"
        for table in TABLES
        for sign, these, those in (
            ("found", found[table], expected[table]),
            ("expected", expected[table], found[table]),
        )
        for row in these
        if row not in those
    ]


def _without_circumstances(row: asyncpg.Record) -> dict[str, Any]:
    kept = {name: value for name, value in row.items() if name not in _CIRCUMSTANCES}
    if kept.get("ede_text") is not None:
        kept["ede_text"] = _ASKED_SERVER.sub("", kept["ede_text"])
    return kept


async def _read(url: str) -> Tables:
    connection = await asyncpg.connect(url)
    try:
        return {
            table: sorted(
                map(
                    _without_circumstances,
                    await connection.fetch(
                        f"SELECT * FROM {table} WHERE run_id = (SELECT max(run_id) FROM run)"
                    ),
                ),
                key=str,
            )
            for table in TABLES
        }
    finally:
        await connection.close()
