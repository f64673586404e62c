"""What people get wrong: one line on stderr, the documented exit code, nothing half-written."""

import gzip
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lab.internet import Lab
from tests.e2e.survey_run import command, finish, start, wait_for
from tests.postgres_fixture import reachable_directory

ZONE = (
    """\
example. 3600 IN SOA ns.example. mail.example. 1 1800 900 604800 86400
one.example. 3600 IN NS ns.one.example.
one.example. 3600 IN DS 1 13 2 """
    + "ab" * 32
    + "\n"
)


def danesurvey(*words: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if "DANESURVEY" not in name}
    return subprocess.run(
        [sys.executable, "-m", "danesurvey", *map(str, words)],
        capture_output=True,
        text=True,
        env={**clean, **environment},
        timeout=60,
        check=False,
    )


def complains(done: "subprocess.CompletedProcess[str]", exit_code: int, *words: str) -> None:
    """It ended with this code, said one line with these words, and printed no data."""
    assert done.returncode == exit_code, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("danesurvey: ")
    for word in words:
        assert word in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("content", "exit_code", "word"),
    [
        (None, 2, "no such file"),
        (b"", 1, "empty"),
        (b"<!DOCTYPE html>\n<html><body>Not found</body></html>\n", 1, "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", 1, "git-lfs"),
        (gzip.compress(ZONE.encode())[:-12], 1, "cut or damaged"),
        (b"\x00\xff" * 5000, 1, ""),
    ],
    ids=["missing", "empty", "html", "lfs", "cut", "binary"],
)
def test_zone_signed(tmp_path: Path, content: bytes | None, exit_code: int, word: str) -> None:
    file, out = tmp_path / "zone.gz", tmp_path / "out.csv"
    if content is not None:
        file.write_bytes(content)
    complains(danesurvey("zone", "signed", file, "-o", out), exit_code, file.name, word)
    assert list(tmp_path.iterdir()) == ([file] if content is not None else [])


def test_zone_signed_of_a_directory_without_zones(tmp_path: Path) -> None:
    done = danesurvey("zone", "signed", tmp_path)
    assert done.returncode in (1, 2)
    complains(done, done.returncode, str(tmp_path))


def test_zone_signed_of_a_directory_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "good.zone").write_text(ZONE)
    (tmp_path / "cut.zone.gz").write_bytes(gzip.compress(ZONE.encode())[:-12])
    complains(danesurvey("zone", "signed", tmp_path), 1, "cut.zone.gz: cut or damaged")


def test_zone_signed_of_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    writer = os.open(pipe, os.O_RDWR)
    try:
        complains(danesurvey("zone", "signed", pipe), 2, "zones are read more than once")
    finally:
        os.close(writer)


def test_unreachable_database(tmp_path: Path) -> None:
    url = "postgresql://somebody:secret-word@127.0.0.1:1/survey"
    done = danesurvey("--state-dir", tmp_path / "state", "--set", f"database.url={url}", "runs")
    complains(done, 3, "survey at 127.0.0.1")
    assert "secret-word" not in done.stderr


def test_no_unbound(tmp_path: Path, database_url: str) -> None:
    done = danesurvey(
        *("--state-dir", tmp_path / "state", "--set", f"database.url={database_url}"),
        *("--set", f"resolver.unbound={tmp_path / 'unbound'}", "resolve"),
    )
    complains(done, 2, "unbound")


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["udp", "tcp"])
def test_taken_port(tmp_path: Path, database_url: str, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        done = danesurvey(
            *("--state-dir", tmp_path / "state", "--set", f"database.url={database_url}"),
            *("--set", f"resolver.port={port}", "resolve"),
        )
    complains(done, 3, str(port), f"pid {os.getpid()}")


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ('[resolver]\nadress = "127.0.0.1"\n', "resolver.adress: no such setting"),
        ("[nonsense]\nx = 1\n", "nonsense: no such setting"),
        ("[client]\nwindow = 'many'\n", "client.window"),
        ("state_dir = \n", "danesurvey.toml"),
        ('[[zones]]\nzone = "com"\nkind = "fax"\n', "kind"),
    ],
)
def test_settings_file(tmp_path: Path, settings: str, word: str) -> None:
    file = tmp_path / "danesurvey.toml"
    file.write_text(settings)
    complains(danesurvey("--config", file, "status"), 2, word)


def test_settings_file_that_is_not_there(tmp_path: Path) -> None:
    complains(danesurvey("--config", tmp_path / "no.toml", "status"), 2, "no.toml")


def test_environment_with_an_unknown_setting() -> None:
    complains(danesurvey("status", DANESURVEY_RESOLVR_PORT="53"), 2, "DANESURVEY_RESOLVR_PORT")


def test_nothing_to_survey(tmp_path: Path, database_url: str) -> None:
    done = danesurvey("--state-dir", tmp_path, "--set", f"database.url={database_url}", "assess")
    complains(done, 2, "[[zones]]")


def test_second_survey(quick_lab: Lab) -> None:
    with reachable_directory() as directory:
        state = directory / "state"
        first = start(quick_lab, state)
        wait_for(first, "resolve")
        words = ("--set", "resolver.port=5311", "--set", "resolver.second_look_port=5312")
        second = quick_lab.exec(
            command(quick_lab, state, *words, "survey"), capture_output=True, text=True
        )
        complains(second, 3, "another survey is running")
        finish(first)
