"""Whether the next change of a host's key goes without an outage, by keys (measurement, 8).

A key is replaced at once, and its TLSA records in caches take days. So before the change there
must be a record that fits afterwards: of the next key, published already, or of an issuer that
the next certificate will come from, too (RFC 7671 sections 8.1 and 8.4). Counting records does
not tell: two forms of one key are gone together.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import sha256

from dane.certificate import Certificate, read_certificate
from dane.outcomes import RecordResult, RolloverScheme
from dane.public_issuers import (
    Issuer,
    IssuerState,
    issuer_of_certificate,
    issuer_of_key,
    issuing_beside,
)
from dane.tlsa import (
    CERT,
    DANE_EE,
    DANE_TA,
    FULL,
    SHA2_256,
    SHA2_512,
    SPKI,
    TLSARecord,
    strongest,
    usable,
)
from dane.verify import association, verify


def rollover_scheme(
    chains: Iterable[Sequence[bytes]],
    records: Sequence[TLSARecord],
    at: datetime,
    before: Iterable[bytes] = (),
) -> RolloverScheme | None:
    """The scheme of a host; None where it served no certificate.

    `chains` (DER, leaf first): what the host served, at all its addresses and for all kinds of
    key. `records`: its TLSA RRset. `at`: when it served them. `before`: leaf certificates (DER)
    that it served at other times.
    """
    served = [tuple(map(bytes, chain)) for chain in dict.fromkeys(map(tuple, chains)) if chain]
    if not served:
        return None
    active = strongest(record for record in records if usable(record))
    of_keys = [record for record in active if record.usage == DANE_EE]
    of_issuers = [record for record in active if record.usage == DANE_TA]
    leafs = [read_certificate(chain[0]) for chain in served]
    has_key = [any(_fits(leaf, record) for record in of_keys) for leaf in leafs]
    issuers = [_Issuers(chain, of_issuers, at) for chain in served]
    shown = {
        der: read_certificate(der) for der in (*before, *(der for one in served for der in one))
    }
    has_next = any(not _is_of(record, shown.values()) for record in of_keys)
    each_has_record = all(key or issuer.match for key, issuer in zip(has_key, issuers, strict=True))
    if each_has_record and has_next:
        return RolloverScheme.CURRENT_NEXT
    if not all(issuer.outlast for issuer in issuers):
        return RolloverScheme.SINGLE_KEY
    return RolloverScheme.CURRENT_ISSUER if all(has_key) else RolloverScheme.ISSUER_ONLY


def _is_of(record: TLSARecord, certificates: Iterable[Certificate]) -> bool:
    """Whether the data belongs to one of the certificates, in a wrong field even: then it is not
    of a key that is still to come."""
    return any(
        association(one, selector, kind) == record.data
        for one in certificates
        for selector in (CERT, SPKI)
        for kind in (FULL, SHA2_256, SHA2_512)
    )


def _fits(certificate: Certificate, record: TLSARecord) -> bool:
    return association(certificate, record.selector, record.matching_type) == record.data


class _Issuers:
    """The trust-anchor records of a host against one chain. `match`: one of them is an anchor of
    the chain. `outlast`: it will be one of the next certificate's chain, too."""

    def __init__(self, chain: Sequence[bytes], records: Sequence[TLSARecord], at: datetime) -> None:
        self._leaf, *self._behind = map(read_certificate, chain)
        self._records = records
        checks = verify(chain, records, (), at).records if records else ()
        matching = [one.record for one in checks if one.result is RecordResult.MATCH]
        self.match = bool(matching)
        self.outlast = any(map(self._outlasts, matching))

    def _outlasts(self, record: TLSARecord) -> bool:
        """Whether the record's anchor stands above a certificate with another key as well.

        A root does. A public authority that issues has siblings, any of which may be the next
        issuer, so all must have records; one that is retired issues no more. A private one is
        taken to go on.
        """
        anchor = next((one for one in self._behind if _fits(one, record)), None)
        if anchor is None and record.matching_type == FULL and record.selector == CERT:
            anchor = read_certificate(record.data)
        spki = anchor.spki if anchor is not None else record.data
        if spki is None or spki == self._leaf.spki:
            return False
        if anchor is not None and anchor.self_issued:
            return True
        public = issuer_of_key(sha256(spki).hexdigest())
        if public is None and anchor is not None:
            public = issuer_of_certificate(sha256(anchor.der).hexdigest())
        if public is None or public.state is IssuerState.ROOT:
            return True
        siblings = issuing_beside(public)
        return bool(siblings) and all(map(self._has_record, siblings))

    def _has_record(self, issuer: Issuer) -> bool:
        for record in self._records:
            if record.matching_type == FULL:
                one = read_certificate(record.data) if record.selector == CERT else None
                spki = one.spki if one is not None else record.data
                if spki is not None and sha256(spki).hexdigest() == issuer.spki_sha256:
                    return True
            elif record.matching_type == SHA2_256:
                digest = record.data.hex()
                if record.selector == SPKI and digest == issuer.spki_sha256:
                    return True
                if record.selector == CERT and digest in issuer.certificate_sha256:
                    return True
        return False
