"""DNS messages as the survey needs them (RFC 1035, 4034, 5155, 6698, 6891, 8914): sans-IO.

`Question` is a question ready to send; `decode` reads a response to it in one pass. Only
what the survey looks at is taken out: the records of the asked type at the end of the CNAME
chain, the RRSIG over them, on a denial the SOA and the NSEC or NSEC3 parameters, and the
extended error. Everything else is walked over, so that lying counts and trailing bytes show.

Bytes from strangers never raise: a response that cannot be read is a `Response` with a
`flaw`. The module sends nothing, and does not decide what an answer means (see `lookup`).

This is the hot path (10^8 messages a survey): hence plain slots classes instead of frozen
dataclasses, whose construction costs as much as the parsing, and one long loop.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache

from crawler.dns.rdata import (
    CNAME,
    NSEC,
    NSEC3,
    OPT,
    QNAME_AT,
    READERS,
    RRSIG,
    SOA,
    Denial,
    Flaw,
    Malformed,
    Nsec3Parameters,
    Record,
    Signature,
    StartOfAuthority,
    data,
    nsec3_parameters,
    read_name,
)
from dane import names

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, YXDOMAIN = 0, 1, 2, 3, 4, 5, 6

UDP_PAYLOAD = 1232  # what we take by UDP (dnsflagday.net/2020): no fragments

# Questions are padded to a multiple of this (RFC 7830; the length of RFC 8467 section 4.1): all
# but those for names over 97 bytes are of one length, and go to the kernel several at a time.
PADDED = 128

_IN = 1
_PADDING, _EDE = 12, 15  # option codes (RFC 7830, RFC 8914 section 2)
_COUNTS = struct.Struct(">HHH")  # of answer, authority and additional records, at offset 6
_FIXED = struct.Struct(">HHIH")  # type, class, TTL, RDLENGTH: what follows an owner name
_SIGNATURE = struct.Struct(">HBBIIIH")  # RRSIG rdata before the signer (RFC 4034 section 3.1)
_U16 = struct.Struct(">H")
_SOA_NUMBERS = struct.Struct(">IIIII")
_OPT_DO = b"\0" + _FIXED.pack(OPT, UDP_PAYLOAD, 0x8000, 0)  # root owner, DO, no options
# The same with padding, by the length of the question section before it.
_OPT_PADDED = {
    length: _OPT_DO[:-2] + struct.pack(">HHH", 4 + room, _PADDING, room) + bytes(room)
    for length in range(5, 260)
    for room in [-(QNAME_AT + length + len(_OPT_DO) + 4) % PADDED]
}
# RD is set; CD (0x0010) where an answer is wanted that does not validate.
_AFTER_ID = {
    cd: struct.Struct(">HHHHH").pack(0x0110 if cd else 0x0100, 1, 0, 0, 1) for cd in (0, 1)
}
_CLASS_IN = {kind: struct.Struct(">HH").pack(kind, _IN) for kind in range(256)}
_LABEL_LENGTH = {length: bytes((length,)) for length in range(1, 64)}
_DENYING = frozenset({SOA, NSEC, NSEC3})
_SHA1 = frozenset({5, 7})  # RSASHA1, RSASHA1-NSEC3-SHA1
_MAX_CHAIN = 16  # as dnspython; Unbound itself stops at 11


class Question:
    """One question and its wire form but for the id. `name` is a key (`dane.names`).

    Raises NameFault if the name is none, such as `_25._tcp.` before one of 255 bytes.
    """

    __slots__ = ("cd", "name", "packet", "rdtype", "resolver", "wire")

    def __init__(self, name: str, rdtype: int, cd: bool = False, resolver: int = 0) -> None:
        self.name = name
        self.rdtype = rdtype
        self.cd = cd
        self.resolver = resolver  # 0: the first, 1: that of the second look
        self.wire = _qname(name) + _CLASS_IN[rdtype]
        self.packet = _AFTER_ID[cd] + self.wire + _OPT_PADDED[len(self.wire)]

    def __repr__(self) -> str:
        return f"Question({self.name!r}, {self.rdtype}, cd={self.cd}, resolver={self.resolver})"


class Response:
    """A decoded response. With `flaw` only `rcode`, `ad` and `tc` may be relied on."""

    # Most responses need few of these: the defaults stand in the class.
    flaw: Flaw | None = None
    ede_code: int | None = None
    ede_text: str | None = None
    chain: tuple[str, ...] = ()  # CNAME targets in order
    # One entry a record: what READERS has for the asked type, else its rdata as it stands.
    records: Sequence[Record] = ()
    owner: str  # of the records: the question's name or the chain's end
    signature: Signature | None = None
    denial: Denial | None = None

    def __init__(self, name: str, rcode: int, ad: bool, tc: bool) -> None:
        self.owner = name
        self.rcode = rcode
        self.ad = ad
        self.tc = tc


@lru_cache(maxsize=4096)  # a name is asked for several types in a row
def _qname(key: str) -> bytes:
    """`names.to_wire`, at a third of its cost for names without escapes."""
    if "\\" in key or key == "." or len(key) > 253:
        return names.to_wire(key)
    try:
        return b"".join([_LABEL_LENGTH[len(one)] + one for one in key.encode().split(b".")]) + b"\0"
    except KeyError:
        return names.to_wire(key)  # which names the fault


def _repeats(wire: bytes, asked: bytes) -> bool:
    """Whether the question section of the message is the one asked."""
    if wire.startswith(asked, QNAME_AT):
        return True
    # Case may differ (RFC 4343); the type and class at the end are numbers, not letters.
    got = wire[QNAME_AT : QNAME_AT + len(asked)]
    return got[-4:] == asked[-4:] and got[:-4].lower() == asked[:-4]


def decode(wire: bytes, question: Question) -> Response:
    """Read one message as the response to `question`. Never raises for any bytes."""
    name = question.name
    if len(wire) < QNAME_AT:
        return _flawed(Response(name, FORMERR, False, False), Flaw.SHORT)
    high, low = wire[2], wire[3]
    response = Response(name, low & 15, low & 0x20 != 0, high & 2 != 0)
    if high & 0xF8 != 0x80:
        return _flawed(response, Flaw.NOT_A_RESPONSE)
    if wire[4] or wire[5] != 1 or not _repeats(wire, question.wire):
        return _flawed(response, Flaw.OTHER_QUESTION)
    if not response.tc:  # a truncated one is asked again by TCP: nothing in it is used
        try:
            _read(wire, question, response)
        except Malformed as malformed:
            return _flawed(response, malformed.flaw)
        except (IndexError, struct.error):
            return _flawed(response, Flaw.SHORT)
    return response


def _flawed(read: Response, flaw: Flaw) -> Response:
    """The header alone: what was read of the rest before the flaw is not to be used."""
    response = Response(read.owner, read.rcode, read.ad, read.tc)
    response.flaw = flaw
    return response


def _read(wire: bytes, question: Question, response: Response) -> None:
    want = question.rdtype
    name = question.name
    asked = "" if "\\" in name or name == "." else name
    answer_count, authority_count, additional_count = _COUNTS.unpack_from(wire, 6)
    position = QNAME_AT + len(question.wire)
    size = len(wire)
    found: list[tuple[str, int, int]] = []  # owner, start, end of the asked type's rdata
    signatures: list[tuple[str, int, int]] = []
    targets: dict[str, str] | None = None
    denials: list[tuple[int, int, int, int]] | None = None
    unpack_fixed = _FIXED.unpack_from
    for _ in range(answer_count):
        if wire[position] == 0xC0 and wire[position + 1] == QNAME_AT:
            owner = name
            position += 2
        else:
            owner, position = read_name(wire, position, asked)
        rdtype, rdclass, _, length = unpack_fixed(wire, position)
        start = position + 10
        position = start + length
        if position > size:
            raise Malformed(Flaw.SHORT)
        if rdtype == OPT:
            raise Malformed(Flaw.BAD_OPT)
        if rdclass != _IN:
            continue
        if rdtype == want:
            found.append((owner, start, position))
        elif rdtype == RRSIG:
            signatures.append((owner, start, position))
        elif rdtype == CNAME:
            target, end = read_name(wire, start, asked)
            if end != position:
                raise Malformed(Flaw.BAD_RDATA)
            if targets is None:
                targets = {}
            targets[owner] = target
    # Beside an answer Unbound sends mostly this, and nothing in the authority section.
    if authority_count or additional_count != 1 or wire[position:] != _OPT_DO:
        denials = _read_rest(wire, position, authority_count, additional_count, response)
    if targets is not None:
        response.chain = _follow(name, targets, {owner for owner, _, _ in found})
        if response.chain:
            response.owner = name = response.chain[-1]
    if found:
        read = READERS.get(want, data)
        response.records = [
            read(wire, start, end, asked) for owner, start, end in found if owner == name
        ]
        if signatures and response.records:
            response.signature = _signature(wire, signatures, name, question)
    if denials and not found:
        response.denial = _denial(wire, denials, asked)


def _read_rest(
    wire: bytes, position: int, authority_count: int, additional_count: int, response: Response
) -> list[tuple[int, int, int, int]]:
    """Walk over the authority and additional sections, up to the end; read the OPT record.

    Returns what may deny, of the authority section: owner's place, type, start and end of rdata.
    """
    denials: list[tuple[int, int, int, int]] = []
    size = len(wire)
    edns = False
    for index in range(authority_count + additional_count):
        begin = position
        length = wire[position]
        while 0 < length < 64:
            position += length + 1
            length = wire[position]
        if 0 < length < 192:
            raise Malformed(Flaw.BAD_NAME)
        position += 2 if length else 1
        rdtype, rdclass, ttl, length = _FIXED.unpack_from(wire, position)
        start = position + 10
        position = start + length
        if position > size:
            raise Malformed(Flaw.SHORT)
        if rdtype == OPT:
            if edns or wire[begin] or index < authority_count:
                raise Malformed(Flaw.BAD_OPT)
            edns = True
            response.rcode |= ttl >> 24 << 4
            if length:
                _options(wire, start, position, response)
        elif index < authority_count and rdtype in _DENYING and rdclass == _IN:
            denials.append((begin, rdtype, start, position))
    if position != size:
        raise Malformed(Flaw.TRAILING)
    return denials


def _follow(name: str, targets: dict[str, str], owners: set[str]) -> tuple[str, ...]:
    """The CNAME targets from `name` on, up to a name that has the records asked for."""
    chain: list[str] = []
    while name not in owners and name in targets:
        name = targets[name]
        if len(chain) == _MAX_CHAIN:
            raise Malformed(Flaw.CNAME_LOOP)
        chain.append(name)
    return tuple(chain)


def _options(wire: bytes, position: int, end: int, response: Response) -> None:
    """Walk the EDNS options; keep the first extended error (RFC 8914)."""
    while position < end:
        code, length = _U16.unpack_from(wire, position)[0], _U16.unpack_from(wire, position + 2)[0]
        position += 4 + length
        if position > end:
            raise Malformed(Flaw.BAD_OPT)
        if code == _EDE:
            if length < 2:
                raise Malformed(Flaw.BAD_OPT)
            if response.ede_code is None:
                start = position - length
                response.ede_code = _U16.unpack_from(wire, start)[0]
                text = wire[start + 2 : position].rstrip(b"\0").decode("utf-8", "replace")
                response.ede_text = text.replace("\0", "�") or None  # PostgreSQL takes no NUL


def _signature(
    wire: bytes, signatures: list[tuple[str, int, int]], name: str, question: Question
) -> Signature | None:
    """Of the RRSIGs over the records the one that expires last: any valid one suffices.

    One of SHA-1 only if there is no other (RFC 9905 section 2).
    """
    best: Signature | None = None
    covered = question.rdtype
    qname = question.wire[:-4]
    for owner, start, end in signatures:
        if owner != name or wire[start] << 8 | wire[start + 1] != covered:
            continue
        _, algorithm, labels, ttl, expiration, inception, tag = _SIGNATURE.unpack_from(wire, start)
        position = start + 18
        if wire.startswith(qname, position):  # an apex: the signer, never compressed, is asked for
            signer, after = question.name, position + len(qname)
        else:
            signer, after = read_name(wire, position)
        if after > end:
            raise Malformed(Flaw.BAD_RDATA)
        bits = (end - after) * 8
        one = Signature(signer, algorithm, tag, labels, ttl, inception, expiration, bits)
        if best is None or _rank(one) > _rank(best):
            best = one
    return best


def _rank(one: Signature) -> tuple[bool, int, int, int]:
    return one.algorithm not in _SHA1, one.expiration, one.algorithm, one.key_tag


def _denial(wire: bytes, records: list[tuple[int, int, int, int]], asked: str) -> Denial:
    soa: StartOfAuthority | None = None
    nsec = False
    nsec3: Nsec3Parameters | None = None
    for begin, rdtype, start, end in records:
        if rdtype == SOA:
            zone, _ = read_name(wire, begin, asked)
            if end - start < 22:
                raise Malformed(Flaw.BAD_RDATA)
            # Server and mailbox come first, and are of no interest.
            serial, _, _, _, minimum = _SOA_NUMBERS.unpack_from(wire, end - 20)
            soa = StartOfAuthority(zone, serial, minimum)
        elif rdtype == NSEC:
            nsec = True
        else:
            one = nsec3_parameters(wire, start, end)
            if nsec3 is None:
                nsec3 = one
            elif one.opt_out:
                nsec3 = nsec3._replace(opt_out=True)
    return Denial(soa, nsec, nsec3)
