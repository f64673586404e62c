"""The catalogue confirmed by witnesses that share no code with the survey.

`delv` (BIND) validates DNSSEC, `openssl s_client` verifies DANE for one chain, and Postfix's
`posttls-finger` does all that a sending server does, from the MX question on. They run inside
the lab only. Where a witness is of another opinion, SETTLED says why the scenario stands.
"""

import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import addresses
from lab.internet import Lab
from lab.namespace import Isolation
from lab.scenarios import CATALOGUE
from lab.scenarios.scenario import OneOf, Scenario
from tests.lab_fixture import unbound

Resolver = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Question:
    """What a scenario says of one DNS question: the words that `delv` must begin with."""

    scenario: str
    name: str
    rrtype: str
    verdict: str


ANSWER, UNSIGNED = "; fully validated", "; unsigned answer"
DENIAL, UNSIGNED_DENIAL = "; negative response, fully validated", "; negative response, unsigned"
FAILURE = ";; resolution failed"
"""How delv begins, by what it found."""

DNS_SETTLED = {
    "empty-data": "BIND refuses a TLSA record shorter than four bytes as malformed; RFC 6698 2.1 "
    "sets no least length, and measurement 5.1 calls it an unusable record",
    "one-byte": "as empty-data",
    "alias-error-at-target": "the lookup that fails is the one at the target, not at the MX name",
    "expired-lately": "BIND allows no skew; measurement 2 takes Unbound's, and reports "
    "rrsig_near_expiry",
    "gone-opt-out": "BIND calls an opt-out denial validated; RFC 5155 9.2 forbids AD there",
    "ds-odd-length": "BIND refuses the whole DS RRset for one digest that is too short; RFC 6840 "
    "5.2 has validators disregard such a DS",
}
"""Scenarios of which delv says otherwise, and why they stand."""


SILENT = ("silent-server", "silent-servers", "tlsa-drop", "tlsa-truncate-and-stall")
"""Scenarios in which nothing answers TLSA questions: through a resolver a witness would only wait
for it to give up, so `dig` asks their name servers itself."""


def _mx_question(scenario: Scenario) -> Question:
    outcome = scenario.domain_mx.get("outcome")
    secure = scenario.domain_mx.get("secure")
    status = scenario.verdict["status"]
    if isinstance(outcome, OneOf):
        outcome = "bogus"
    match outcome, status:
        case "nodata", _ if "cname_target" in scenario.domain_mx:
            verdict = ANSWER  # the CNAME that led there
        case "nodata" | "nxdomain", _:
            verdict = DENIAL if secure else UNSIGNED_DENIAL
        case "bogus" | "servfail", _:
            verdict = FAILURE
        case None | "secure" | "insecure", "insecure":
            verdict = UNSIGNED
        case _:
            verdict = ANSWER
    return Question(scenario.name, scenario.domain, "MX", verdict)


_TLSA_VERDICT = {
    "secure": ANSWER,
    "insecure": UNSIGNED,
    "bogus": FAILURE,
    "servfail": FAILURE,
    "nxdomain": DENIAL,
    "nodata": DENIAL,
}


TLSA_ALIASES = {"tlsa-alias-dangling", "tlsa-name-by-wildcard-alias"}
"""Scenarios whose TLSA name is an alias of a name without TLSA: delv begins with the CNAME."""


def _tlsa_questions(scenario: Scenario) -> Iterator[Question]:
    for host, columns in scenario.mx_host.items():
        outcome = columns.get("tlsa_outcome")
        if outcome in _TLSA_VERDICT:
            base = columns.get("tlsa_base", scenario.absolute(host))
            verdict = ANSWER if scenario.name in TLSA_ALIASES else _TLSA_VERDICT[outcome]
            yield Question(scenario.name, f"_25._tcp.{base}", "TLSA", verdict)


def _questions(scenarios: Iterable[Scenario]) -> Iterator[Question]:
    for scenario in scenarios:
        if scenario.name in SILENT:
            continue
        yield _mx_question(scenario)
        yield from _tlsa_questions(scenario)


def _delv_anchors(lab: Lab, directory: Path) -> Path:
    """The lab's trust anchor as delv reads it."""
    tag, algorithm, kind, digest = lab.trust_anchor.read_text().split()[4:]
    path = directory / "anchors"
    anchor = f'. static-ds {tag} {algorithm} {kind} "{digest}";'
    path.write_text(f"trust-anchors {{ {anchor} }};\n")
    return path


def _all(work: Any, items: list[Any]) -> list[Any]:
    """Witnesses wait more than they work: many at once."""
    with ThreadPoolExecutor(32) as pool:
        return list(pool.map(work, items))


@pytest.mark.skipif(shutil.which("delv") is None, reason="no delv")
def test_delv_agrees(lab: Lab, lab_resolver: Resolver, tmp_path: Path) -> None:
    anchors = _delv_anchors(lab, tmp_path)
    address, port = lab_resolver

    def ask(question: Question) -> str:
        argv = ["delv", f"@{address}", "-p", str(port), "-a", str(anchors), "+root=."]
        argv += [f"{question.name}.", question.rrtype]
        done = lab.exec(argv, capture_output=True, text=True)
        said = (done.stdout + done.stderr).splitlines()
        return next((line for line in said if line.startswith((";; res", "; "))), "nothing")

    questions = list(_questions(lab.scenarios))
    assert len(questions) > 200
    others = [
        f"{one.scenario:32} {one.name} {one.rrtype}: expected {one.verdict!r}, delv {said!r}"
        for one, said in zip(questions, _all(ask, questions), strict=True)
        if not said.startswith(one.verdict) and one.scenario not in DNS_SETTLED
    ]
    assert not others, "\n".join(["", *others])


@pytest.mark.parametrize("name", SILENT)
def test_dig_hears_nothing(lab: Lab, name: str) -> None:
    (scenario,) = (one for one in lab.scenarios if one.name == name)
    host = scenario.absolute("mx")

    def ask(server: str, *question: str) -> list[str]:
        argv = ["dig", f"@{server}", "+norec", "+tries=1", "+time=2", *question]
        said: str = lab.exec(argv, capture_output=True, text=True).stdout
        return said.splitlines()

    referral = ask(addresses.TLD[0], "+noall", "+additional", scenario.domain, "MX")
    servers = [line.split()[-1] for line in referral]
    assert servers
    for server in servers:
        said = ask(server, f"_25._tcp.{host}", "TLSA")
        assert not any("status:" in line for line in said), said
        assert any(line.startswith(";; ") and "timed out" in line for line in said), said


# --- Postfix ----------------------------------------------------------------------------------


def _posttls_finger(lab: Lab, directory: Path) -> Any:
    """A function that says all that Postfix says of one destination (a domain, or a host in
    brackets), as with a real system resolver."""
    (directory / "resolv.conf").write_text("nameserver 127.0.0.1\noptions trust-ad timeout:10\n")
    (directory / "main.cf").write_text(
        "compatibility_level=3.6\nsmtp_dns_support_level=dnssec\n"
        "smtp_tls_security_level=dane\nmyhostname=postfix.plain\n"
    )
    inside = (
        'mount --bind "$0/resolv.conf" /etc/resolv.conf && '
        'MAIL_CONFIG="$0" exec posttls-finger -c -t 5 -T 5 -l dane-only "$1"'
    )

    def ask(destination: str) -> str:
        argv = ["unshare", "--mount", "sh", "-c", inside, str(directory), destination]
        done = lab.exec(argv, capture_output=True, text=True)
        return str(done.stdout + done.stderr)

    return ask


VERIFIED = "Verified TLS connection established"
NO_TLSA, NONE_USABLE = (
    "no TLSA records found",
    "(?:no usable TLSA records found|all TLSA records unusable)",
)
DNS_ERROR, TLSA_ERROR = "Name service error", "TLSA lookup error"
POSTFIX_SAYS: Mapping[tuple[str, str | None], str] = {
    ("dane", None): VERIFIED,
    ("no_tlsa", None): NO_TLSA,
    ("insecure_mx_host", None): NO_TLSA,
    ("insecure", None): NO_TLSA,
    ("unusable", None): NONE_USABLE,
    ("lookup_failed", "mx"): DNS_ERROR,
    ("lookup_failed", "tlsa"): TLSA_ERROR,
    ("lookup_failed", "address"): DNS_ERROR,
    ("no_mail", "null_mx"): "does not accept mail",
}
"""What is among posttls-finger's words (a regular expression), by status and stage or reason."""

INSECURE_MX_SAYS = {"unsigned-hosted": "Trusted TLS connection established"}
"""Scenarios whose MX RRset is insecure and whose host has a secure TLSA RRset: Postfix uses DANE,
which RFC 7672 2.2.1 permits, but never calls the connection verified."""

POSTFIX_SAYS_OF_HOST = {
    "pass": VERIFIED,
    "absent": NO_TLSA,
    "insecure": NO_TLSA,
    "unusable": NONE_USABLE,
    "tlsa_failed": TLSA_ERROR,
    "address_failed": DNS_ERROR,
}
"""Likewise by the status of a host that it is sent to. Of others it must not say `Verified`."""

POSTFIX_SETTLED = {
    "tls-1.0-only": "Debian's OpenSSL refuses TLS 1.0; measurement 4 has a second handshake",
    "empty-data": "posttls-finger 3.7 panics (mymalloc of length 0), which says nothing",
    "null-mx-mixed": "Postfix bounces, as measurement 6 says; RFC 7505 3 has senders skip `.`",
    "starttls-every-other-time": "its first connection is the one without STARTTLS",
    "slow-banner": "this test waits 5 s for a greeting, a survey of the lab 25 s",
    "nsec3-151-no-mx": "Postfix takes an unproven denial of MX for one; measurement 3.1 does not "
    "(RFC 7672 2.2.1: the MX lookup must be secure)",
    "gone-opt-out": "both see NXDOMAIN; measurement 7 calls an unproven one insecure",
    "odd-bytes": "Postfix refuses such names (valid_hostname); RFC 2181 11 allows them in DNS",
}
"""Scenarios of which posttls-finger says otherwise, and why they stand."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A destination that Postfix is asked about, and what it must say of it."""

    scenario: str
    destination: str
    status: str
    expected: str | None  # a regular expression; None: not verified


def _deliveries(scenario: Scenario) -> Iterator[Delivery]:
    """The domain, if it does not matter which address Postfix takes (there is one, or all are
    right); else each of its hosts that has one address."""
    named = Counter(one.name for one in scenario.hosts for _ in one.addresses)
    exchanges = [one for one in scenario.records if one.split()[1] == "MX"]
    addresses = sum(len(one.addresses) for one in scenario.hosts if one.same_as is None)
    verdict = scenario.verdict
    if max(len(exchanges), addresses) < 2 or verdict["status"] == "dane":
        expected = INSECURE_MX_SAYS.get(scenario.name) or POSTFIX_SAYS.get(
            (verdict["status"], verdict["stage"] or verdict["reason"])
        )
        yield Delivery(scenario.name, scenario.domain, verdict["status"], expected)
        return
    for host in scenario.hosts:
        status = scenario.host_verdict.get(host.name, {}).get("status")
        if named[host.name] == 1 and isinstance(status, str):
            expected = POSTFIX_SAYS_OF_HOST.get(status)
            destination = f"[{scenario.absolute(host.name)}]"
            yield Delivery(scenario.name, destination, status, expected)


def _all_deliveries(scenarios: Iterable[Scenario]) -> Iterator[Delivery]:
    # Nothing that is not the lab's is ever connected to, not even where nobody would answer.
    for one in scenarios:
        if "isolation" not in one.needs and isinstance(one.verdict["status"], str):
            yield from _deliveries(one)


@pytest.mark.skipif(shutil.which("posttls-finger") is None, reason="no posttls-finger")
def test_postfix_agrees(lab: Lab, tmp_path: Path) -> None:
    if lab.isolation is not Isolation.ROOT:
        pytest.skip("a resolv.conf of its own needs root")
    tmp_path.chmod(0o755)
    ports = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
    lab.exec(["sh", "-c", f"echo 0 > {ports}"], check=True)
    asked = list(_all_deliveries(lab.scenarios))
    assert len(asked) > 180
    with unbound(lab, tmp_path / "unbound", 53):
        said = _all(_posttls_finger(lab, tmp_path), [one.destination for one in asked])
    others = []
    for one, words in zip(asked, said, strict=True):
        agrees = re.search(one.expected, words) if one.expected else VERIFIED not in words
        if not agrees and one.scenario not in POSTFIX_SETTLED:
            last = (words.splitlines() or ["nothing"])[-1]
            others.append(f"{one.destination:32} {one.status}: posttls-finger {last[:150]!r}")
    assert not others, "\n".join(["", *others])


# --- OpenSSL ----------------------------------------------------------------------------------

KEY_TYPES_DIFFER = "key-types-differ"
OPENSSL_SETTLED = {
    "rsa-1024": "its security level here is 2: local policy, not DANE; Postfix verifies it",
    "wildcard-part-of-label": "s_client takes partial wildcards; RFC 7672 3.2.3 and Postfix do not",
    "tls-1.0-only": "Debian's OpenSSL refuses TLS 1.0; measurement 4 has a second handshake",
    "starttls-every-other-time": "it depends on whose turn it is: s_client connects once",
    "one-address-down": "this test asks for all addresses; measurement 6: the host takes the "
    "first line that any has, and `pass` comes before `unreachable`",
    "slow-banner": "this test waits 10 s for a greeting, a survey of the lab 25 s",
}
"""Scenarios of which `openssl s_client` says otherwise, and why they stand."""


@dataclass(frozen=True, slots=True)
class Server:
    """An MX host whose TLSA RRset is secure: whether it must verify, and at which name."""

    scenario: str
    host: str
    base: str
    status: str


_NOT_SERVERS = {"absent", "insecure", "tlsa_failed", "address_failed", "no_address", "local_error"}


def _servers(scenario: Scenario) -> Iterator[Server]:
    for name, columns in scenario.host_verdict.items():
        status = columns.get("status")
        if isinstance(status, str) and status not in _NOT_SERVERS:
            host = scenario.absolute(name)
            base = scenario.mx_host.get(name, {}).get("tlsa_base", host)
            yield Server(scenario.name, host, base, status)


def _all_servers(scenarios: Iterable[Scenario]) -> Iterator[Server]:
    for one in scenarios:
        if "isolation" not in one.needs:
            yield from _servers(one)


def _s_client(lab: Lab, resolver: Resolver, host: str, base: str, *options: str) -> list[bytes]:
    """What it says of the handshake with each address of a host, whose TLSA records are at `base`.

    Not its exit code: that is also of how the connection ended, which is a race between its end
    and the server's.
    """

    def dig(name: str, rrtype: str) -> list[str]:
        argv = ["dig", f"@{resolver[0]}", "-p", str(resolver[1]), "+short", name, rrtype]
        done = lab.exec(argv, capture_output=True, text=True, check=True)
        lines = done.stdout.splitlines()
        # neither names of aliases nor dig's comments on a server that it asks again
        return [line for line in lines if not line.endswith(".") and not line.startswith(";")]

    argv = ["timeout", "10", "openssl", "s_client", "-starttls", "smtp", "-brief"]
    argv += ["-verify_return_error", "-dane_ee_no_namechecks", "-dane_tlsa_domain", base, *options]
    for record in dig(f"_25._tcp.{base}", "TLSA"):
        usage, selector, matching_type, *data = record.split()
        argv += ["-dane_tlsa_rrdata", f"{usage} {selector} {matching_type} {''.join(data)}"]
    found = [*dig(host, "A"), *(f"[{one}]" for one in dig(host, "AAAA"))]
    assert found, host
    return [
        lab.exec([*argv, "-connect", f"{one}:25"], input=b"QUIT\r\n", capture_output=True).stderr
        for one in found
    ]


def test_openssl_agrees(lab: Lab, lab_resolver: Resolver) -> None:
    def verifies(server: Server) -> bool:
        said = _s_client(lab, lab_resolver, server.host, server.base)
        return all(b"Verification: OK" in one for one in said)

    servers = list(_all_servers(lab.scenarios))
    assert len(servers) > 100
    others = [
        f"{one.host:40} {one.status}: s_client {'verifies' if verified else 'does not verify'} it"
        for one, verified in zip(servers, _all(verifies, servers), strict=True)
        if verified is not (one.status == "pass") and one.scenario not in OPENSSL_SETTLED
    ]
    assert not others, "\n".join(["", *others])


@pytest.mark.parametrize(
    ("algorithm", "verifies"), [("ECDSA+SHA256", True), ("RSA-PSS+SHA256", False)]
)
def test_openssl_sees_that_key_types_differ(
    lab: Lab, lab_resolver: Resolver, algorithm: str, verifies: bool
) -> None:
    (scenario,) = (one for one in lab.scenarios if one.name == KEY_TYPES_DIFFER)
    host = scenario.absolute("mx")
    said = _s_client(lab, lab_resolver, host, host, "-sigalgs", algorithm)
    assert [b"Verification: OK" in one for one in said] == [verifies]


def test_every_scenario_has_a_witness() -> None:
    """For its DNS; and for its SMTP, where a tool may connect and there is one right answer."""
    names = {one.name for one in CATALOGUE}
    assert {*SILENT, *(one.scenario for one in _questions(CATALOGUE))} == names
    talked_to = {one.scenario for one in _all_deliveries(CATALOGUE)}
    talked_to |= {one.scenario for one in _all_servers(CATALOGUE)} | {KEY_TYPES_DIFFER}
    undecided = {one.name for one in CATALOGUE if isinstance(one.verdict["status"], OneOf)}
    off_loopback = {one.name for one in CATALOGUE if "isolation" in one.needs}
    assert names - talked_to == (undecided | off_loopback) - {KEY_TYPES_DIFFER}
