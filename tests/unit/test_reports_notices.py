"""Notices are drafts, to the right mailbox, and nobody else's words get into a header."""

import email
import json
import mailbox
from contextlib import closing
from datetime import timedelta
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from dane.repairs import REPAIRS, ProblemKind
from reports import notices
from reports.notices import Letter, Sent, due, letters, mbox
from reports.problems import Problem
from tests.support.problems import DIGEST, NOW, failing, problem

HOSTILE = "x\r\nBcc: victim@example\r\n\r\nFrom nobody\x1b[2J\u202e"


def drafted(letter: Letter, **given: Any) -> EmailMessage:
    values = {
        "number": 7,
        "sender": "survey@here.example",
        "information": "https://here.example/",
        "rule": "A failure is confirmed when four daily looks agree.",
        "now": NOW,
    }
    return notices.draft(letter, **(values | given))


def body(message: EmailMessage) -> str:
    part = message.get_body(("plain",))
    assert part is not None
    text = part.get_content()
    assert isinstance(text, str)
    return text.replace("\r\n", "\n")


def said(message: EmailMessage) -> str:
    """The text without its line breaks."""
    return " ".join(body(message).split())


def test_one_letter_an_operator_with_all_that_it_can_repair() -> None:
    found = letters(
        [
            problem(domains=("a.example", "b.example"), undeliverable=2),
            failing(),
            problem(host="m2"),
        ]
    )
    assert [(one.operator_kind, one.recipient, len(one.problems)) for one in found] == [
        ("dns", "hostmaster@dns.example", 1),
        ("mx", "postmaster@provider.example", 2),
    ]
    text = body(drafted(found[1]))
    for line in ("a.example, b.example", "mx.provider.example", f"3 1 1 {DIGEST}", "here.example/"):
        assert line in text
    lookup = body(drafted(found[0]))
    assert "Signatures of c.example have expired" in lookup
    assert "dig +dnssec MX c.example" in lookup


def test_nothing_confirmed_no_draft() -> None:
    assert letters([]) == []
    assert mbox([]) == b""


@pytest.mark.parametrize(
    ("problems", "subject"),
    [
        (
            [problem(domains=("a.example", "b.example"), undeliverable=2)],
            "DANE for SMTP: senders that check it cannot deliver to 2 domains",
        ),
        ([problem(undeliverable=0)], "DANE for SMTP is broken at 1 MX host"),
        ([problem(), problem(host="m2", undeliverable=0)], "DANE for SMTP is broken at 2 MX hosts"),
        ([failing(undeliverable=0)], "DNS lookups fail for 1 domain"),
    ],
)
def test_the_subject_says_what_is_true(problems: list[Problem], subject: str) -> None:
    assert subject in drafted(letters(problems)[0])["Subject"]


# --- to whom ----------------------------------------------------------------------------------


def test_the_zones_contact_comes_first_and_has_the_whole_list_within_the_operators_domain() -> None:
    inside = problem(contact="dns-admin@ops.provider.example")
    (letter,) = letters([inside, problem(host="m2")])
    assert letter.recipient == "dns-admin@ops.provider.example"
    assert len(letter.problems) == 2


def test_another_address_gets_its_own_zones_part_and_only_where_there_is_no_other() -> None:
    ours = problem(contact="admin@customer.example")
    assert [one.recipient for one in letters([ours])] == ["postmaster@provider.example"]
    broken = problem(host="m2", domains=("provider.example",))
    found = letters([ours, broken])
    assert [(one.recipient, [p.host for p in one.problems]) for one in found] == [
        ("admin@customer.example", ["mx.provider.example"]),
        ("postmaster@provider.example", ["m2"]),
    ]


def test_never_at_a_domain_whose_mail_is_broken_if_there_is_another() -> None:
    (letter,) = letters(
        [problem(domains=("provider.example",), contact="admin@dns.provider.example")]
    )
    assert letter.recipient == "admin@dns.provider.example"


@pytest.mark.parametrize("operator", ["(unknown)", "evil\\010bcc.example", "a@b.example"])
def test_an_operator_that_is_no_host_name_has_no_mailbox(operator: str) -> None:
    (letter,) = letters([problem(operator=operator, contact="x y@z.example")])
    assert letter.recipient == ""
    assert "To" not in drafted(letter)


# --- when -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "told", "is_due"),
    [
        (29, ["host mx.provider.example"], False),
        (29, ["host m2"], True),  # the set has grown
        (29, ["host m2", "host mx.provider.example"], False),  # it has shrunk
        (30, ["host mx.provider.example"], True),
    ],
)
def test_nobody_is_told_twice_within_30_days_unless_there_is_more(
    days: int, told: list[str], is_due: bool
) -> None:
    (letter,) = letters([problem()])
    sent = [Sent(letter.operator, letter.recipient, frozenset(told), NOW - timedelta(days=days))]
    assert due(letter, sent, (), NOW) is is_due


def test_a_recipient_of_two_operators_is_one_person() -> None:
    (letter,) = letters([problem()])
    sent = [Sent("other.example", letter.recipient, frozenset(letter.keys), NOW)]
    assert not due(letter, sent, (), NOW)


def test_a_muted_operator_gets_none() -> None:
    (letter,) = letters([problem()])
    assert not due(letter, (), {"provider.example"}, NOW)


def test_how_often_it_was_so_is_said() -> None:
    (letter,) = letters([problem(recurrence=2)])
    assert "It was so 2 times before within the year" in said(drafted(letter))


# --- valid mail -------------------------------------------------------------------------------


def test_a_draft_is_valid_mail_and_says_who_writes_and_how_to_object() -> None:
    (letter,) = letters([problem()])
    raw = drafted(letter).as_bytes()
    message = email.message_from_bytes(raw, policy=policy.SMTP)
    assert message.defects == []
    assert {"From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"} <= set(message.keys())
    assert message["Message-ID"] == "<danesurvey.7@here.example>"
    text = said(message)  # type: ignore[arg-type]  # the policy makes an EmailMessage
    assert "GDPR articles 14 and 21" in text
    assert "RFC 5321, 4.5.1" in text


@pytest.mark.parametrize("kind", sorted(REPAIRS, key=str), ids=str)
def test_every_row_of_the_table_makes_a_draft_of_72_columns(kind: Any) -> None:
    lookup = kind[0] is ProblemKind.LOOKUP
    one = (failing if lookup else problem)(kind=kind[0], cause=kind[1], evidence=("tlsa 3 1 1 00",))
    raw = drafted(letters([one])[0]).as_bytes()
    assert max(map(len, raw.splitlines())) <= 998
    text = body(email.message_from_bytes(raw, policy=policy.SMTP))  # type: ignore[arg-type]
    commands = ("  _25._tcp", "  dig ", "  openssl ", "    -", "https://", "Who we are")
    assert not [
        line for line in text.splitlines() if len(line) > 72 and not line.startswith(commands)
    ]


def test_hostile_words_stay_in_their_line(tmp_path: Path) -> None:
    found = letters(
        [
            problem(operator="evil\\010bcc.example", evidence=(HOSTILE,), host="mx\\010.example"),
            problem(operator="a@b.example", contact=HOSTILE),
            failing(servers=((HOSTILE, "127.0.0.1", "timeout"),), domains=(HOSTILE,)),
        ]
    )
    drafts = [drafted(letter, information=HOSTILE) for letter in found]
    path = tmp_path / "drafts.mbox"
    path.write_bytes(mbox(drafts))
    with closing(mailbox.mbox(path)) as box:
        assert len(box) == 3
    for message in drafts:
        again = email.message_from_bytes(message.as_bytes(), policy=policy.SMTP)
        assert set(again.keys()) <= {
            "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version",
            "X-Danesurvey-Notice", "X-Danesurvey-Status", "Content-Type",
        }  # fmt: skip
        text = body(again)  # type: ignore[arg-type]
        assert all(" " <= one <= "~" or one == "\n" for one in text)
        assert not [line for line in text.splitlines() if line.startswith(("Bcc", "From"))]


def test_a_thousand_domains_and_a_long_record_are_cut_short_and_attached_whole() -> None:
    names = tuple(f"d{number}.example" for number in range(1000))
    record = "tlsa 3 0 0 " + "ab" * 4000
    (letter,) = letters([problem(domains=names, evidence=(record,))])
    message = drafted(letter, sender="")
    text = body(message)
    assert "and 990 more" in text
    assert "From" not in message
    rows, evidence = (part.get_content() for part in message.iter_attachments())
    assert len(rows.splitlines()) == 1001
    assert json.loads(evidence)[0]["evidence"] == [record]
    assert max(map(len, message.as_bytes().splitlines())) <= 998


def test_the_ledgers_numbers_are_read_back() -> None:
    (letter,) = letters([problem()])
    both = mbox([drafted(letter, number=7), drafted(letter, number=12)])
    assert notices.numbers(both) == {7, 12}
    assert notices.numbers(drafted(letter).as_bytes()) == {7}
    assert notices.numbers(b"Subject: lunch\r\n\r\nX-Danesurvey-Notice") == frozenset()
