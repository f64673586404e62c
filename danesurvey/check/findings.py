"""What is known so far of the domains that are measured together, and which are finished.

The rows are those of the survey's scans, as the survey stores them; the verdicts on them are
the survey's roll-ups. Nothing is asked here.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from crawler.scan import assess
from crawler.scan.context import ScanContext
from crawler.scan.misplaced import Misplaced
from dane.attempts import attempts_needed
from dane.certificate import read_certificate
from dane.names import bucket, operator
from dane.outcomes import FAILED, LOCAL, HostStatus
from danesurvey.check.lookups import Lookups, Row
from storage import assessment
from storage.schemas import DOMAIN_VERDICT, HOST_VERDICT, SMTP_PROBE

RUN_ID = 0  # nothing is stored
Target = tuple[str, str, str, str]
"""Address, digest of the TLSA RRset, operator, SNI: the key of a probe."""

_TARGET = ("address", "tlsa_digest", "operator", "sni")
_LONGEST_NAME = 253  # beyond, there is no room for `_25._tcp.`: such a name is not asked
_FAILED_HOST = frozenset(
    {HostStatus.LOCAL_ERROR, HostStatus.ADDRESS_FAILED, HostStatus.TLSA_FAILED}
)
_EVIDENCE = ("name", "rrtype", "zone", "failed_name", "dns_cause", "all_good", "server")
_HOST_OUTCOMES = ("a_outcome", "aaaa_outcome", "tlsa_outcome")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The rows of one domain, as the survey stores them."""

    domain: str
    domain_mx: Row
    verdict: Row  # domain_verdict
    hosts: dict[str, Row] = field(default_factory=dict)  # mx_host by name
    host_verdicts: dict[str, Row] = field(default_factory=dict)
    probes: dict[str, list[Row]] = field(default_factory=dict)  # smtp_probe by host
    certificates: Mapping[str, bytes] = field(default_factory=dict)  # DER by SHA-256
    authority: list[Row] = field(default_factory=list)
    misplaced: list[Misplaced] = field(default_factory=list)  # TLSA records where nobody looks


def domain_failed(row: Row) -> bool:
    """Whether a row of `domain_mx` deserves another pass."""
    return row["outcome"] in FAILED | LOCAL


def host_failed(row: Row) -> bool:
    """Whether a row of `mx_host` deserves another pass."""
    return row["status"] in _FAILED_HOST or any(
        row[column] in FAILED | LOCAL for column in _HOST_OUTCOMES
    )


class Findings:
    """`open`: the domains that are not told yet, in the order in which they were asked for."""

    def __init__(
        self,
        domains: Iterable[str],
        domain_lookups: Lookups,
        host_lookups: Lookups,
        context: ScanContext,
    ) -> None:
        self.open = dict.fromkeys(domains)
        self.domains = domain_lookups
        self.hosts = host_lookups
        self.probes: dict[Target, list[Row]] = {}
        self.certificates: dict[str, bytes] = {}
        self.authority: list[Row] = []
        self._context = context

    def hosts_of(self, domain: str) -> list[str]:
        """The MX hosts that a domain's verdict is about.

        Those of a domain whose MX answer is not secure promise its senders nothing.
        """
        row = self.domains.rows[domain]
        return [host for host in row["mx_host"] if host != "."] if row["secure"] else []

    def wanted_hosts(self) -> list[str]:
        """The MX hosts of all domains whose own lookups are over."""
        names = (self.hosts_of(one) for one in self.open if self.domains.settled(one))
        return sorted({host for some in names for host in some})

    def targets_of(self, host: str) -> list[Target]:
        row = self.hosts.rows[host]
        if row["status"] is not None:
            return []
        whose = operator(host, self._context.operator_merges)
        return [(one, row["tlsa_digest"], whose, row["tlsa_base"]) for one in row["addresses"]]

    def due_targets(self) -> dict[Target, set[str]]:
        """What is to be visited (once more), with the domains that wait for it."""
        due: dict[Target, set[str]] = {}
        for domain in self.open:
            if self.domains.settled(domain):
                for host in filter(self.hosts.settled, self.hosts_of(domain)):
                    for target in self.targets_of(host):
                        if not self._is_visited(target):
                            due.setdefault(target, set()).add(domain)
        return due

    def shard(self, targets: Iterable[Target], attempt: int) -> pa.RecordBatch:
        """The targets as `crawler.scan.probe.scan` takes them."""
        wanted = dict.fromkeys(targets)
        rows = {}
        for host in self.wanted_hosts():
            row = self.hosts.rows[host]
            for target in self.targets_of(host) if self.hosts.settled(host) else ():
                if target in wanted and target not in rows:
                    rows[target] = {
                        **dict(zip(_TARGET, target, strict=True)),
                        "bucket": bucket(target[0]),
                        "attempt": attempt,
                        "host": host,
                        "tlsa": row["tlsa"],
                        "dns_asked": row["last_asked"],
                    }
        names = ("bucket", *_TARGET, "attempt", "host", "tlsa", "dns_asked")
        fields = [SMTP_PROBE.schema.field(name) for name in names]
        return pa.RecordBatch.from_pylist(list(rows.values()), schema=pa.schema(fields))

    def add_attempt(self, row: Row) -> Target:
        """Keep a row of `smtp_probe`; whose it is."""
        address, digest, whose, sni = (row[name] for name in _TARGET)
        target = address, digest, whose, sni
        self.probes.setdefault(target, []).append(row)
        return target

    def _is_visited(self, target: Target) -> bool:
        attempts = self.probes.get(target, [])
        return bool(attempts) and len(attempts) >= attempts_needed(attempts[-1]["status"])

    def _is_finished(self, domain: str) -> bool:
        return self.domains.settled(domain) and all(
            self.hosts.settled(host) and all(map(self._is_visited, self.targets_of(host)))
            for host in self.hosts_of(domain)
        )

    def finished(self, domains: Iterable[str]) -> Iterator[Measured]:
        """Those of the domains about which nothing is open any more; each is told once."""
        for domain in list(domains):
            if domain in self.open and self._is_finished(domain):
                del self.open[domain]
                yield self._measured(domain)

    def failing_questions(self) -> Iterator[tuple[str, str, str]]:
        """Whose lookup failed, the name that was asked for, and the type; once it is settled."""
        for domain in filter(self.domains.settled, self.open):
            if self.domains.rows[domain]["outcome"] in FAILED:
                yield domain, domain, "MX"
        for host in filter(self.hosts.settled, self.wanted_hosts()):
            row = self.hosts.rows[host]
            for name, rrtype in zip(row["failed_names"], row["failed_types"], strict=True):
                yield host, name, rrtype

    def _measured(self, domain: str) -> Measured:
        row = self.domains.rows[domain]
        names = self.hosts_of(domain)
        host_rows = {name: self.hosts.rows[name] for name in names}
        probes = {
            name: [one for key in self.targets_of(name) for one in self.probes[key]]
            for name in names
        }
        verdicts = self._host_verdicts(list(host_rows.values()), probes)
        return Measured(
            domain=domain,
            domain_mx=row,
            verdict=self._verdict(row, verdicts),
            hosts=host_rows,
            host_verdicts={one["host"]: one for one in verdicts},
            probes=probes,
            certificates=self.certificates,
            authority=[one for one in self.authority if one["asked_for"] & {domain, *names}],
        )

    def _host_verdicts(self, rows: Sequence[Row], probes: Mapping[str, Sequence[Row]]) -> list[Row]:
        told = [
            {**row, "evidence": self._evidence(row["host"]), "server_rounds": None} for row in rows
        ]
        attempts = [
            {**one, **self._shown(one), "unmatched_since": []}
            for some in probes.values()
            for one in some
        ]
        verdicts = assess.hosts(
            pa.RecordBatch.from_pylist(told, schema=assessment.HOST),
            replace(self._context, schemas=(HOST_VERDICT.schema,)),
            pa.RecordBatch.from_pylist(attempts, schema=assessment.RELATED_PROBE),
        )
        found: list[Row] = verdicts.to_pylist()
        return found

    def _covering(self, verdict: Row) -> list[str]:
        return [" ".join(leaf_names(self.certificates, leaf)) for leaf in verdict["address_leaf"]]

    def _shown(self, probe: Row) -> Row:
        """What the certificates of an attempt hold, as `storage.shown` tells it."""
        certificates = [
            {"sha256": one, "der": self.certificates[one]}
            for one in probe["chain"]
            if one in self.certificates
        ]
        names = leaf_names(self.certificates, probe["chain"][0]) if probe["chain"] else ()
        return {"covering_names": names, "certificates": certificates, "served_before": []}

    def _evidence(self, whose: str) -> str:
        """What the authorities did with the questions about a domain or a host that failed."""
        about = [
            {column: row[column] for column in _EVIDENCE}
            for row in self.authority
            if whose in row["asked_for"]
        ]
        return json.dumps(about)

    def _verdict(self, row: Row, host_verdicts: Sequence[Row]) -> Row:
        whole = {**row, "ns": [], "ds": [], "evidence": self._evidence(row["domain"])}
        verdicts = assess.domains(
            pa.RecordBatch.from_pylist([whole], schema=assessment.DOMAIN),
            replace(self._context, schemas=(DOMAIN_VERDICT.schema,)),
            pa.RecordBatch.from_pylist(
                [{**one, "covering_names": self._covering(one)} for one in host_verdicts],
                schema=assessment.RELATED_VERDICT,
            ),
        )
        found: Row = verdicts.to_pylist()[0]
        return found


def leaf_names(certificates: Mapping[str, bytes], leaf: str) -> tuple[str, ...]:
    """The names of a leaf by its SHA-256; none where it is not known."""
    der = certificates.get(leaf)
    return read_certificate(der).names if der is not None else ()


def tlsa_name(host: Row) -> str:
    """Where the records are or, of a failed lookup, the name that it failed at; else where TLSA

    is asked first (RFC 7672 section 2.2.2).
    """
    if host["tlsa_base"]:
        return f"_25._tcp.{host['tlsa_base']}"
    failed = zip(host["failed_names"], host["failed_types"], strict=True)
    at: list[str] = [name for name, rrtype in failed if rrtype == "TLSA"]
    if at:
        return at[-1]
    expanded = host["cname_chain"] and (host["a_secure"] or host["aaaa_secure"])
    name = f"_25._tcp.{host['cname_chain'][-1] if expanded else host['host']}"
    return name if len(name) <= _LONGEST_NAME else f"_25._tcp.{host['host']}"
