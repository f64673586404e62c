"""The words of `check`: a sentence for everything, and nothing from strangers raw."""

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from crawler.dns.unbound import loopback
from dane.faults import UsageFault
from dane.outcomes import (
    FAILED,
    HOST_CLASS,
    AuthorityResult,
    Defect,
    DomainStatus,
    HostClass,
    HostStatus,
    LookupStage,
    MismatchCause,
    NoMailReason,
)
from danesurvey.check import advice, terminal
from danesurvey.check.document import document
from danesurvey.check.findings import Measured, tlsa_name


def test_every_word_has_its_sentence() -> None:
    assert set(advice.SEVERITY) == set(DomainStatus)
    assert set(advice.HOST) == set(HostStatus)
    assert set(advice.DEFECT) == set(Defect)
    assert set(advice.CAUSE) == set(MismatchCause)
    assert set(advice.AUTHORITY) == set(AuthorityResult)
    assert set(advice.FAILED_LOOKUP) == FAILED
    failing = {DomainStatus.BROKEN, DomainStatus.LOOKUP_FAILED}
    assert set(advice.SENDER) | failing == set(DomainStatus)
    details: dict[DomainStatus, set[Any]] = {
        DomainStatus.LOOKUP_FAILED: set(LookupStage),
        DomainStatus.NO_MAIL: set(NoMailReason),
    }
    expected = {(one, detail) for one in DomainStatus for detail in details.get(one, {None})}
    assert set(advice.SENTENCE) == expected


def test_every_failure_has_a_repair() -> None:
    failing = {one for one in HostStatus if HOST_CLASS[one] in (HostClass.F, HostClass.L)}
    assert failing <= set(advice.REPAIR_HOST)


def test_exit_codes_are_the_documented_ones() -> None:
    ordinary = {one: advice.EXIT_CODE[advice.SEVERITY[one]] for one in DomainStatus}
    assert {one for one, code in ordinary.items() if code == 1} == {
        DomainStatus.BROKEN,
        DomainStatus.LOOKUP_FAILED,
        DomainStatus.UNREACHABLE,
    }
    assert {one for one, code in ordinary.items() if code == 3} == {DomainStatus.INDETERMINATE}
    assert set(advice.NAGIOS_CODE.values()) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1", ("127.0.0.1", 53)),
        ("127.0.0.1:5301", ("127.0.0.1", 5301)),
        ("127.0.0.1@5301", ("127.0.0.1", 5301)),
        ("127.0.0.1#5301", ("127.0.0.1", 5301)),
        ("::1", ("::1", 53)),
        ("::1@5301", ("::1", 5301)),
        ("[::1]:5301", ("::1", 5301)),
        ("[::1]", ("::1", 53)),
    ],
)
def test_resolver_addresses(text: str, address: tuple[str, int]) -> None:
    assert loopback(text) == address


@pytest.mark.parametrize("text", ["", "192.0.2.1", "localhost", "127.0.0.1:x", "::1:53x", "@53"])
def test_resolvers_that_are_not_believed(text: str) -> None:
    with pytest.raises(UsageFault):
        loopback(text)


NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
HOSTILE = "\x1b]0;owned\x07[bold red]x[/] \u202e"


def hostile() -> Measured:
    """A failing domain whose resolver reports what its name servers made it say."""
    nothing = dict.fromkeys(
        (
            *("second_look_outcome", "cname_target", "rrsig_signer", "rrsig_algorithm"),
            *("rrsig_key_tag", "rrsig_expiration", "nsec3_iterations", "nsec3param_iterations"),
        )
    )
    domain_mx = nothing | {
        "outcome": "bogus",
        "secure": False,
        "ede_code": 6,
        "ede_text": HOSTILE,
        "dnskey_algorithm": [],
        "dnskey_bits": [],
        "dnskey_flags": [],
        "last_asked": NOW,
    }
    verdict = {
        "status": "lookup_failed",
        "stage": "mx",
        "reason": None,
        "level": None,
        "mx_secure": False,
        "dane_primary": False,
        "deliverable": False,
        "defects": [],
        "host": [],
        "host_preference": [],
        "host_status": [],
    }
    authority = {
        "name": "bad.example",
        "rrtype": "MX",
        "zone": "bad.example",
        "failed_name": "bad.example",
        "dns_cause": "signature_invalid",
        "all_good": False,
        "server": ["ns1.bad.example", "ns1.bad.example", "ns2.bad.example"],
        "address": ["192.0.2.1", "192.0.2.1", "192.0.2.2"],
        "transport": ["udp", "tcp", "udp"],
        "question": ["MX", "MX", "MX"],
        "result": ["refused", "refused", "answer"],
        "note": HOSTILE,
    }
    return Measured(
        domain="bad.example", domain_mx=domain_mx, verdict=verdict, authority=[authority]
    )


def test_strangers_text_never_reaches_the_terminal_raw() -> None:
    found = document(hostile(), None)
    assert json.loads(json.dumps(found)) == found
    out = io.StringIO()
    terminal.show(Console(file=out, force_terminal=False, width=80), found)
    text = out.getvalue()
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\u202e" not in text
    assert "\\x1b]0;owned\\x07[bold red]x[/]" in text, "and is not read as markup"
    assert "\n" not in terminal.nagios(found)


def test_colour_on_a_terminal_only() -> None:
    found = document(hostile(), None)
    out = io.StringIO()
    terminal.show(Console(file=out, force_terminal=True, color_system="standard"), found)
    assert out.getvalue().startswith("\x1b[1;31mbad.example: The MX lookup fails.")
    assert "\x1b]" not in out.getvalue(), "colours are ours, title changes a stranger's"


def test_the_cause_of_a_failing_lookup() -> None:
    found = document(hostile(), None)
    assert found["causes"][0].startswith(
        "bad.example MX: there is an answer, but its signatures do not hold ("
    )
    assert "bad.example MX: ns1.bad.example: refuses" in found["causes"]
    assert found["repairs"][0]["text"].startswith("Have the name servers of bad.example")
    assert found["checked"] == "2024-05-01T12:00:00Z"
    assert terminal.nagios(found) == "DANE CRITICAL - bad.example: The MX lookup fails."


@pytest.mark.parametrize(
    ("failed", "name"),
    [
        ([("_25._tcp.target.net", "TLSA")], "_25._tcp.target.net"),
        ([("_25._tcp.mx.net", "TLSA")], "_25._tcp.mx.net"),
        ([("mx.net", "AAAA")], "_25._tcp.target.net"),
        ([], "_25._tcp.target.net"),
    ],
)
def test_of_an_alias_the_name_whose_lookup_fails_is_told(
    failed: list[tuple[str, str]], name: str
) -> None:
    """RFC 7672 section 2.2.2: the expanded name is asked first, then the MX host's own."""
    host = {"host": "mx.net", "cname_chain": ["middle.net", "target.net"], "tlsa_base": None}
    host |= {"failed_names": [one for one, _ in failed], "failed_types": [one for _, one in failed]}
    assert tlsa_name({**host, "a_secure": True, "aaaa_secure": False}) == name
    if not failed:
        insecure = {**host, "a_secure": False, "aaaa_secure": False}
        assert tlsa_name(insecure) == "_25._tcp.mx.net"
