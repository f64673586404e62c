"""Paths from a server's certificate to a DANE-TA(2) trust anchor (RFC 5280 section 6, RFC 7671
section 5.2).

A server sends its certificates in any order, with duplicates and strangers among them, and
an authority may be certified by several others. So every path is tried, the shortest
first, and the best one counts. What a path must be: each certificate issued and signed by
the next; all but the first are authorities (basicConstraints, pathLenConstraint, keyUsage);
extended key usage, where there is one, includes TLS servers; no unknown critical extension;
names within the authorities' constraints; all dates right, the anchor's included.

There may be as many paths as a stranger likes, so all of it is paid for out of the budget of
the chain (`dane.work`).
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from functools import cached_property

from dane.certificate import (
    Certificate,
    Facts,
    is_issuer_name,
    is_signed_by,
    load_key,
    verification_steps,
)
from dane.work import Work


class Grade(IntEnum):
    """How good a path is; the higher, the better."""

    NONE = 0  # no path
    INVALID = 1  # signatures lead to the anchor, but not as RFC 5280 has it
    EXPIRED = 2  # right but for the dates
    VALID = 3


@dataclass(frozen=True, slots=True)
class Search:
    """The best path to one anchor. `depth`: of the anchor in the path (the leaf is 0), or of
    the certificate that a bare key signed. `unread`: something on the way could not be read,
    so a better path may exist."""

    grade: Grade
    depth: int | None
    unread: bool


class Paths:
    """The certificates of one handshake, to be searched for paths to anchors.

    The searches raise `dane.work.Exhausted`.
    """

    def __init__(self, presented: Sequence[Certificate], at: datetime, work: Work) -> None:
        """`presented`: distinct, the server's own first; not empty."""
        self._presented = presented
        self._leaf = presented[0]
        self._at = at
        self._work = work
        self._issuers_of: dict[bytes, tuple[list[Certificate], bool]] = {}
        self._signed: dict[tuple[bytes, bytes], bool | None] = {}
        self._read: set[bytes] = set()

    def to_certificates(self, anchors: frozenset[bytes]) -> Search:
        """To any of the anchors (DER) that the server sent itself."""
        return self._search(lambda one: one.der in anchors)

    def to_certificate(self, anchor: Certificate) -> Search:
        """To a whole certificate from DNS, sent by the server or not (RFC 7671 section 5.2.2)."""
        sent = any(one.der == anchor.der for one in self._presented)
        return self._search(lambda one: one.der == anchor.der, unsent=None if sent else anchor)

    def to_key(self, spki: bytes) -> Search:
        """To a bare key from DNS. Where the server sent a certificate of that key, its dates and
        constraints count; else the key alone ends the path (RFC 7671 section 5.2.2)."""
        return self._search(lambda one: one.spki == spki, bare_key=spki)

    @cached_property
    def open_ends(self) -> tuple[Certificate, ...]:
        """Certificates whose issuer, by names, was not sent: the chain ends below its root."""
        ends, reached, waiting = [], {self._leaf.der}, [self._leaf]
        while waiting:
            top = waiting.pop()
            issuers = self._namesakes(top)
            if not issuers and not top.self_issued:
                ends.append(top)
            for one in issuers:
                if one.der not in reached:
                    reached.add(one.der)
                    waiting.append(one)
        return tuple(ends)

    @cached_property
    def _some_unreadable(self) -> bool:
        return any(self._facts(one) is None for one in self._presented)

    def _search(
        self,
        is_anchor: Callable[[Certificate], bool],
        *,
        unsent: Certificate | None = None,
        bare_key: bytes | None = None,
    ) -> Search:
        best, depth, unread = Grade.NONE, None, self._some_unreadable
        waiting: deque[tuple[Certificate, ...]] = deque([(self._leaf,)])
        while waiting and best is not Grade.VALID:
            path = waiting.popleft()
            issuers, doubtful = self._issuers(path[-1])
            unread |= doubtful
            if unsent is not None:
                signed = self._is_issued(path[-1], unsent)
                unread |= signed is None
                issuers = [*issuers, unsent] if signed else issuers
            ends = []
            self._work.spend(5 + len(issuers))
            for issuer in issuers:
                if is_anchor(issuer):
                    ends.append((*path, issuer))
                elif issuer not in path:
                    # As long as the path is, so that the queue is bounded, too.
                    self._work.spend(1 + len(path) // 4)
                    waiting.append((*path, issuer))
            ends_in_key = bare_key is not None and not ends
            if bare_key is not None and not ends:
                signed = self._is_signed(path[-1], bare_key)
                unread |= signed is None
                ends = [path] if signed else []
            for end in ends:
                grade = self._grade(end, ends_in_key)
                unread |= grade is None
                if grade is not None and grade > best:
                    best, depth = grade, len(end) - 1
        return Search(best, depth, unread)

    @cached_property
    def _by_subject(self) -> dict[object, list[int]]:
        """Places of the certificates sent, but for the leaf, by both forms of their subject."""
        places: dict[object, list[int]] = {}
        for i, one in enumerate(self._presented[1:], start=1):
            if one.cut is not None:
                self._work.spend(_name_steps(one))
                for form in {one.cut.subject, one.subject_key}:
                    places.setdefault(form, []).append(i)
        return places

    def _namesakes(self, subject: Certificate) -> list[Certificate]:
        """The certificates sent, but for the leaf, that by their name issued one (RFC 5280
        sections 6.1.3 and 7.1), in the order sent."""
        if subject.cut is None:
            return []
        self._work.spend(_name_steps(subject))
        places = {
            place
            for form in (subject.cut.issuer, subject.issuer_key)
            for place in self._by_subject.get(form, ())
        }
        self._work.spend(len(places))
        return [self._presented[i] for i in sorted(places)]

    def _issuers(self, subject: Certificate) -> tuple[list[Certificate], bool]:
        """The certificates sent that issued one, and whether there may be more."""
        found = self._issuers_of.get(subject.der)
        if found is None:
            signed = [(self._signed_by(subject, one), one) for one in self._namesakes(subject)]
            found = (
                [one for is_issuer, one in signed if is_issuer and one is not subject],
                any(is_issuer is None for is_issuer, _ in signed),
            )
            self._issuers_of[subject.der] = found
        return found

    def _is_issued(self, subject: Certificate, issuer: Certificate) -> bool | None:
        self._work.spend(_name_steps(subject) + _name_steps(issuer))
        return is_issuer_name(issuer, subject) and self._signed_by(subject, issuer)

    def _signed_by(self, subject: Certificate, issuer: Certificate) -> bool | None:
        assert issuer.spki is not None  # its subject was cut out of the same bytes
        return self._is_signed(subject, issuer.spki)

    def _is_signed(self, subject: Certificate, spki: bytes) -> bool | None:
        pair = subject.der, spki
        if pair not in self._signed:
            key = load_key(spki)
            self._work.spend(10 + len(subject.der) // 256 + verification_steps(key))
            self._signed[pair] = is_signed_by(subject, key)
        return self._signed[pair]

    def _facts(self, certificate: Certificate) -> Facts | None:
        if certificate.der not in self._read:
            self._work.spend(certificate.reading_steps)
            self._read.add(certificate.der)
        return certificate.facts

    def _grade(self, path: tuple[Certificate, ...], ends_in_key: bool) -> Grade | None:
        """How good a path is whose signatures are right; None if it cannot be read."""
        self._work.spend(len(path))
        facts = [known for one in path if (known := self._facts(one)) is not None]
        if len(facts) < len(path):
            return None
        if not _holds(path, facts, ends_in_key, self._work):
            return Grade.INVALID
        dates = all(one.not_before <= self._at <= one.not_after for one in facts)
        return Grade.VALID if dates else Grade.EXPIRED


def _name_steps(certificate: Certificate) -> int:
    """Of bringing issuer and subject into the form in which they are compared."""
    cut = certificate.cut
    return 5 + (len(cut.issuer) + len(cut.subject)) // 8 if cut else 1


def _holds(
    path: Sequence[Certificate], facts: Sequence[Facts], ends_in_key: bool, work: Work
) -> bool:
    """Whether the path is one by RFC 5280 section 6.1, dates aside. Raises Exhausted."""
    leaf = facts[0]
    if not (leaf.serves and leaf.server_purpose and leaf.understood):
        return False
    # Self-issued authorities count neither for the length nor for the names (RFC 5280 6.1).
    below, names = 0, list(leaf.general_names)
    for i in range(1, len(path)):
        one = facts[i]
        is_top = i == len(path) - 1 and not ends_in_key
        if not (_is_authority(path[i], one, is_top) and one.server_purpose and one.understood):
            return False
        if one.path_length is not None and below > one.path_length:
            return False
        if one.constraints is not None and not one.constraints.permit(names, work):
            return False
        if not path[i].self_issued:
            below += 1
            names.extend(one.general_names)
    return True


def _is_authority(certificate: Certificate, facts: Facts, is_anchor: bool) -> bool:
    """basicConstraints and keyUsage (RFC 5280 section 6.1.4 k to n). An anchor without
    basicConstraints may be of version 1, or have keyCertSign alone: it is trusted by being
    named in DNS, and verifiers take it so."""
    if facts.signs_certificates is False:
        return False
    if facts.is_ca is not None or not is_anchor:
        return bool(facts.is_ca)
    return facts.signs_certificates is True or (facts.is_v1 and certificate.self_issued)
