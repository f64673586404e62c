"""Fields laid over a block of plain lines, without splitting a line.

A block of whole lines is read as a byte array: the positions of its separators are found by
comparison (SIMD in Arrow), and three fields a line (owner; TTL, class and type; RDATA) are
laid over the same bytes by their offsets.
"""

import struct
from functools import lru_cache
from typing import Any

import pyarrow as pa

from crawler.zones.delegations import Binaries, Booleans, Integers, index, pc, where
from crawler.zones.master import MAX_LINE, kind_of

_TAB, _NEWLINE, _SPACE = (pa.scalar(byte, pa.uint8()) for byte in b"\t\n ")


class NotPlain(Exception):
    """The block needs the general reader."""


def bytes_of(values: Binaries) -> bytes:
    """All values of an array that was made by `take` or `filter`, one after the other."""
    data = values.buffers()[2]
    if data is None or len(values) == 0:
        return b""
    (first,) = struct.unpack_from("<i", values.buffers()[1], 4 * values.offset)
    (last,) = struct.unpack_from("<i", values.buffers()[1], 4 * (values.offset + len(values)))
    return memoryview(data)[first:last].tobytes()


def translated(values: Binaries, table: bytes) -> Binaries:
    """Each value translated byte by byte. The array must come from `take` (no offset)."""
    return pa.Array.from_buffers(
        pa.binary(),
        len(values),
        [None, values.buffers()[1], pa.py_buffer(bytes_of(values).translate(table))],
    )


def layout(line: bytes) -> tuple[int, bool]:
    """How many fields stand before the RDATA, and whether only tabs part them."""
    by_tab = line.split(b"\t")
    by_blank = line.split()
    for fields, only_tabs in ((by_tab, True), (by_blank, False)):
        for count in (3, 2, 1):
            middle = fields[1 : 1 + count]
            if (
                len(fields) > 1 + count
                and all(field and b" " not in field for field in fields[: 1 + count])
                and kind_of(b" ".join(middle)) is not None
            ):
                return 1 + count, only_tabs
    raise NotPlain("another layout")


@lru_cache(maxsize=4)
def _thirds(room: int, before: int) -> tuple[Integers, Integers]:
    """Of three fields a line of `before` + 1: which line it is, and which of the line's fields."""
    three = pa.scalar(3, pa.int32())
    line = pc.divide(index(room), three)
    third = pc.subtract(index(room), pc.multiply(line, three))
    return line, pa.array([0, 1, before], pa.int32()).take(third)


def _room(count: int) -> int:
    """A round number of at least so many: the key of few cached tables."""
    return 1 << count.bit_length()


def _without(data: Integers, run: Booleans) -> Integers:
    """The bytes without those that `run` marks: separators before another one."""
    dropped = data.slice(0, len(run)).filter(run)
    if pc.or_(pc.equal(dropped, _TAB), pc.equal(dropped, _SPACE)).false_count:
        raise NotPlain("a blank line, a blank owner or a control character")
    return data.filter(pa.concat_arrays([pc.invert(run), pa.array([True])]))


class Fields:
    """Owner, middle and RDATA of each line laid over a block, each after its separator."""

    def __init__(self, block: bytes, before: int, only_tabs: bool) -> None:
        """`before` fields stand before the RDATA. Raises NotPlain."""
        highest = pa.scalar(10 if only_tabs else 32, pa.uint8())
        data: Any = pa.Array.from_buffers(pa.uint8(), len(block), [None, pa.py_buffer(block)])
        separator = pc.less_equal(data, highest)
        run = pc.and_(separator.slice(0, len(data) - 1), separator.slice(1))
        if run.true_count:
            data = _without(data, run)
            separator = pc.less_equal(data, highest)
        at = where(separator)
        byte = data.take(at)
        newline = pc.equal(byte, _NEWLINE)
        known = newline.true_count + pc.equal(byte, _TAB).true_count
        if not only_tabs:
            known += pc.equal(byte, _SPACE).true_count
        if known != len(at):
            raise NotPlain("control characters")
        first = where(newline)  # of the separators, the one before each owner
        self.lines = len(first) - 1
        count = pc.subtract(first.slice(1), first.slice(0, self.lines))
        if pc.min(count).as_py() <= before:
            raise NotPlain("a blank or a short line")
        self._start = at.take(first)
        lengths = pc.subtract(self._start.slice(1), self._start.slice(0, self.lines))
        if pc.max(lengths).as_py() > MAX_LINE:
            raise NotPlain("a line over 64 KiB")
        line, field = _thirds(_room(3 * self.lines), before)
        fields = pc.add(first.take(line.slice(0, 3 * self.lines)), field.slice(0, 3 * self.lines))
        offsets = pa.concat_arrays([at.take(fields), self._start.slice(self.lines)])
        self._data = data.buffers()[1]
        self._field = pa.Array.from_buffers(
            pa.binary(), 3 * self.lines, [None, offsets.buffers()[1], self._data]
        )

    def take(self, lines: Integers, field: int) -> Binaries:
        """Field 0 (owner), 1 (middle) or 2 (RDATA) of some lines, copied."""
        three, add = pa.scalar(3, pa.int32()), pa.scalar(field, pa.int32())
        return self._field.take(pc.add(pc.multiply(lines, three), add))

    def line(self, line: int) -> bytes:
        """One line without its newline."""
        first, after = self._start[line].as_py() + 1, self._start[line + 1].as_py()
        return memoryview(self._data)[first:after].tobytes()
