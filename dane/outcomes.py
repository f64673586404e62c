"""The closed vocabularies: every word that the survey stores, publishes or prints.

Stored as text, so that a row reads without this module. The meaning of each word is the
line beside it; docs/measurement.md has the full rules with their RFC sections.
"""

from enum import StrEnum


class LookupOutcome(StrEnum):
    """What one DNS question came to (measurement, section 2).

    `nodata` and `nxdomain` carry `secure` beside them: an opt-out denial, or one by NSEC3
    with more iterations than the validator accepts, is not secure, and not a failure.
    """

    SECURE = "secure"  # an answer, validated
    INSECURE = "insecure"  # an answer, provably unsigned
    NODATA = "nodata"  # the name exists, the type does not
    NXDOMAIN = "nxdomain"  # the name does not exist
    BOGUS = "bogus"  # SERVFAIL; with CD=1 it answers: validation fails
    SERVFAIL = "servfail"  # SERVFAIL with CD=1 too: the servers fail
    UNANSWERED = "unanswered"  # ours: no reply after all passes
    LOCAL_RESOLVER = "local_resolver"  # ours: REFUSED, FORMERR or garbage from our own resolver


FAILED = frozenset({LookupOutcome.BOGUS, LookupOutcome.SERVFAIL})
"""Theirs: a sender that enforces DANE gets an error here (RFC 7672 section 2.1.2)."""

LOCAL = frozenset({LookupOutcome.UNANSWERED, LookupOutcome.LOCAL_RESOLVER})
"""Ours: says nothing about the domain."""

DENIAL = frozenset({LookupOutcome.NODATA, LookupOutcome.NXDOMAIN})


class AuthorityResult(StrEnum):
    """What one address of one authoritative server did with a direct question."""

    ANSWER = "answer"
    NXDOMAIN = "nxdomain"
    REFUSED = "refused"
    NOTIMP = "notimp"
    FORMERR = "formerr"
    SERVFAIL = "servfail"
    TIMEOUT = "timeout"
    NO_RRSIG = "no_rrsig"
    BAD_DENIAL = "bad_denial"
    CNAME_LOOP = "cname_loop"


class DnsCause(StrEnum):
    """Why a lookup fails (measurement, section 2): the first that applies.

    Found by direct questions to the authoritative servers of the zone at fault.
    """

    SERVERS_SILENT = "servers_silent"  # none of the zone's servers answers us at all
    LAME = "lame"  # the servers do not serve the zone, or have no public address
    TYPE_BLOCKED = "type_blocked"  # no answer to this type, while SOA and A are answered
    TCP_BROKEN = "tcp_broken"  # the answer needs TCP, and TCP does not work
    EDNS_BROKEN = "edns_broken"  # EDNS is refused or ignored: no DNSSEC (RFC 6891, RFC 4035)
    FRAGMENTS_LOST = "fragments_lost"  # a large answer comes by TCP and is lost by UDP
    CNAME_LOOP = "cname_loop"  # aliases that lead in a circle
    DS_WITHOUT_KEY = "ds_without_key"  # no DNSKEY of the zone fits the DS at the parent
    DNSKEY_MISSING = "dnskey_missing"  # a DS at the parent, and no DNSKEY RRset
    NO_RRSIG = "no_rrsig"  # a signed zone's records come without RRSIG
    SIGNATURE_EXPIRED = "signature_expired"
    SIGNATURE_NOT_YET_VALID = "signature_not_yet_valid"
    SERIAL_RAISED_AFTER_SIGNING = "serial_raised_after_signing"  # the SOA's RRSIG is of the last
    SIGNATURE_INVALID = "signature_invalid"  # it does not verify with any key of the zone
    DENIAL_MISSING = "denial_missing"  # a denial without the NSEC or NSEC3 that would prove it
    BAD_DENIAL = "bad_denial"  # the NSEC or NSEC3 records prove something else
    VALIDATOR_LIMIT = "validator_limit"  # ours: right, and more than our validator works through
    UNKNOWN = "unknown"  # none of these is shown


class HostClass(StrEnum):
    """What a host's status means for a domain that points at it (measurement, section 6)."""

    NONE = "-"  # no address: skipped, not counted
    X = "X"  # not known, through us or our caps
    A = "A"  # its address lookup fails
    L = "L"  # its TLSA lookup fails: a sender that enforces DANE defers
    N = "N"  # no DANE here, validly
    F = "F"  # DANE is promised and broken
    P = "P"  # DANE works
    P0 = "P°"  # TLSA there, none usable: TLS without authentication
    Q = "Q"  # TLSA there, server not measured


class HostStatus(StrEnum):
    """The status of an MX host, or of one of its addresses from `mismatch` down (section 6).

    The members stand in the order of precedence: a host has the first that applies.
    """

    LOCAL_ERROR = "local_error"  # a needed answer is missing through our own fault
    EXCESS = "excess"  # beyond the caps: 32 hosts a domain, 32 addresses a host
    NO_ADDRESS = "no_address"  # A and AAAA answered: no address
    ADDRESS_FAILED = "address_failed"  # no address, and A or AAAA failed
    INSECURE = "insecure"  # addresses, none secure: TLSA is not asked
    TLSA_FAILED = "tlsa_failed"  # a needed TLSA (or first CNAME) question failed
    ABSENT = "absent"  # no secure TLSA RRset
    MISMATCH = "mismatch"  # a usable record, a handshake, no match
    TA_EXPIRED = "ta_expired"  # a TA path matches, outside a certificate's dates
    NAME_MISMATCH = "name_mismatch"  # a TA path matches, no reference name does
    NO_STARTTLS = "no_starttls"  # EHLO complete, STARTTLS not offered
    STARTTLS_REJECTED = "starttls_rejected"  # offered, then refused with 4xx or 5xx
    TLS_FAILED = "tls_failed"  # alert, protocol error or EOF in both handshakes
    PASS = "pass"  # a usable record matches
    UNUSABLE = "unusable"  # secure TLSA, none usable, the handshake works
    TEMPFAIL = "tempfail"  # 4xx greeting or EHLO, 421, EOF or time-out after connect
    REFUSED = "refused"  # 5xx greeting or EHLO: policy against us
    UNREACHABLE = "unreachable"  # TCP connect fails
    RESERVED_ADDRESS = "reserved_address"  # not a public address: never connected to
    OPTED_OUT = "opted_out"  # on the opt-out list: neither asked for nor connected to
    UNPROBED = "unprobed"  # not connected to: family absent here, run ended
    LOCAL_ERROR_SMTP = "local_error_smtp"  # our own fault while probing


HOST_CLASS: dict[HostStatus, HostClass] = {
    HostStatus.LOCAL_ERROR: HostClass.X,
    HostStatus.EXCESS: HostClass.X,
    HostStatus.NO_ADDRESS: HostClass.NONE,
    HostStatus.ADDRESS_FAILED: HostClass.A,
    HostStatus.INSECURE: HostClass.N,
    HostStatus.TLSA_FAILED: HostClass.L,
    HostStatus.ABSENT: HostClass.N,
    HostStatus.MISMATCH: HostClass.F,
    HostStatus.TA_EXPIRED: HostClass.F,
    HostStatus.NAME_MISMATCH: HostClass.F,
    HostStatus.NO_STARTTLS: HostClass.F,
    HostStatus.STARTTLS_REJECTED: HostClass.F,
    HostStatus.TLS_FAILED: HostClass.F,
    HostStatus.PASS: HostClass.P,
    HostStatus.UNUSABLE: HostClass.P0,
    HostStatus.TEMPFAIL: HostClass.Q,
    HostStatus.REFUSED: HostClass.Q,
    HostStatus.UNREACHABLE: HostClass.Q,
    HostStatus.RESERVED_ADDRESS: HostClass.Q,
    HostStatus.OPTED_OUT: HostClass.Q,
    HostStatus.UNPROBED: HostClass.Q,
    HostStatus.LOCAL_ERROR_SMTP: HostClass.Q,
}


class DomainStatus(StrEnum):
    """The status of a domain: the first line of measurement section 7 that applies."""

    INDETERMINATE = "indeterminate"  # not known, through us
    LOOKUP_FAILED = "lookup_failed"  # a DNS error that makes senders defer (see the stage)
    INSECURE = "insecure"  # MX RRset, its denial or a CNAME to it not secure
    NO_MAIL = "no_mail"  # null MX, NXDOMAIN, or no host with an address
    BROKEN = "broken"  # a host promises DANE and breaks the promise
    INSECURE_MX_HOST = "insecure_mx_host"  # the hosts' addresses are unsigned
    NO_TLSA = "no_tlsa"  # no host has a secure TLSA RRset
    UNUSABLE = "unusable"  # TLSA RRsets, none usable
    PARTIAL = "partial"  # some hosts with DANE, some without
    DANE = "dane"  # every host has DANE, one at least measured and good
    UNREACHABLE = "unreachable"  # DANE promised, no server measured: theirs


class LookupStage(StrEnum):
    """Where `lookup_failed` happened."""

    MX = "mx"
    TLSA = "tlsa"
    ADDRESS = "address"


class NoMailReason(StrEnum):
    NULL_MX = "null_mx"  # sole `MX 0 .` (RFC 7505)
    NXDOMAIN = "nxdomain"
    NO_ADDRESS = "no_address"


class BrokenLevel(StrEnum):
    PRIMARY = "primary"  # a host of the lowest preference that remains
    BACKUP = "backup"


class Verdict(StrEnum):
    """What a chain came to against a TLSA RRset (RFC 7671, RFC 7672 section 3)."""

    MATCH = "match"
    NAME_MISMATCH = "name_mismatch"
    TA_EXPIRED = "ta_expired"
    MISMATCH = "mismatch"
    UNUSABLE = "unusable"
    CERT_UNPARSED = "cert_unparsed"  # the chain could not be read: never called a mismatch


class Undecided(StrEnum):
    """Why a server that answered is `local_error_smtp`: a limit of ours that strangers can reach
    at will, so it says nothing about our network and keeps no run from being published."""

    UNREADABLE = "unreadable"  # our library cannot read what the verdict hangs on
    OVER_BUDGET = "over_budget"  # the chain asks for more work than one chain gets
    TLS_UNSUPPORTED = "tls_unsupported"  # our TLS cannot do what the server offers


class AfterTLS(StrEnum):
    """How a session went wrong between the handshake and the reply to the EHLO inside TLS. The
    certificate decides all the same."""

    SHUTDOWN = "421"  # the server is closing (RFC 5321 section 3.8)
    TRANSIENT = "4xx"
    PERMANENT = "5xx"
    GARBLED = "garbled"  # no SMTP reply
    CLOSED = "closed"
    SILENT = "silent"  # time-out


class RecordResult(StrEnum):
    """What one TLSA record came to; where it is a reason not to match, a MismatchCause."""

    MATCH = "match"
    NAME_MISMATCH = "name_mismatch"  # its path and dates are right, no reference name is
    TA_EXPIRED = "ta_expired"  # its path is right, outside a certificate's dates
    CERT_UNPARSED = "cert_unparsed"  # what it needs could not be read
    SUPERSEDED = "superseded"  # a stronger digest stands beside it (RFC 7671 section 9)
    UNUSABLE = "unusable"


class Defect(StrEnum):
    """Whatever is worth telling about a host beside its status (measurement, section 8)."""

    PKIX_USAGE = "pkix_usage"
    UNKNOWN_SELECTOR = "unknown_selector"
    UNKNOWN_MATCHING_TYPE = "unknown_matching_type"
    BAD_DIGEST_LENGTH = "bad_digest_length"
    EMPTY_DIGEST = "empty_digest"
    DUPLICATE = "duplicate"
    TOO_MANY = "too_many"
    FULL_DATA = "full_data"
    NO_SHA256 = "no_sha256"
    TA_SPKI = "ta_spki"
    WILDCARD_TLSA = "wildcard_tlsa"
    SINGLE_KEY = "single_key"
    ANCHOR_NOT_SENT = "anchor_not_sent"
    LEFTOVER_RECORD = "leftover_record"
    TLSA_INSECURE = "tlsa_insecure"
    TLSA_ALIAS_DANGLING = "tlsa_alias_dangling"
    ENT_DENIED = "ent_denied"
    ADDRESS_FAMILY_FAILED = "address_family_failed"
    DIVERGENT = "divergent"
    KEY_TYPE_DIVERGENCE = "key_type_divergence"
    FLAPPING = "flapping"
    LEGACY_TLS = "legacy_tls"
    STARTTLS_INJECTION = "starttls_injection"
    MX_ALIAS = "mx_alias"
    NULL_MX_MIXED = "null_mx_mixed"
    RRSIG_NEAR_EXPIRY = "rrsig_near_expiry"
    NSEC3_ITERATIONS = "nsec3_iterations"
    SOME_SERVERS_FAIL = "some_servers_fail"
    SERVERS_DISAGREE = "servers_disagree"


class WrongPractice(StrEnum):
    """TLSA records where no sender looks, or where they do harm (`danesurvey check`)."""

    AT_DOMAIN = "at_domain"  # below the mail domain instead of the MX host
    OTHER_PORT = "other_port"  # 465, 587 or 443 instead of 25
    WITHOUT_UNDERSCORE = "without_underscore"  # 25._tcp, _25.tcp or 25.tcp
    HIDES_WILDCARD = "hides_wildcard"  # below a host that exists only by a wildcard


class RolloverScheme(StrEnum):
    """What a host that passes has published for its next change of key (measurement, section 8);
    the first that applies (RFC 7671 sections 8.1 and 8.4)."""

    CURRENT_NEXT = "current_next"  # each key has a record, and a next key has one already
    CURRENT_ISSUER = "current_issuer"  # each key has one, and so has what issues the next
    ISSUER_ONLY = "issuer_only"  # what issues the next certificate has one, some key has none
    SINGLE_KEY = "single_key"  # some key has no record left once it is replaced


class RolloverGrade(StrEnum):
    """How a change of key that needs another TLSA record went, as far as looks prove it
    (measurement, section 9); the first that applies."""

    NO_INTRODUCTION = "no_introduction"  # no look has a record for the new key
    LATE_INTRODUCTION = "late_introduction"  # after the key, or less than a TTL before it
    EARLY_RETIREMENT = "early_retirement"  # the old record went while its key was shown
    UNOBSERVED = "unobserved"  # it happened between two looks
    CORRECT = "correct"  # new record a TTL before the key, old one until after it


class FaultKind(StrEnum):
    """Which promise a host breaks: what an exception's action is chosen by (measurement,
    section 9)."""

    CERTIFICATE = "certificate"  # TLS works, the certificate is wrong: mismatch and its like
    TLS = "tls"  # STARTTLS or TLS is missing: no_starttls, starttls_rejected, tls_failed
    LOOKUP = "lookup"  # no promise is known: a question of the DNS fails


class EpisodeEnd(StrEnum):
    """Why a host or lookup is no longer failing (measurement, section 9)."""

    REPAIRED = "repaired"  # it works
    TLSA_REMOVED = "tlsa_removed"  # the host promises nothing any more
    MX_MOVED = "mx_moved"  # its domains have other MX hosts
    DOMAIN_GONE = "domain_gone"  # its domains have left their zones
    NOT_SEEN = "not_seen"  # nothing can be learned of it any more


FAULT_KIND = {
    HostStatus.MISMATCH: FaultKind.CERTIFICATE,
    HostStatus.TA_EXPIRED: FaultKind.CERTIFICATE,
    HostStatus.NAME_MISMATCH: FaultKind.CERTIFICATE,
    HostStatus.NO_STARTTLS: FaultKind.TLS,
    HostStatus.STARTTLS_REJECTED: FaultKind.TLS,
    HostStatus.TLS_FAILED: FaultKind.TLS,
}
"""The kind of fault of each status of class F."""


class MismatchCause(StrEnum):
    """Why a record does not match (measurement, section 8, last paragraph)."""

    WRONG_USAGE = "wrong_usage"
    WRONG_SELECTOR = "wrong_selector"
    WRONG_MATCHING_TYPE = "wrong_matching_type"
    PEM_DIGEST = "pem_digest"
    STALE_CERTIFICATE = "stale_certificate"
    RETIRED_ISSUER = "retired_issuer"
    TA_NOT_SENT = "ta_not_sent"
    CHAIN_INVALID = "chain_invalid"
    EMPTY_DIGEST = "empty_digest"
    UNKNOWN = "unknown"
