"""Declarations of the tables that are computed from the others (`reports.derived`).

They name nobody with fewer domains than `publish.public_floor`, and hold no unconfirmed
breakage, so all of them are public.
"""

from enum import StrEnum

import pyarrow as pa

from dane.outcomes import DomainStatus, HostClass
from reports.columns import Access, Column, PublishedTable
from storage.run import RunKind
from storage.schemas import WORDS

UNSETTLED = "unsettled"
"""In place of a status or class that is broken or failing and not confirmed."""


class ChangeReason(StrEnum):
    """Why a domain is counted in one month and not in the other; the first that applies."""

    RULES_CHANGED = "rules_changed"  # seen the same in both months, and counted otherwise
    ZONE_NOT_SEEN = "zone_not_seen"  # its zone was not taken in for one of the runs
    OPTED_OUT = "opted_out"  # it, or its MX host, is or was on the opt-out list
    SIGNED_NEW = "signed_new"  # it was no signed delegation in the month before
    DOMAIN_GONE = "domain_gone"  # it is not delegated any more
    DS_REMOVED = "ds_removed"  # it is delegated, and not signed any more
    MX_MOVED = "mx_moved"  # other MX hosts
    OPERATOR_PUBLISHED_TLSA = "operator_published_tlsa"
    OPERATOR_REMOVED_TLSA = "operator_removed_tlsa"
    BROKE = "broke"
    REPAIRED = "repaired"
    LOOKUP_FAILS = "lookup_fails"
    LOOKUP_WORKS = "lookup_works"
    UNREACHABLE = "unreachable"
    OTHER = "other"


_FEW = "; `(fewer than 10 domains)`, with the floor of the run, where the cell would be too small"

NAMES_TABLE = PublishedTable(
    "names",
    Access.PUBLIC,
    "One row a name on which at least `publish.public_floor` surveyed domains depend, in full "
    "runs: only these names are in public tables.",
    ("kind", "name"),
    (
        Column(
            "kind",
            pa.string(),
            "What it is to the domains.",
            words=("mx_host", "mx_operator", "dns_operator", "zone"),
        ),
        Column("name", pa.string(), "The name."),
        Column("domains", pa.int64(), "Surveyed domains that depend on it."),
    ),
)

DOMAIN_COUNTS = PublishedTable(
    "domain_counts",
    Access.PUBLIC,
    "How many domains there are of each kind: every surveyed domain is in one row. A row that "
    "names a zone or an operator has at least `publish.public_floor` domains.",
    (
        "zone",
        "status",
        "detail",
        "dane_primary",
        "mx_secure",
        "sha1_only",
        "mx_operator",
        "dns_operator",
        "algorithm",
    ),
    (
        Column("zone", pa.string(), f"Zone that delegates them{_FEW}."),
        Column(
            "status",
            pa.string(),
            "Status of the domain; unsettled: broken or failing, not confirmed.",
            words=(*DomainStatus, UNSETTLED),
        ),
        Column("detail", pa.string(), "The stage, reason or level of that status.", False),
        Column("dane_primary", pa.bool_(), "Counted as DANE domains."),
        Column("mx_secure", pa.bool_(), "The MX answer or its denial is validated."),
        Column("sha1_only", pa.bool_(), "Only SHA-1 secures a link of the chain from the root."),
        Column(
            "mx_operator",
            pa.string(),
            f"Operator of the MX hosts{_FEW}; `(several)`; null: no MX host.",
            False,
        ),
        Column(
            "dns_operator",
            pa.string(),
            f"Operator of the name servers{_FEW}; `(several)`; null: not known.",
            False,
        ),
        Column(
            "algorithm",
            pa.int16(),
            "DNSSEC algorithm of the RRSIG over MX, else the lowest of the DNSKEYs.",
            False,
        ),
        Column("domains", pa.int64(), "How many domains."),
    ),
)

HOST_COUNTS = PublishedTable(
    "host_counts",
    Access.PUBLIC,
    "How many MX hosts there are of each kind: every MX host is in one row, none is named.",
    ("class", "scheme", "parameters", "tls_version", "tls_group", "key_type", "issuer"),
    (
        Column(
            "class",
            pa.string(),
            "Class of the host; unsettled: F or L, not confirmed.",
            words=(*HostClass, UNSETTLED),
        ),
        Column("scheme", pa.string(), "How it is prepared for the next key.", False),
        Column(
            "parameters",
            pa.string(),
            "TLSA records by usage, selector and matching type, distinct, joined by ` + `.",
            False,
        ),
        Column("tls_version", pa.string(), "TLS version of the last session.", False),
        Column("tls_group", pa.string(), "Group of its key exchange.", False),
        Column("key_type", pa.string(), "Key type of its leaf certificate.", False),
        Column("issuer", pa.string(), f"Issuer of that certificate; `(self-issued)`{_FEW}.", False),
        Column("hosts", pa.int64(), "How many hosts."),
    ),
)

OPERATORS = PublishedTable(
    "operators",
    Access.PUBLIC,
    "One row an operator of MX hosts on which at least `publish.public_floor` domains depend. A "
    "number between zero and the floor is null.",
    ("operator",),
    (
        Column("operator", pa.string(), "The operator: a registrable domain, operators merged."),
        Column("domains", pa.int64(), "Surveyed domains with one of its MX hosts."),
        Column("dane_domains", pa.int64(), "DANE domains whose primary hosts are its.", False),
        Column("hosts", pa.int64(), "Its MX hosts."),
        Column("tlsa_hosts", pa.int64(), "Those with a secure TLSA RRset."),
        Column("schemes", WORDS, "How these are prepared for the next key, distinct."),
        Column("parameters", WORDS, "Usage, selector and matching type of their records."),
        Column(
            "confirmed_broken_domains",
            pa.int64(),
            "Domains that suffer from confirmed breakage of its hosts.",
            False,
        ),
        Column("rank", pa.int64(), "Rank by DANE domains; null: it has none or few.", False),
        Column(
            "dane_domains_before", pa.int64(), "DANE domains in the month before, if told.", False
        ),
        Column("rank_before", pa.int64(), "Rank in the month before, if told.", False),
    ),
)

_CHANGE_WHAT = (
    Column(
        "headline",
        pa.string(),
        "Which headline counts them: mx_secure or dane_primary.",
        words=("mx_secure", "dane_primary"),
    ),
    Column("direction", pa.string(), "Since the month before.", words=("gained", "lost")),
    Column("reason", pa.string(), "The first reason that applies.", words=tuple(ChangeReason)),
)

CHANGES = PublishedTable(
    "changes",
    Access.PUBLIC,
    "Why the two headlines moved since the last full run of the month before: domains by reason "
    "and by operator of their MX hosts, before and now. Gained minus lost is the difference.",
    ("headline", "direction", "reason", "operator_before", "operator_now"),
    (
        *_CHANGE_WHAT,
        Column(
            "operator_before",
            pa.string(),
            f"Operator in the month before{_FEW}; `(several)`; null: none.",
            False,
        ),
        Column("operator_now", pa.string(), f"Operator now{_FEW}; `(several)`; null: none.", False),
        Column("domains", pa.int64(), "How many domains."),
    ),
)

DOMAIN_CHANGES = PublishedTable(
    "changes",
    Access.RESTRICTED,
    "The domains that `public/changes` counts.",
    ("bucket", "domain", "headline"),
    (
        Column("bucket", pa.int16(), "CRC-32 of the domain modulo 4096: the order of the rows."),
        Column("domain", pa.string(), "The domain."),
        *_CHANGE_WHAT,
        Column("operator_before", pa.string(), "Operator in the month before.", False),
        Column("operator_now", pa.string(), "Operator now.", False),
        Column("status_before", pa.string(), "Status then; null: not surveyed.", False),
        Column("status_now", pa.string(), "Status now; null: not surveyed.", False),
    ),
)

_NUMBER = (
    Column("metric", pa.string(), "What is counted."),
    Column("dimension", pa.string(), "By what it is split; `all`: not split."),
    Column("key", pa.string(), "The member of the dimension; null if not split.", False),
    Column(
        "value",
        pa.float64(),
        "The number; percentages truncated to two decimals. Null: a percentile not reached.",
        False,
    ),
    Column(
        "unit",
        pa.string(),
        "What the number counts: domains, hosts, records, percent and so on.",
    ),
)
_RUN_KIND = Column(
    "kind", pa.string(), "Kind of the run: never add up different ones.", words=tuple(RunKind)
)

STATISTICS = PublishedTable(
    "statistics",
    Access.PUBLIC,
    "One row a published number; each comes from a .sql file over the other tables.",
    ("metric", "dimension", "key"),
    (*_NUMBER, _RUN_KIND),
)

SERIES = PublishedTable(
    "series",
    Access.PUBLIC,
    "The statistics of all runs of a year in one file.",
    ("kind", "metric", "dimension", "key", "date", "run"),
    (
        Column("date", pa.date32(), "Day on which the run began, UTC."),
        Column("month", pa.string(), "Month that the run describes, YYYY-MM."),
        Column("run", pa.int32(), "The run."),
        _RUN_KIND,
        *_NUMBER,
    ),
    by_year=True,
)

DERIVED = (
    NAMES_TABLE,
    DOMAIN_COUNTS,
    HOST_COUNTS,
    OPERATORS,
    CHANGES,
    DOMAIN_CHANGES,
    STATISTICS,
    SERIES,
)
