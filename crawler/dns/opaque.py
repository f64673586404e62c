"""DNS messages read as they were sent: RDATA that dnspython refuses stays as its bytes (pure).

dnspython refuses a whole message for one TLSA or DS record whose digest has another length
than its type's. Such a record is an unusable record (RFC 7671 section 4) or one that validators
disregard (RFC 6840 section 5.2), not a malformed message. It is read as opaque data here, as
that of an unknown type is (RFC 3597 section 3). What may hold compressed names, or says how the
message itself is to be read (OPT, TSIG), is not: there a fault is one of the message.
"""

from functools import lru_cache
from typing import Any

import dns.exception
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.wire
from dns.rdatatype import RdataType

_NEVER_OPAQUE = frozenset(
    {
        *(RdataType.NS, RdataType.CNAME, RdataType.SOA, RdataType.PTR, RdataType.MX),
        *(RdataType.OPT, RdataType.TSIG),
    }
)
_LARGEST_REMEMBERED = 4096
_LARGEST_TTL = 0x7FFFFFFF  # RFC 2181 section 8: a larger one counts as 0


def read_message(wire: bytes, **options: Any) -> dns.message.Message:
    """The message; `options` as for `dns.message.from_wire`.

    Raises DNSException: for what is malformed otherwise, and for a TSIG that is not right.
    """
    try:
        return dns.message.from_wire(wire, **options)
    except dns.exception.FormError:
        pass
    # A TSIG is the last record, so it was not verified above: it is now, with all the others.
    message = dns.message.from_wire(wire, continue_on_error=True, **options)
    if _read_records(message, wire) != len(message.errors):
        raise message.errors[-1].exception
    return message


@lru_cache(maxsize=256)
def _read_without_id(wire: bytes) -> dns.message.Message:
    return read_message(bytes(2) + wire)


def read_reply(wire: bytes) -> dns.message.Message:
    """As `read_message`, with 0 for an id; the same message for the same bytes: not to be changed.

    The servers of a zone answer alike by UDP and TCP, and to read an answer is what costs most.
    """
    if len(wire) > _LARGEST_REMEMBERED:
        return read_message(bytes(2) + wire[2:])
    return _read_without_id(wire[2:])


def _read_records(message: dns.message.Message, wire: bytes) -> int:
    """Read the sections of `message` anew, in order; how many records are opaque.

    Raises FormError for a record that must not be opaque.
    """
    parser = dns.wire.Parser(wire)
    counts = parser.get_struct("!HHHHHH")[2:]
    for _ in range(counts[0]):
        parser.get_name(decompress=True)
        parser.get_struct("!HH")
    opaque = 0
    message.index = {}
    for section, count in zip(message.sections[1:], counts[1:], strict=True):
        section.clear()
        for _ in range(count):
            name = parser.get_name(decompress=True)
            rdtype, rdclass, ttl, length = parser.get_struct("!HHIH")
            if rdtype in (RdataType.OPT, RdataType.TSIG):
                parser.get_bytes(length)
                continue
            with parser.restrict_to(length):
                rdata, is_opaque = _rdata(parser, rdclass, rdtype)
            opaque += is_opaque
            rrset = message.find_rrset(
                section,
                name,
                rdata.rdclass,
                rdata.rdtype,
                rdata.covers(),
                create=True,
                # as dnspython has it: of a transfer each record, and what begins with a SOA
                force_unique=message.xfr,
            )
            rrset.add(rdata, ttl if ttl <= _LARGEST_TTL else 0)
    return opaque


def _rdata(parser: dns.wire.Parser, rdclass: int, rdtype: int) -> tuple[dns.rdata.Rdata, bool]:
    """The data up to the end of the parser's restriction, and whether it is opaque."""
    begin = parser.current
    kind, code = dns.rdataclass.RdataClass.make(rdclass), RdataType.make(rdtype)
    try:
        return dns.rdata.from_wire_parser(kind, code, parser), False
    except dns.exception.FormError:
        if rdtype in _NEVER_OPAQUE:
            raise
        parser.seek(begin)
        return dns.rdata.GenericRdata(kind, code, parser.get_remaining()), True
