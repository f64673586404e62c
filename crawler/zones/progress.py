"""How far a transfer or a scan is, told to people: a line every few seconds."""

import time
from collections.abc import Callable, Iterator

Progress = Callable[[str], None]
"""Takes a line for people."""

_EVERY_S = 5.0


class Meter:
    """The bytes of one transfer or scan so far (`size`). The first ones are told at once."""

    def __init__(self, progress: Progress, what: str, done: str, total: int = 0) -> None:
        """`done` is what is done with the bytes ("scanned"); `total`: 0 if it is not known."""
        self._progress = progress
        self._what = what
        self._done = f"of {total >> 20} MiB {done}" if total else f"MiB {done}"
        self._next = 0.0
        self.size = 0

    def over(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The chunks of one reading from its beginning, told as they are taken."""
        self.size = 0
        for chunk in chunks:
            self.at(self.size + len(chunk))
            yield chunk

    def at(self, size: int) -> None:
        """So many bytes are done."""
        self.size = size
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _EVERY_S
            self._progress(f"{self._what}: {size >> 20} {self._done}")
