"""A survey of a lab as a process: run, watched, killed, and its tables read."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg

from danesurvey.embedded import running
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
    "ede_text",  # names the server that was asked
}
TABLES = ("domain_mx", "mx_host", "host_verdict", "domain_verdict")
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
    """A command in the lab, its progress lines on `stderr`, in a process group of its own."""
    return lab.popen(
        command(lab, state, *(words or ("survey",))),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: "subprocess.Popen[str]") -> str:
    """What it said, once it has ended well."""
    _, said = process.communicate()
    assert process.returncode == 0, said[-4000:]
    return said


def stages(process: "subprocess.Popen[str]") -> Iterator[str]:
    """The stage of each progress line, as it comes."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith('{"stage"'):
            yield json.loads(line)["stage"]


def kill(process: "subprocess.Popen[str]") -> None:
    """kill -9 of the coordinator itself: the kernel tells nobody else."""
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


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


async def _read(url: str) -> Tables:
    connection = await asyncpg.connect(url)
    try:
        return {
            table: sorted(
                (
                    {k: v for k, v in dict(row).items() if k not in _CIRCUMSTANCES}
                    for row in await connection.fetch(
                        f"SELECT * FROM {table} WHERE run_id = (SELECT max(run_id) FROM run)"
                    )
                ),
                key=str,
            )
            for table in TABLES
        }
    finally:
        await connection.close()
