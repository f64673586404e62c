"""Policies for mail beside DANE, as far as TXT records show them: MTA-STS and TLSRPT.

Whether a domain publishes a valid record; the policy file of MTA-STS is not fetched, so its
mode is not known. Of several records those of other versions do not count, and more than one
of the right version is none (RFC 8461 section 3.1, RFC 8460 section 3).
"""

import re
from collections.abc import Iterable

_VALUE = rb"[\x21-\x3a\x3c\x3e-\x7e]+"
_NAME = rb"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}"
_BLANK = rb"[ \t]*"
_FIELD = re.compile(_NAME + rb"=" + _VALUE)
_STS_ID = re.compile(rb"id=[A-Za-z0-9]{1,32}")
_RPT_URI = rb"(?:mailto|https):[^\s,!;]+"
_RPT_URIS = re.compile(
    _RPT_URI + rb"(?:" + _BLANK + rb"," + _BLANK + _RPT_URI + rb")*", re.IGNORECASE
)


def text_of(rdata: bytes) -> bytes | None:
    """The strings of a TXT record, one after the other (RFC 7208 section 3.3); None if broken."""
    parts, at = [], 0
    while at < len(rdata):
        end = at + 1 + rdata[at]
        if end > len(rdata):
            return None
        parts.append(rdata[at + 1 : end])
        at = end
    return b"".join(parts)


def has_mta_sts(rdata: Iterable[bytes]) -> bool:
    """Whether TXT records at `_mta-sts` announce a policy (RFC 8461 section 3.1)."""
    fields = _fields(rdata, b"v=STSv1")
    if fields is None or not all(map(_FIELD.fullmatch, fields)):
        return False
    ids = [one for one in fields if one.startswith(b"id=")]
    return len(ids) == 1 and bool(_STS_ID.fullmatch(ids[0]))


def has_tlsrpt(rdata: Iterable[bytes]) -> bool:
    """Whether TXT records at `_smtp._tls` say where to report (RFC 8460 section 3)."""
    fields = _fields(rdata, b"v=TLSRPTv1")
    if fields is None:
        return False
    uris = [one[4:] for one in fields if one.startswith(b"rua=")]
    others = [one for one in fields if not one.startswith(b"rua=")]
    return (
        len(uris) == 1 and bool(_RPT_URIS.fullmatch(uris[0])) and all(map(_FIELD.fullmatch, others))
    )


def _fields(rdata: Iterable[bytes], version: bytes) -> list[bytes] | None:
    """The fields after the version of the one record that has it."""
    texts = [text_of(one) for one in rdata]
    found = [one for one in texts if one is not None and re.match(version + rb"[ \t]*;", one)]
    if len(found) != 1:
        return None
    _, *fields = re.split(_BLANK + rb";" + _BLANK, found[0].rstrip(b" \t"))
    if fields and not fields[-1]:
        fields.pop()  # a semicolon at the end
    return fields
