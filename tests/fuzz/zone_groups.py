"""Mutated blocks for the compiled zone reader, compared with the other fast reader.

    python -m tests.fuzz.zone_groups [--cases 100000] [--seed 1]

To have every access of memory checked, build the extension with AddressSanitizer and run
with `LD_PRELOAD=$(gcc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0
PYTHONMALLOC=malloc`: a block then lies in memory of exactly its length.
"""

import argparse
import ctypes
import random

from crawler.zones import compiled, plain
from crawler.zones.plain import ORDERS, Zone

_ZONE = Zone("example")
_LINES = [
    b"example.\t900\tin\tsoa\tns.example. host.example. 7 1800 900 604800 86400",
    b"example.\t900\tin\tns\tns.example.",
    b"a.example.\t86400\tin\tds\t12345 13 2 " + b"0123456789abcdef" * 4,
    b"a.example. 86400 IN DS 1 8 1 " + b"AB" * 10 + b" " + b"cd" * 10,
    b"a.example.\t172800\tin\tns\tns1.operator.test.",
    b"a.example.\t172800\tin\tns\tNS2.Operator.Test.",
    b"b.example.\t172800\tin\tns\tns1.operator.test.",
    b"b.example.\t86400\tin\trrsig\tds 13 2 86400 20260301000000 20260222000000 1 example. aa==",
    b"c.b.example.  IN  NS  ns." + b"x" * 63 + b".test.",
    b"d.example.\tNS\t" + b"y." * 120 + b"test.",
    b"ns1.b.example.\t172800\tin\ta\t192.0.2.1",
]
_PIECES = [
    b"\n",
    b"\t",
    b" ",
    b".",
    b"\0",
    b";",
    b"ds",
    b"IN",
    b"0",
    b"65536",
    b"\xff",
    b"example.",
]


def case(draw: random.Random) -> bytes:
    """A block of lines, some bytes of which are changed, moved or cut."""
    text = bytearray(b"\n".join(draw.choices(_LINES, k=draw.randint(1, 12))) + b"\n")
    for _ in range(draw.choice([0, 1, 1, 2, 5])):
        at = draw.randrange(len(text) + 1)
        after = at + draw.choice([0, 1, 1, 3, 40])
        text[at:after] = draw.choice([*_PIECES, b"", draw.randbytes(2), bytes(text[at:after]) * 2])
    return b"\n" + bytes(text)


def agrees(block: bytes) -> bool:
    """Whether the compiled reader gives up, or says what the other one says."""
    exact = (ctypes.c_char * len(block)).from_buffer_copy(block)
    found = compiled.read(memoryview(exact), _ZONE, orders=ORDERS)
    if found is None:
        return True
    other = plain.read(block, _ZONE)
    if other is None or not other.orders:
        return other is None or not found.orders
    return all(
        getattr(found, name) == getattr(other, name)
        for name in ("records", "last_owner", "soas", "ends_with_soa", "orders", "delegations")
    ) and (set(found.edges), found.signed.to_pylist()) == (
        set(other.edges),
        other.signed.to_pylist(),
    )


def main() -> None:
    """Run the cases; the first that differs is shown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if not compiled.available:
        raise SystemExit("the extension is not compiled")
    draw = random.Random(options.seed)
    for number in range(options.cases):
        block = case(draw)
        if not agrees(block):
            raise SystemExit(f"case {number} differs: {block!r}")
    print(f"{options.cases} cases: no difference")


if __name__ == "__main__":
    main()
