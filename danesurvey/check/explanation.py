"""Why a domain fails and what to do: causes, repairs, and advice for the next change of keys.

Sentences and records for a person to act on, made of a domain's rows and the parts of its
document (`danesurvey.check.document`) with the tables of `danesurvey.check.advice`.
"""

from collections.abc import Sequence
from typing import Any

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
    RecordResult,
)
from danesurvey.check.advice import (
    AUTHORITY,
    CAUSE,
    FAILED_LOOKUP,
    REPAIR_DOMAIN,
    REPAIR_HOST,
    ROLLOVER,
    ROLLOVER_WAIT,
    Detail,
)
from danesurvey.check.findings import Measured, tlsa_name
from danesurvey.check.lookups import Row
from reports.escape import printable

Document = dict[str, Any]


def lookup_causes(measured: Measured) -> list[str]:
    """What the resolver says of failing lookups, and what the name servers' answers show."""
    lines: dict[str, None] = {}
    asked = [(measured.domain, "MX", measured.domain_mx["outcome"], measured.domain_mx)]
    for name, row in measured.hosts.items():
        asked += [(name, "A", row["a_outcome"], row), (name, "AAAA", row["aaaa_outcome"], row)]
        asked += [(tlsa_name(row), "TLSA", row["tlsa_outcome"], row)]
    told: set[str | None] = set()  # a row has the error of its first failing question
    for name, rrtype, outcome, row in asked:
        if outcome in FAILED:
            text = row["ede_text"] and printable(row["ede_text"])
            said = f" ({text})" if text and text not in told else ""
            told.add(text)
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
            lines[f"{about}: {listed(list(servers))}: {AUTHORITY[AuthorityResult(result)]}"] = None
        if row["note"]:
            lines[f"{about}: {printable(row['note'])}"] = None
    return list(lines)


def host_causes(host: Document, at: str | None) -> list[str]:
    """Why a host fails, address by address where they differ."""
    if host["class"] != HostClass.F:
        return []
    lines: dict[str, None] = {}
    for address in host["addresses"]:
        where = f"{host['host']} [{address['address']}]"
        if address["status"] == HostStatus.MISMATCH:
            for one in address.get("records", ()):
                if one["cause"]:
                    unusable = one["result"] == RecordResult.UNUSABLE
                    said = "cannot be used" if unusable else "does not match"
                    cause = CAUSE[MismatchCause(one["cause"])]
                    lines[f"{where}: {one['record']} {said}: {cause}"] = None
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


def repairs(measured: Measured, hosts: Sequence[Document]) -> list[Document]:
    """What to do: text, and complete records to publish, if any."""
    verdict = measured.verdict
    found: list[Document] = []
    text = REPAIR_DOMAIN.get((DomainStatus(verdict["status"]), detail(verdict)))
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


def rollover_advice(measured: Measured, host: Document) -> list[str]:
    """How to change the key without an outage, where there is only one record."""
    defects = {one["defect"] for one in host["defects"]}
    if Defect.SINGLE_KEY not in defects or host["class"] not in (HostClass.P, HostClass.F):
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


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def detail(verdict: Row) -> Detail:
    """What a status is told apart by: the stage of a failed lookup, the reason for no mail."""
    if verdict["stage"]:
        return LookupStage(verdict["stage"])
    return NoMailReason(verdict["reason"]) if verdict["reason"] else None
