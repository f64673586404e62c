"""Fuzz target of the DNS codec: mutated messages, read by us and, some, by dnspython.

    python -m tests.fuzz.dns_codec --count 1000000 --seed 7 [FILE ...]

Seeds are responses of every kind that the survey meets, and the packets of the given files
besides. A case that raises, or on which the two readings differ, is printed in hex with its
question, and the exit status is 1. The same seed gives the same cases.
"""

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from crawler.dns.codec import Question, decode
from crawler.dns.rdata import (
    AAAA,
    CNAME,
    DNSKEY,
    DS,
    MX,
    NSEC3PARAM,
    QNAME_AT,
    READERS,
    TLSA,
    A,
    Malformed,
    read_name,
)
from dane.names import NameFault, canonical
from tests.oracle.dns_message import differences

Case = tuple[bytes, Question]

_ASKED = READERS.keys() | {TLSA}  # the types that the survey asks for

_SIG = "13 2 3600 20300101000000 20200101000000 4711 example.com. " + "Ab3+" * 21 + "Ab=="
_TEXTS: tuple[tuple[str, int, str, tuple[str, ...], tuple[str, ...]], ...] = (
    # name, type, rcode, answer, authority
    (
        "example.com",
        MX,
        "NOERROR",
        (
            "example.com. 300 IN MX 10 mx.example.com.",
            "example.com. 300 IN MX 20 mx.example.net.",
            f"example.com. 300 IN RRSIG MX {_SIG}",
        ),
        (),
    ),
    (
        "www.example.com",
        A,
        "NOERROR",
        (
            "www.example.com. 60 IN CNAME a.example.com.",
            f"www.example.com. 60 IN RRSIG CNAME {_SIG}",
            "a.example.com. 60 IN CNAME b.example.com.",
            "b.example.com. 60 IN A 192.0.2.1",
            "b.example.com. 60 IN A 192.0.2.2",
            f"b.example.com. 60 IN RRSIG A {_SIG}",
        ),
        (),
    ),
    ("b.example.com", AAAA, "NOERROR", ("b.example.com. 60 IN AAAA 2001:db8::1",), ()),
    ("www.example.com", CNAME, "NOERROR", ("www.example.com. 60 IN CNAME a.example.com.",), ()),
    (
        "_25._tcp.mx.example.com",
        TLSA,
        "NOERROR",
        (
            f"_25._tcp.mx.example.com. 60 IN TLSA 3 1 1 {'ab' * 32}",
            f"_25._tcp.mx.example.com. 60 IN TLSA 2 0 2 {'cd' * 64}",
            f"_25._tcp.mx.example.com. 60 IN RRSIG TLSA {_SIG}",
        ),
        (),
    ),
    ("example.com", DS, "NOERROR", (f"example.com. 60 IN DS 4711 13 2 {'ef' * 32}",), ()),
    (
        "example.com",
        DNSKEY,
        "NOERROR",
        (
            f"example.com. 60 IN DNSKEY 257 3 13 {'Abcd' * 21}AA==",
            f"example.com. 60 IN DNSKEY 256 3 8 AwEAAbcd{'Abcd' * 43}",
        ),
        (),
    ),
    ("example.com", NSEC3PARAM, "NOERROR", ("example.com. 0 IN NSEC3PARAM 1 0 10 AABBCC",), ()),
    (
        "nothing.example.com",
        MX,
        "NXDOMAIN",
        (),
        (
            "example.com. 60 IN SOA ns.example.com. host.example.com. 7 1 2 3 300",
            f"example.com. 60 IN RRSIG SOA {_SIG}",
            "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example.com. 60 IN NSEC3 1 1 12 AABB "
            "2t7b4g4vsa5smi47k61mv5bv1a22bojr MX DNSKEY NS SOA NSEC3PARAM RRSIG",
            "a.example.com. 60 IN NSEC c.example.com. A RRSIG NSEC",
        ),
    ),
    ("broken.example.com", A, "SERVFAIL", (), ()),
    (
        r"od\.d\000\255.example.com",
        MX,
        "NOERROR",
        (r"od\.d\000\255.example.com. 60 IN MX 0 .",),
        (),
    ),
)


def _rrsets(texts: Sequence[str]) -> list[dns.rrset.RRset]:
    sets: dict[tuple[str, str, str], list[str]] = {}
    for text in texts:
        owner, _, _, rdtype, data = text.split(maxsplit=4)
        covered = data.split()[0] if rdtype == "RRSIG" else ""
        sets.setdefault((owner, rdtype, covered), []).append(data)
    return [
        dns.rrset.from_text(owner, 60, "IN", rdtype, *data)
        for (owner, rdtype, _), data in sets.items()
    ]


def seeds(files: Sequence[Path] = ()) -> list[Case]:
    """Unmutated messages, each with the question that it answers."""
    cases: list[Case] = []
    for name, rdtype, rcode, answer, authority in _TEXTS:
        question = Question(canonical(name), rdtype)
        message = dns.message.make_response(
            dns.message.from_wire(b"\0\0" + question.packet), recursion_available=True
        )
        message.set_rcode(dns.rcode.from_text(rcode))
        message.flags |= dns.flags.AD
        message.answer = _rrsets(answer)
        message.authority = _rrsets(authority)
        options = [dns.edns.EDEOption(7, "expired")] if rcode == "SERVFAIL" else []
        message.use_edns(0, dns.flags.DO, 1232, options=options)
        cases.append((message.to_wire(), question))
    cases += [(wire, _asked(wire) or cases[0][1]) for wire in map(Path.read_bytes, files)]
    return cases


def _asked(wire: bytes) -> Question | None:
    """The question that a packet carries, if it is one that we could have asked."""
    try:
        name, end = read_name(wire, QNAME_AT)
        rdtype = wire[end + 1]
        return Question(name, rdtype) if wire[end] == 0 and rdtype in _ASKED else None
    except (Malformed, NameFault, IndexError):
        return None


def mutated(wire: bytes, question: Question, other: bytes, rng: random.Random) -> bytes:
    """One to three random changes, nine in ten behind the question, so that they are seen."""
    data = bytearray(wire)
    behind = QNAME_AT + len(question.wire)
    for _ in range(rng.randint(1, 3)):
        first = behind if rng.random() < 0.9 and len(data) > behind else 0
        at = rng.randrange(first, len(data)) if data else 0
        match rng.randrange(14):
            case 0:
                del data[at:]
            case 1:
                del data[at : at + rng.randint(1, 12)]
            case 2:
                data[at:at] = rng.randbytes(rng.randint(1, 12))
            case 3:
                data[at:] = other[rng.randrange(len(other) + 1) :]
            case 4 if len(data) > QNAME_AT:  # a count
                data[rng.choice((7, 9, 11))] = rng.choice((0, 1, 2, 5, 255))
            case 5 | 6 if len(data) > at + 1:  # a pointer to anywhere
                pointer = 0xC000 | rng.randrange(len(data)) & 0x3FFF
                data[at : at + 2] = pointer.to_bytes(2, "big")
            case 7 | 8 | 9 if data:
                data[at] = rng.choice((0, 1, 2, 5, 6, 15, 0x3F, 0x40, 0x7F, 0x80, 0xC0, 0xFF))
            case _ if data:
                data[at] ^= 1 << rng.randrange(8)
    return bytes(data)


def cases(count: int, seed: int, files: Sequence[Path] = ()) -> Iterator[Case]:
    """`count` mutated messages, the same for the same seed."""
    rng = random.Random(seed)
    pool = seeds(files)
    for _ in range(count):
        wire, question = rng.choice(pool)
        yield mutated(wire, question, rng.choice(pool)[0], rng), question


def failures(
    count: int, seed: int, files: Sequence[Path] = (), *, compare_every: int = 1
) -> Iterator[str]:
    """Run the target; a line for each case that is wrong."""
    for number, (wire, question) in enumerate(cases(count, seed, files)):
        try:
            response = decode(wire, question)
            wrong = differences(wire, question, response) if number % compare_every == 0 else []
        except Exception as error:  # noqa: BLE001 - that nothing escapes is what is tested
            wrong = [repr(error)]
        if wrong:
            yield f"{question!r} {wire.hex()}: {'; '.join(wrong)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="tests.fuzz.dns_codec")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compare-every", type=int, default=10, help="read by dnspython too")
    parser.add_argument("files", nargs="*", type=Path)
    options = parser.parse_args()
    status = 0
    for line in failures(
        options.count, options.seed, options.files, compare_every=options.compare_every
    ):
        print(line)
        status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
