"""Published files never change in place, and the restricted ones are for their group."""

import os
import stat
from pathlib import Path

import pytest

from dane.faults import LocalTrouble, Refused
from reports.dataset import NAME, RunKey
from reports.derived_tables import STATISTICS
from reports.dictionary import DOMAINS
from tests.published_rows import KEY, domain, publish

ANOTHER = RunKey("2026-11", 8)

OLD = {DOMAINS: [domain("old.example", "dane")], STATISTICS: [{"metric": "m", "value": 1.0}]}
NEW = {DOMAINS: [domain("new.example", "broken")], STATISTICS: [{"metric": "m", "value": 2.0}]}


def test_files_never_change_in_place(tmp_path: Path) -> None:
    dataset = publish(tmp_path, OLD)
    first = dataset.files(KEY).parts(DOMAINS)
    publish(tmp_path, OLD)
    assert dataset.files(KEY).parts(DOMAINS) == first
    content = first[0].read_bytes()
    os.link(first[0], tmp_path / "kept")
    publish(tmp_path, NEW)
    second = dataset.files(KEY).parts(DOMAINS)
    assert [path.name for path in second] == ["part-1.parquet"]
    assert second[0].parent == first[0].parent
    assert not first[0].exists()
    assert (tmp_path / "kept").read_bytes() == content


def test_restricted_is_for_its_group_only(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        dataset = publish(tmp_path, OLD)
    finally:
        os.umask(old)
    for path in (dataset.directory / "restricted", *dataset.directory.glob("restricted/**/*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o750 if path.is_dir() else 0o640), path
    for path in dataset.directory.glob("public/**/*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644), path


def test_files_without_their_manifest_are_kept(tmp_path: Path) -> None:
    dataset = publish(tmp_path, OLD)
    parts = dataset.files(KEY).parts(DOMAINS)
    (dataset.directory / NAME).unlink()
    with pytest.raises(Refused, match=r"no manifest\.json that names them"):
        publish(tmp_path, NEW)
    assert all(path.exists() for path in parts)


def test_one_publication_at_a_time(tmp_path: Path) -> None:
    dataset = publish(tmp_path, OLD)
    with dataset.publication(ANOTHER), pytest.raises(LocalTrouble, match="another publication"):
        publish(tmp_path, NEW)
    assert dataset.files(KEY).read(DOMAINS).column("domain").to_pylist() == ["old.example"]


def test_a_file_that_is_cut(tmp_path: Path) -> None:
    dataset = publish(tmp_path, OLD)
    part = dataset.files(KEY).parts(DOMAINS)[0]
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(LocalTrouble, match="restricted/domains"):
        dataset.files(KEY).read(DOMAINS)
