"""What one attempt showed, as a row of `smtp_probe`, and the certificates of a whole scan.

Strangers choose how long their certificates and chains are, and a thousand servers may show the
same one. So a certificate is kept once, whatever shows it, within a bound for the scan, and a row
has the first few names only; how many there are beyond is told (`leaf_names_excess`).
"""

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from crawler.scan.judgement import Judged
from crawler.scan.target import Key
from crawler.smtp.probe import Conversation
from crawler.smtp.tls import Offer, key_type
from dane.certificate import Certificate, sha256_hex
from dane.outcomes import Defect, HostStatus, Undecided

MOST_NAMES = 100
"""Names of a leaf certificate in one row."""
MOST_NAME_CHARACTERS = 8192
"""All of these names together."""
_MOST_IN_CHAIN = 64 * 1024
"""Bytes of the certificates behind the leaf that are kept; of the rest only the digests are."""
_MOST_IN_SCAN = 32 * 1024 * 1024
"""Bytes of all certificates that are kept in one scan."""
_LONGEST_NAME = 4 * 255
"""A longer one is no domain name (every byte escaped), and so covers none."""
NO_OTHER_KEY = "none"


class Certificates:
    """The certificates that a scan saw, each once. `der`: by SHA-256, hex."""

    def __init__(self) -> None:
        self.der: dict[str, bytes] = {}
        self._left = _MOST_IN_SCAN

    def keep(self, chain: Sequence[bytes]) -> list[str]:
        """Keep what there is room for; the SHA-256 of each certificate."""
        digests = [sha256_hex(der) for der in chain]
        behind_leaf = 0
        for place, (digest, der) in enumerate(zip(digests, chain, strict=True)):
            behind_leaf += len(der) if place else 0
            if digest not in self.der and behind_leaf <= _MOST_IN_CHAIN and len(der) <= self._left:
                self._left -= len(der)
                self.der[digest] = der
        return digests

    def rows(self, run_id: int, schema: pa.Schema) -> pa.RecordBatch:
        """Rows of `certificate`."""
        digests = sorted(self.der)
        columns: dict[str, list[Any]] = {
            "sha256": digests,
            "der": [self.der[digest] for digest in digests],
            "first_run": [run_id] * len(digests),
            "names": [_joined_names(self.der[digest]) for digest in digests],
        }
        return pa.RecordBatch.from_pydict(columns, schema=schema)


def _joined_names(der: bytes) -> str:
    """All names that a name check compares, one a line: no name has a line feed in it."""
    return "\n".join(one for one in Certificate(der).names if len(one) <= _LONGEST_NAME)


def probe_row(
    key: Key,
    talks: Sequence[Conversation],
    judged: Judged,
    defects: Iterable[Defect],
    certificates: Certificates,
) -> dict[str, Any]:
    """The row of what the connections of one attempt showed, but for the run."""
    talk, result = judged.talk, judged.verification
    names = result.leaf_names if result else ()
    chain = certificates.keep(talk.chain)
    status, undecided, error = judged.status, judged.undecided, talk.error
    if status is HostStatus.NAME_MISMATCH and chain[0] not in certificates.der:
        # A domain's own name could be among those that there was no room for.
        status, undecided = HostStatus.LOCAL_ERROR_SMTP, Undecided.OVER_BUDGET
        error = "no room for the names of the certificate in this scan"
    other = next((one for one in talks if one.offer in (Offer.RSA, Offer.ECDSA)), None)
    shown = first_names(names)
    return {
        "bucket": key.bucket,
        "address": key.address,
        "tlsa_digest": key.tlsa_digest,
        "operator": key.operator,
        "sni": key.sni,
        "attempt": key.attempt,
        "host": key.host,
        "status": status,
        "undecided": undecided,
        "tlsa": key.tlsa,
        "record_result": [one.result for one in result.records] if result else [],
        "record_cause": [one.cause or "" for one in result.records] if result else [],
        "matched_record": result.matched_record if result else None,
        "matched_depth": result.matched_depth if result else None,
        "name_decides": result.name_decides if result else False,
        "leaf_names": shown,
        "leaf_names_excess": len(names) - len(shown),
        "chain": chain,
        "tls_version": talk.tls_version,
        "tls_group": talk.tls_group,
        "cipher": talk.cipher,
        "key_type": _key_type(talk.chain),
        "after_tls": talk.after_tls,
        "other_chain": certificates.keep(other.chain) if other else [],
        "other_key_type": _other_key_type(other) if other else None,
        "smtp_code": talk.smtp_code,
        "smtp_text": talk.smtp_text,
        "error": error,
        "defects": sorted({*defects, *(result.defects if result else ())}),
        "dns_asked": key.dns_asked,
        "connected": talks[0].connected,
        "duration_ms": sum(one.duration_ms for one in talks),
    }


def first_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names that a row has room for."""
    room = MOST_NAME_CHARACTERS
    for count, name in enumerate(names[:MOST_NAMES]):
        room -= len(name)
        if room < 0:
            return tuple(names[:count])
    return tuple(names[:MOST_NAMES])


def _key_type(chain: Sequence[bytes]) -> str | None:
    kind = key_type(chain[0]) if chain else None
    return kind[1] if kind else None


def _other_key_type(talk: Conversation) -> str | None:
    """`none` where the server refused: it has no key of that kind; None where that is not known."""
    if talk.status is HostStatus.TLS_FAILED:
        return NO_OTHER_KEY
    return _key_type(talk.chain)
