"""The declared Arrow schema of every table that scans fill and the data set publishes.

One declaration serves three readers: the scans build their result batches from it (the
coordinator hands it to them), the COPY writer checks and orders columns by it, and the
Parquet export casts to it. `migrations/` declares the same columns in SQL; a test holds
the two together.

Conventions:
- names are presentation form, lower case, without the final dot, `\\DDD` escapes
  (`dane.names`); the root is `.`;
- `bucket` is `dane.names.bucket(name)`, 0..4095, of the table's key name;
- times are UTC microseconds; a list is never null, it is empty;
- words are the members of `dane.outcomes`, stored as text.
"""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

TIME = pa.timestamp("us", tz="UTC")
NAMES = pa.list_(pa.field("item", pa.string(), nullable=False))
WORDS = NAMES


def _required(name: str, kind: pa.DataType) -> "pa.Field[Any]":
    return pa.field(name, kind, nullable=False)


def _optional(name: str, kind: pa.DataType) -> "pa.Field[Any]":
    return pa.field(name, kind, nullable=True)


_RUN = [_required("run_id", pa.int32()), _required("bucket", pa.int16())]

# How a question was asked: the last pass's outcome, the first pass's EDE (Unbound before
# 1.18 repeats a cached bogus answer with a bare EDE 6, so the first says more).
_ASKED = [
    _required("passes", pa.int16()),
    _required("questions", pa.int32()),
    _required("first_asked", TIME),
    _required("last_asked", TIME),
    _optional("ede_code", pa.int32()),
    _optional("ede_text", pa.string()),
]

# The RRSIG over the answer (RFC 4034 section 3.1); null without one.
_RRSIG = [
    _optional("rrsig_signer", pa.string()),
    _optional("rrsig_algorithm", pa.int16()),
    _optional("rrsig_key_tag", pa.int32()),
    _optional("rrsig_labels", pa.int16()),
    _optional("rrsig_original_ttl", pa.int64()),
    _optional("rrsig_inception", TIME),
    _optional("rrsig_expiration", TIME),
]


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its name in PostgreSQL, its columns in order, and its key columns."""

    name: str
    schema: pa.Schema
    key: tuple[str, ...]


DOMAIN_MX = Table(
    "domain_mx",
    pa.schema(
        [
            *_RUN,
            _required("domain", pa.string()),
            _required("outcome", pa.string()),  # LookupOutcome of the MX question
            _required("secure", pa.bool_()),  # answer or denial validated, CNAMEs included
            *_ASKED,
            # hosts by preference, then name; at most 32 (mx_total is how many there were);
            # implicit MX (RFC 5321 section 5.1): outcome nodata, one host, preference 0
            _required("mx_preference", pa.list_(pa.field("item", pa.int32(), nullable=False))),
            _required("mx_host", NAMES),
            _required("mx_total", pa.int32()),
            # the next 32 hosts, which are not followed
            _required(
                "mx_excess_preference", pa.list_(pa.field("item", pa.int32(), nullable=False))
            ),
            _required("mx_excess_host", NAMES),
            _optional("cname_target", pa.string()),  # the domain's fully expanded name
            *_RRSIG,
            _optional("nsec3_iterations", pa.int32()),  # of a denial
            _optional("nsec3_salt_length", pa.int16()),
            _optional("nsec3_opt_out", pa.bool_()),
            # of the zone (measurement, section 3.5); null where not asked
            _optional("dnskey_outcome", pa.string()),
            _required("dnskey_algorithm", pa.list_(pa.field("item", pa.int16(), nullable=False))),
            _required("dnskey_bits", pa.list_(pa.field("item", pa.int32(), nullable=False))),
            _required("dnskey_flags", pa.list_(pa.field("item", pa.int32(), nullable=False))),
            _optional("nsec3param_iterations", pa.int32()),
            _optional("nsec3param_salt_length", pa.int16()),
            # the second Unbound (qname minimisation on), for failures; null where not asked
            # and what the first one said, where the second's answer is the one that counts
            _optional("first_look_outcome", pa.string()),
            _optional("second_look_outcome", pa.string()),
            # only SHA-1 secures a link of its chain of trust (RFC 9905 section 2)
            _required("sha1_only", pa.bool_()),
        ]
    ),
    ("run_id", "bucket", "domain"),
)

WANTED_HOST = Table(
    "wanted_host",
    pa.schema(
        [
            *_RUN,
            _required("host", pa.string()),
            # how many MX hosts the domain has that wants it: of several, the one with fewest
            _required("hosts", pa.int16()),
        ]
    ),
    ("run_id", "bucket", "host"),
)
"""Which MX hosts the run's secure MX RRsets name: stored with the domains."""

MX_HOST = Table(
    "mx_host",
    pa.schema(
        [
            *_RUN,
            _required("host", pa.string()),
            _required("operator", pa.string()),  # its registrable domain, merged
            # HostStatus if DNS alone decides it; null: TLSA is there, the probe decides
            _optional("status", pa.string()),
            *_ASKED,
            _optional("a_outcome", pa.string()),
            _required("a_secure", pa.bool_()),
            _optional("aaaa_outcome", pa.string()),
            _required("aaaa_secure", pa.bool_()),
            _required("addresses", NAMES),  # canonical text, sorted; at most 32
            _required("address_total", pa.int32()),
            _required("cname_chain", NAMES),  # targets in order; the last is the expanded name
            _required("cname_secure", pa.bool_()),  # all of the chain
            _optional("first_cname_secure", pa.bool_()),  # of an alias whose target is insecure
            _optional("tlsa_base", pa.string()),  # TLSA base domain (RFC 7672 section 2.2.3)
            _optional("tlsa_outcome", pa.string()),  # of the question that decided
            _required("tlsa", WORDS),  # "3 1 1 <hex>", lower case, sorted; as published
            _optional("tlsa_digest", pa.string()),  # dane.tlsa.rrset_digest: the probe's key
            _required("tlsa_usable", pa.int32()),  # how many records are usable
            # as in domain_mx; of a TLSA RRset that was found, too
            _optional("first_look_outcome", pa.string()),
            _optional("second_look_outcome", pa.string()),
            # parallel lists: the questions that one of the resolvers fails
            _required("failed_names", NAMES),
            _required("failed_types", WORDS),  # A, AAAA, CNAME, TLSA
            _required("sha1_only", pa.bool_()),  # as in domain_mx, of addresses and TLSA RRset
            _required("defects", WORDS),
            *_RRSIG,  # of the TLSA RRset, else of the address RRset
            _optional("nsec3_iterations", pa.int32()),
            _optional("contact", pa.string()),  # mailbox in the SOA of the TLSA RRset's zone
        ]
    ),
    ("run_id", "bucket", "host"),
)

SMTP_PROBE = Table(
    "smtp_probe",
    pa.schema(
        [
            *_RUN,  # bucket of the address's text
            _required("address", pa.string()),
            _required("tlsa_digest", pa.string()),
            _required("operator", pa.string()),  # registrable domain of the MX host, merged
            _required("sni", pa.string()),  # TLSA base domain asked for
            _required("attempt", pa.int16()),  # 1, 2, 3
            _required("host", pa.string()),  # the MX host that this probe was made for
            _required("status", pa.string()),  # HostStatus, from `mismatch` down
            # Undecided: which limit of ours made it local_error_smtp; null: our own trouble
            _optional("undecided", pa.string()),
            _required("tlsa", WORDS),
            # per record, in the order of `tlsa`: a RecordResult or a MismatchCause
            _required("record_result", WORDS),
            _optional("matched_record", pa.int32()),
            _optional("matched_depth", pa.int32()),
            # status before any name check is `pass` and a name decides (usage 2 only)
            _required("name_decides", pa.bool_()),
            _required("leaf_names", NAMES),  # DNS-IDs, else the CN; the first ones
            _required("leaf_names_excess", pa.int32()),  # how many more there are
            _required("chain", WORDS),  # sha256 of each certificate as sent, hex
            _optional("tls_version", pa.string()),
            _optional("tls_group", pa.string()),  # of the key exchange; null: RSA key transport
            _optional("cipher", pa.string()),
            _optional("key_type", pa.string()),
            _optional("after_tls", pa.string()),  # AfterTLS; null: nothing went wrong
            # of the handshake for the other kind of key; `none`: the server has no such key
            _required("other_chain", WORDS),
            _optional("other_key_type", pa.string()),
            _optional("smtp_code", pa.int32()),
            _optional("smtp_text", pa.string()),
            _optional("error", pa.string()),
            _required("defects", WORDS),
            _required("dns_asked", TIME),
            _required("connected", TIME),
            _required("duration_ms", pa.int32()),
            # per record: the MismatchCause, or "" where it matches or nothing is known; of an
            # unusable record, what its data hints at
            _required("record_cause", WORDS),
        ]
    ),
    ("run_id", "bucket", "address", "tlsa_digest", "operator", "sni", "attempt"),
)

CERTIFICATE = Table(
    "certificate",
    pa.schema(
        [
            _required("sha256", pa.string()),
            _required("der", pa.binary()),
            _required("first_run", pa.int32()),
            _required("names", pa.string()),  # DNS-IDs, else the CN: all of them, one a line
        ]
    ),
    ("sha256",),
)

AUTHORITY = Table(
    "authority",
    pa.schema(
        [
            *_RUN,
            _required("name", pa.string()),
            _required("rrtype", pa.string()),
            # the zone at fault and the name that fails there: of an alias, those that it leads
            # to; null where no zone of the name can be found
            _optional("zone", pa.string()),
            _required("failed_name", pa.string()),
            _optional("dns_cause", pa.string()),  # DnsCause
            _required("all_good", pa.bool_()),  # every server gave a good answer, twice
            # parallel lists, one entry a (server, address, transport, question)
            _required("server", NAMES),
            _required("address", WORDS),
            _required("transport", WORDS),  # udp | tcp
            # MX, TLSA, A, SOA, DNSKEY, `invented`, `_tcp` (A there), `no-edns` (SOA)
            _required("question", WORDS),
            _required("result", WORDS),  # AuthorityResult
            _optional("note", pa.string()),  # such as "signed before the serial was raised"
            _required("asked", TIME),
        ]
    ),
    ("run_id", "bucket", "name", "rrtype"),
)

DOMAIN_POLICY = Table(
    "domain_policy",
    pa.schema(
        [
            *_RUN,
            _required("domain", pa.string()),  # with a TLSA host
            # LookupOutcome of the TXT question at `_mta-sts`; null: no room for such a name
            _optional("mta_sts_outcome", pa.string()),
            _optional("mta_sts", pa.bool_()),  # a valid record (RFC 8461); null: not known
            _optional("tlsrpt_outcome", pa.string()),  # at `_smtp._tls`
            _optional("tlsrpt", pa.bool_()),  # a valid record (RFC 8460); null: not known
            _required("last_asked", TIME),
        ]
    ),
    ("run_id", "bucket", "domain"),
)

TLSA_SERVER = Table(
    "tlsa_server",
    pa.schema(
        [
            *_RUN,
            _required("host", pa.string()),
            _required("round", pa.int16()),  # 1, and 2 half an hour later of what is not settled
            _required("name", pa.string()),  # of the TLSA RRset
            _optional("zone", pa.string()),  # whose servers were asked
            _required("settled", pa.bool_()),  # all are good and alike
            # parallel lists, one entry a server address
            _required("server", NAMES),
            _required("address", WORDS),
            _required("result", WORDS),  # AuthorityResult
            _required("answer", WORDS),  # digest of the records; empty for a denial
            _required("sound", pa.list_(pa.field("item", pa.bool_(), nullable=False))),
            _required("asked", TIME),
        ]
    ),
    ("run_id", "bucket", "host", "round"),
)

HOST_VERDICT = Table(
    "host_verdict",
    pa.schema(
        [
            *_RUN,
            _required("host", pa.string()),
            _required("status", pa.string()),
            _required("class", pa.string()),
            _required("usable", pa.bool_()),  # a secure TLSA RRset with a usable record
            _required("operator", pa.string()),
            _required("address", WORDS),
            _required("address_status", WORDS),
            # where address_status is name_mismatch: sha256 of the leaf, whose names are compared
            # with those of each domain; else empty
            _required("address_leaf", WORDS),
            _required("inferred", pa.bool_()),
            # the unexpanded MX name, which is no reference name, would have matched
            _required("accepted_by_lenient", pa.bool_()),
            _required("defects", WORDS),
            _required("causes", WORDS),  # MismatchCause of the records that do not match
            _optional("undecided", pa.string()),  # Undecided, of a host that is local_error_smtp
            _optional("scheme", pa.string()),  # RolloverScheme, of a host that passes
            # why a lookup fails: the zone at fault, the name that fails there, the operators of
            # the servers that were asked; null or empty where none fails, or it is not known
            _optional("dns_cause", pa.string()),  # DnsCause
            _optional("failed_zone", pa.string()),
            _optional("failed_name", pa.string()),
            _required("failed_operator", NAMES),
            _required("sha1_only", pa.bool_()),  # of the host
            # servers of the TLSA RRset's zone, "SERVER ADDRESS": behind the defects
            # some_servers_fail and servers_disagree
            _required("failing_servers", WORDS),
            _required("disagreeing_servers", WORDS),
        ]
    ),
    ("run_id", "bucket", "host"),
)

DOMAIN_VERDICT = Table(
    "domain_verdict",
    pa.schema(
        [
            *_RUN,
            _required("domain", pa.string()),
            _required("status", pa.string()),
            _optional("stage", pa.string()),  # LookupStage
            _optional("reason", pa.string()),  # NoMailReason
            _optional("level", pa.string()),  # BrokenLevel
            _required("mx_secure", pa.bool_()),
            _required("dane_primary", pa.bool_()),
            _optional("deliverable", pa.bool_()),
            _required("host", NAMES),
            _required("host_preference", pa.list_(pa.field("item", pa.int32(), nullable=False))),
            _required("host_status", WORDS),  # per (domain, host)
            _required("host_class", WORDS),
            _required("mx_operator", NAMES),  # sorted, distinct
            _required("dns_operator", NAMES),  # registrable domains of the NS set
            _optional("zone", pa.string()),  # whose zone file or list has the domain
            _required("ds", WORDS),  # its DS set there: "key-tag algorithm digest-type digest"
            # of the sample of unsigned delegations: one of so many; null: surveyed for itself
            _optional("sampled_one_of", pa.int32()),
            _optional("if_signed", pa.string()),  # its DomainStatus if only it were signed
            _required("defects", WORDS),
            # as in host_verdict, of the MX question
            _optional("dns_cause", pa.string()),  # DnsCause
            _optional("failed_zone", pa.string()),
            _optional("failed_name", pa.string()),
            _required("failed_operator", NAMES),
            _required("sha1_only", pa.bool_()),  # of the MX answer, or of one of its hosts
        ]
    ),
    ("run_id", "bucket", "domain"),
)

OBSERVATIONS = (
    DOMAIN_MX,
    WANTED_HOST,
    MX_HOST,
    SMTP_PROBE,
    AUTHORITY,
    TLSA_SERVER,
    HOST_VERDICT,
    DOMAIN_VERDICT,
    DOMAIN_POLICY,
)
"""Partitioned by run: dropped whole when retention ends."""
