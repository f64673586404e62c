"""Faults of a signed zone, each one visible change to its lines.

The signer (`lab.signer`) is always right; what a broken operator serves is made here.
"""

import base64
from collections.abc import Callable
from dataclasses import replace

from lab import records
from lab.records import Rdata
from lab.signer import Line

Fault = Callable[[list[Line]], list[Line]]


def _bad_signatures(*types: int) -> Fault:
    """The last bit of these types' signatures is turned; without types, of all but DNSKEY's."""

    def spoil(lines: list[Line]) -> list[Line]:
        return [_turned(line) if _is_meant(line.covers, types) else line for line in lines]

    return spoil


def _is_meant(covers: int, types: tuple[int, ...]) -> bool:
    return covers in types if types else covers not in (0, records.DNSKEY)


def _without_signatures(*types: int) -> Fault:
    def spoil(lines: list[Line]) -> list[Line]:
        return [line for line in lines if not _is_meant(line.covers, types)]

    return spoil


def _without(*types: int) -> Fault:
    """These records and their signatures are gone."""

    def spoil(lines: list[Line]) -> list[Line]:
        return [line for line in lines if line.rdata.type not in types and line.covers not in types]

    return spoil


def serial_raised(lines: list[Line]) -> list[Line]:
    """The serial was raised after signing: every denial carries a SOA that does not verify."""
    return [_raised(line) if line.rdata.type == records.SOA else line for line in lines]


def _raised(line: Line) -> Line:
    server, mailbox, serial, *rest = line.rdata.text.split()
    wire = line.rdata.wire
    at = len(wire) - 20
    raised = (int(serial) + 1).to_bytes(4, "big")
    rdata = Rdata(
        records.SOA,
        " ".join((server, mailbox, str(int(serial) + 1), *rest)),
        wire[:at] + raised + wire[at + 4 :],
    )
    return replace(line, rdata=rdata)


def _turned(line: Line) -> Line:
    wire = line.rdata.wire[:-1] + bytes((line.rdata.wire[-1] ^ 1,))
    head, _, signature = line.rdata.text.rpartition(" ")
    raw = base64.b64decode(signature)
    raw = raw[:-1] + bytes((raw[-1] ^ 1,))
    rdata = Rdata(records.RRSIG, f"{head} {base64.b64encode(raw).decode()}", wire)
    return replace(line, rdata=rdata)


FAULTS: dict[str, Fault] = {
    "bad-signatures": _bad_signatures(),
    "bad-mx-signature": _bad_signatures(records.MX),
    "bad-tlsa-signature": _bad_signatures(records.TLSA),
    "no-signatures": _without_signatures(),
    "no-mx-signature": _without_signatures(records.MX),
    "no-tlsa-signature": _without_signatures(records.TLSA),
    "no-address-signature": _without_signatures(records.A, records.AAAA),
    "no-dnskey": _without(records.DNSKEY),
    "no-denial": _without(records.NSEC, records.NSEC3),
    "serial-raised": serial_raised,
}
"""Faults by the name that a scenario gives."""
