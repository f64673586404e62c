"""The catalogue has a scenario for every outcome that a lookup of somebody else's name can have.

What is our own fault (`unanswered`, `local_resolver`) has none: tests/integration has it with a
scripted resolver, and tests/e2e/test_faults.py shows that it leaves no trace. What authorities
do is in tests/integration/test_authority_lab.py, each result by a scenario.
"""

from collections.abc import Iterator

from dane.outcomes import LOCAL, LookupOutcome
from lab.scenarios import CATALOGUE
from lab.scenarios.scenario import Expected, OneOf

OUTCOMES = {"outcome", "a_outcome", "aaaa_outcome", "tlsa_outcome", "second_look_outcome"}


def certain(cells: Iterator[Expected]) -> Iterator[str]:
    """Outcomes that a scenario declares without an alternative."""
    for cell in cells:
        if cell.column in OUTCOMES and not (cell.value is None or isinstance(cell.value, OneOf)):
            yield cell.value


def test_every_outcome_of_theirs_has_a_scenario() -> None:
    declared = {outcome for one in CATALOGUE for outcome in certain(one.expected())}
    assert declared == set(LookupOutcome) - LOCAL


def test_denials_are_there_with_and_without_proof() -> None:
    found = {
        (one.domain_mx["outcome"], one.domain_mx["secure"])
        for one in CATALOGUE
        if {"outcome", "secure"} <= one.domain_mx.keys()
    }
    for denial in ("nodata", "nxdomain"):
        assert {(denial, True), (denial, False)} <= found
