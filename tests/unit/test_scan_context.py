"""A misspelt field of a scan's context is found by mypy, not by a worker at run time."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2]
SNIPPET = """
from dataclasses import replace

import pyarrow as pa

from crawler.scan.context import ScanContext


def longest_wait_s(shard: pa.RecordBatch, context: ScanContext) -> float:
    return context.{read}


def with_last_run(context: ScanContext) -> ScanContext:
    return replace(context, {changed}=0.02)
"""


def mypy(tmp_path: Path, **names: str) -> str:
    """What mypy says of a module that reads one field and changes another."""
    snippet = tmp_path / "snippet.py"
    snippet.write_text(SNIPPET.format(**names))
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache")]
    return subprocess.run(
        # Not those of the project file: the snippet alone, and what it imports.
        [*command, "--config-file", "", "--follow-imports", "silent", str(snippet)],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    ).stdout


@pytest.mark.parametrize(
    ("read", "changed", "complaint"),
    [
        ("client.try_s", "usual_failing_share", None),
        ("client.try_seconds", "usual_failing_share", "try_seconds"),
        ("clients.try_s", "usual_failing_share", "clients"),
        ("client.try_s", "usual_failing_shares", "usual_failing_shares"),
    ],
)
def test_mypy_finds_a_misspelt_field(
    tmp_path: Path, read: str, changed: str, complaint: str | None
) -> None:
    said = mypy(tmp_path, read=read, changed=changed)
    assert ("Success" in said) is (complaint is None), said
    assert complaint is None or complaint in said
