"""A certificate chain against a TLSA RRset (RFC 7671, RFC 7672 section 3; measurement 5).

`verify` gives the verdict, and for every record what it matches or why it does not. It
takes bytes as they came: no chain and no record makes it raise. What our library cannot
read, and what is beyond the budget of work (`dane.work`), ends as `cert_unparsed`, never as a
mismatch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.x509.oid import NameOID

from dane import pem
from dane.certificate import Certificate, read_certificate
from dane.identity import any_name_matches
from dane.outcomes import Defect, MismatchCause, RecordResult, Verdict
from dane.path import Grade, Paths, Search
from dane.public_issuers import Issuer, IssuerState, issuer_of_certificate, issuer_of_key
from dane.tlsa import (
    CERT,
    DANE_EE,
    DANE_TA,
    DIGESTS,
    EMPTY_DIGESTS,
    FULL,
    SHA2_256,
    SHA2_512,
    SPKI,
    TLSARecord,
    strongest,
    usable,
)
from dane.work import MOST_STEPS, Exhausted, Work


@dataclass(frozen=True, slots=True)
class RecordCheck:
    """One record's result.

    `result`: a RecordResult, or the MismatchCause of a usable record that does not match.
    `cause`: that cause again; for an unusable record, the wrong field if its data fits a
    certificate of the chain. `depth`: of a match, the place in the path (the leaf is 0);
    of a wrong field, the place in the chain as sent of the certificate that the data fits.
    `anchor_sent`: False of a match whose trust anchor is known from DNS alone.
    """

    record: TLSARecord
    result: RecordResult | MismatchCause
    cause: MismatchCause | None = None
    depth: int | None = None
    anchor_sent: bool = True


@dataclass(frozen=True, slots=True)
class Verification:
    """What a chain came to.

    `name_decides`: a trust anchor matched and no DANE-EE record did, so the names decide
    between `match` and `name_mismatch` (without reference names the verdict is `match`).
    `matched_record` is an index into `records`: the record that gave the verdict.
    `over_budget`: something was left undone, so a `cert_unparsed` may be due to that.
    """

    verdict: Verdict
    name_decides: bool
    leaf_names: tuple[str, ...]
    records: tuple[RecordCheck, ...]
    matched_record: int | None
    matched_depth: int | None
    over_budget: bool = False

    @property
    def defects(self) -> frozenset[Defect]:
        """What is odd about chain and records together (measurement, section 8)."""
        matches = (one for one in self.records if one.result is RecordResult.MATCH)
        sent = all(one.anchor_sent for one in matches)
        return frozenset() if sent else frozenset({Defect.ANCHOR_NOT_SENT})


_BEST_FIRST: tuple[tuple[RecordResult, Verdict], ...] = (
    (RecordResult.MATCH, Verdict.MATCH),
    # Unread comes before the results that blame: read, the record might have matched.
    (RecordResult.CERT_UNPARSED, Verdict.CERT_UNPARSED),
    (RecordResult.NAME_MISMATCH, Verdict.NAME_MISMATCH),
    (RecordResult.TA_EXPIRED, Verdict.TA_EXPIRED),
)
"""Any one match suffices, and the best counts (RFC 7671 section 3; measurement, section 5.3)."""


def verify(
    chain: Sequence[bytes],
    tlsa: Sequence[TLSARecord],
    names: Sequence[str],
    at: datetime,
    earlier: Sequence[bytes] = (),
    steps: int = MOST_STEPS,
) -> Verification:
    """Verify a chain (DER, as sent, the server's own certificate first).

    `names`: reference names as keys (`dane.names.canonical`): the TLSA base domain, the domain,
    its expanded name; empty: names are not checked. `at`: an aware time, at which dates
    must hold. `earlier`: certificates (DER) that this server showed before. `steps`: the
    budget of work.
    """
    if at.tzinfo is None:
        raise ValueError("the time of verification has no time zone")
    work = Work(steps)
    check = _Check(chain, names, at, earlier, work)
    distinct = dict.fromkeys(tlsa)
    fit = {record: _is_usable(record, work) for record in distinct}
    active = strongest(record for record, is_usable in fit.items() if is_usable)
    results: dict[TLSARecord, RecordCheck] = {}
    # Cheap ones first, so that a flood of keys from DNS does not use up the budget for them.
    for record in sorted(distinct, key=_cost):
        if fit[record] is None:
            results[record] = RecordCheck(record, RecordResult.CERT_UNPARSED)
        elif not fit[record]:
            results[record] = check.misfit(record, RecordResult.UNUSABLE)
        elif record not in active:
            results[record] = RecordCheck(record, RecordResult.SUPERSEDED)
        elif record.usage == DANE_EE:
            results[record] = check.end_entity(record)
        else:
            results[record] = check.trust_anchor(record)
    records = tuple(results[record] for record in tlsa)
    return _conclude(records, check.leaf_names, work.exhausted)


def _is_usable(record: TLSARecord, work: Work) -> bool | None:
    """None where the budget does not reach to parse the record."""
    if record.matching_type == FULL:
        try:
            work.spend(10)
        except Exhausted:
            return None
    return usable(record)


def _cost(record: TLSARecord) -> tuple[bool, bool]:
    """DANE-EE compares bytes, a digest needs one search, full data can need a signature each."""
    return record.usage != DANE_EE, record.matching_type == FULL


def _conclude(
    records: tuple[RecordCheck, ...], leaf_names: tuple[str, ...], over_budget: bool
) -> Verification:
    for result, verdict in _BEST_FIRST:
        # DANE-EE first: its match does not hang on names.
        found = sorted(
            (-one.record.usage, i) for i, one in enumerate(records) if one.result is result
        )
        if found:
            best = found[0][1]
            usage = records[best].record.usage
            return Verification(
                verdict,
                usage == DANE_TA and result in (RecordResult.MATCH, RecordResult.NAME_MISMATCH),
                leaf_names,
                records,
                best if result is not RecordResult.CERT_UNPARSED else None,
                records[best].depth,
                over_budget,
            )
    mismatch = any(isinstance(one.result, MismatchCause) for one in records)
    verdict = Verdict.MISMATCH if mismatch else Verdict.UNUSABLE
    return Verification(verdict, False, leaf_names, records, None, None, over_budget)


_TYPE_OF_LENGTH = {32: SHA2_256, 64: SHA2_512}
"""No certificate and no key is as short as a digest."""


class _Check:
    """One chain, asked about one record after the other."""

    def __init__(
        self,
        chain: Sequence[bytes],
        names: Sequence[str],
        at: datetime,
        earlier: Sequence[bytes],
        work: Work,
    ) -> None:
        self._work = work
        self._presented = [read_certificate(bytes(der)) for der in dict.fromkeys(chain)]
        self._earlier = [read_certificate(bytes(der)) for der in dict.fromkeys(earlier)]
        self._paths = Paths(self._presented, at, work) if self._presented else None
        self._fits: dict[tuple[int, int, bool], dict[bytes, list[int]]] = {}
        self._leaf_data: dict[tuple[int, int], bytes | None] = {}
        self._pem: frozenset[bytes] | None = None
        self.leaf_names = self._names_of_leaf()
        self._name_is_right = not names or any_name_matches(self.leaf_names, names)

    def _names_of_leaf(self) -> tuple[str, ...]:
        if not self._presented:
            return ()
        try:
            self._work.spend(self._presented[0].reading_steps)
        except Exhausted:
            return ()
        return self._presented[0].names

    def end_entity(self, record: TLSARecord) -> RecordCheck:
        """DANE-EE(3): the leaf's bytes alone: no name, no date (RFC 7671 section 5.1)."""
        if self._presented:
            kind = record.selector, record.matching_type
            if kind not in self._leaf_data:
                self._leaf_data[kind] = association(self._presented[0], *kind)
            if self._leaf_data[kind] is None:
                return RecordCheck(record, RecordResult.CERT_UNPARSED)
            if self._leaf_data[kind] == record.data:
                return RecordCheck(record, RecordResult.MATCH, depth=0)
        return self.misfit(record)

    def trust_anchor(self, record: TLSARecord) -> RecordCheck:
        """DANE-TA(2): a path, its dates, and the names (RFC 7671 section 5.2)."""
        try:
            sent = [
                self._presented[i].der
                for i in self._fitting(record.selector, record.matching_type, record.data)
                if i > 0
            ]
            search = self._search(record, frozenset(sent))
        except Exhausted:
            return RecordCheck(record, RecordResult.CERT_UNPARSED)
        if search.grade is Grade.VALID:
            result = RecordResult.MATCH if self._name_is_right else RecordResult.NAME_MISMATCH
            return RecordCheck(
                record, result, depth=search.depth, anchor_sent=self._is_sent(record)
            )
        if search.unread:
            return RecordCheck(record, RecordResult.CERT_UNPARSED)
        if search.grade is Grade.EXPIRED:
            return RecordCheck(record, RecordResult.TA_EXPIRED, depth=search.depth)
        if sent or search.grade is Grade.INVALID:
            cause = MismatchCause.CHAIN_INVALID
            return RecordCheck(record, cause, cause, search.depth)
        return self.misfit(record)

    def _is_sent(self, record: TLSARecord) -> bool:
        """Whether the data of an anchor fits a certificate that the server sent."""
        try:
            return bool(self._fitting(record.selector, record.matching_type, record.data))
        except Exhausted:
            return True

    def _search(self, record: TLSARecord, sent: frozenset[bytes]) -> Search:
        if self._paths is None:
            return Search(Grade.NONE, None, False)
        if record.matching_type == FULL and record.selector == CERT:
            return self._paths.to_certificate(read_certificate(record.data))
        if record.matching_type == FULL:
            return self._paths.to_key(record.data)
        if not sent:
            # A digest can only be of what was sent (RFC 7671 section 5.2.2). A certificate
            # whose key could not be cut out may be it, though.
            unread = record.selector == SPKI and any(one.spki is None for one in self._presented)
            return Search(Grade.NONE, None, unread)
        return self._paths.to_certificates(sent)

    def misfit(self, record: TLSARecord, result: RecordResult | None = None) -> RecordCheck:
        """Why a record does not match; `result` if it cannot match at all (unusable)."""
        depth: int | None = None
        try:
            cause, depth = self._wrong_field(record)
            if result is None and cause is None:
                cause = self._wrong_certificate(record)
        except Exhausted:
            cause = None if result is not None else MismatchCause.UNKNOWN
        if result is not None:
            return RecordCheck(record, result, cause, depth)
        assert cause is not None
        return RecordCheck(record, cause, cause, depth)

    def _wrong_field(self, record: TLSARecord) -> tuple[MismatchCause | None, int | None]:
        """The field that keeps the data from fitting a certificate of the chain."""
        if EMPTY_DIGESTS.get(record.matching_type) == record.data:
            return MismatchCause.EMPTY_DIGEST, None
        kind = _TYPE_OF_LENGTH.get(len(record.data), FULL)
        for selector in (SPKI, CERT) if record.selector == SPKI else (CERT, SPKI):
            fitting = self._fitting(selector, kind, record.data)
            if fitting:
                cause = MismatchCause.WRONG_USAGE
                if selector != record.selector:
                    cause = MismatchCause.WRONG_SELECTOR
                if kind != record.matching_type:
                    cause = MismatchCause.WRONG_MATCHING_TYPE
                return cause, fitting[0]
        return None, None

    def _wrong_certificate(self, record: TLSARecord) -> MismatchCause:
        """Which certificate the data belongs to, if not to one of the chain."""
        if record.data in self._pem_digests():
            return MismatchCause.PEM_DIGEST
        shown = self._fitting(record.selector, record.matching_type, record.data, earlier=True)
        authority = record.usage == DANE_TA and self._authority(record, shown)
        if authority and self._comes_from_another(authority):
            return MismatchCause.RETIRED_ISSUER
        if shown and not authority:
            return MismatchCause.STALE_CERTIFICATE
        is_digest = record.usage == DANE_TA and record.matching_type != FULL
        if is_digest and self._paths is not None and self._paths.open_ends:
            return MismatchCause.TA_NOT_SENT
        return MismatchCause.STALE_CERTIFICATE if shown else MismatchCause.UNKNOWN

    def _authority(self, record: TLSARecord, shown: Sequence[int]) -> Certificate | Issuer | None:
        """The authority whose digest a record holds: one that the server sent before, or one
        that issues no more."""
        for place in shown:
            one = self._earlier[place]
            self._work.spend(one.reading_steps)
            if one.facts is not None and one.facts.is_ca:
                return one
        if record.matching_type != SHA2_256:
            return None
        find = issuer_of_key if record.selector == SPKI else issuer_of_certificate
        known = find(record.data.hex())
        return known if known is not None and known.state is IssuerState.RETIRED else None

    def _comes_from_another(self, authority: Certificate | Issuer) -> bool:
        """Whether the chain does not lead to the authority, as far as names tell."""
        if self._paths is None or self._presented[0].self_issued:
            return False
        if isinstance(authority, Certificate):
            return all(one.issuer_key != authority.subject_key for one in self._paths.open_ends)
        return all(authority.common_name not in _issuer_names(one) for one in self._paths.open_ends)

    def _pem_digests(self) -> frozenset[bytes]:
        if self._pem is None:
            chain = pem.looked_at(self._presented)
            self._work.spend(sum(len(one.der) for one in chain) // 8)
            digests = DIGESTS.values()
            self._pem = frozenset(of(text) for text in pem.texts(chain) for of in digests)
        return self._pem

    def _fitting(
        self, selector: int, matching_type: int, data: bytes, *, earlier: bool = False
    ) -> list[int]:
        """Places in the chain (in what was shown before, if `earlier`), in order, of the
        certificates that the data fits."""
        self._work.spend(1)
        kind = selector, matching_type, earlier
        if kind not in self._fits:
            certificates = self._earlier if earlier else self._presented
            self._work.spend(sum(4 + len(one.der) // 256 for one in certificates))
            places: dict[bytes, list[int]] = {}
            for i, one in enumerate(certificates):
                value = association(one, selector, matching_type)
                if value is not None:
                    places.setdefault(value, []).append(i)
            self._fits[kind] = places
        return self._fits[kind].get(data, [])


def _issuer_names(certificate: Certificate) -> list[str]:
    """The common names of the issuer; none where the certificate cannot be read."""
    if certificate.parsed is None:
        return []
    attributes = certificate.parsed.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return [str(one.value) for one in attributes]


def association(certificate: Certificate, selector: int, matching_type: int) -> bytes | None:
    """What a record of these fields would hold for the certificate; None if that cannot be had."""
    selected = certificate.der if selector == CERT else certificate.spki
    if selected is None or matching_type == FULL:
        return selected
    return DIGESTS[matching_type](selected)
