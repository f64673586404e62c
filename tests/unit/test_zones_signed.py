"""`danesurvey zone signed`: formats, escapes, exit codes, and never half a file."""

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest

SOA = "example. 900 IN SOA ns.example. host.example. 7 1800 900 604800 86400\n"
ZONE = (
    SOA
    + "B.example. IN NS ns2.test.\nb.example. IN NS NS1.test.\n"
    + f"b.example. IN DS 2 13 2 {'AB' * 20} {'CD' * 12}\nb.example. IN DS 1 8 1 {'00' * 20}\n"
    + f"-a.example. IN DS 3 13 2 {'ff' * 32}\n-a.example. IN NS -ns.test.\n"
    + r"=x\,\"y.example. IN NS ns.test."
    + "\n"
    + rf"=x\,\"y.example. IN DS 4 13 2 {'ee' * 32}"
    + "\nunsigned.example. IN NS ns.test.\n"
)
ROWS = {
    "-a.example": ([f"3 13 2 {'ff' * 32}"], ["-ns.test"]),
    "\\061x\\044\\034y.example": ([f"4 13 2 {'ee' * 32}"], ["ns.test"]),
    "b.example": (
        [f"1 8 1 {'00' * 20}", f"2 13 2 {'ab' * 20}{'cd' * 12}"],
        ["ns1.test", "ns2.test"],
    ),
}


def run(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "danesurvey", "zone", "signed", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=120, check=False)


@pytest.fixture
def zone(tmp_path: Path) -> Path:
    path = tmp_path / "zone.gz"
    path.write_bytes(gzip.compress(ZONE.encode()))
    return path


def test_csv(zone: Path) -> None:
    done = run(zone, "--origin", "EXAMPLE")
    assert done.returncode == 0, done.stderr
    header, *rows = list(csv.reader(done.stdout.decode().splitlines()))
    assert header == ["domain", "ds", "ns"]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
    found = {
        row[0].replace("\\045", "-"): (row[1].split(";"), row[2].replace("\\045", "-").split(";"))
        for row in rows
    }
    assert found == ROWS
    assert b"serial 7, 10 records, 4 delegations, 3 signed" in done.stderr


def test_jsonl(zone: Path) -> None:
    done = run(zone, "--format", "jsonl")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["domain"]: (row["ds"], row["ns"]) for row in rows} == ROWS


def test_parquet(zone: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    assert run(zone, "--format", "parquet", "-o", out, "--origin", "example.").returncode == 0
    rows = pyarrow.parquet.read_table(out).to_pylist()
    assert {row["domain"]: (row["ds"], row["ns"]) for row in rows} == ROWS


def test_nothing_is_written_of_a_cut_zone(zone: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("of before")
    zone.write_bytes(zone.read_bytes()[:-3])
    done = run(zone, "-o", out)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"cut or damaged" in done.stderr
    assert out.read_text() == "of before"
    assert {path.name for path in tmp_path.iterdir()} == {"zone.gz", "out.csv"}
    assert run(zone).stdout == b""


def test_without_the_compiled_reader(zone: Path) -> None:
    """As after an installation without a compiler."""
    blocked = "import sys; sys.modules['crawler.zones._groups'] = None"
    seen = "from crawler.zones import compiled; assert not compiled.available"
    command = f"{blocked}; {seen}; from danesurvey.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, "zone", "signed", str(zone)],
        capture_output=True,
        timeout=120,
        check=True,
    )
    assert done.stdout == run(zone).stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["none"], 2),
        (["zone.gz", "--format", "xml"], 2),
        (["zone.gz", "--origin", "a..b"], 2),
        (["zone.gz", "--origin", "other"], 1),
        (["zone.gz", "-o", "none/out"], 3),
    ],
)
def test_exit_codes(
    zone: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int
) -> None:
    monkeypatch.chdir(zone.parent)
    done = run(*arguments)
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""
