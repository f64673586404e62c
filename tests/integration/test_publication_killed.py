"""A publication that is killed at any system call leaves a whole run: the old or the new."""

import builtins
import io
import itertools
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from reports.dataset import NAME, Dataset, RunKey, sha256
from reports.derived_tables import STATISTICS
from reports.dictionary import DOMAINS
from tests.published_rows import KEY, domain, publish

CALLS = ("open", "fsync", "rename", "replace", "unlink", "mkdir", "rmdir", "chmod", "link")
ANOTHER = RunKey("2026-11", 8)

OLD = {DOMAINS: [domain("old.example", "dane")], STATISTICS: [{"metric": "m", "value": 1.0}]}
NEW = {DOMAINS: [domain("new.example", "broken")], STATISTICS: [{"metric": "m", "value": 2.0}]}


class Killed:
    """Kills this process before its n-th system call on files, once installed."""

    def __init__(self, last: int) -> None:
        self.left = last

    def counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **named)

        return counting

    def install(self) -> None:
        for name in CALLS:
            setattr(os, name, self.counted(getattr(os, name)))
        io.open = builtins.open = self.counted(builtins.open)


def killed_at(call: int, work: Callable[..., object]) -> bool:
    """Do the work in a child that is killed before its n-th call after staging; whether it was."""
    child = os.fork()
    if child == 0:
        code = 1
        with suppress(BaseException):
            work(staged_now=Killed(call).install)
            code = 0
        os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def as_read(directory: Path, manifest: Mapping[str, Any]) -> dict[str, str]:
    """What a manifest names, path by hash; all of it is there, and is what it says."""
    named = {one["path"]: one["hash"] for part in manifest["resources"] for one in part["files"]}
    for path, digest in named.items():
        assert f"sha256:{sha256(directory / path)}" == digest
    return named


def both_views(directory: Path) -> list[dict[str, str]]:
    dataset = Dataset(directory / "dataset")
    return [
        as_read(dataset.directory, dataset.manifest()),
        as_read(dataset.directory / "public", dataset.manifest(STATISTICS.access)),
    ]


def contents(directory: Path) -> list[list[str]]:
    return [sorted(view.values()) for view in both_views(directory)]


@pytest.fixture
def directory() -> Iterator[Path]:
    """In memory where that can be: the calls are counted, their effect on a disk is not."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


@pytest.mark.parametrize(
    ("before", "rows", "key"),
    [(None, OLD, KEY), (OLD, NEW, KEY), (OLD, NEW, ANOTHER)],
    ids=["first", "again", "another run"],
)
def test_killed_at_each_system_call(
    directory: Path, before: Mapping[Any, Any] | None, rows: Mapping[Any, Any], key: RunKey
) -> None:
    start, undisturbed, killed = (directory / name for name in ("start", "end", "killed"))
    start.mkdir()
    if before:
        publish(start, before)
    shutil.copytree(start, undisturbed)
    publish(undisturbed, rows, key)
    previous = both_views(start) if before else [{}, {}]
    wanted = contents(undisturbed)
    for call in itertools.count(1):
        shutil.copytree(start, killed)
        if not killed_at(call, partial(publish, killed, rows, key)):
            break
        for view, old, new in zip(both_views(killed), previous, wanted, strict=True):
            assert view == old or sorted(view.values()) == new, call
        publish(killed, rows, key)
        assert contents(killed) == wanted
        there = {
            path.relative_to(killed / "dataset").as_posix()
            for path in killed.rglob("*")
            if path.is_file() and path.name != NAME
        }
        assert there == both_views(killed)[0].keys(), "nothing is left that nobody names"
        shutil.rmtree(killed)
    assert call > 50, "the calls were not counted"
