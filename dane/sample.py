"""A sample of names by hash: the same names on every machine and in every run.

A name is in the sample of one in n by itself alone: whatever else a zone holds, and in whatever
order, and a sample of one in 2 n is a part of that of one in n.
"""

import zlib

_HASHES = 1 << 32
_MULTIPLIER = 2654435761  # Knuth's: spreads what CRC-32 leaves alike; the buckets are CRC-32


def is_sampled(name: bytes, one_of: int) -> bool:
    """Whether a name (a key of `dane.names`, as bytes) is in the sample of one in `one_of`."""
    return zlib.crc32(name) * _MULTIPLIER % _HASHES < _HASHES // one_of
