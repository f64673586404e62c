"""`danesurvey intake` as people run it: summary, exit codes, and how it stops or is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crawler.coordinator.intake import Verdict
from storage.database import Connection
from tests.integration.intake_run import intake_into, zone_text
from tests.postgres_fixture import reachable_directory

WAIT_S = 60.0
SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    with reachable_directory() as directory:
        yield directory / "state"


def start(
    state: Path, sources: list[dict[str, str]], *arguments: str, **environment: str
) -> "subprocess.Popen[str]":
    environment = {
        **os.environ,
        **environment,
        "DANESURVEY_ZONES": json.dumps(sources),
        "DANESURVEY_TSIG_SECRET": SECRET,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "danesurvey", "--state-dir", str(state), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_summary(state: Path, tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(zone_text(["a"], 7, unsigned=2))
    (tmp_path / "bad").write_bytes(b"<html>")
    sources = [
        {"zone": "example", "kind": "file", "path": str(tmp_path / "good")},
        {"zone": "other.", "kind": "file", "path": str(tmp_path / "bad")},
        {"zone": "none", "kind": "file", "path": str(tmp_path / "none")},
    ]
    with start(state, sources, "intake", "--json") as process:
        out, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 1
    rows = json.loads(out)
    assert [row["verdict"] for row in rows] == ["accepted", "refused", "failed"]
    good = {name: rows[0][name] for name in ("serial", "delegations", "signed", "added", "removed")}
    assert good == {"serial": 7, "delegations": 3, "signed": 1, "added": 1, "removed": 0}
    assert "other: refused: HTML or XML, not a zone" in said
    with start(state, sources, "intake") as process:
        out, _ = process.communicate(timeout=WAIT_S)
    heading, *lines = out.splitlines()
    assert heading.split() == [
        *("zone", "serial", "bytes", "records", "delegations", "signed", "added", "removed"),
        *("seconds", "verdict"),
    ]
    assert [line.split()[0] for line in lines] == ["example", "other", "none"]
    assert "unchanged" in lines[0]
    assert "No such file" in lines[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_in_a_transfer(state: Path, number: signal.Signals) -> None:
    """Of a server that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        source = {
            "zone": "example",
            "kind": "axfr",
            "server": f"127.0.0.1#{server.getsockname()[1]}",
            "tsig_name": "key",
        }
        server.settimeout(WAIT_S)
        with start(state, [source], "intake") as process:
            connection, _ = server.accept()
            process.send_signal(number)
            out, said = process.communicate(timeout=WAIT_S)
            connection.close()
    assert process.returncode == 130
    assert "Traceback" not in said
    assert SECRET not in out + said


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "lock",
    [
        pytest.param("LOCK TABLE zone_snapshot IN EXCLUSIVE MODE", id="before the snapshot"),
        pytest.param("LOCK TABLE delegation IN SHARE MODE", id="before the new names"),
        pytest.param(
            "SELECT FROM delegation WHERE domain = 'gone.example' FOR UPDATE",
            id="between the new names and the missing ones",
        ),
    ],
)
async def test_killed_in_the_transaction(
    database_url: str, connection: Connection, tmp_path: Path, lock: str
) -> None:
    """`kill -9` while it waits for a lock of ours; the next one takes the zone in."""
    names = [f"n{number}" for number in range(100)]
    source = {"zone": "example", "kind": "file", "path": str(tmp_path / "zone")}
    waits = (
        "SELECT EXISTS (SELECT FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock')"
    )
    async with intake_into(database_url, tmp_path) as take:
        await take.data(zone_text([*names, "gone"], 1))
        old = await take.names()
        (tmp_path / "zone").write_bytes(zone_text([*names, "new"], 2))
        async with connection.transaction():
            await connection.execute(lock)
            with start(
                tmp_path / "state", [source], "intake", DANESURVEY_DATABASE_URL=database_url
            ) as process:
                while not await take.pool.fetchval(waits):
                    assert process.poll() is None
                process.kill()
            assert await take.names() == old
        assert await take.names() == old
        row = await take.data(zone_text([*names, "new"], 2))
        assert (row.verdict, row.added, row.removed) == (Verdict.ACCEPTED, 1, 1)
        assert await take.names() == old - {"gone.example"} | {"new.example"}
