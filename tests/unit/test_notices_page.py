"""docs/notices.md shows five drafts; they are what the program writes."""

from pathlib import Path

import pytest

from dane.outcomes import DnsCause, MismatchCause
from dane.repairs import ProblemKind
from reports.confirmation import rule
from reports.notices import draft, letters
from reports.problems import Problem
from reports.settings import ConfirmationSettings
from tests.support.problems import NOW, failing, problem

PAGE = Path(__file__).parents[2] / "docs/notices.md"
HOST = "mx.provider.example"

DRAFTS: dict[str, Problem] = {
    "A key that changed at renewal": problem(
        cause=MismatchCause.STALE_CERTIFICATE,
        domains=("customer-1.example", "customer-2.example"),
        undeliverable=2,
        recurrence=1,
        evidence=(
            "tlsa 3 1 1 " + "12" * 32,
            f"address 192.0.2.25 mismatch leaf {'34' * 32} names {HOST} TLSv1.3",
        ),
    ),
    "An authority that no longer issues": problem(
        cause=MismatchCause.RETIRED_ISSUER,
        evidence=(
            "tlsa 2 1 1 " + "56" * 32,
            f"address 192.0.2.25 mismatch leaf {'78' * 32} names {HOST} TLSv1.3",
        ),
    ),
    "One of two name servers drops TLSA": failing(
        "customer-1.example",
        operator="dns-provider.example",
        cause=DnsCause.TYPE_BLOCKED,
        name=f"_25._tcp.{HOST}",
        rrtype="TLSA",
        zone="provider.example",
        servers=(
            ("ns1.dns-provider.example", "192.0.2.53", "answer"),
            ("ns2.dns-provider.example", "198.51.100.53", "timeout"),
        ),
        contact="dns-admin@dns-provider.example",
    ),
    "Expired signatures of 40 domains": failing(
        "dns-provider.example",
        operator="dns-provider.example",
        domains=tuple(f"customer-{number:02}.example" for number in range(1, 41)),
        undeliverable=40,
        servers=(("ns1.dns-provider.example", "192.0.2.53", "answer"),),
    ),
    "STARTTLS that is refused": problem(
        kind=ProblemKind.STARTTLS_REJECTED,
        cause=None,
        records=(),
        undeliverable=0,
        evidence=(
            "tlsa 3 1 1 " + "12" * 32,
            "address 192.0.2.25 starttls_rejected reply 454 4.7.0 TLS not available",
        ),
    ),
}


def shown(problem: Problem) -> str:
    """The draft as the page has it: headers and text."""
    (letter,) = letters([problem])
    message = draft(
        letter,
        number=1,
        sender="survey@survey.example",
        information="https://survey.example/",
        rule=rule(ConfirmationSettings()),
        now=NOW,
    )
    part = message.get_body(("plain",))
    assert part is not None
    text = part.get_content().replace("\r\n", "\n")
    headers = [f"{name}: {message[name]}" for name in ("From", "To", "Subject")]
    return "\n".join([*headers, "", text]).rstrip()


@pytest.mark.parametrize("title", DRAFTS)
def test_the_page_shows_what_the_program_writes(title: str) -> None:
    assert f"### {title}\n\n```\n{shown(DRAFTS[title])}\n```\n" in PAGE.read_text("utf-8")
