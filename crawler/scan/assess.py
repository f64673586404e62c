"""The roll-ups of `dane.assess` over Arrow: observations in, verdicts out.

Pure computing, done in the workers because there is much of it. Each row's words are those
of `dane.outcomes`; a row that the roll-up cannot take is a bug and fails the shard.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

import pyarrow as pa

from crawler.opt_out import OptOut
from crawler.scan.context import ScanContext
from dane.assess import (
    DomainLookup,
    DomainVerdict,
    HostLookup,
    HostVerdict,
    as_if_signed,
    assess_domain,
    assess_host,
)
from dane.attempts import AddressVerdict, Probe
from dane.names import operator
from dane.outcomes import AuthorityResult, DnsCause, HostStatus, LookupOutcome
from dane.servers import ServerAnswer
from dane.witnesses import Evidence

_HOST = [one.name for one in fields(HostLookup) if one.name not in ("evidence", "server_rounds")]
_PROBE = [field.name for field in fields(Probe)]
_DOMAIN = [field.name for field in fields(DomainLookup) if field.name != "evidence"]


def hosts(shard: pa.RecordBatch, context: ScanContext, related: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of `mx_host` to rows of `host_verdict`; `related`: rows of `smtp_probe` of at least

    the hosts' addresses, with the columns of storage/shown.py. A probe belongs to a host by
    (address, TLSA RRset).
    """
    (schema,) = context.schemas
    operator_of = partial(operator, merges=context.operator_merges)
    probes: dict[tuple[str, str], dict[tuple[str, str], list[Probe]]]
    probes = defaultdict(lambda: defaultdict(list))
    certificates: dict[str, bytes] = {}
    listed = OptOut(context.probe.opt_out)
    for row in related.to_pylist():
        status = HostStatus(row["status"])
        if listed.covers(names=(row["sni"],), address=row["address"]):
            status = HostStatus.OPTED_OUT  # maybe only since it was visited
        by_name = probes[row["address"], row["tlsa_digest"]]
        words = {"status": status, "leaf_names": row["covering_names"]}
        by_name[row["sni"], row["operator"]].append(Probe(**{**_only(row, _PROBE), **words}))
        certificates.update((one["sha256"], one["der"]) for one in row["certificates"])
    found = []
    for row in shard.to_pylist():
        whose = operator_of(row["host"])
        known = HostStatus(row["status"]) if row["status"] else None
        if listed.covers(names=(row["host"],), operator=whose):
            known = HostStatus.OPTED_OUT  # maybe only since it was looked up
            row |= {"tlsa_usable": 0, "addresses": [], "address_total": 0}
        verdict = assess_host(
            HostLookup(
                **_only(row, _HOST) | {"status": known},
                evidence=_evidence(row),
                server_rounds=_rounds(row),
            ),
            [
                probe
                for address in row["addresses"]
                for probe in _of_host(
                    probes[address, row["tlsa_digest"]], row["tlsa_base"] or row["host"], whose
                )
            ],
            certificates,
        )
        found.append(
            {
                "run_id": context.run_id,
                "bucket": row["bucket"],
                "host": verdict.host,
                "status": verdict.status,
                "class": verdict.host_class,
                "usable": verdict.usable,
                "operator": whose,
                "address": [one.address for one in verdict.addresses],
                "address_status": [one.status for one in verdict.addresses],
                "address_leaf": [one.leaf for one in verdict.addresses],
                "inferred": verdict.inferred,
                "accepted_by_lenient": verdict.accepted_by_lenient,
                "defects": sorted(verdict.defects),
                "causes": sorted(verdict.causes),
                "undecided": verdict.undecided,
                "scheme": verdict.scheme,
                **_failure(verdict.evidence, operator_of),
                "sha1_only": verdict.sha1_only,
                "failing_servers": verdict.failing_servers,
                "disagreeing_servers": verdict.disagreeing_servers,
            }
        )
    return pa.RecordBatch.from_pylist(found, schema=schema)


def _of_host(
    by_name: Mapping[tuple[str, str], Sequence[Probe]], base: str, whose: str
) -> list[Probe]:
    """The probes at an address that tell of a host: those of its own name, which may have been
    made for another operator's alias too; else one operator's of each name, to inherit from."""
    if (base, whose) in by_name:
        return list(by_name[base, whose])
    of_each: dict[str, Sequence[Probe]] = {}
    for (sni, _), probes in sorted(by_name.items(), key=lambda item: item[0]):
        of_each.setdefault(sni, probes)
    return [probe for probes in of_each.values() for probe in probes]


def domains(shard: pa.RecordBatch, context: ScanContext, related: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of `domain_mx` (with `ns`) to rows of `domain_verdict`; `related`: rows of

    `host_verdict` of at least the domains' MX hosts, with `covering_names` an address: those of
    its leaf's names that can cover a domain of the shard, blanks between.
    """
    (schema,) = context.schemas
    operator_of = partial(operator, merges=context.operator_merges)
    verdicts = {row["host"]: _host_verdict(row) for row in related.to_pylist()}
    found = []
    for row in shard.to_pylist():
        outcome = LookupOutcome(row["outcome"])
        lookup = DomainLookup(
            **{**_only(row, _DOMAIN), "outcome": outcome, "evidence": _evidence(row)}
        )
        verdict = assess_domain(lookup, verdicts)
        found.append(
            {
                "run_id": context.run_id,
                "bucket": row["bucket"],
                **_domain(verdict),
                "mx_operator": sorted({operator_of(one.host) for one in verdict.hosts} - {"."}),
                "dns_operator": sorted({operator_of(server) for server in row["ns"]}),
                "zone": row["zone"],
                "ds": row["ds"],
                "sampled_one_of": row["sampled_one_of"],
                "if_signed": (
                    assess_domain(as_if_signed(lookup), verdicts).status
                    if row["sampled_one_of"] is not None
                    else None
                ),
                **_failure(verdict.evidence, operator_of),
                "sha1_only": verdict.sha1_only,
            }
        )
    return pa.RecordBatch.from_pylist(found, schema=schema)


def _evidence(row: dict[str, Any]) -> list[Evidence]:
    """What the authorities did with the questions that failed: the column `evidence`, rows of

    `authority` as JSON; null where none failed.
    """
    return [
        Evidence(
            name=one["name"],
            rrtype=one["rrtype"],
            zone=one["zone"],
            failed_name=one["failed_name"],
            dns_cause=DnsCause(one["dns_cause"] or DnsCause.UNKNOWN),
            all_good=one["all_good"],
            servers=one["server"],
        )
        for one in json.loads(row.get("evidence") or "[]")
    ]


def _rounds(row: dict[str, Any]) -> list[list[ServerAnswer]]:
    """What each server said of the TLSA RRset: the column `server_rounds`, rows of

    `tlsa_server` as JSON; null where one round says all.
    """
    columns = ("server", "address", "result", "answer", "sound")
    return [
        [
            ServerAnswer(server, address, AuthorityResult(result), answer, sound)
            for server, address, result, answer, sound in zip(
                *(one[column] for column in columns), strict=True
            )
        ]
        for one in json.loads(row.get("server_rounds") or "[]")
    ]


def _failure(evidence: Evidence | None, operator_of: Callable[[str], str]) -> dict[str, Any]:
    """The columns of a verdict that say why a lookup fails."""
    if evidence is None:
        return {
            "dns_cause": None,
            "failed_zone": None,
            "failed_name": None,
            "failed_operator": [],
        }
    return {
        "dns_cause": evidence.dns_cause,
        "failed_zone": evidence.zone,
        "failed_name": evidence.failed_name,
        "failed_operator": sorted(set(map(operator_of, evidence.servers))),
    }


def _only(row: dict[str, Any], names: list[str]) -> dict[str, Any]:
    return {name: row[name] for name in names}


def _host_verdict(row: dict[str, Any]) -> HostVerdict:
    return HostVerdict(
        host=row["host"],
        status=HostStatus(row["status"]),
        usable=row["usable"],
        addresses=tuple(
            AddressVerdict(address=address, status=HostStatus(status), names=tuple(names.split()))
            for address, status, names in zip(
                row["address"], row["address_status"], row["covering_names"], strict=True
            )
        ),
        inferred=row["inferred"],
        defects=frozenset(row["defects"]),
        causes=frozenset(row["causes"]),
        accepted_by_lenient=row["accepted_by_lenient"],
        sha1_only=row["sha1_only"],
    )


def _domain(verdict: DomainVerdict) -> dict[str, Any]:
    return {
        "domain": verdict.domain,
        "status": verdict.status,
        "stage": verdict.stage,
        "reason": verdict.reason,
        "level": verdict.level,
        "mx_secure": verdict.mx_secure,
        "dane_primary": verdict.dane_primary,
        "deliverable": verdict.deliverable,
        "host": [one.host for one in verdict.hosts],
        "host_preference": [one.preference for one in verdict.hosts],
        "host_status": [one.status for one in verdict.hosts],
        "host_class": [one.host_class for one in verdict.hosts],
        "defects": sorted(verdict.defects),
    }
