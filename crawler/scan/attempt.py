"""One attempt at a server, and the rows of `smtp_probe` and `certificate` that it becomes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crawler.scan.judgement import Judged
from crawler.scan.target import Key
from crawler.smtp.probe import Conversation
from crawler.smtp.tls import key_type
from dane.certificate import sha256_hex
from dane.outcomes import Defect

MOST_STORED = 64 * 1024
"""Bytes of one chain whose certificates are kept; of the rest only the digests are."""

OnRow = Callable[[dict[str, Any], Mapping[str, bytes]], None]
"""Gets a row that will not change any more, without its run, and all certificates seen."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the connections to a server showed (measurement, section 6).

    `proven`: it needs no confirmation by canaries. The server showed its certificate, so it was
    there, and so were we; or nothing was connected to.
    """

    key: Key
    talks: Sequence[Conversation]
    judged: Judged
    defects: Iterable[Defect] = ()
    proven: bool = False


def without_connection(key: Key, reason: Judged, *, proven: bool = True) -> Attempt:
    """The attempt at a server that is not, or not any more, to be connected to."""
    return Attempt(key, [reason.talk], reason, proven=proven)


@dataclass(slots=True)
class Rows:
    """The rows of a scan's finished attempts, by the number of the target.

    `certificates`: DER by SHA-256 (hex).
    """

    on_row: OnRow | None
    probes: dict[int, dict[str, Any]] = field(default_factory=dict)
    certificates: dict[str, bytes] = field(default_factory=dict)

    def add(self, target: int, attempt: Attempt) -> None:
        row = self.probes[target] = self._row(attempt)
        if self.on_row is not None:
            self.on_row(row, self.certificates)

    def _row(self, attempt: Attempt) -> dict[str, Any]:
        key, talk, result = attempt.key, attempt.judged.talk, attempt.judged.verification
        kind = key_type(talk.chain[0]) if talk.chain else None
        return {
            "bucket": key.bucket,
            "address": key.address,
            "tlsa_digest": key.tlsa_digest,
            "operator": key.operator,
            "sni": key.sni,
            "attempt": key.attempt,
            "host": key.host,
            "status": attempt.judged.status,
            "tlsa": key.tlsa,
            "record_result": [one.result for one in result.records] if result else [],
            "record_cause": [one.cause or "" for one in result.records] if result else [],
            "matched_record": result.matched_record if result else None,
            "matched_depth": result.matched_depth if result else None,
            "name_decides": result.name_decides if result else False,
            "leaf_names": result.leaf_names if result else (),
            "chain": self._chain(talk.chain),
            "tls_version": talk.tls_version,
            "cipher": talk.cipher,
            "key_type": kind[1] if kind else None,
            "smtp_code": talk.smtp_code,
            "smtp_text": talk.smtp_text,
            "error": talk.error,
            "defects": sorted({*attempt.defects, *(result.defects if result else ())}),
            "dns_asked": key.dns_asked,
            "connected": attempt.talks[0].connected,
            "duration_ms": sum(one.duration_ms for one in attempt.talks),
        }

    def _chain(self, chain: Sequence[bytes]) -> list[str]:
        """The digests of a chain, whose certificates are kept."""
        digests = [sha256_hex(der) for der in chain]
        stored = 0
        for digest, der in zip(digests, chain, strict=True):
            stored += len(der)
            if stored <= MOST_STORED:
                self.certificates[digest] = der
        return digests
