"""From a domain's rows to the document that `check --json` prints (docs/check.md).

Plain dicts and lists that `json.dumps` takes: names as keys of `dane.names`, times ISO 8601
in UTC, words those of `dane.outcomes`. Text from strangers is without control characters.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from dane import tlsa
from dane.certificate import read_certificate
from dane.outcomes import (
    FAILED,
    HOST_CLASS,
    AuthorityResult,
    Defect,
    DomainStatus,
    HostClass,
    HostStatus,
    LookupOutcome,
    LookupStage,
    MismatchCause,
    NoMailReason,
)
from dane.verify import verify
from danesurvey.check.advice import (
    AUTHORITY,
    CAUSE,
    DEFECT,
    FAILED_LOOKUP,
    INFORMATION,
    REPAIR_DOMAIN,
    REPAIR_HOST,
    ROLLOVER,
    ROLLOVER_WAIT,
    SENDER,
    SENDER_FAILING,
    SENTENCE,
    SEVERITY,
    Detail,
    Severity,
)
from danesurvey.check.measure import Measured, Row, candidate

VERSION = 1
"""Of the document. A new key does not change it; another meaning of an old one does."""

Document = dict[str, Any]


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
        "causes": [
            *_lookup_causes(measured),
            *(line for host in hosts for line in _host_causes(host, _time(at))),
        ],
        "repairs": _repairs(measured, hosts),
        "advice": [line for host in hosts for line in _advice(measured, host)],
    }


def _severity(verdict: Row) -> Severity:
    severity = SEVERITY[DomainStatus(verdict["status"])]
    if severity is Severity.OK and set(map(Defect, verdict["defects"])) - INFORMATION:
        return Severity.WARNING
    return severity


def _detail(verdict: Row) -> Detail:
    if verdict["stage"]:
        return LookupStage(verdict["stage"])
    return NoMailReason(verdict["reason"]) if verdict["reason"] else None


def _sentence(verdict: Row, hosts: Sequence[Document]) -> str:
    status = DomainStatus(verdict["status"])
    blamed = {
        DomainStatus.BROKEN: [one["host"] for one in hosts if one["class"] == HostClass.F],
        DomainStatus.LOOKUP_FAILED: [one["host"] for one in hosts if one["class"] == HostClass.L],
        DomainStatus.PARTIAL: [one["host"] for one in hosts if not one["usable"]],
    }.get(status, [])
    unmeasured = [one["host"] for one in hosts if one["class"] == HostClass.Q]
    measured = "every server matches them"
    if unmeasured:
        measured = f"every server that could be measured matches them ({_and(unmeasured)} not)"
    return SENTENCE[status, _detail(verdict)].format(
        hosts=_and(blamed), level=verdict["level"], measured=measured
    )


def _sender(verdict: Row) -> str:
    status = DomainStatus(verdict["status"])
    if status in (DomainStatus.BROKEN, DomainStatus.LOOKUP_FAILED):
        return SENDER_FAILING[verdict["deliverable"]]
    return SENDER[status]


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


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
    return {"ede_code": row["ede_code"], "ede_text": _printable(row["ede_text"])}


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
        "servers": [dict(zip(columns, entry, strict=True)) for entry in entries],
        "note": _printable(row["note"]),
    }


# --- hosts ------------------------------------------------------------------------------------


def _host(
    measured: Measured, name: str, preference: int, status: HostStatus, at: datetime | None
) -> Document:
    row = measured.hosts.get(name)
    verdict = measured.host_verdicts.get(name)
    base = row and (row["tlsa_base"] or candidate(row))
    found: Document = {
        "host": name,
        "preference": preference,
        "status": status,
        "class": HOST_CLASS[status],
        "usable": bool(verdict and verdict["usable"]),
        "tlsa_base": row and row["tlsa_base"],
        "tlsa_name": base and f"_25._tcp.{base}",
        "alias_of": row["cname_chain"] if row else [],
        "dns": row and _host_dns(row),
        "tlsa": [_record(text) for text in row["tlsa"]] if row else [],
        "addresses": [],
        "defects": _defects(verdict["defects"] if verdict else ()),
    }
    if row is None or verdict is None:
        return found
    rolled = dict(zip(verdict["address"], verdict["address_status"], strict=True))
    probes = {probe["address"]: probe for probe in measured.probes.get(name, ())}
    found["addresses"] = [
        _address(measured, address, rolled.get(address), probes.get(address), at)
        for address in row["addresses"]
    ]
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
            {"record": text, "result": result, "depth": depth}
            for text, result, depth in zip(
                probe["tlsa"],
                probe["record_result"] or [None] * len(probe["tlsa"]),
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
        "subject": parsed and _printable(parsed.subject.rfc4514_string()),
        "issuer": parsed and _printable(parsed.issuer.rfc4514_string()),
        "not_before": _time(facts.not_before) if facts else None,
        "not_after": _time(facts.not_after) if facts else None,
        "spki_sha256": sha256(spki).hexdigest() if spki else None,
    }


# --- causes, repairs, advice ------------------------------------------------------------------


def _lookup_causes(measured: Measured) -> list[str]:
    """What the resolver says of failing lookups, and what the name servers' answers show."""
    lines: dict[str, None] = {}
    asked = [(measured.domain, "MX", measured.domain_mx["outcome"], measured.domain_mx)]
    for name, row in measured.hosts.items():
        asked += [(name, "A", row["a_outcome"], row), (name, "AAAA", row["aaaa_outcome"], row)]
        asked += [(f"_25._tcp.{candidate(row)}", "TLSA", row["tlsa_outcome"], row)]
    for name, rrtype, outcome, row in asked:
        if outcome in FAILED:
            said = f" ({_printable(row['ede_text'])})" if row["ede_text"] else ""
            lines[f"{name} {rrtype}: {FAILED_LOOKUP[LookupOutcome(outcome)]}{said}"] = None
    for row in measured.authority:
        about = f"{row['name']} {row['rrtype']}"
        bad: dict[str, dict[str, None]] = {}
        for server, question, result in zip(
            row["server"], row["question"], row["result"], strict=True
        ):
            if question == row["rrtype"] and result != AuthorityResult.ANSWER:
                bad.setdefault(result, {})[server] = None
        for result, servers in bad.items():
            lines[f"{about}: {_and(list(servers))} {AUTHORITY[AuthorityResult(result)]}"] = None
        if row["note"]:
            lines[f"{about}: {_printable(row['note'])}"] = None
    return list(lines)


def _host_causes(host: Document, at: str | None) -> list[str]:
    """Why a host fails, address by address where they differ."""
    if host["class"] != HostClass.F:
        return []
    lines: dict[str, None] = {}
    for address in host["addresses"]:
        where = f"{host['host']} [{address['address']}]"
        if address["status"] == HostStatus.MISMATCH:
            for one in address.get("records", ()):
                if one["result"] in set(MismatchCause):
                    cause = CAUSE[MismatchCause(one["result"])]
                    lines[f"{where}: {one['record']} does not match: {cause}"] = None
        elif address["status"] == HostStatus.NAME_MISMATCH:
            names = ", ".join(address["names"]) or "no name"
            lines[f"{where}: its certificate is for {names}, not {host['tlsa_base']}"] = None
        elif address["status"] == HostStatus.TA_EXPIRED:
            when = at or address["connected"]
            for one in address["chain"]:
                if not str(one["not_before"]) <= when <= str(one["not_after"]):
                    subject = one["subject"] or "its certificate"
                    dates = f"{one['not_before']} to {one['not_after']}"
                    lines[f"{where}: {subject} is valid from {dates}, not at {when}"] = None
        elif address["status"] and HOST_CLASS[HostStatus(address["status"])] is HostClass.F:
            reply = f"{address['smtp_code']} {address['smtp_text']}".replace("\n", " / ")
            said = address.get("error") or f"it says {reply}"
            lines[f"{where}: {said}"] = None
    return list(lines)


def _repairs(measured: Measured, hosts: Sequence[Document]) -> list[Document]:
    """What to do: text, and complete records to publish, if any."""
    verdict = measured.verdict
    found: list[Document] = []
    text = REPAIR_DOMAIN.get((DomainStatus(verdict["status"]), _detail(verdict)))
    if text is not None:
        return [{"host": None, "text": text.format(domain=measured.domain), "records": []}]
    for host in hosts:
        text = REPAIR_HOST.get(HostStatus(host["status"]))
        if text is None:
            continue
        records = _records_for_keys_seen(host) if text.endswith(":") else []
        if text.endswith(":") and not records:
            continue
        filled = text.format(host=host["host"], base=host["tlsa_base"], tlsa_name=host["tlsa_name"])
        found.append({"host": host["host"], "text": filled, "records": records})
    return found


def _records_for_keys_seen(host: Document) -> list[str]:
    """`3 1 1` of each key that the host's addresses show now."""
    keys = {
        address["chain"][0].get("spki_sha256"): None
        for address in host["addresses"]
        if address.get("chain")
    }
    return [f"{host['tlsa_name']}. IN TLSA 3 1 1 {key}" for key in keys if key]


def _advice(measured: Measured, host: Document) -> list[str]:
    """How to change the key without an outage, where there is only one record."""
    defects = {one["defect"] for one in host["defects"]}
    if Defect.SINGLE_RECORD not in defects or host["class"] not in (HostClass.P, HostClass.F):
        return []
    ttl_s = measured.hosts[host["host"]]["rrsig_original_ttl"]
    wait = f"{ROLLOVER_WAIT}, {_span(2 * ttl_s)}" if ttl_s else ROLLOVER_WAIT
    return [ROLLOVER.format(host=host["host"], wait=wait)]


def _span(seconds: int) -> str:
    """A time for people, rounded up to whole units."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{-(-seconds // length)} {unit}"
    return f"{seconds} seconds"


def _time(when: datetime | None) -> str | None:
    if when is None:
        return None
    return when.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _printable(text: str | None) -> str | None:
    """Without control characters and other surprises for a terminal."""
    if text is None:
        return None
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
