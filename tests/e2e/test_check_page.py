"""docs/check.md shows what the command prints."""

import pytest

from lab.namespace import Isolation, available
from tests.e2e.check_page import PAGE, domains, lab_of, written


@pytest.mark.skipif(
    available() is Isolation.NONE, reason="a second lab beside the session's needs a namespace"
)
def test_the_examples_are_current() -> None:
    page = PAGE.read_text("utf-8")
    assert len(domains(page)) >= 12
    with lab_of(page) as lab:
        assert written(page, lab) == page
