"""Lists of domain names, of registries that publish names and no zone.

Plain (one name a line, `#` begins a comment) or one column of a CSV file, whose columns are
parted by commas, semicolons or tabs; as it is, or in gzip, zstd, xz or zip. Names are reduced to
the registrable domain (Public Suffix List). Whether a name is signed is not in a list: the
resolve stage asks.
"""

import csv
import lzma
import re
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa

from crawler.zones.acceptance import foreign
from crawler.zones.delegations import SCHEMA
from crawler.zones.files import ZoneFile
from crawler.zones.master import MAX_LINE
from crawler.zones.progress import Meter
from dane import names
from dane.faults import Refused

_CHUNK = 1 << 20
_BATCH = 100_000
_MAX_BAD = 0.01  # of the lines: more, and it is no list of names
_ZIP = b"PK\x03\x04"
_COLUMN_NAMES = ("domain", "name", "domain_name", "domainname")
_DELIMITERS = ",;\t"
_BOM = "\ufeff"
_NAME = re.compile(r"[A-Za-z0-9._-]+")
# What a U-label is made of (RFC 5892 sections 2.1, 2.8 and appendix A), and the hyphen
_LETTERS = {"Ll", "Lo", "Lm", "Mn", "Mc", "Nd"}
_CONTEXTUAL = "-\u00b7\u0375\u05f3\u05f4\u30fb\u200c\u200d"
_DAMAGES = (  # what the packings of a zip raise
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
)
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
    file: ZoneFile, zone: str, *, form: str | None, column: str | None, meter: Meter
) -> NameList:
    """Read a list. Names outside `zone` (a key) are an error of the list, like bad lines.

    `form` is "plain" or "csv" (default: by the file's first line). Raises Refused,
    LocalTrouble.
    """
    lines = _text_lines(meter.over(_chunks(file)))
    first = next(lines, "").removeprefix(_BOM)
    if what := foreign(first.encode()):
        raise Refused(what)
    is_table = first[:1] != "#" and any(mark in first for mark in _DELIMITERS)
    if form == "csv" or (form is None and is_table):
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
    return NameList(meter.size, count, domains)


def _registrable(text: str) -> str | None:
    """The registrable domain of a name as written, or None: it is no name."""
    try:
        if not text.isascii():
            text = ".".join(map(_a_label, text.split(".")))
        return names.registrable_domain(names.canonical(text)) if _NAME.fullmatch(text) else None
    except ValueError:  # NameFault is one
        return None


def _a_label(label: str) -> str:
    """The A-label of what a registry has registered as a U-label (RFC 5890 section 2.3.2.1).

    Python's codec `idna` is of 2003, and makes another name of some (`ß`: RFC 5894 section 7.2).
    Raises ValueError.
    """
    if label.isascii():
        return label
    label = unicodedata.normalize("NFC", label.lower())
    if not all(one in _CONTEXTUAL or unicodedata.category(one) in _LETTERS for one in label):
        raise ValueError("no U-label")
    return f"xn--{label.encode('punycode').decode('ascii')}"


def _plain(first: str, lines: Iterable[str]) -> Iterator[str]:
    for line in chain([first], lines):
        if value := line.partition("#")[0].strip():
            yield value


def _column(first: str, lines: Iterable[str], column: str | None) -> Iterator[str]:
    """One column of a CSV: the named one, one that is called like a domain, or the first."""
    delimiter = max(_DELIMITERS, key=first.count)
    header = [cell.strip().lower() for cell in next(csv.reader([first], delimiter=delimiter), [])]
    known = [name for name in _COLUMN_NAMES if name in header]
    if column is not None and column.lower() not in header:
        raise Refused(f"no column {column!r} in the list")
    wanted = column.lower() if column is not None else next(iter(known), None)
    at = 0 if wanted is None else header.index(wanted)
    rows = csv.reader(lines if wanted is not None else chain([first], lines), delimiter=delimiter)
    try:
        for row in rows:
            if row:
                yield row[at].strip() if at < len(row) else ""
    except csv.Error as error:
        raise Refused(f"line {rows.line_num + 1}: {error}") from None


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


def _chunks(file: ZoneFile) -> Iterator[bytes]:
    chunks = file.chunks(_CHUNK)
    first = next(chunks, b"")
    if not first.startswith(_ZIP):
        yield first
        yield from chunks
        return
    try:
        with zipfile.ZipFile(file.path) as archive:
            members = [one for one in archive.infolist() if not one.is_dir()]
            if len(members) != 1:
                raise Refused(f"a zip of {len(members)} files, not of one list")
            if members[0].file_size > file.max_ratio * max(members[0].compress_size, 1):
                raise Refused(f"unpacks to over {file.max_ratio:.0f} times its size")
            with archive.open(members[0]) as stream:
                while chunk := stream.read(_CHUNK):
                    yield chunk
    except _DAMAGES as error:
        raise Refused(f"a damaged zip: {error}") from None
