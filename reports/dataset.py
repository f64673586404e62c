"""The data set's files: where they are, how they are written, how a run takes its place.

`dataset/{public,restricted}/<table>/month=YYYY-MM/run=ID/part-N.parquet`, with
`manifest.json` beside (`reports.manifest`). Only what a manifest names is published.

A published file never changes. A publication writes into a staging directory that no
reader's pattern matches. `place` moves each part to a name that nothing has had yet: where
the run was published before with other content, the part numbers go on after the old ones.
Then the manifest is renamed into place, and from there on readers see the new publication.
Files that no manifest names any more are removed last. A publication that is killed leaves
files that nothing names; the next one removes them.

Nothing in a file depends on when or where it was written: the same run exports
byte-identical, and publishing it again changes nothing.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dane.faults import LocalTrouble, Refused, UsageFault
from reports.columns import Access, PublishedTable
from reports.dictionary import SCHEMA_VERSION, TABLES
from storage.export import ROW_GROUP, write
from storage.run import RunKind

NAME = "manifest.json"

PART_ROWS = 32 * ROW_GROUP
"""About how many rows of a large table a part holds."""

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


_DESCRIBES = timedelta(days=7)
"""A full run of the first days of a month describes the month before."""


def month_of(started: datetime, kind: str) -> str:
    """`YYYY-MM`: the month of a run, by its start in UTC; of a full run, that of its start
    less seven days."""
    return f"{started - _DESCRIBES if kind == RunKind.FULL else started:%Y-%m}"


def check_month(text: str) -> str:
    """The text, if it is a month. Raises UsageFault: it becomes part of a path."""
    if not _MONTH.fullmatch(text):
        raise UsageFault(f"{text!r} is not a month; write it as 2026-11")
    return text


def months_before(month: str, count: int) -> str:
    """The month `count` months earlier."""
    year, number = map(int, month.split("-"))
    years, index = divmod(12 * year + number - 1 - count, 12)
    return f"{years:04}-{index + 1:02}"


@dataclass(frozen=True, slots=True, order=True)
class RunKey:
    """One run's place in the data set; sorts by month, then run."""

    month: str
    run_id: int

    def partition(self) -> str:
        return f"month={self.month}/run={self.run_id}"


@dataclass(frozen=True, slots=True)
class Files:
    """The Parquet files of one run below `root`.

    Of a published run they are those that the manifest names (`named`, by the table's path);
    of a staging directory, those that are there.
    """

    root: Path
    key: RunKey
    named: Mapping[str, Sequence[Path]] | None = None

    def directory(self, table: PublishedTable) -> Path:
        return self.root / table.path / table.partition(self.key)

    def parts(self, table: PublishedTable) -> list[Path]:
        """The table's files by part number; empty if the run has none."""
        if self.named is None:
            there: Iterable[Path] = self.directory(table).glob("part-*.parquet")
        else:
            there = self.named.get(table.path, ())
        return sorted(there, key=_part_number)

    def rows(self, table: PublishedTable) -> int:
        """How many rows the table has."""
        return sum(pq.read_metadata(part).num_rows for part in self.parts(table))

    def with_parts(self, parts: Mapping[PublishedTable, Sequence[Path]]) -> "Files":
        """The same, with these files in place of what the tables have here."""
        here = {table.path: self.parts(table) for table in TABLES}
        return replace(self, named=here | {table.path: paths for table, paths in parts.items()})

    def read(self, table: PublishedTable) -> pa.Table:
        """The whole table in memory, in its order; without rows if the run has none. Where
        null stands for '', it is ''.

        Raises LocalTrouble for a file that is missing, cut or of another schema.
        """
        try:
            parts = [pq.ParquetFile(part).read() for part in self.parts(table)]
            whole = pa.concat_tables(parts) if parts else table.schema.empty_table()
        except (OSError, pa.ArrowException) as error:
            raise LocalTrouble(f"{self.root}: cannot read {table.path}: {error}") from error
        for name in table.blanks:
            place = whole.schema.get_field_index(name)
            whole = whole.set_column(place, name, whole.column(name).fill_null(pa.scalar("")))
        return whole


def _part_number(path: Path) -> int:
    return int(path.stem.removeprefix("part-"))


def write_table(
    files: Files, table: PublishedTable, rows: Iterable[pa.RecordBatch | pa.Table]
) -> None:
    """Write a whole table as its one part; columns are chosen by name.

    Batches may have any size: row groups end at fixed row numbers, so that the borders of
    batches leave no trace in the file. Raises LocalTrouble for a full disk.
    """
    path = files.directory(table) / "part-0.parquet"
    write(path, table.schema, _declared(rows, table), table.key)


def _declared(
    rows: Iterable[pa.RecordBatch | pa.Table], table: PublishedTable
) -> Iterator[pa.RecordBatch]:
    """The rows with the table's columns, in its order; null for '' where that stands for it."""
    for part in rows:
        whole = pa.Table.from_batches([part]) if isinstance(part, pa.RecordBatch) else part
        for name in table.blanks:
            column = whole.column(name)
            filled = pc.if_else(
                pc.equal(column, pa.scalar("")), pa.scalar(None, column.type), column
            )
            whole = whole.set_column(whole.schema.get_field_index(name), name, filled)
        yield from whole.select(table.schema.names).cast(table.schema).to_batches()


class Dataset:
    """The directory `dataset/`. Faults: a directory that cannot be read or written."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def manifest(self, access: Access = Access.RESTRICTED) -> dict[str, Any]:
        """The manifest of everything, or of `public/` alone; without runs where nothing has
        been published yet.

        Raises Refused for a file that is no manifest of this schema's major version.
        """
        path = self.directory / ("" if access is Access.RESTRICTED else access) / NAME
        try:
            found = json.loads(path.read_bytes())
        except FileNotFoundError:
            return {"resources": [], "runs": []}
        except OSError as error:
            raise LocalTrouble(f"cannot read {path}: {error.strerror}") from error
        except ValueError as error:
            raise Refused(f"{path} is not JSON: {error}") from error
        if not isinstance(found, dict) or not {"resources", "runs"} <= found.keys():
            raise Refused(f"{path} is not a manifest of a danesurvey data set")
        theirs = str(found.get("version", ""))
        if theirs.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
            raise Refused(
                f"{path} has schema version {theirs!r}; this software knows {SCHEMA_VERSION}"
            )
        return found

    def files(self, key: RunKey) -> Files:
        """The files of a published run, as the manifest names them."""
        inside = f"/{key.partition()}/"
        named = {
            table: [self.directory / path for path in paths if inside in f"/{path}"]
            for table, paths in self._paths_by_table().items()
        }
        return Files(self.directory, key, named)

    def _paths_by_table(self) -> dict[str, list[str]]:
        """The paths that the manifest names, by `access/table`; a copy of `public/` is a data
        set, too."""
        return {
            f"{resource['access']}/{resource['title']}": [one["path"] for one in resource["files"]]
            for resource in self.manifest()["resources"]
        }

    def year(self, table: PublishedTable, key: RunKey) -> list[Path]:
        """The published files of a table that has one file a year, of the run's year."""
        inside = f"/{table.partition(key)}/"
        paths = self._paths_by_table().get(table.path, ())
        return [self.directory / path for path in paths if inside in path]

    @contextmanager
    def publication(self, key: RunKey) -> Iterator[Files]:
        """An empty staging directory for the run. One publication at a time: what a killed
        one left is removed first, and what nobody names afterwards is removed at the end.

        Raises LocalTrouble while another publication is under way, Refused for files without
        the manifest that names them.
        """
        staging = self.directory / f".staging-{key.month}-{key.run_id}"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with self._locked():
                self.remove_unnamed()
                staging.mkdir(mode=0o700)
                try:
                    yield Files(staging, key)
                    self.remove_unnamed()
                finally:
                    shutil.rmtree(staging, ignore_errors=True)
        except OSError as error:
            raise LocalTrouble(f"cannot write {self.directory}: {error.strerror}") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.directory, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise LocalTrouble(
                f"another publication is writing {self.directory}; try again when it is over"
            ) from None
        try:
            yield
        finally:
            os.close(descriptor)

    def place(self, staged: Files, table: PublishedTable) -> list[Path]:
        """Move the staged parts of a table to where they stay, synced; their paths.

        Where the published parts have the same bytes, they stay what they are.
        """
        parts = staged.parts(table)
        target = self.directory / table.path / table.partition(staged.key)
        published = self._published(table, target)
        if published and list(map(sha256, published)) == list(map(sha256, parts)):
            return published
        make_directory(target, self.directory, table.access)
        first = 1 + max(map(_part_number, target.glob("part-*.parquet")), default=-1)
        placed = []
        for number, part in enumerate(parts, first):
            os.chmod(part, _FILE_MODE[table.access])
            sync(part)
            placed.append(target / f"part-{number}.parquet")
            os.rename(part, placed[-1])
        sync(target)
        return placed

    def _published(self, table: PublishedTable, target: Path) -> list[Path]:
        paths = (self.directory / path for path in _named(self.manifest()))
        named = sorted((path for path in paths if path.parent == target), key=_part_number)
        return named if all(path.is_file() for path in named) else []

    def remove_unnamed(self) -> None:
        """Remove staging directories, and the files that neither manifest names.

        Raises Refused where there are files and no manifest: it was lost, and they may be
        published.
        """
        for left in self.directory.glob(".staging-*"):
            shutil.rmtree(left)
        named = {
            self.directory / prefix / path
            for prefix, access in (("", Access.RESTRICTED), (Access.PUBLIC, Access.PUBLIC))
            for path in _named(self.manifest(access))
        }
        there = [
            path
            for access in Access
            for path in (self.directory / access).glob("*/*=*/**/part-*.parquet")
        ]
        if there and not (self.directory / NAME).exists():
            raise Refused(
                f"{self.directory} has files but no {NAME} that names them; "
                "put it back, or move the files away"
            )
        for path in there:
            if path not in named:
                path.unlink()
                for directory in (path.parent, path.parent.parent):
                    with suppress(OSError):  # not empty
                        directory.rmdir()


def _named(manifest: Mapping[str, Any]) -> Iterator[str]:
    """The paths of all files that a manifest names, relative to it."""
    for resource in manifest["resources"]:
        for file in resource["files"]:
            yield file["path"]


_DIRECTORY_MODE = {Access.PUBLIC: 0o755, Access.RESTRICTED: 0o750}
_FILE_MODE = {Access.PUBLIC: 0o644, Access.RESTRICTED: 0o640}


def make_directory(directory: Path, top: Path, access: Access) -> None:
    """Create a directory below `top` with the modes of its access, each new entry synced."""
    below = [directory, *directory.parents]
    for one in reversed(below[: below.index(top)]):
        if not one.exists():
            one.mkdir()
            sync(one.parent)
        if one.stat().st_mode & 0o777 != _DIRECTORY_MODE[access]:
            one.chmod(_DIRECTORY_MODE[access])


def sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def sync(path: Path) -> None:
    """fsync a file or a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, sync it, rename it, sync the directory."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as out:
        os.fchmod(out.fileno(), _FILE_MODE[Access.PUBLIC])
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    temporary.rename(path)
    sync(path.parent)
