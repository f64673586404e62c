"""From a domain's rows to the document that `check --json` prints (docs/check.md).

Plain dicts and lists that `json.dumps` takes: names as keys of `dane.names`, times ISO 8601
in UTC, words those of `dane.outcomes`. Text from strangers is without control characters.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256

from dane import tlsa
from dane.certificate import read_certificate
from dane.identity import any_name_matches
from dane.outcomes import (
    HOST_CLASS,
    Defect,
    DomainStatus,
    HostClass,
    HostStatus,
)
from dane.verify import verify
from danesurvey.check import practices
from danesurvey.check.advice import (
    DEFECT,
    INFORMATION,
    OF_OTHER_FAMILY,
    SENDER,
    SENDER_FAILING,
    SENTENCE,
    SEVERITY,
    UNUSUAL,
    Severity,
)
from danesurvey.check.explanation import (
    Document,
    detail,
    host_causes,
    listed,
    lookup_causes,
    repairs,
    rollover_advice,
)
from danesurvey.check.findings import Measured, leaf_names, tlsa_name
from danesurvey.check.lookups import Row
from reports.escape import printable

VERSION = 1
"""Of the document. A new key does not change it; another meaning of an old one does."""


def document(measured: Measured, at: datetime | None) -> Document:
    """Everything that `check` says of one domain. `at`: when certificates had to be valid."""
    verdict = measured.verdict
    hosts = [
        _host(measured, name, preference, HostStatus(status), at)
        for name, preference, status in zip(
            verdict["host"], verdict["host_preference"], verdict["host_status"], strict=True
        )
    ]
    severity = _severity(verdict)
    return {
        "version": VERSION,
        "domain": measured.domain,
        "checked": _time(measured.domain_mx["last_asked"]),
        "at": _time(at),
        "verdict": {
            **{key: verdict[key] for key in ("status", "stage", "reason", "level")},
            **{key: verdict[key] for key in ("mx_secure", "dane_primary", "deliverable")},
            "severity": severity,
            "sentence": _sentence(verdict, hosts),
            "sender": f"A sender that enforces DANE {_sender(verdict)}.",
            "defects": _defects(verdict["defects"]),
        },
        "dnssec": _dnssec(measured.domain_mx),
        "hosts": hosts,
        "authority": [_authority(row) for row in measured.authority],
        "misplaced": practices.documents(measured.misplaced),
        "causes": [
            *lookup_causes(measured),
            *(line for host in hosts for line in host_causes(host, _time(at))),
            *practices.causes(measured.misplaced),
        ],
        "repairs": [*practices.repairs(measured.misplaced), *repairs(measured, hosts)],
        "advice": [line for host in hosts for line in rollover_advice(measured, host)],
    }


def _severity(verdict: Row) -> Severity:
    severity = SEVERITY[DomainStatus(verdict["status"])]
    odd = verdict["reason"] in UNUSUAL or set(map(Defect, verdict["defects"])) - INFORMATION
    if severity is Severity.OK and odd:
        return Severity.WARNING
    return severity


def _sentence(verdict: Row, hosts: Sequence[Document]) -> str:
    status = DomainStatus(verdict["status"])
    blamed = {
        DomainStatus.BROKEN: [one["host"] for one in hosts if one["class"] == HostClass.F],
        DomainStatus.LOOKUP_FAILED: [one["host"] for one in hosts if one["class"] == HostClass.L],
        DomainStatus.PARTIAL: [one["host"] for one in hosts if not one["usable"]],
    }.get(status, [])
    if hosts and all(
        one["status"] == HostStatus.UNPROBED and not one["addresses"] for one in hosts
    ):
        return OF_OTHER_FAMILY
    unasked = any(one["status"] == HostStatus.OPTED_OUT and not one["addresses"] for one in hosts)
    unmeasured = [one["host"] for one in hosts if one["class"] == HostClass.Q]
    measured = "every server matches them"
    if unmeasured:
        measured = f"every server that could be measured matches them ({listed(unmeasured)} not)"
    return SENTENCE[status, detail(verdict)].format(
        hosts=listed(blamed),
        level=verdict["level"],
        promising="every MX host that may be asked about" if unasked else "every MX host",
        measured=measured,
    )


def _sender(verdict: Row) -> str:
    status = DomainStatus(verdict["status"])
    if status in (DomainStatus.BROKEN, DomainStatus.LOOKUP_FAILED):
        return SENDER_FAILING[verdict["deliverable"]]
    return SENDER[status]


def _defects(words: Iterable[str]) -> list[Document]:
    return [{"defect": word, "meaning": DEFECT[Defect(word)]} for word in sorted(words)]


# --- DNS --------------------------------------------------------------------------------------


def _dnssec(row: Row) -> Document:
    keys = zip(row["dnskey_algorithm"], row["dnskey_bits"], row["dnskey_flags"], strict=True)
    return {
        "mx_outcome": row["outcome"],
        "mx_secure": row["secure"],
        "second_look_outcome": row["second_look_outcome"],
        "alias_of": row["cname_target"],
        **_extended_error(row),
        **_signature(row),
        "keys": [
            {"algorithm": algorithm, "bits": bits, "flags": flags}
            for algorithm, bits, flags in keys
        ],
        "nsec3_iterations": row["nsec3_iterations"]
        if row["nsec3_iterations"] is not None
        else row["nsec3param_iterations"],
    }


def _extended_error(row: Row) -> Document:
    """RFC 8914; the text is the resolver's, about bytes of strangers."""
    return {"ede_code": row["ede_code"], "ede_text": row["ede_text"] and printable(row["ede_text"])}


def _signature(row: Row) -> Document:
    return {
        "signer": row["rrsig_signer"],
        "algorithm": row["rrsig_algorithm"],
        "key_tag": row["rrsig_key_tag"],
        "signed_until": _time(row["rrsig_expiration"]),
    }


def _authority(row: Row) -> Document:
    columns = ("server", "address", "transport", "question", "result")
    entries = zip(*(row[column] for column in columns), strict=True)
    return {
        "name": row["name"],
        "rrtype": row["rrtype"],
        **{key: row[key] for key in ("zone", "failed_name", "dns_cause", "all_good")},
        "servers": [dict(zip(columns, entry, strict=True)) for entry in entries],
        "note": row["note"] and printable(row["note"]),
    }


# --- hosts ------------------------------------------------------------------------------------


def _host(
    measured: Measured, name: str, preference: int, status: HostStatus, at: datetime | None
) -> Document:
    row = measured.hosts.get(name)
    verdict = measured.host_verdicts.get(name)
    found: Document = {
        "host": name,
        "preference": preference,
        "status": status,
        "class": HOST_CLASS[status],
        "usable": bool(verdict and verdict["usable"]),
        "tlsa_base": row and row["tlsa_base"],
        "tlsa_name": row and tlsa_name(row),
        "alias_of": row["cname_chain"] if row else [],
        "dns": row and _host_dns(row),
        "tlsa": [_record(text) for text in row["tlsa"]] if row else [],
        "addresses": [],
        "defects": _defects(verdict["defects"] if verdict else ()),
    }
    if row is None or verdict is None:
        return found
    own_names = [measured.domain, *filter(None, [measured.domain_mx["cname_target"]])]
    rolled = {
        address: HostStatus.PASS
        if word == HostStatus.NAME_MISMATCH
        and any_name_matches(leaf_names(measured.certificates, leaf), own_names)
        else HostStatus(word)
        for address, word, leaf in zip(
            verdict["address"], verdict["address_status"], verdict["address_leaf"], strict=True
        )
    }
    stands = dict(zip(verdict["address"], verdict["address_status"], strict=True))
    for address in row["addresses"]:
        attempts = [one for one in measured.probes.get(name, ()) if one["address"] == address]
        told = [one for one in attempts if one["status"] == stands.get(address)] or attempts
        shown = _address(measured, address, rolled.get(address), told[-1] if told else None, at)
        if attempts:
            shown["attempts"] = [one["status"] for one in attempts]
        found["addresses"].append(shown)
    return found


def _host_dns(row: Row) -> Document:
    return {
        **{key: row[key] for key in ("a_outcome", "a_secure", "aaaa_outcome", "aaaa_secure")},
        **{key: row[key] for key in ("tlsa_outcome", "second_look_outcome")},
        **_extended_error(row),
        **_signature(row),
        "ttl_s": row["rrsig_original_ttl"],
    }


def _record(text: str) -> Document:
    return {"record": text, "usable": tlsa.usable(tlsa.parse_text(text))}


def _address(
    measured: Measured, address: str, status: str | None, probe: Row | None, at: datetime | None
) -> Document:
    found: Document = {"address": address, "status": status}
    if probe is None:
        return found
    chain = [measured.certificates.get(digest) for digest in probe["chain"]]
    known = [der for der in chain if der is not None]
    depths: list[int | None] = [None] * len(probe["tlsa"])
    if known and len(known) == len(chain):
        records = [tlsa.parse_text(text) for text in probe["tlsa"]]
        depths = [one.depth for one in verify(known, records, (), at or probe["connected"]).records]
    return found | {
        "connected": _time(probe["connected"]),
        "duration_ms": probe["duration_ms"],
        "smtp_code": probe["smtp_code"],
        "smtp_text": probe["smtp_text"],
        "error": probe["error"],
        "tls_version": probe["tls_version"],
        "cipher": probe["cipher"],
        "key_type": probe["key_type"],
        "chain": [
            {"sha256": digest, **(_certificate(der) if der else {})}
            for digest, der in zip(probe["chain"], chain, strict=True)
        ],
        "names": probe["leaf_names"],
        "records": [
            {"record": text, "result": result, "cause": cause or None, "depth": depth}
            for text, result, cause, depth in zip(
                probe["tlsa"],
                probe["record_result"] or [None] * len(probe["tlsa"]),
                probe["record_cause"] or [None] * len(probe["tlsa"]),
                depths,
                strict=True,
            )
        ],
        "defects": probe["defects"],
    }


def _certificate(der: bytes) -> Document:
    """What a person recognizes a certificate by; nulls where it cannot be read."""
    certificate = read_certificate(der)
    parsed, facts = certificate.parsed, certificate.facts
    spki = certificate.spki
    return {
        "subject": parsed and printable(parsed.subject.rfc4514_string()),
        "issuer": parsed and printable(parsed.issuer.rfc4514_string()),
        "not_before": _time(facts.not_before) if facts else None,
        "not_after": _time(facts.not_after) if facts else None,
        "spki_sha256": sha256(spki).hexdigest() if spki else None,
    }


def _time(when: datetime | None) -> str | None:
    if when is None:
        return None
    return when.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
