"""One verification as JSON: what `danesurvey verify` reads and writes.

In:  `{"id": …, "chain": [PEM, …], "tlsa": ["3 1 1 HEX", …], "names": [NAME, …], "at": TIME}`
     (without `names` they are not checked; without `at` it is now)
Out: `{"id": …, "verdict": …, …, "records": [{"record": …, "result": …, "cause": …, "depth": …}],
     "defects": […], "scheme": …}`,
or `{"id": …, "error": …}` for a line that is no case.

PEM is cut here and not by a certificate library, since what that refuses can still match.
"""

import binascii
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dane import clock
from dane.names import NameFault, canonical
from dane.outcomes import Defect, RolloverScheme, Verdict
from dane.readiness import rollover_scheme
from dane.tlsa import TLSAFault, TLSARecord, defects, parse_text
from dane.verify import Verification, verify

_BEGIN = re.compile(r"-----BEGIN (?:X509 )?CERTIFICATE-----")
_PEM = re.compile(_BEGIN.pattern + r"([^-]*)-----END (?:X509 )?CERTIFICATE-----")


class CaseFault(ValueError):
    """The case is not one; the text says which part and why."""


@dataclass(frozen=True, slots=True)
class Case:
    """What to verify: chain in DER, names as keys, an aware time."""

    chain: tuple[bytes, ...]
    tlsa: tuple[TLSARecord, ...]
    names: tuple[str, ...]
    at: datetime

    def verify(self) -> Verification:
        return verify(self.chain, self.tlsa, self.names, self.at)

    def scheme(self, verification: Verification) -> RolloverScheme | None:
        """What is published for the next change of key, where the chain matches."""
        if verification.verdict is not Verdict.MATCH:
            return None
        return rollover_scheme([self.chain], self.tlsa, self.at)


def read_case(
    chain: Iterable[str], tlsa: Iterable[str], names: Iterable[str], at: str | None
) -> Case:
    """A case from its texts; `at` None: now. Raises CaseFault."""
    return Case(
        chain=tuple(der for text in chain for der in read_pem(text)),
        tlsa=tuple(map(_record, tlsa)),
        names=tuple(map(_name, names)),
        at=clock.now() if at is None else read_time(at),
    )


def read_pem(text: str) -> list[bytes]:
    """The certificates (DER) in a text, in order; at least one. Raises CaseFault."""
    bodies = _PEM.findall(text)
    if not bodies:
        raise CaseFault("chain: no PEM certificate")
    if len(bodies) < len(_BEGIN.findall(text)):  # never a verdict on a file that was cut
        raise CaseFault("chain: a PEM certificate without its end")
    try:
        return [binascii.a2b_base64(body) for body in bodies]
    except ValueError:
        raise CaseFault("chain: a PEM certificate is not base64") from None


def read_time(text: str) -> datetime:
    """A time in ISO 8601; without an offset it is UTC. Raises CaseFault."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise CaseFault(f"at: {text!r} is not a time such as 2026-11-24T12:00:00Z") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _record(text: str) -> TLSARecord:
    try:
        return parse_text(text)
    except TLSAFault as fault:
        raise CaseFault(f"tlsa: {fault}") from None


def _name(text: str) -> str:
    try:
        return canonical(text)
    except NameFault as fault:
        raise CaseFault(f"names: {fault}") from None


def defects_of(verification: Verification, scheme: RolloverScheme | None) -> list[Defect]:
    """What is odd about the records, and about records and chain together; sorted."""
    found = defects([one.record for one in verification.records]) | verification.defects
    if scheme is RolloverScheme.SINGLE_KEY:
        found |= {Defect.SINGLE_KEY}
    return sorted(found)


def as_json(verification: Verification, scheme: RolloverScheme | None) -> dict[str, Any]:
    """A verification as JSON values."""
    return {
        "verdict": verification.verdict,
        "name_decides": verification.name_decides,
        "matched_record": verification.matched_record,
        "matched_depth": verification.matched_depth,
        "leaf_names": list(verification.leaf_names),
        "records": [
            {
                "record": one.record.text(),
                "result": one.result,
                "cause": one.cause,
                "depth": one.depth,
            }
            for one in verification.records
        ],
        "defects": defects_of(verification, scheme),
        "scheme": scheme,
    }


def verify_line(line: bytes) -> tuple[str, bool]:
    """One line of JSON, verified: the line to print, and whether it was a case."""
    identity: object = None
    try:
        value = json.loads(line, parse_float=_finite, parse_constant=_finite)
        if not isinstance(value, dict):
            raise CaseFault("the line is not a JSON object")
        identity = value.get("id")
        at = value.get("at")
        if at is not None and not isinstance(at, str):
            raise CaseFault("at: not a string")
        names = _strings(value, "names") if "names" in value else []
        case = read_case(_strings(value, "chain"), _strings(value, "tlsa"), names, at)
    except CaseFault as fault:
        return json.dumps({"id": identity, "error": str(fault)}), False
    except (ValueError, RecursionError):
        return json.dumps({"id": None, "error": "the line is not JSON"}), False
    verification = case.verify()
    answer = as_json(verification, case.scheme(verification))
    return json.dumps({"id": identity, **answer}), True


def _finite(text: str) -> float:
    """A number of JSON: there are no others (RFC 8259 section 6), and `id` is printed again."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _strings(value: dict[str, Any], key: str) -> list[str]:
    found = value.get(key)
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise CaseFault(f"{key}: not a list of strings")
    return found
