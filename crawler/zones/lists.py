"""Lists of domain names, of registries that publish names and no zone.

Plain (one name a line, `#` begins a comment) or one column of a CSV file; as it is, or in
gzip, zstd, xz or zip. Names are reduced to the registrable domain (Public Suffix List).
Whether a name is signed is not in a list: the resolve stage asks.
"""

import csv
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from crawler.zones.acceptance import foreign
from crawler.zones.delegations import SCHEMA
from crawler.zones.files import ZoneFile
from crawler.zones.master import MAX_LINE
from dane import names
from dane.faults import Refused

_CHUNK = 1 << 20
_BATCH = 100_000
_MAX_BAD = 0.01  # of the lines: more, and it is no list of names
_ZIP = b"PK\x03\x04"
_COLUMN_NAMES = ("domain", "name", "domain_name", "domainname")
_UNKNOWN: Any = pa.list_(pa.field("item", pa.string(), nullable=False))


@dataclass(frozen=True, slots=True)
class NameList:
    """The registrable domains of a list, each once."""

    size: int  # bytes, unpacked
    lines: int
    domains: "pa.ChunkedArray[Any]"

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Rows like `delegations.SCHEMA`, with ds null (not known) and ns empty."""
        schema = pa.schema([field.with_nullable(True) for field in SCHEMA])
        for chunk in self.domains.chunks:
            ns = pa.array([[]] * len(chunk), _UNKNOWN)
            yield pa.record_batch([chunk, pa.nulls(len(chunk), _UNKNOWN), ns], schema=schema)


def read_list(
    path: Path, zone: str, *, form: str | None, column: str | None, max_ratio: float
) -> NameList:
    """Read a list. Names outside `zone` (a key) are an error of the list, like bad lines.

    `form` is "plain" or "csv" (default: by the file's first line). Raises Refused,
    LocalTrouble.
    """
    counted = _Counted(_chunks(path, max_ratio))
    lines = _text_lines(counted)
    first = next(lines, "")
    if what := foreign(first.encode()):
        raise Refused(what)
    if form == "csv" or (form is None and "," in first):
        values = _column(first, lines, column)
    else:
        values = _plain(first, lines)
    suffix = "" if zone == "." else f".{zone}"
    good: list[pa.Array[Any]] = []
    batch: list[str] = []
    count = bad = 0
    for value in values:
        count += 1
        key = _registrable(value)
        if key is None or not key.endswith(suffix):
            bad += 1
            if bad > 100 and bad > _MAX_BAD * count:
                break
            continue
        batch.append(key)
        if len(batch) == _BATCH:
            good.append(pa.array(batch, pa.string()))
            batch = []
    if bad > _MAX_BAD * count:
        raise Refused(f"{bad} of {count} lines are no names below {zone}")
    good.append(pa.array(batch, pa.string()))
    domains = pa.chunked_array([pa.chunked_array(good, pa.string()).unique()], pa.string())
    return NameList(counted.size, count, domains)


def _registrable(text: str) -> str | None:
    """The registrable domain of a name as written, or None: it is no name."""
    try:
        if not text.isascii():
            text = text.encode("idna").decode()
        return names.registrable_domain(names.canonical(text))
    except (names.NameFault, UnicodeError):
        return None


def _plain(first: str, lines: Iterable[str]) -> Iterator[str]:
    for line in chain([first], lines):
        if value := line.partition("#")[0].strip():
            yield value


def _column(first: str, lines: Iterable[str], column: str | None) -> Iterator[str]:
    """One column of a CSV: the named one, one that is called like a domain, or the first."""
    header = [cell.strip().lower() for cell in next(csv.reader([first]), [])]
    known = [name for name in _COLUMN_NAMES if name in header]
    if column is not None and column.lower() not in header:
        raise Refused(f"no column {column!r} in the list")
    wanted = column.lower() if column is not None else next(iter(known), None)
    at = 0 if wanted is None else header.index(wanted)
    rows = csv.reader(lines if wanted is not None else chain([first], lines))
    for row in rows:
        if row:
            yield row[at].strip() if at < len(row) else ""


class _Counted:
    """Chunks, and how many bytes they were."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.size += len(chunk)
            yield chunk


def _text_lines(chunks: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_LINE:
            raise Refused("a line over 64 KiB")
        for line in lines:
            yield line.decode("utf-8", "replace").strip()
    if rest:
        yield rest.decode("utf-8", "replace").strip()


def _chunks(path: Path, max_ratio: float) -> Iterator[bytes]:
    file = ZoneFile(path, None, max_ratio)
    chunks = file.chunks(_CHUNK)
    first = next(chunks, b"")
    if not first.startswith(_ZIP):
        yield first
        yield from chunks
        return
    try:
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if not one.is_dir()]
            if len(members) != 1:
                raise Refused(f"a zip of {len(members)} files, not of one list")
            if members[0].file_size > max_ratio * max(members[0].compress_size, 1):
                raise Refused(f"unpacks to over {max_ratio:.0f} times its size")
            with archive.open(members[0]) as stream:
                while chunk := stream.read(_CHUNK):
                    yield chunk
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise Refused(f"{path.name}: a damaged zip: {error}") from None
