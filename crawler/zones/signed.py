"""The signed delegations of a zone file, straight to another file."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import BinaryIO

from crawler.zones.assembly import Stage
from crawler.zones.files import listed, zone_files
from crawler.zones.output import Format, write
from crawler.zones.scanner import BLOCK, ZoneScan, scan
from dane import names
from dane.faults import Refused, UsageFault


def write_signed(path: Path, origin: str | None, form: Format, out: BinaryIO) -> list[ZoneScan]:
    """Scan a zone file (or a tar, or a directory of them) and write what is signed.

    `origin` is a name in any case, with or without its final dot. Nothing is written before
    all is scanned. Returns the scans, whose stages are closed. Raises Refused, UsageFault,
    LocalTrouble.
    """
    if not path.exists():
        raise UsageFault(f"{path}: no such file")
    try:
        apex = None if origin is None else names.canonical(origin)
    except names.NameFault as error:
        raise UsageFault(f"--origin {origin}: {error}") from None
    with ExitStack() as stack:
        scans = []
        for entry in listed(path):
            name = entry.name
            try:
                for file in zone_files(entry):
                    name = str(file)
                    one = scan(partial(file.chunks, BLOCK), Stage, origin=apex)
                    stack.enter_context(one.stage)
                    scans.append(one)
            except Refused as refused:
                raise Refused(f"{name}: {refused}") from None
        if not scans:
            raise Refused(f"{path}: no file in it")
        write((batch for one in scans for batch in one.batches()), form, out)
    return scans
