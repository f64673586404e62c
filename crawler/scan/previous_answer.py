"""What the answer to the previous lookup of a name contributes to this one's row.

Unbound before 1.18 repeats a cached bogus answer with a bare EDE 6: the first extended
error that says more is kept. Where a worker was lost that may be a later lookup's, for its
shard's answers were in the cache when they were asked for again.
"""

from typing import Any

import pyarrow as pa

from crawler.dns.codec import Response
from crawler.dns.window import Times

ASKED = ("passes", "questions", "first_asked", "last_asked", "ede_code", "ede_text")
"""The columns that `PreviousAnswers.asked` gives."""
_BARE = ((None, None), (6, None))  # none; DNSSEC Bogus (RFC 8914 section 4.7) without its text


class PreviousAnswers:
    """The optional columns passes, first_asked, ede_code and ede_text of a shard.

    `passes` counts the lookups of a name so far; null or without the column: none.
    """

    def __init__(self, shard: pa.RecordBatch) -> None:
        present = shard.schema.names
        self._passes: list[int | None] | None = None
        if "passes" in present:
            self._passes = shard.column("passes").to_pylist()
        self._first_us: list[int | None] | None = None
        self._ede: list[tuple[int | None, str | None]] | None = None
        if "first_asked" in present:
            times = shard.column("first_asked").cast(pa.timestamp("us", tz="UTC"))
            self._first_us = times.cast(pa.int64()).to_pylist()
        if "ede_code" in present:
            codes = shard.column("ede_code").to_pylist()
            texts = (
                shard.column("ede_text").to_pylist()
                if "ede_text" in present
                else [None] * len(codes)
            )
            self._ede = list(zip(codes, texts, strict=True))

    def asked(self, index: int, times: Times, response: Response) -> tuple[Any, ...]:
        """The columns of ASKED: this lookup's, but the first time and extended error."""
        passes = 1 + ((self._passes and self._passes[index]) or 0)
        first_us = (self._first_us and self._first_us[index]) or times.first_us
        ede = response.ede_code, response.ede_text
        if self._ede is not None and (ede[0] is None or self._ede[index] not in _BARE):
            ede = self._ede[index]
        return passes, times.questions, first_us, times.last_us, *ede
