"""The list of those who asked to be left alone: neither resolved nor connected to.

A text file; `#` starts a comment. Read in this order:

    entry.py    a line of the file to the names and networks that it means
    listing.py  OptOutList, the value: what is covered; immutable, pickles, compares
    OptOut      (here) the file: its list as it is now

The file is looked at again before every answer, so an entry holds from the next
connection on, without a restart.
"""

import time
from collections.abc import Iterable
from pathlib import Path

from crawler.opt_out.listing import NOBODY, OptOutList
from dane.faults import UsageFault

__all__ = ["NOBODY", "SETTLE_S", "OptOut", "OptOutList"]

SETTLE_S = 10.0
"""How long a file must stay as it is before what it no longer says is given up."""

_Stamp = tuple[int, int, int, int]


class OptOut:
    """The file's list as it is now. Raises UsageFault for one that cannot be read.

    A new entry holds at once. An editor may empty, remove or cut the file for a moment while
    it writes: what the list said before holds until the file has not changed for SETTLE_S.
    A list that is gone for so long raises, and so does, at once, one that cannot be
    understood, with the line: nothing goes on without the list.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: _Stamp | None = None
        self._changed = -SETTLE_S  # monotonic
        self._settled = self._latest = self._both = NOBODY
        self._fault: UsageFault | None = None
        if path is not None:
            self._read(path, self._look(path))
            if self._fault is not None:
                raise self._fault
            self._settled = self._both = self._latest

    def current(self) -> OptOutList:
        """The list now; the same object as before unless the file changed."""
        if self._path is None:
            return NOBODY
        stamp = self._look(self._path)
        if stamp != self._stamp:
            self._changed = time.monotonic()
            self._read(self._path, stamp)
            self._both = self._settled | self._latest
        rests = time.monotonic() - self._changed >= SETTLE_S
        if self._fault is not None:
            if rests or stamp is not None:
                raise self._fault
        elif rests:
            self._settled = self._both = self._latest
        return self._both

    def covers(
        self, *, names: Iterable[str] = (), operator: str | None = None, address: str | None = None
    ) -> bool:
        """As `OptOutList.covers`, by the list as it is now."""
        return self.current().covers(names=names, operator=operator, address=address)

    @staticmethod
    def _look(path: Path) -> _Stamp | None:
        try:
            status = path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino

    def _read(self, path: Path, stamp: _Stamp | None) -> None:
        """Keep the stamp, and the file's list or what is wrong with it."""
        self._stamp = stamp
        try:
            # utf-8-sig: some editors begin a file with a byte order mark
            self._latest = OptOutList.parse(str(path), path.read_text("utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            self._fault = UsageFault(f"the opt-out list {path}: {error}")
        except UsageFault as fault:
            self._fault = fault
        else:
            self._fault = None
