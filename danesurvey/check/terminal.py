"""A check's document for people, and the one line for a monitoring system.

Colour on a terminal (rich; NO_COLOR is heeded), plain text elsewhere. Nothing is read as
markup: names and replies are strangers'.
"""

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from dane.outcomes import AuthorityResult, HostClass, HostStatus, LookupOutcome, RecordResult
from danesurvey.check.advice import AUTHORITY, HOST, INFORMATION, Severity
from danesurvey.check.explanation import Document

_STYLE = {
    Severity.OK: "bold green",
    Severity.WARNING: "bold yellow",
    Severity.CRITICAL: "bold red",
    Severity.UNKNOWN: "bold magenta",
}
_CLASS_STYLE = {
    HostClass.P: "green",
    HostClass.P0: "yellow",
    HostClass.N: "yellow",
    HostClass.Q: "yellow",
    HostClass.F: "red",
    HostClass.L: "red",
    HostClass.A: "red",
}
_ALGORITHM = {
    5: "RSA/SHA-1",
    7: "RSA/SHA-1",
    8: "RSA/SHA-256",
    10: "RSA/SHA-512",
    13: "ECDSA P-256",
    14: "ECDSA P-384",
    15: "Ed25519",
    16: "Ed448",
}

Line = tuple[int, str, str]
"""Columns to indent by, text, style."""


def show(console: Console, document: Document) -> None:
    """Print one domain's document."""
    for indent, text, style in lines(document):
        console.print(Text(" " * indent + text, style=style), soft_wrap=True, highlight=False)


def nagios(document: Document) -> str:
    """One line: `DANE OK - example.org: …`."""
    verdict = document["verdict"]
    text = f"DANE {str(verdict['severity']).upper()} - {document['domain']}: {verdict['sentence']}"
    words = (one["defect"] for one in verdict["defects"])
    defects = ", ".join(word for word in words if word not in INFORMATION)
    return f"{text} ({defects})" if defects else text


def lines(document: Document) -> Iterator[Line]:
    """What `show` prints, line by line."""
    verdict = document["verdict"]
    yield 0, f"{document['domain']}: {verdict['sentence']}", _STYLE[verdict["severity"]]
    yield 2, verdict["sender"], ""
    yield 2, _dnssec(document["dnssec"]), "" if document["dnssec"]["mx_secure"] else "yellow"
    for host in document["hosts"]:
        yield from _host(host)
    for row in document["authority"]:
        yield from _authority(row)
    yield from _section("Cause", document["causes"], "red")
    repairs = [
        (repair["text"], *(f"  {record}" for record in repair["records"]))
        for repair in document["repairs"]
    ]
    yield from _section("Repair", [line for repair in repairs for line in repair], "bold")
    yield from _section("Next rollover", document["advice"], "")


def _section(title: str, texts: list[str], style: str) -> Iterator[Line]:
    if texts:
        yield 2, f"{title}:", "bold"
        for text in texts:
            yield 4, text, style


def _dnssec(dnssec: Document) -> str:
    outcome = dnssec["mx_outcome"]
    if dnssec["mx_secure"]:
        algorithm = _ALGORITHM.get(dnssec["algorithm"], f"algorithm {dnssec['algorithm']}")
        how = "signed"
        if dnssec["signer"] is not None:
            how = f"signed by {dnssec['signer']} ({algorithm}) until {dnssec['signed_until']}"
        text = f"DNSSEC: MX {how}"
        return text if outcome == LookupOutcome.SECURE else f"{text}; {outcome}"
    text = f"DNSSEC: MX {outcome}"
    if dnssec["ede_text"] or dnssec["ede_code"] is not None:
        text += f" (error {dnssec['ede_code']}: {dnssec['ede_text'] or 'no text'})"
    return text


def _host(host: Document) -> Iterator[Line]:
    style = _CLASS_STYLE.get(host["class"], "")
    status = HostStatus(host["status"])
    alias = f" → {' → '.join(host['alias_of'])}" if host["alias_of"] else ""
    yield (
        2,
        f"MX {host['preference']} {host['host']}{alias}: {status}, {HOST[status]}",
        f"bold {style}".strip(),
    )
    if host["tlsa_base"] and host["tlsa_base"] != host["host"]:
        yield 4, f"TLSA base domain: {host['tlsa_base']}", ""
    dns = host["dns"]
    if dns and (dns["ede_text"] or dns["ede_code"] is not None):
        yield 4, f"DNS error {dns['ede_code']}: {dns['ede_text'] or 'no text'}", "yellow"
    for one in host["tlsa"]:
        yield 4, f"TLSA {one['record']}" + ("" if one["usable"] else "  (not usable)"), ""
    for address in host["addresses"]:
        yield from _address(address)
    for one in host["defects"]:
        yield 4, f"{one['defect']}: {one['meaning']}", "yellow"


def _address(address: Document) -> Iterator[Line]:
    status = address["status"]
    text = address["address"]
    if status is None:
        yield 4, text, ""
        return
    tls = [address.get(key) for key in ("tls_version", "cipher", "key_type")]
    details = [one for one in tls if one]
    if not details and address.get("smtp_code"):
        details = [f"{address['smtp_code']} {address['smtp_text']}".replace("\n", " / ")]
    if address.get("error"):
        details.append(address["error"])
    passed = status == HostStatus.PASS
    text = f"{text}: {status}" + (f" ({', '.join(details)})" if details else "")
    yield 4, text, "green" if passed else "yellow" if not address.get("chain") else "red"
    chain = address.get("chain", ())
    for number, one in enumerate(chain):
        if one.get("subject") is not None:
            yield (
                6,
                f"{number} {one['subject'] or '(no subject)'}, "
                f"by {one['issuer'] or '(no issuer)'}, "
                f"{one['not_before']} to {one['not_after']}",
                "dim",
            )
    for one in address.get("records", ()) if chain else ():
        place = f", certificate {one['depth']}" if one["depth"] is not None else ""
        style = "green" if one["result"] == RecordResult.MATCH else "red"
        yield 6, f"{_short(one['record'])}: {one['result']}{place}", style


def _short(record: str) -> str:
    fields, _, data = record.rpartition(" ")
    return f"{fields} {data[:16]}…" if len(data) > 20 else record


def _authority(row: Document) -> Iterator[Line]:
    yield 2, f"Name servers, asked directly about {row['name']} {row['rrtype']}:", "bold"
    asked = [one for one in row["servers"] if one["question"] == row["rrtype"]]
    for one in asked:
        result = AuthorityResult(one["result"])
        yield (
            4,
            f"{one['server']} [{one['address']}] {one['transport']}: {AUTHORITY[result]}",
            "" if result is AuthorityResult.ANSWER else "red",
        )
