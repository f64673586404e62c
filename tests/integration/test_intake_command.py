"""`danesurvey intake` as people run it: summary, exit codes, and how it stops."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.intake_run import zone_text
from tests.postgres_fixture import reachable_directory

WAIT_S = 60.0
SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    with reachable_directory() as directory:
        yield directory / "state"


def start(state: Path, sources: list[dict[str, str]], *arguments: str) -> "subprocess.Popen[str]":
    environment = {
        **os.environ,
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
