"""The data dictionary: every published table and column, as data.

One declaration serves the export (Arrow schema), the manifest (Frictionless table
schemas) and docs/dataset.md. A column that comes unchanged from a run table takes its
type from `storage.schemas`, so that the two cannot drift apart. Descriptions are for a
reader who has only the files.

Access: `restricted` tables hold names of domains, which the contracts under which
registries give their zones forbid to pass on, and breakage that is not confirmed. `public`
ones name MX hosts, operators and zones on which at least `publish.public_floor` surveyed
domains depend, and count the rest. `mx_hosts`, `addresses`, `probes` and `zones` are in two
parts; the two together are the table. Computed tables are in `reports.derived_tables`.
"""

from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum

import pyarrow as pa

from dane.outcomes import (
    FAULT_KIND,
    AfterTLS,
    BrokenLevel,
    Defect,
    DnsCause,
    DomainStatus,
    EpisodeEnd,
    FaultKind,
    HostClass,
    HostStatus,
    LookupOutcome,
    LookupStage,
    MismatchCause,
    NoMailReason,
    RecordResult,
    RolloverGrade,
    RolloverScheme,
    Undecided,
)
from reports.columns import Access, Column, PublishedTable, column_of
from reports.derived_tables import DERIVED, UNSETTLED
from storage.schemas import (
    CERTIFICATE,
    DOMAIN_MX,
    DOMAIN_POLICY,
    DOMAIN_VERDICT,
    HOST_VERDICT,
    MX_HOST,
    NAMES,
    SMTP_PROBE,
    TIME,
    WORDS,
    Table,
)

SCHEMA_VERSION = "2.0.0"
"""Semantic: major when a column goes or changes its meaning, minor when one is added."""


class OperatorKind(StrEnum):
    """Whose list a breakage is on."""

    MX = "mx"  # the operator of the MX host has to act
    DNS = "dns"  # the operator of the name servers has to act


class BreakageState(StrEnum):
    """How sure a breakage is (docs/measurement.md, section 9)."""

    SUSPECTED = "suspected"
    CONFIRMED = "confirmed"


def _rrsig(table: Table, what: str) -> Iterator[Column]:
    yield column_of(table, "rrsig_signer", f"Signer's name of the RRSIG over {what}: its zone.")
    yield column_of(table, "rrsig_algorithm", "DNSSEC algorithm number of that RRSIG.")
    yield column_of(table, "rrsig_key_tag", "Key tag of that RRSIG.")
    yield column_of(
        table, "rrsig_labels", "Labels field of that RRSIG; below the owner's: a wildcard."
    )
    yield column_of(table, "rrsig_original_ttl", "Original TTL of that RRSIG, seconds.")
    yield column_of(table, "rrsig_inception", "Inception of that RRSIG.")
    yield column_of(table, "rrsig_expiration", "Expiration of that RRSIG.")


def _asked(table: Table) -> Iterator[Column]:
    yield column_of(table, "passes", "Passes in which it was asked; the last one's outcome counts.")
    yield column_of(table, "questions", "DNS questions sent for it, in all passes.")
    yield column_of(table, "first_asked", "When it was asked for the first time in this run.")
    yield column_of(table, "last_asked", "When it was asked for the last time in this run.")
    yield column_of(table, "ede_code", "Extended DNS error of the first failing answer (RFC 8914).")
    yield column_of(table, "ede_text", "Extra text of that error, as the resolver sent it.")


def _failure(lookup: Table, verdict: Table) -> Iterator[Column]:
    yield column_of(
        lookup,
        "first_look_outcome",
        "Outcome at the first resolver where the second one's answer counts; else null.",
        words=LookupOutcome,
    )
    yield column_of(verdict, "dns_cause", "Why a lookup fails; null: none fails.", words=DnsCause)
    yield column_of(verdict, "failed_zone", "The zone at fault: of an alias, where it leads to.")
    yield column_of(verdict, "failed_name", "The name that fails in that zone.")
    yield column_of(
        verdict, "failed_operator", "Operators of that zone's servers, as they were asked."
    )


AUTHORITY_FIELDS = ("server", "address", "transport", "question", "result")
_AUTHORITY = Column(
    "authority",
    pa.list_(
        pa.field(
            "item",
            pa.struct([pa.field(name, pa.string(), nullable=False) for name in AUTHORITY_FIELDS]),
            nullable=False,
        )
    ),
    "What each authoritative server did with a direct question. Only asked for failures.",
)

UNSIGNED_SAMPLE = PublishedTable(
    "unsigned_sample",
    Access.RESTRICTED,
    "One row a domain of the sample of unsigned delegations (`intake.unsigned_sample`).",
    ("bucket", "domain"),
    (
        column_of(
            DOMAIN_VERDICT, "bucket", "CRC-32 of the domain modulo 4096: the order of the rows."
        ),
        column_of(
            DOMAIN_VERDICT, "domain", "The domain: lower case, no final dot, odd bytes as \\DDD."
        ),
        column_of(DOMAIN_VERDICT, "zone", "The zone whose file has the domain."),
        Column("sampled_one_of", pa.int32(), "It stands for so many unsigned delegations."),
        column_of(
            DOMAIN_MX,
            "outcome",
            "Outcome of the MX lookup.",
            name="mx_outcome",
            words=LookupOutcome,
        ),
        column_of(DOMAIN_MX, "mx_host", "MX hosts by preference, then name; at most 32."),
        column_of(
            DOMAIN_VERDICT, "dns_operator", "Operators of the name servers: registrable domains."
        ),
        column_of(
            DOMAIN_VERDICT,
            "if_signed",
            "Status that it would have if only it were signed.",
            words=DomainStatus,
        ),
    ),
)

DOMAINS = PublishedTable(
    "domains",
    Access.RESTRICTED,
    "One row a surveyed domain: its MX lookup and its verdict.",
    ("bucket", "domain"),
    (
        column_of(
            DOMAIN_VERDICT, "bucket", "CRC-32 of the domain modulo 4096: the order of the rows."
        ),
        column_of(
            DOMAIN_VERDICT, "domain", "The domain: lower case, no final dot, odd bytes as \\DDD."
        ),
        Column("zone", pa.string(), "Zone that delegates it."),
        column_of(DOMAIN_VERDICT, "status", "Status of the domain.", words=DomainStatus),
        column_of(
            DOMAIN_VERDICT, "stage", "Which lookup failed (lookup_failed).", words=LookupStage
        ),
        column_of(DOMAIN_VERDICT, "reason", "Why it takes no mail (no_mail).", words=NoMailReason),
        column_of(
            DOMAIN_VERDICT,
            "level",
            "Whether a most preferred MX host is broken, or only a backup (broken).",
            words=BrokenLevel,
        ),
        column_of(
            DOMAIN_VERDICT,
            "mx_secure",
            "The MX answer or its denial is validated: the denominator of the percentage.",
        ),
        column_of(
            DOMAIN_VERDICT,
            "dane_primary",
            "DANE works at every primary MX host that accepts connections: the headline count.",
        ),
        column_of(
            DOMAIN_VERDICT,
            "deliverable",
            "Whether a sender that enforces DANE can deliver; null: not known, or without DANE.",
        ),
        column_of(
            DOMAIN_VERDICT,
            "host",
            "MX hosts by preference, then name; beyond the cap of 32, up to 32 more as `excess`.",
            name="mx_host",
        ),
        column_of(
            DOMAIN_VERDICT,
            "host_preference",
            "Preference of each MX host; 0 for an implicit MX.",
            name="mx_preference",
        ),
        column_of(
            DOMAIN_VERDICT,
            "host_status",
            "Status of each MX host for this domain.",
            words=HostStatus,
        ),
        column_of(
            DOMAIN_VERDICT, "host_class", "Class of each MX host for this domain.", words=HostClass
        ),
        column_of(DOMAIN_VERDICT, "mx_operator", "Operators of the MX hosts: registrable domains."),
        column_of(
            DOMAIN_VERDICT, "dns_operator", "Operators of the name servers: registrable domains."
        ),
        column_of(DOMAIN_VERDICT, "defects", "Defects of the domain and its lookup.", words=Defect),
        column_of(
            DOMAIN_POLICY,
            "mta_sts",
            "Publishes a valid MTA-STS record; null: not asked, or not known.",
        ),
        column_of(
            DOMAIN_POLICY,
            "tlsrpt",
            "Publishes a valid TLSRPT record; null: not known.",
        ),
        column_of(
            DOMAIN_MX,
            "outcome",
            "Outcome of the MX lookup.",
            name="mx_outcome",
            words=LookupOutcome,
        ),
        column_of(
            DOMAIN_MX,
            "secure",
            "The answer or denial of the MX lookup is validated, CNAMEs included.",
            name="mx_answer_secure",
        ),
        Column("ds", WORDS, "DS set in the zone file: key tag, algorithm, digest type, digest."),
        Column("sha1_only", pa.bool_(), "Only SHA-1 secures a link of the chain from the root."),
        column_of(DOMAIN_MX, "mx_total", "MX hosts in the answer; at most 32 are followed."),
        column_of(DOMAIN_MX, "cname_target", "Fully expanded name of a domain that is an alias."),
        *_asked(DOMAIN_MX),
        *_rrsig(DOMAIN_MX, "the MX RRset"),
        column_of(DOMAIN_MX, "nsec3_iterations", "NSEC3 iterations of the denial of MX."),
        column_of(DOMAIN_MX, "nsec3_salt_length", "NSEC3 salt length of that denial, bytes."),
        column_of(DOMAIN_MX, "nsec3_opt_out", "NSEC3 opt-out flag of that denial."),
        column_of(
            DOMAIN_MX,
            "dnskey_outcome",
            "Outcome of the DNSKEY lookup; null: not asked.",
            words=LookupOutcome,
        ),
        column_of(DOMAIN_MX, "dnskey_algorithm", "Algorithm number of each DNSKEY."),
        column_of(DOMAIN_MX, "dnskey_bits", "Size of each DNSKEY, bits."),
        column_of(DOMAIN_MX, "dnskey_flags", "Flags of each DNSKEY; 257: secure entry point."),
        column_of(DOMAIN_MX, "nsec3param_iterations", "Iterations of the zone's NSEC3PARAM."),
        column_of(
            DOMAIN_MX, "nsec3param_salt_length", "Salt length of the zone's NSEC3PARAM, bytes."
        ),
        column_of(
            DOMAIN_MX,
            "second_look_outcome",
            "Outcome at the second resolver (QNAME minimisation); null: not asked.",
            words=LookupOutcome,
        ),
        *_failure(DOMAIN_MX, DOMAIN_VERDICT),
        _AUTHORITY,
    ),
)

MX_HOSTS = PublishedTable(
    "mx_hosts",
    Access.PUBLIC,
    "One row an MX host of a surveyed domain: addresses, TLSA records, verdict.",
    ("bucket", "host"),
    (
        column_of(HOST_VERDICT, "bucket", "CRC-32 of the host modulo 4096: the order of the rows."),
        column_of(
            HOST_VERDICT, "host", "The MX host: lower case, no final dot, odd bytes as \\DDD."
        ),
        column_of(
            HOST_VERDICT, "operator", "Its operator: the registrable domain, operators merged."
        ),
        column_of(HOST_VERDICT, "status", "Status of the host.", words=HostStatus),
        column_of(HOST_VERDICT, "class", "Class of that status.", words=HostClass),
        column_of(HOST_VERDICT, "usable", "Has a secure TLSA RRset with a usable record."),
        column_of(
            HOST_VERDICT,
            "undecided",
            "Which limit of the survey made it `local_error_smtp`; null: its own trouble.",
            words=Undecided,
        ),
        column_of(
            HOST_VERDICT, "inferred", "Verdict of the same server under other names (sampling)."
        ),
        column_of(HOST_VERDICT, "defects", "Defects of the host.", words=Defect),
        column_of(
            HOST_VERDICT,
            "causes",
            "Why records do not match, distinct and sorted.",
            words=MismatchCause,
        ),
        Column("domains", pa.int64(), "Surveyed domains with this MX host."),
        Column("primary_domains", pa.int64(), "Surveyed domains with it at lowest preference."),
        Column("dns_operator", NAMES, "Operators of the name servers of the host's zone."),
        column_of(MX_HOST, "a_outcome", "Outcome of the A lookup.", words=LookupOutcome),
        column_of(MX_HOST, "a_secure", "The A answer or denial is validated."),
        column_of(MX_HOST, "aaaa_outcome", "Outcome of the AAAA lookup.", words=LookupOutcome),
        column_of(MX_HOST, "aaaa_secure", "The AAAA answer or denial is validated."),
        column_of(MX_HOST, "addresses", "Addresses, sorted as text; at most 32."),
        column_of(MX_HOST, "address_total", "Addresses in the answers."),
        column_of(
            MX_HOST, "cname_chain", "Targets of the CNAMEs in order; the last is the expansion."
        ),
        column_of(MX_HOST, "cname_secure", "All of that chain is validated."),
        column_of(
            MX_HOST,
            "first_cname_secure",
            "The first CNAME is validated, of an alias whose target is not.",
        ),
        column_of(MX_HOST, "tlsa_base", "TLSA base domain (RFC 7672 section 2.2.3)."),
        column_of(
            MX_HOST,
            "tlsa_outcome",
            "Outcome of the TLSA lookup that decided; null: not asked.",
            words=LookupOutcome,
        ),
        column_of(
            MX_HOST, "tlsa", "TLSA records, sorted: usage, selector, matching type, hex data."
        ),
        column_of(
            MX_HOST, "tlsa_digest", "SHA-256 of the sorted TLSA records, joined by newlines."
        ),
        column_of(
            HOST_VERDICT,
            "scheme",
            "What a host that passes has published for its next change of key.",
            words=RolloverScheme,
        ),
        column_of(MX_HOST, "tlsa_usable", "How many of the records are usable."),
        column_of(
            MX_HOST,
            "second_look_outcome",
            "Outcome at the second resolver (QNAME minimisation); null: not asked.",
            words=LookupOutcome,
        ),
        *_asked(MX_HOST),
        *_rrsig(MX_HOST, "the TLSA RRset, else over the addresses"),
        column_of(MX_HOST, "nsec3_iterations", "NSEC3 iterations of the denial of TLSA."),
        *_failure(MX_HOST, HOST_VERDICT),
        column_of(
            HOST_VERDICT,
            "sha1_only",
            "Only SHA-1 secures a link of the chain from the root, to addresses or TLSA RRset.",
        ),
        column_of(
            HOST_VERDICT,
            "failing_servers",
            "Servers of the TLSA RRset's zone that failed twice while another was good.",
        ),
        column_of(
            HOST_VERDICT,
            "disagreeing_servers",
            "Servers of that zone that twice said what the others did not.",
        ),
        column_of(MX_HOST, "contact", "Mailbox that the SOA of the host's zone names."),
        _AUTHORITY,
    ),
)

ADDRESSES = PublishedTable(
    "addresses",
    Access.PUBLIC,
    "One row an address of an MX host with a secure TLSA RRset.",
    ("host", "address"),
    (
        column_of(HOST_VERDICT, "host", "The MX host."),
        Column("address", pa.string(), "IPv4 or IPv6 address."),
        Column("status", pa.string(), "Status at this address.", words=tuple(HostStatus)),
        Column("operator", pa.string(), "Operator of the MX host."),
        Column("certificate_names", NAMES, "Names of the leaf certificate, where they decide."),
    ),
)

PROBES = PublishedTable(
    "probes",
    Access.PUBLIC,
    "One row an SMTP session: attempt, handshake, chain, match.",
    ("address", "tlsa_digest", "operator", "sni", "attempt"),
    (
        column_of(SMTP_PROBE, "address", "Address that was connected to."),
        column_of(
            SMTP_PROBE, "tlsa_digest", "SHA-256 of the TLSA RRset that it was matched against."
        ),
        column_of(SMTP_PROBE, "operator", "Operator of the MX host."),
        column_of(SMTP_PROBE, "sni", "Server name asked for: the TLSA base domain."),
        column_of(SMTP_PROBE, "attempt", "1, 2 or 3."),
        column_of(SMTP_PROBE, "host", "The MX host that this session was made for."),
        column_of(SMTP_PROBE, "status", "What the session came to.", words=HostStatus),
        column_of(
            SMTP_PROBE,
            "undecided",
            "Which limit of the survey made it `local_error_smtp`; null: its own trouble.",
            words=Undecided,
        ),
        column_of(SMTP_PROBE, "tlsa", "The TLSA records, sorted."),
        column_of(
            SMTP_PROBE,
            "record_result",
            "What each record came to.",
            words=(*RecordResult, *MismatchCause),
        ),
        column_of(SMTP_PROBE, "matched_record", "Index of the record that matches, from 0."),
        column_of(
            SMTP_PROBE, "matched_depth", "Depth of the certificate that it matches; 0: leaf."
        ),
        column_of(SMTP_PROBE, "name_decides", "Only trust-anchor records match: names count."),
        column_of(
            SMTP_PROBE,
            "leaf_names",
            "The first 100 DNS names of the leaf certificate, else its common name.",
        ),
        column_of(SMTP_PROBE, "leaf_names_excess", "How many more names it has."),
        column_of(
            SMTP_PROBE, "chain", "SHA-256 of each certificate, as sent (table certificates)."
        ),
        column_of(SMTP_PROBE, "tls_version", "TLS version."),
        column_of(
            SMTP_PROBE,
            "tls_group",
            "Group of the key exchange, such as `X25519MLKEM768`; null: RSA key transport.",
        ),
        column_of(SMTP_PROBE, "cipher", "Cipher suite."),
        column_of(SMTP_PROBE, "key_type", "Key type of the leaf certificate."),
        column_of(
            SMTP_PROBE,
            "after_tls",
            "How the session went wrong after the handshake, if it did.",
            words=AfterTLS,
        ),
        column_of(
            SMTP_PROBE,
            "other_chain",
            "SHA-256 of each certificate that the server sent in a second handshake, in which "
            "it was offered the other kind of key only.",
        ),
        column_of(
            SMTP_PROBE,
            "other_key_type",
            "Key type of that leaf; `none`: the server has no such key; null: not asked or not "
            "known.",
        ),
        column_of(SMTP_PROBE, "smtp_code", "Last SMTP reply code."),
        column_of(SMTP_PROBE, "smtp_text", "Text of that reply, shortened."),
        column_of(SMTP_PROBE, "error", "What ended the session, if not QUIT."),
        column_of(SMTP_PROBE, "defects", "Defects seen in the session.", words=Defect),
        column_of(SMTP_PROBE, "dns_asked", "When addresses and TLSA records were last looked up."),
        column_of(SMTP_PROBE, "connected", "When the connection was made or given up."),
        column_of(SMTP_PROBE, "duration_ms", "Duration of the session, milliseconds."),
        column_of(
            SMTP_PROBE,
            "record_cause",
            "Why each record does not match, empty where it does or nothing is known; of an "
            "unusable record, what its data hints at.",
            words=("", *MismatchCause),
        ),
    ),
)

CERTIFICATES = PublishedTable(
    "certificates",
    Access.RESTRICTED,
    "One row a certificate that a probed server sent. What cannot be parsed has only its bytes.",
    ("sha256",),
    (
        column_of(CERTIFICATE, "sha256", "SHA-256 of the certificate, hex."),
        column_of(CERTIFICATE, "der", "The certificate, DER as sent."),
        column_of(CERTIFICATE, "first_run", "Run that saw it first."),
        Column("subject", pa.string(), "Subject (RFC 4514).", False),
        Column("issuer", pa.string(), "Issuer (RFC 4514).", False),
        Column("serial_number", pa.string(), "Serial number, hex.", False),
        Column("not_before", TIME, "Start of validity.", False),
        Column("not_after", TIME, "End of validity.", False),
        Column("key_type", pa.string(), "rsa, ecdsa, ed25519, ed448, dsa or other.", False),
        Column("key_bits", pa.int32(), "Size of the key, bits.", False),
        Column("signature_algorithm", pa.string(), "OID of the signature algorithm.", False),
        Column("self_issued", pa.bool_(), "Issuer and subject are equal.", False),
        Column("names", NAMES, "DNS names of the subject alternative name extension."),
    ),
)

ZONES = PublishedTable(
    "zones",
    Access.PUBLIC,
    "One row a zone whose delegations the run surveyed.",
    ("zone",),
    (
        Column("zone", pa.string(), "The zone."),
        Column("kind", pa.string(), "How it came: file, czds, axfr or list."),
        Column("serial", pa.int64(), "SOA serial; null for a list.", False),
        Column("sha256", pa.string(), "SHA-256 of the file as received, hex.", False),
        Column("taken", TIME, "When it was taken in."),
        Column("received", pa.int64(), "Size of the file as received, bytes.", False),
        Column("bytes", pa.int64(), "Size unpacked, bytes.", False),
        Column("records", pa.int64(), "Resource records read.", False),
        Column("delegations", pa.int64(), "Delegations in the zone; names in a list.", False),
        Column("signed", pa.int64(), "Delegations with DS; null for a list.", False),
    ),
)

_BREAKAGE_HEAD = (
    Column(
        "operator_kind",
        pa.string(),
        "Whose it is to repair: mx, the operator of the MX host; dns, of the name servers.",
        words=tuple(OperatorKind),
    ),
    Column("operator", pa.string(), "The operator: a registrable domain."),
    Column(
        "host", pa.string(), "MX host; null where the MX lookup itself fails.", False, blank=True
    ),
)

_BREAKAGE_WHAT = (
    Column(
        "status",
        pa.string(),
        "Status of the host, or outcome of the failing lookup.",
        words=(*HostStatus, *LookupOutcome),
    ),
    Column(
        "stage",
        pa.string(),
        "Which lookup fails; null: none, the host is broken.",
        False,
        words=tuple(LookupStage),
        blank=True,
    ),
    Column(
        "state",
        pa.string(),
        "suspected, or confirmed by daily looks with two attempts each.",
        words=tuple(BreakageState),
    ),
)

BREAKAGES = PublishedTable(
    "breakages",
    Access.RESTRICTED,
    "One row a broken or failing (domain, operator, host), suspected ones included.",
    ("operator_kind", "operator", "host", "domain"),
    (
        *_BREAKAGE_HEAD,
        Column("domain", pa.string(), "The domain that suffers."),
        *_BREAKAGE_WHAT,
        Column(
            "level",
            pa.string(),
            "primary, if the host is among the most preferred ones of the domain, or backup; "
            "null where the MX lookup itself fails.",
            False,
            words=tuple(BrokenLevel),
        ),
        Column(
            "fault",
            pa.string(),
            "What is broken: the certificate, STARTTLS or TLS, or a lookup.",
            words=tuple(FaultKind),
        ),
        Column(
            "rollover_in_progress",
            pa.bool_(),
            "A TLSA record or certificate that was not seen before came within 2 TTL.",
        ),
        Column("looks", pa.int32(), "Daily looks in a row that count, this one included."),
        Column("first_look", TIME, "First of these looks; of this one if none counts."),
        Column("last_look", TIME, "Last of these looks; of this one if none counts."),
        Column("seen", TIME, "When it was seen last in this run."),
        Column("unchanged_since", TIME, "Last look that saw a record or certificate first."),
        Column(
            "observed",
            NAMES,
            "TLSA RRsets and leaf certificates seen (`tlsa` or `leaf`, SHA-256), sorted.",
        ),
        Column("addresses", NAMES, "Addresses at fault, sorted."),
        Column("causes", WORDS, "Why records do not match.", words=tuple(MismatchCause)),
        Column(
            "dns_cause",
            pa.string(),
            "Why the lookup fails; null: it does not, or its servers were not asked.",
            False,
            words=tuple(DnsCause),
        ),
        Column("zone", pa.string(), "The zone at fault, whose servers were asked.", False),
        Column("failed_name", pa.string(), "The name that fails in that zone.", False),
        Column("contact", pa.string(), "Mailbox that the SOA of the host's zone names.", False),
        Column("defects", WORDS, "Defects of the host or lookup.", words=tuple(Defect)),
        Column("evidence", WORDS, "What was seen: records, certificates, replies, servers."),
    ),
)

CONFIRMED_BREAKAGES = PublishedTable(
    "breakages",
    Access.PUBLIC,
    "Confirmed breakages by operator and MX host, with the number of domains that suffer.",
    ("operator_kind", "operator", "host", "status", "stage"),
    (
        *_BREAKAGE_HEAD,
        *_BREAKAGE_WHAT,
        Column("domains", pa.int64(), "Domains that suffer."),
        Column("first_look", TIME, "First look that found it so."),
        Column("last_look", TIME, "Last look that found it so."),
        Column(
            "confirmed_faults",
            WORDS,
            "Kinds of fault of the host that are confirmed by themselves.",
            words=(FaultKind.CERTIFICATE, FaultKind.TLS),
        ),
    ),
)

_FAILING = (
    Column(
        "operator_kind",
        pa.string(),
        "mx: an MX host that breaks its promise; dns: a lookup that fails.",
        words=tuple(OperatorKind),
    ),
    Column(
        "host", pa.string(), "MX host; null where the MX lookup itself fails.", False, blank=True
    ),
    Column(
        "domain",
        pa.string(),
        "The domain whose MX lookup fails; null where a host is named.",
        False,
        blank=True,
    ),
)

ANY_FAULT = "any"

CONFIRMATIONS = PublishedTable(
    "confirmations",
    Access.RESTRICTED,
    "How far each failing host and lookup is from being confirmed: whatever the fault is from day "
    "to day, and each kind of fault by itself. A row that this run learned nothing about stays.",
    ("operator_kind", "host", "domain", "fault"),
    (
        *_FAILING,
        Column(
            "fault",
            pa.string(),
            "`any`, or the one kind of fault that the row is about.",
            words=(ANY_FAULT, *FaultKind),
        ),
        Column(
            "state",
            pa.string(),
            "suspected, or confirmed by daily looks with two attempts each.",
            words=tuple(BreakageState),
        ),
        Column("looks", pa.int32(), "Daily looks in a row that count."),
        Column("first_look", TIME, "First of these looks."),
        Column("last_look", TIME, "Last of these looks."),
        Column("unchanged_since", TIME, "Last look that saw a record or certificate first."),
        Column("rollover_in_progress", pa.bool_(), "That was within 2 TTL."),
        Column(
            "observed",
            NAMES,
            "TLSA RRsets and leaf certificates seen (`tlsa` or `leaf`, SHA-256), sorted.",
        ),
    ),
)

_EPISODE = (
    Column(
        "good_until",
        TIME,
        "Last good look before: it cannot have begun earlier. Null: none was seen.",
        False,
    ),
    Column("began", TIME, "First look that failed: it cannot have begun later."),
    Column("confirmed", TIME, "Look that confirmed it; null: not confirmed.", False),
    Column("failing_until", TIME, "Last look that failed: it cannot have ended earlier."),
    Column(
        "ended",
        TIME,
        "First look after it at which nothing failed: it cannot have ended later. Null: open.",
        False,
    ),
    Column("ended_by", pa.string(), "Why it ended.", False, words=tuple(EpisodeEnd)),
    Column(
        "recurrence",
        pa.int32(),
        "Earlier episodes of the same host or lookup that ended within 365 days before it began.",
    ),
    Column("looks", pa.int32(), "Looks that failed."),
    Column(
        "kind",
        pa.string(),
        "Status of the host at the last look that failed, or `lookup`.",
        words=(*FAULT_KIND, FaultKind.LOOKUP),
    ),
    Column("cause", pa.string(), "Why, where it is known.", False),
    Column("domains", pa.int64(), "Domains that suffered at the last look that failed."),
)

EPISODES = PublishedTable(
    "episodes",
    Access.RESTRICTED,
    "One row an episode, from the first look at which a host or lookup fails to the first good one "
    "after it: those that are open in this run, and those that ended in it.",
    ("operator_kind", "host", "domain", "began"),
    (
        *_FAILING,
        Column("operators", NAMES, "Whose it is to repair, sorted."),
        Column(
            "stage",
            pa.string(),
            "Which lookup fails; null: none, the host is broken.",
            False,
            words=tuple(LookupStage),
            blank=True,
        ),
        *_EPISODE,
        Column("evidence", WORDS, "What the last look that failed saw."),
        Column("sample", NAMES, "Domains that suffered then, at most 100."),
    ),
)

CONFIRMED_EPISODES = PublishedTable(
    "episodes",
    Access.PUBLIC,
    "Episodes of MX hosts that were confirmed. Hosts with few domains are without a name.",
    (
        *("operator_kind", "operator", "host", "began", "failing_until", "kind", "cause"),
        *("good_until", "confirmed", "ended", "ended_by", "recurrence", "looks"),
    ),
    (
        *_BREAKAGE_HEAD,
        *_EPISODE,
    ),
)

ROLLOVERS = PublishedTable(
    "rollovers",
    Access.RESTRICTED,
    "One row a change of a mail server's key in the last 31 days that needs another TLSA record.",
    ("host", "leaf"),
    (
        Column("host", pa.string(), "TLSA base domain: the name under which the server is asked."),
        Column("operator", pa.string(), "Operator of the host."),
        Column("leaf", pa.string(), "SHA-256 of the new leaf certificate, hex."),
        Column("old_last_shown", TIME, "Last look that showed the old key, at any address."),
        Column("first_shown", TIME, "First look that showed the new key, at the last address."),
        Column("introduced_by", TIME, "First look with a record of the new key.", False),
        Column("grade", pa.string(), "How it went.", words=tuple(RolloverGrade)),
    ),
)

PUBLIC_ROLLOVERS = replace(
    ROLLOVERS,
    access=Access.PUBLIC,
    description=f"{ROLLOVERS.description} Those of hosts that may be named.",
)

PUBLIC_DOMAINS = PublishedTable(
    "domains",
    Access.PUBLIC,
    "One row a surveyed domain of a zone whose licence allows to pass its names on.",
    ("bucket", "domain"),
    (
        Column("bucket", pa.int16(), "CRC-32 of the domain modulo 4096: the order of the rows."),
        Column("domain", pa.string(), "The domain."),
        Column("zone", pa.string(), "Zone that delegates it."),
        Column("licence", pa.string(), "Licence of the names of that zone."),
        Column(
            "status",
            pa.string(),
            "Status of the domain; unsettled: broken or failing, not confirmed.",
            words=(*DomainStatus, UNSETTLED),
        ),
        Column("mx_secure", pa.bool_(), "The MX answer or its denial is validated."),
        Column("dane_primary", pa.bool_(), "Counted as a DANE domain."),
        Column(
            "mx_host",
            NAMES,
            "MX hosts by preference, then name; `(fewer than 10 domains)` for one that too few "
            "domains depend on.",
        ),
        column_of(DOMAIN_VERDICT, "host_preference", "Their preferences.", name="mx_preference"),
        Column(
            "host_class",
            WORDS,
            "Class of each MX host; unsettled: F or L, not confirmed.",
            words=(*HostClass, UNSETTLED),
        ),
        Column("mx_operator", NAMES, "Operators of the MX hosts that may be named."),
        Column("dns_operator", NAMES, "Operators of the name servers that may be named."),
    ),
)

_NEVER_PUBLIC = frozenset(
    {
        "ede_text",
        "smtp_text",
        "error",
        "leaf_names",
        "der",
        "serial_number",
        "first_run",
        "failed_zone",
        "failed_name",
        "failed_operator",
        "failing_servers",
        "disagreeing_servers",
        "contact",
    }
)
"""What strangers wrote, what leads to the names in a certificate, and names of others' zones."""


def _public_part(table: PublishedTable, description: str = "") -> PublishedTable:
    columns = tuple(one for one in table.columns if one.name not in _NEVER_PUBLIC)
    return replace(
        table,
        access=Access.PUBLIC,
        columns=columns,
        description=description or table.description,
    )


PUBLIC_CERTIFICATES = _public_part(
    CERTIFICATES,
    "Certificates of the sessions in public/probes. Subject, issuer and names are there where "
    "enough domains depend on them.",
)


SPLIT: dict[PublishedTable, PublishedTable] = {
    _public_part(table): replace(
        table,
        access=Access.RESTRICTED,
        description=f"{table.description} Those that public/{table.name} must not have.",
    )
    for table in (MX_HOSTS, ADDRESSES, PROBES, ZONES)
}
"""Tables in two parts: the public one, and the restricted one of the same name, which has all
columns. Together they are the table."""

MX_HOSTS, ADDRESSES, PROBES, ZONES = SPLIT

TABLES: tuple[PublishedTable, ...] = (
    DOMAINS,
    UNSIGNED_SAMPLE,
    PUBLIC_DOMAINS,
    *(part for parts in SPLIT.items() for part in parts),
    CERTIFICATES,
    PUBLIC_CERTIFICATES,
    BREAKAGES,
    CONFIRMED_BREAKAGES,
    CONFIRMATIONS,
    EPISODES,
    CONFIRMED_EPISODES,
    ROLLOVERS,
    PUBLIC_ROLLOVERS,
    *DERIVED,
)
