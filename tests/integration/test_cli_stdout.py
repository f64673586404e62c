"""What the command says, and how it ends, when it cannot print or has nothing to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_COMMAND = (sys.executable, "-m", "danesurvey")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", [("--help",), ("zone", "signed", "ZONE")])
def test_a_full_disk_is_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    zone = tmp_path / "example.zone"
    zone.write_text("example. 60 IN SOA a. b. 1 2 3 4 5\na.example. 60 IN NS ns.\n")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*_COMMAND, *(str(zone) if one == "ZONE" else one for one in arguments)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == "danesurvey: No space left on device"
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_is_no_verdict() -> None:
    """`danesurvey verify --batch - | head -1` ends as if by SIGPIPE, not with 1: mismatch."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*_COMMAND, "verify", "--batch", "-"],
        input=b'{"chain": [], "tlsa": ["3 1 1 00"], "names": []}\n',
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("verb", [("intake",), ("zone", "fetch")])
def test_nothing_to_take_in_is_said(tmp_path: Path, verb: tuple[str, ...]) -> None:
    done = subprocess.run(
        [*_COMMAND, "--state-dir", tmp_path, *verb],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    said = "danesurvey: no zones: name them in [[zones]] (docs/zones.md)\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)
