"""What a verdict means, what causes it and what to do: the sentences of `check`.

Tables from the words of `dane.outcomes` to text. Pure; {placeholders} are filled by
`danesurvey.check.document` and `danesurvey.check.explanation`.
"""

from enum import StrEnum

from dane.outcomes import (
    AuthorityResult,
    Defect,
    DomainStatus,
    HostStatus,
    LookupOutcome,
    LookupStage,
    MismatchCause,
    NoMailReason,
)


class Severity(StrEnum):
    """How bad a verdict is, in a monitoring system's words."""

    OK = "ok"
    WARNING = "warning"  # mail flows, but not as well protected as it could be, or not for long
    CRITICAL = "critical"  # senders that enforce DANE have trouble now
    UNKNOWN = "unknown"  # not known, for a reason of our own


SEVERITY: dict[DomainStatus, Severity] = {
    DomainStatus.DANE: Severity.OK,
    DomainStatus.NO_MAIL: Severity.OK,
    DomainStatus.PARTIAL: Severity.WARNING,
    DomainStatus.UNUSABLE: Severity.WARNING,
    DomainStatus.NO_TLSA: Severity.WARNING,
    DomainStatus.INSECURE_MX_HOST: Severity.WARNING,
    DomainStatus.INSECURE: Severity.WARNING,
    DomainStatus.BROKEN: Severity.CRITICAL,
    DomainStatus.LOOKUP_FAILED: Severity.CRITICAL,
    DomainStatus.UNREACHABLE: Severity.CRITICAL,
    DomainStatus.INDETERMINATE: Severity.UNKNOWN,
}

UNUSUAL = frozenset({NoMailReason.NXDOMAIN, NoMailReason.NO_ADDRESS})
"""Reasons for taking no mail that nobody who asks for the domain will have meant: a warning."""

EXIT_CODE: dict[Severity, int] = {
    Severity.OK: 0,
    Severity.WARNING: 0,
    Severity.CRITICAL: 1,
    Severity.UNKNOWN: 3,
}
NAGIOS_CODE: dict[Severity, int] = {
    Severity.OK: 0,
    Severity.WARNING: 1,
    Severity.CRITICAL: 2,
    Severity.UNKNOWN: 3,
}

WORSE_LAST = (Severity.OK, Severity.WARNING, Severity.UNKNOWN, Severity.CRITICAL)
"""Of several domains the worst decides."""

INFORMATION = frozenset(
    {
        Defect.SINGLE_KEY,
        Defect.TA_SPKI,
        Defect.WILDCARD_TLSA,
        Defect.FULL_DATA,
        Defect.NO_SHA256,
        Defect.DUPLICATE,
        Defect.MX_ALIAS,
        Defect.NSEC3_ITERATIONS,
        Defect.LEFTOVER_RECORD,
    }
)
"""Worth telling; no reason to warn."""

# --- the verdict in one sentence --------------------------------------------------------------

Detail = LookupStage | NoMailReason | None

SENTENCE: dict[tuple[DomainStatus, Detail], str] = {
    (DomainStatus.DANE, None): "DANE works: {promising} has TLSA records, and {measured}.",
    (DomainStatus.BROKEN, None): "DANE is broken at {level} MX host {hosts}.",
    (DomainStatus.PARTIAL, None): "DANE at some MX hosts only: {hosts} has no usable TLSA record.",
    (DomainStatus.UNUSABLE, None): "TLSA records, but none that a sender can use.",
    (DomainStatus.NO_TLSA, None): "No DANE: no MX host has TLSA records.",
    (DomainStatus.INSECURE_MX_HOST, None): "No DANE: the MX hosts are in unsigned zones.",
    (DomainStatus.INSECURE, None): "No DANE: the domain's MX answer is not signed.",
    (DomainStatus.UNREACHABLE, None): "TLSA records, but no mail server could be measured.",
    (DomainStatus.INDETERMINATE, None): "Not known, for a reason on this side.",
    (DomainStatus.LOOKUP_FAILED, LookupStage.MX): "The MX lookup fails.",
    (DomainStatus.LOOKUP_FAILED, LookupStage.TLSA): "The TLSA lookup fails for {hosts}.",
    (DomainStatus.LOOKUP_FAILED, LookupStage.ADDRESS): "The address lookups of all MX hosts fail.",
    (DomainStatus.NO_MAIL, NoMailReason.NULL_MX): "The domain takes no mail, and says so: `MX 0 .`",
    (DomainStatus.NO_MAIL, NoMailReason.NXDOMAIN): "There is no such domain.",
    (DomainStatus.NO_MAIL, NoMailReason.NO_ADDRESS): "No MX host has an address: it takes no mail.",
}

OF_OTHER_FAMILY = "Not known: no MX host has an address of the kind that was asked for."
"""In place of the sentence, where `--4` or `--6` leaves nothing to measure."""

SENDER: dict[DomainStatus, str] = {
    DomainStatus.DANE: "delivers over TLS to servers that it has authenticated",
    DomainStatus.PARTIAL: "authenticates some hosts and delivers to the others unauthenticated",
    DomainStatus.UNUSABLE: "insists on TLS, but authenticates nobody",
    DomainStatus.NO_TLSA: "delivers as to any domain: TLS if offered, nobody authenticated",
    DomainStatus.INSECURE_MX_HOST: "delivers as to any domain: TLS if offered, "
    "nobody authenticated",
    DomainStatus.INSECURE: "delivers as to any domain: TLS if offered, nobody authenticated",
    DomainStatus.NO_MAIL: "returns mail for this domain at once",
    DomainStatus.UNREACHABLE: "tries again later, as any sender does",
    DomainStatus.INDETERMINATE: "may deliver or not: it cannot be told from here",
}
"""What a sender that enforces DANE does, where `deliverable` makes no difference."""

SENDER_FAILING: dict[bool | None, str] = {
    True: "gets the mail through to another MX host, later than others would",
    False: "defers the mail, and returns it after some days",
    None: "defers the mail, unless another MX host takes it",
}
"""Likewise for `broken` and `lookup_failed`, by `deliverable`."""

# --- causes -----------------------------------------------------------------------------------

CAUSE: dict[MismatchCause, str] = {
    MismatchCause.WRONG_USAGE: "its data fits a certificate of the chain under another usage",
    MismatchCause.WRONG_SELECTOR: "its data fits a certificate of the chain under another selector",
    MismatchCause.WRONG_MATCHING_TYPE: "its data fits a certificate of the chain under another "
    "matching type",
    MismatchCause.PEM_DIGEST: "it is the digest of a PEM text, not of the DER in it",
    MismatchCause.STALE_CERTIFICATE: "it fits a certificate that this server showed before",
    MismatchCause.RETIRED_ISSUER: "it is of an authority that issued the server's certificates "
    "before; the present one comes from another",
    MismatchCause.TA_NOT_SENT: "the trust anchor is not in the chain that the server sends",
    MismatchCause.CHAIN_INVALID: "its trust anchor is sent, but the path to it is not valid",
    MismatchCause.EMPTY_DIGEST: "it is the digest of nothing",
    MismatchCause.UNKNOWN: "it fits no certificate of the chain: most often a certificate was "
    "renewed with a new key and the record was not changed",
}

FAILED_LOOKUP: dict[LookupOutcome, str] = {
    LookupOutcome.BOGUS: "there is an answer, but its signatures do not hold",
    LookupOutcome.SERVFAIL: "no answer that a resolver can use",
}

HOST: dict[HostStatus, str] = {
    HostStatus.LOCAL_ERROR: "not known, through this side's own fault",
    HostStatus.EXCESS: "more hosts or addresses than are looked at",
    HostStatus.NO_ADDRESS: "has no address",
    HostStatus.ADDRESS_FAILED: "its address lookup fails",
    HostStatus.INSECURE: "its addresses are not signed, so TLSA is not asked for",
    HostStatus.TLSA_FAILED: "its TLSA lookup fails: senders must not deliver (RFC 7672, 2.1.2)",
    HostStatus.ABSENT: "has no secure TLSA records",
    HostStatus.MISMATCH: "no TLSA record matches the certificates that it shows",
    HostStatus.TA_EXPIRED: "a certificate below the trust anchor is outside its dates",
    HostStatus.NAME_MISMATCH: "its certificate does not have the name that senders look for",
    HostStatus.NO_STARTTLS: "does not offer STARTTLS",
    HostStatus.STARTTLS_REJECTED: "offers STARTTLS, and then rejects it",
    HostStatus.TLS_FAILED: "its TLS handshake fails",
    HostStatus.PASS: "matches",
    HostStatus.UNUSABLE: "speaks TLS, but no TLSA record can be used",
    HostStatus.TEMPFAIL: "turned us away for now",
    HostStatus.REFUSED: "refused to talk to us",
    HostStatus.UNREACHABLE: "cannot be connected to",
    HostStatus.RESERVED_ADDRESS: "is not a public address: not connected to",
    HostStatus.OPTED_OUT: "asked not to be connected to",
    HostStatus.UNPROBED: "was not connected to",
    HostStatus.LOCAL_ERROR_SMTP: "not known, through this side's own fault",
}

AUTHORITY: dict[AuthorityResult, str] = {
    AuthorityResult.ANSWER: "answers",
    AuthorityResult.NXDOMAIN: "says that the name does not exist",
    AuthorityResult.REFUSED: "refuses",
    AuthorityResult.NOTIMP: "says that it does not implement this type",
    AuthorityResult.FORMERR: "says that it cannot parse the question",
    AuthorityResult.SERVFAIL: "says that it fails",
    AuthorityResult.TIMEOUT: "does not answer",
    AuthorityResult.NO_RRSIG: "answers without signatures",
    AuthorityResult.BAD_DENIAL: "denies without a proof that holds",
    AuthorityResult.CNAME_LOOP: "answers with a loop of CNAMEs",
}

# --- defects ----------------------------------------------------------------------------------

DEFECT: dict[Defect, str] = {
    Defect.PKIX_USAGE: "a record with usage 0 or 1, which means nothing for SMTP (RFC 7672, 3.1.3)",
    Defect.UNKNOWN_SELECTOR: "a record with a selector that does not exist",
    Defect.UNKNOWN_MATCHING_TYPE: "a record with a matching type that does not exist",
    Defect.BAD_DIGEST_LENGTH: "a record whose digest has the wrong length",
    Defect.EMPTY_DIGEST: "a record with the digest of nothing: made from an empty file",
    Defect.DUPLICATE: "the same record twice",
    Defect.TOO_MANY: "more than 12 records: some senders stop reading there",
    Defect.FULL_DATA: "a record with the whole data (matching type 0): a digest is safer",
    Defect.NO_SHA256: "no usable record has matching type 1, the only one all must support",
    Defect.TA_SPKI: "a 2 1 x record: 2 0 1 is read by more senders",
    Defect.WILDCARD_TLSA: "the records come from a wildcard",
    Defect.SINGLE_KEY: "a key has no record left once it is replaced: fine, until then",
    Defect.ANCHOR_NOT_SENT: "the trust anchor of a 2 x 0 record is not sent: senders that look for "
    "it in the chain do not find it (RFC 7672, 3.1.2)",
    Defect.LEFTOVER_RECORD: "a record of a certificate that this server has not shown for 30 days",
    Defect.TLSA_ALIAS_DANGLING: "the TLSA records' name is an alias (CNAME) to a name without TLSA "
    "records",
    Defect.TLSA_INSECURE: "TLSA records that are not signed, and so count for nothing",
    Defect.ENT_DENIED: "a resolver that minimises query names is told that _tcp does not exist: "
    "its users see no TLSA records, or an error",
    Defect.ADDRESS_FAMILY_FAILED: "one of the lookups of A and AAAA fails",
    Defect.DIVERGENT: "the addresses of this host do not behave alike",
    Defect.KEY_TYPE_DIVERGENCE: "its RSA and ECDSA certificates do not both match",
    Defect.FLAPPING: "two connections came to different results",
    Defect.LEGACY_TLS: "only TLS older than 1.2, or with weak keys, works",
    Defect.STARTTLS_INJECTION: "bytes came between the reply to STARTTLS and the handshake",
    Defect.MX_ALIAS: "the MX host is an alias (CNAME), which RFC 5321 forbids",
    Defect.NULL_MX_MIXED: "`MX 0 .` beside other MX records: Postfix returns the mail",
    Defect.RRSIG_NEAR_EXPIRY: "a signature runs out in less than 72 hours",
    Defect.SOME_SERVERS_FAIL: "some of the zone's name servers fail where the others answer",
    Defect.SERVERS_DISAGREE: "the zone's name servers do not give the same answer",
    Defect.NSEC3_ITERATIONS: "NSEC3 with extra iterations (RFC 9276 asks for 0)",
}

# --- repairs ----------------------------------------------------------------------------------

REPAIR_HOST: dict[HostStatus, str] = {
    HostStatus.MISMATCH: "Publish the key that {host} shows now, and remove what matches nothing; "
    "or have {host} use the key of the record again:",
    HostStatus.TA_EXPIRED: "Renew the certificate of {host}; or publish its key, which "
    "has no date:",
    HostStatus.NAME_MISMATCH: "Give {host} a certificate for {base}; or publish its key, for which "
    "no name is checked:",
    HostStatus.NO_STARTTLS: "Switch STARTTLS on at {host}; until then remove the TLSA records at "
    "{tlsa_name}.",
    HostStatus.STARTTLS_REJECTED: "Let {host} accept STARTTLS (its log says why it does not); "
    "until then remove the TLSA records at {tlsa_name}.",
    HostStatus.TLS_FAILED: "Mend TLS at {host} (its log says why the handshake fails); until then "
    "remove the TLSA records at {tlsa_name}.",
    HostStatus.UNUSABLE: "Replace the records of {host} by one that senders can use:",
    HostStatus.TLSA_FAILED: "Have every name server of {tlsa_name} answer TLSA questions, with "
    "records or a denial whose signatures hold.",
    HostStatus.ADDRESS_FAILED: "Have the name servers of {host} answer for its addresses, "
    "with signatures that hold.",
    HostStatus.ABSENT: "To protect mail to {host}, publish `3 1 1` and the SHA-256 digest of its "
    "key: openssl x509 -in CERTIFICATE -noout -pubkey | openssl pkey -pubin -outform DER | "
    "openssl dgst -sha256",
    HostStatus.INSECURE: "DANE for {host} needs its zone signed.",
}

REPAIR_DOMAIN: dict[tuple[DomainStatus, Detail], str] = {
    (DomainStatus.INSECURE, None): "Sign the zone and have its DS published: DANE starts there.",
    (DomainStatus.LOOKUP_FAILED, LookupStage.MX): "Have the name servers of {domain} answer MX "
    "questions with signatures that hold, and the DS at the parent fit the zone's keys.",
}

ROLLOVER = (
    "Before {host} gets a new key, publish its record beside the present one, wait {wait}, "
    "change the key, and only then remove the old record. Best keep two records at all times: "
    "the present key's and the next one's."
)
ROLLOVER_WAIT = "at least twice the records' TTL"
