"""Notices are drafts, to confirmed breakage only, and nobody else's words get into a header."""

import mailbox
from contextlib import closing
from email import message_from_string, policy
from pathlib import Path
from typing import Any

from reports.breakage import load
from reports.dictionary import BREAKAGES
from reports.notices import drafts, mbox
from tests.published_rows import table_of

HOSTILE = "x\r\nBcc: victim@example\r\n\r\nFrom nobody\x1b[2J\u202e"


def breakages(*rows: dict[str, Any]) -> list[Any]:
    given = {"operator_kind": "mx", "operator": "provider.example", "host": "mx.provider.example",
             "domain": "a.example", "status": "mismatch", "state": "confirmed",
             "fault": "certificate"}  # fmt: skip
    return load(table_of(BREAKAGES, [given | row for row in rows]))


def test_one_draft_an_operator_with_confirmed_breakage() -> None:
    found = drafts(
        breakages(
            {},
            {"domain": "b.example"},
            {"operator": "other.example", "state": "suspected"},
            {"operator_kind": "dns", "operator": "dns.example", "host": "", "status": "servfail",
             "stage": "mx"},
        ),
        sender="survey@here.example",
        information="https://here.example/",
    )  # fmt: skip
    assert [str(one["To"]) for one in found] == [
        "hostmaster@dns.example",
        "postmaster@provider.example",
    ]
    text = found[1].get_content()
    assert "2 domains" in found[1]["Subject"]
    for line in ("a.example", "b.example", "mx.provider.example", "3 1 1", "https://here.example/"):
        assert line in text
    assert "servfail at the mx lookup" in found[0].get_content()


def test_nothing_confirmed_no_draft() -> None:
    found = drafts(breakages({"state": "suspected"}), sender="", information="")
    assert found == []
    assert mbox(found) == ""


def test_hostile_words_stay_in_their_line(tmp_path: Path) -> None:
    found = drafts(
        breakages(
            {"operator": "evil\\010bcc.example", "evidence": [HOSTILE], "host": "mx\\010.example"},
            {"operator": "a@b.example"},
        ),
        sender="survey@here.example",
        information=HOSTILE,
    )
    path = tmp_path / "drafts.mbox"
    path.write_text(mbox(found))
    with closing(mailbox.mbox(path)) as box:
        assert len(box) == 2
    for message in found:
        again = message_from_string(message.as_string(), policy=policy.default)
        assert set(again.keys()) <= {
            "From", "Subject", "X-Danesurvey-Status", "MIME-Version",
            "Content-Type", "Content-Transfer-Encoding",
        }  # fmt: skip
        body = again.get_content()
        assert body.isascii()
        assert "\x1b" not in body
        assert not [line for line in body.splitlines() if line.startswith(("Bcc", "From"))]


def test_a_thousand_domains_are_cut_short() -> None:
    rows = [{"domain": f"d{number}.example"} for number in range(1000)]
    (draft,) = drafts(breakages(*rows), sender="", information="")
    assert "and 800 more" in draft.get_content()
    assert "From" not in draft
