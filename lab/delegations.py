"""The delegations of a real zone file, for a lab that serves them all.

Read with the survey's general reader of master files, so that whatever a survey takes in can
be served. Only names, and whether they have DS: everything else about them is the lab's own.
"""

import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from crawler.zones.master import Kind, MasterFile
from dane.faults import Refused, UsageFault


@dataclass(frozen=True, slots=True)
class Delegations:
    """The names below `origin` that the zone delegates, each with whether it has DS."""

    origin: str
    signed: dict[str, bool]


def read(file: Path, origin: str | None = None) -> Delegations:
    """Reads a zone file, gzipped or not. The origin is that of its SOA unless given.

    Raises UsageFault if it cannot be opened, Refused if it is not a zone file, delegates
    nothing or is the root's.
    """
    try:
        with file.open("rb") as raw, gzip.open(raw) if file.suffix == ".gz" else raw as lines:
            return _read(lines, file, origin)
    except (gzip.BadGzipFile, EOFError) as error:
        raise Refused(f"{file}: {error}") from None
    except OSError as error:
        raise UsageFault(f"{file}: {error.strerror}") from None


def _read(lines: Iterable[bytes], file: Path, origin: str | None) -> Delegations:
    reader = MasterFile(origin)
    delegated: set[str] = set()
    has_ds: set[str] = set()
    try:
        for record in reader.read(line.rstrip(b"\n") for line in lines):
            match record.kind:
                case Kind.SOA:
                    origin = origin or record.owner
                case Kind.NS:
                    delegated.add(record.owner)
                case Kind.DS:
                    has_ds.add(record.owner)
        reader.finish()
    except Refused as refused:
        raise Refused(f"{file}: {refused}") from None
    if origin is None:
        raise Refused(f"{file}: no SOA record, so its origin is not known")
    delegated.discard(origin)
    # a name below another delegation is not the zone's to delegate
    names = {name for name in delegated if not _occluded(name, origin, delegated)}
    if not names or origin == ".":
        raise Refused(f"{file}: no delegations below a top-level domain")
    return Delegations(origin, {name: name in has_ds for name in sorted(names)})


def _occluded(name: str, origin: str, delegated: set[str]) -> bool:
    while len(name := name.partition(".")[2]) > len(origin):
        if name in delegated:
            return True
    return False
