"""Where the names of a zone are written to: whole files, and what is no file stays what it is."""

import os
from pathlib import Path

import pytest

from crawler.zones.output import replacing
from dane.faults import LocalTrouble


def _write(path: Path, text: bytes) -> None:
    with replacing(path) as out:
        out.write(text)


def test_a_file_is_replaced_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_bytes(b"before")
    with pytest.raises(TypeError), replacing(path) as out:
        out.writelines([b"half", None])  # type: ignore[list-item]
    assert path.read_bytes() == b"before"
    _write(path, b"after")
    assert path.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [path]


def test_a_symbolic_link_stays(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "latest.csv"
    link.symlink_to("elsewhere/out.csv")
    _write(link, b"new")
    _write(link, b"newer")
    assert link.is_symlink()
    assert (tmp_path / "elsewhere/out.csv").read_bytes() == b"newer"


def test_a_pipe_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        _write(pipe, b"names")
        assert os.read(reader, 100) == b"names"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_said(tmp_path: Path) -> None:
    link = tmp_path / "full"  # even if it were replaced, the device would not be
    link.symlink_to("/dev/full")
    with pytest.raises(LocalTrouble, match="No space left"):
        _write(link, b"names")
    assert Path("/dev/full").is_char_device()


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalTrouble, match="Is a directory"):
        _write(tmp_path, b"names")
