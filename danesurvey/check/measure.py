"""Runs the scans of the survey for a few domains and keeps their rows.

A fresh resolver, so that nothing is stale; three looks at what fails, with flushes between
them; one connection to each address, and another to those that fail, with all the manners of
the survey (docs/ethics.md).
"""

import contextlib
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import pyarrow as pa

from crawler.dns.client import Resolvers
from crawler.dns.unbound import Unbound
from crawler.operators import merges
from crawler.scan import assess, authority, hosts, probe, resolve
from crawler.smtp.etiquette import require_identity
from dane.attempts import attempts_needed
from dane.faults import LocalTrouble
from dane.names import bucket, operator
from dane.outcomes import FAILED, LOCAL, AuthorityResult, HostStatus, LookupOutcome
from danesurvey.resolvers import resolvers_of, running
from danesurvey.settings import Settings
from storage.schemas import (
    AUTHORITY,
    CERTIFICATE,
    DOMAIN_MX,
    DOMAIN_VERDICT,
    HOST_VERDICT,
    MX_HOST,
    SMTP_PROBE,
)

Row = dict[str, Any]

_RUN_ID = 0  # nothing is stored
_RECOVERY_S = 15.0  # a person waits: canaries that stay bad end it sooner than in a survey
_EARLIER = ("first_asked", "ede_code", "ede_text")
_FAILED_HOST = frozenset(
    {HostStatus.LOCAL_ERROR, HostStatus.ADDRESS_FAILED, HostStatus.TLSA_FAILED}
)
_ANSWERED = frozenset({AuthorityResult.ANSWER, AuthorityResult.NXDOMAIN})
_LONGEST_NAME = 253  # beyond, there is no room for `_25._tcp.`: such a name is not asked
_TARGET = pa.schema(
    [
        SMTP_PROBE.schema.field(name)
        for name in ("bucket", "address", "tlsa_digest", "operator", "sni", "host", "tlsa")
    ]
    + [SMTP_PROBE.schema.field("dns_asked")]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked beside the domains.

    `mx`: this host instead of the domain's own MX hosts. `at`: when certificates must be
    valid. `resolver`: one that runs already, as (address, port) on loopback.
    """

    families: frozenset[Literal[4, 6]] = frozenset({4, 6})
    mx: str | None = None
    at: datetime | None = None
    resolver: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The rows of one domain, as the survey stores them."""

    domain: str
    domain_mx: Row
    verdict: Row  # domain_verdict
    hosts: dict[str, Row] = field(default_factory=dict)  # mx_host by name
    host_verdicts: dict[str, Row] = field(default_factory=dict)
    probes: dict[str, list[Row]] = field(default_factory=dict)  # smtp_probe by host
    certificates: dict[str, bytes] = field(default_factory=dict)  # DER by SHA-256
    authority: list[Row] = field(default_factory=list)


class Checker:
    """A context manager that holds the resolvers while domains are measured.

    Raises UsageFault without an identity, LocalTrouble without a resolver that can be believed.
    """

    def __init__(self, settings: Settings, request: Request) -> None:
        require_identity(settings.probe)
        self._settings = settings
        self._request = request
        patience_s = min(_RECOVERY_S, settings.canaries.recovery_s)
        self._canaries = replace(settings.canaries, recovery_s=patience_s)
        self._stack = contextlib.ExitStack()
        self._unbounds: list[Unbound] = []
        self._resolvers: Resolvers | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._resolvers = self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _start(self, stack: contextlib.ExitStack) -> Resolvers:
        if self._request.resolver is not None:
            return Resolvers(first=(self._request.resolver,))
        resolver = self._settings.resolver
        if resolver.address is None:
            first, second = _free_ports()
            resolver = replace(resolver, port=first, second_look_port=second, threads=1)
        directory = self._settings.state_dir / "check"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            scratch = stack.enter_context(tempfile.TemporaryDirectory(dir=directory))
        except OSError as error:
            raise LocalTrouble(f"{directory}: {error.strerror}") from None
        own = {"state_dir": Path(scratch), "resolver": resolver}
        self._unbounds = stack.enter_context(running(self._settings.model_copy(update=own)))
        return resolvers_of(self._unbounds)

    def measure(self, domains: Sequence[str]) -> list[Measured]:
        """Measure some domains (keys of `dane.names`) at once; in their order."""
        domain_rows = {row["domain"]: row for row in self._resolve(domains)}
        # The hosts of a domain whose MX answer is not secure promise its senders nothing.
        secure = [row for row in domain_rows.values() if row["secure"]]
        names = sorted({host for row in secure for host in row["mx_host"]} - {"."})
        host_rows = {row["host"]: row for row in self._look_up_hosts(names)}
        probes, certificates = self._probe(host_rows)
        failures = self._ask_authorities(domain_rows, host_rows)
        by_host = self._assess_hosts(host_rows, probes)
        verdicts = self._assess_domains(domain_rows, by_host)
        return [
            Measured(
                domain=domain,
                domain_mx=domain_rows[domain],
                verdict=verdicts[domain],
                hosts={name: host_rows[name] for name in mx if name in host_rows},
                host_verdicts={name: by_host[name] for name in mx if name in by_host},
                probes={
                    name: [row for row in probes if row["host"] == name]
                    or _shared(host_rows[name], probes)
                    for name in mx
                    if name in host_rows
                },
                certificates=certificates,
                authority=[row for row in failures if row["asked_for"] & {domain, *mx}],
            )
            for domain in domains
            for mx in [domain_rows[domain]["mx_host"]]
        ]

    def _in_passes(
        self,
        scan: Callable[..., pa.RecordBatch],
        schema: pa.Schema,
        key: str,
        names: Sequence[str],
        failed: Callable[[Row], bool],
    ) -> list[Row]:
        """A pass over all, two over what fails, each after a flush, the last one with patience."""
        assert self._resolvers is not None
        found: dict[str, Row] = {}
        again = list(names)
        for passes, last in ((1, False), (2, False), (3, True)):
            if not again:
                break
            if passes > 1:
                for unbound in self._unbounds:
                    unbound.flush()
            shard: list[Row] = []
            for name in again:
                earlier = found.get(name, {})
                kept = {column: earlier.get(column) for column in _EARLIER}
                shard.append({"bucket": bucket(name), key: name, **kept})
            fields = [schema.field(column) for column in ("bucket", key)]
            fields += [schema.field(column).with_nullable(True) for column in _EARLIER]
            rows = scan(
                pa.RecordBatch.from_pylist(shard, schema=pa.schema(fields)),
                schema=schema,
                client=self._settings.client,
                canaries=self._canaries,
                resolver=self._resolvers,
                last_pass=last,
                passes=passes,
                run_id=_RUN_ID,
            )
            found.update((row[key], row) for row in rows.to_pylist())
            if missing := [name for name in names if name not in found]:
                raise LocalTrouble(
                    f"{missing[0]}: the canaries fail, so no answer can be believed: "
                    "danesurvey doctor says why"
                )
            again = [name for name in again if failed(found[name])]
        return [found[name] for name in names]

    def _resolve(self, domains: Sequence[str]) -> list[Row]:
        rows = self._in_passes(
            resolve.scan,
            DOMAIN_MX.schema,
            "domain",
            list(dict.fromkeys(domains)),
            lambda row: LookupOutcome(row["outcome"]) in FAILED | LOCAL,
        )
        return [_only_host(row, self._request.mx) if self._request.mx else row for row in rows]

    def _look_up_hosts(self, names: Sequence[str]) -> list[Row]:
        rows = self._in_passes(
            hosts.scan,
            MX_HOST.schema,
            "host",
            names,
            lambda row: row["status"] in _FAILED_HOST,
        )
        wanted = self._request.families
        for row in rows:
            row["addresses"] = [one for one in row["addresses"] if _family(one) in wanted]
            row["address_total"] = len(row["addresses"])
        return rows

    def _probe(self, host_rows: dict[str, Row]) -> tuple[list[Row], dict[str, bytes]]:
        settings = self._settings.probe
        table = merges(settings.operator_merges)
        targets: dict[tuple[str, str, str, str], Row] = {}
        for name in sorted(host_rows):
            row = host_rows[name]
            if row["status"] is not None:
                continue
            whose = operator(name, table)
            for address in row["addresses"]:
                key = (address, row["tlsa_digest"], whose, row["tlsa_base"])
                targets.setdefault(
                    key,
                    {
                        **dict(
                            zip(("address", "tlsa_digest", "operator", "sni"), key, strict=True)
                        ),
                        "bucket": bucket(address),
                        "host": name,
                        "tlsa": row["tlsa"],
                        "dns_asked": row["last_asked"],
                    },
                )
        found: list[Row] = []
        ders: dict[str, bytes] = {}
        again = list(targets.values())
        attempt = 0
        while again:
            attempt += 1
            if attempt > 1:  # to an address that has just been connected to
                time.sleep(settings.address_interval_s)
            rows, certificates = probe.scan(
                pa.RecordBatch.from_pylist(again, schema=_TARGET),
                schema=SMTP_PROBE.schema,
                certificate_schema=CERTIFICATE.schema,
                probe=settings,
                run_id=_RUN_ID,
                attempt=attempt,
                at=self._request.at,
                resolver=self._resolvers,
                client=self._settings.client,
            )
            ders.update((row["sha256"], row["der"]) for row in certificates.to_pylist())
            visited = rows.to_pylist()
            found += visited
            again = [row for row in visited if attempt < attempts_needed(row["status"])]
        return found, ders

    def _ask_authorities(self, domain_rows: dict[str, Row], host_rows: dict[str, Row]) -> list[Row]:
        """What each server does with the questions that fail; `asked_for` names whose they are."""
        questions = [
            (name, name, "MX") for name, row in domain_rows.items() if row["outcome"] in FAILED
        ]
        for name, row in host_rows.items():
            questions += [
                (name, name, rrtype)
                for rrtype, outcome in (("A", row["a_outcome"]), ("AAAA", row["aaaa_outcome"]))
                if outcome in FAILED
            ]
            if row["tlsa_outcome"] in FAILED:
                questions += [(name, asked, "TLSA") for asked in tlsa_names(row)]
        if not questions:
            return []
        asked_for: dict[tuple[str, str], set[str]] = {}
        for whose, name, rrtype in questions:
            asked_for.setdefault((name, rrtype), set()).add(whose)
        assert self._resolvers is not None
        shard = [
            {"bucket": bucket(name), "name": name, "rrtype": rrtype} for name, rrtype in asked_for
        ]
        fields = [AUTHORITY.schema.field(column) for column in ("bucket", "name", "rrtype")]
        rows = authority.scan(
            pa.RecordBatch.from_pylist(shard, schema=pa.schema(fields)),
            schema=AUTHORITY.schema,
            client=self._settings.client,
            canaries=self._canaries,
            resolver=self._resolvers,
            run_id=_RUN_ID,
            lab_addresses=authority.lab_networks(self._settings.resolver, self._settings.probe),
        )
        return [
            {**row, "asked_for": asked_for[row["name"], row["rrtype"]]} for row in rows.to_pylist()
        ]

    def _assess_hosts(self, host_rows: dict[str, Row], probes: list[Row]) -> dict[str, Row]:
        verdicts = assess.hosts(
            pa.RecordBatch.from_pylist(list(host_rows.values()), schema=MX_HOST.schema),
            context=pa.RecordBatch.from_pylist(probes, schema=SMTP_PROBE.schema),
            schema=HOST_VERDICT.schema,
            run_id=_RUN_ID,
            operator_merges=self._settings.probe.operator_merges,
        )
        return {row["host"]: row for row in verdicts.to_pylist()}

    def _assess_domains(
        self, domain_rows: dict[str, Row], by_host: dict[str, Row]
    ) -> dict[str, Row]:
        ns = pa.field("ns", DOMAIN_VERDICT.schema.field("dns_operator").type, nullable=False)
        verdicts = assess.domains(
            pa.RecordBatch.from_pylist(
                [{**row, "ns": []} for row in domain_rows.values()],
                schema=DOMAIN_MX.schema.append(ns),
            ),
            context=pa.RecordBatch.from_pylist(list(by_host.values()), schema=HOST_VERDICT.schema),
            schema=DOMAIN_VERDICT.schema,
            run_id=_RUN_ID,
            operator_merges=self._settings.probe.operator_merges,
        )
        return {row["domain"]: row for row in verdicts.to_pylist()}


def tlsa_names(host: Row) -> list[str]:
    """Where TLSA is asked, in this order (RFC 7672 section 2.2.2). Which failed is in no row."""
    bases = [host["host"]]
    if host["cname_chain"] and (host["a_secure"] or host["aaaa_secure"]):
        bases.insert(0, host["cname_chain"][-1])
    names = [f"_25._tcp.{base}" for base in bases]
    return [name for name in names if len(name) <= _LONGEST_NAME] or names[:1]


def tlsa_name(host: Row, authority: Iterable[Row]) -> str:
    """Where the records are or, of a failed lookup, the first name that its servers fail at."""
    if host["tlsa_base"]:
        return f"_25._tcp.{host['tlsa_base']}"
    failing = {
        row["name"]
        for row in authority
        if any(
            question == "TLSA" and result not in _ANSWERED
            for question, result in zip(row["question"], row["result"], strict=True)
        )
    }
    names = tlsa_names(host)
    return next((name for name in names if name in failing), names[0])


def _shared(host: Row, probes: Iterable[Row]) -> list[Row]:
    """Probes made for another name of the same TLSA RRset at the same addresses."""
    return [
        row
        for row in probes
        if row["tlsa_digest"] == host["tlsa_digest"]
        and row["sni"] == host["tlsa_base"]
        and row["address"] in host["addresses"]
    ]


def _only_host(row: Row, host: str) -> Row:
    """The domain as if this were its only MX host."""
    known = dict(zip(row["mx_host"], row["mx_preference"], strict=True))
    return {**row, "mx_host": [host], "mx_preference": [known.get(host, 0)], "mx_total": 1}


def _family(address: str) -> int:
    return 6 if ":" in address else 4


def _free_ports() -> tuple[int, int]:
    """Two ports of 127.0.0.1 that are free for UDP and TCP now."""
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < 2:
            stream = stack.enter_context(socket.socket())
            stream.bind(("127.0.0.1", 0))
            port = int(stream.getsockname()[1])
            datagrams = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            with contextlib.suppress(OSError):
                datagrams.bind(("127.0.0.1", port))
                ports.append(port)
        return ports[0], ports[1]
