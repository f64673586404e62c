"""RNAME to an address of mail (RFC 1035 section 8), and what is none."""

import pytest

from dane.mailbox import mailbox
from dane.names import canonical


@pytest.mark.parametrize(
    ("rname", "expected"),
    [
        ("hostmaster.example.org.", "hostmaster@example.org"),
        ("Host.Master.Example.org.", "host@master.example.org"),
        ("john\\.doe.example.org.", "john.doe@example.org"),
        ("a+b.example.co.uk.", "a+b@example.co.uk"),
        (".", None),
        ("hostmaster.", None),
        ("hostmaster.example.", None),  # nobody receives mail at a top-level domain's name
        ("nobody.invalid.", None),
        ("nobody.example.invalid.", None),
        ("a\\.\\.b.example.org.", None),
        ("\\.a.example.org.", None),
        ("a\\@b.example.org.", None),
        ("a\\032b.example.org.", None),
        ("a\\010b.example.org.", None),
        ("a\\233.example.org.", None),
        ("a.b_c.example.org.", None),
        ("a.-b.org.", None),
    ],
)
def test_mailbox(rname: str, expected: str | None) -> None:
    assert mailbox(canonical(rname)) == expected
