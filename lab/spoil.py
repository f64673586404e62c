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


def bad_signatures(lines: list[Line]) -> list[Line]:
    """Every signature but the one over DNSKEY has its last bit turned."""
    return [
        _turned(line) if line.covers and line.covers != records.DNSKEY else line for line in lines
    ]


def _turned(line: Line) -> Line:
    wire = line.rdata.wire[:-1] + bytes((line.rdata.wire[-1] ^ 1,))
    head, _, signature = line.rdata.text.rpartition(" ")
    raw = base64.b64decode(signature)
    raw = raw[:-1] + bytes((raw[-1] ^ 1,))
    rdata = Rdata(records.RRSIG, f"{head} {base64.b64encode(raw).decode()}", wire)
    return replace(line, rdata=rdata)


FAULTS: dict[str, Fault] = {
    "bad-signatures": bad_signatures,
}
"""Faults by the name that a scenario gives."""
