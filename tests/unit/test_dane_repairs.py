"""Every way to be broken has its row: what is wrong, what repairs it, how it stays repaired."""

import re
from string import Formatter

import pytest

from dane.outcomes import HOST_CLASS, DnsCause, HostClass, HostStatus, MismatchCause
from dane.repairs import REPAIRS, Cause, ProblemKind, deciding_cause

NAMES = {
    name: name.upper()
    for name in ("host", "base", "tlsa_name", "question", "name", "rrtype", "zone")
}


def test_the_kinds_are_the_statuses_of_a_broken_host_and_the_lookup() -> None:
    broken = {str(one) for one in HostStatus if HOST_CLASS[one] is HostClass.F}
    assert {str(kind) for kind in ProblemKind} == broken | {"lookup"}


def test_every_kind_and_cause_has_a_row() -> None:
    wanted: set[tuple[ProblemKind, Cause]] = {
        *((ProblemKind.MISMATCH, cause) for cause in MismatchCause),
        *((ProblemKind.LOOKUP, cause) for cause in DnsCause),
        *((kind, None) for kind in set(ProblemKind) - {ProblemKind.MISMATCH, ProblemKind.LOOKUP}),
    }
    assert set(REPAIRS) == wanted


@pytest.mark.parametrize("row", REPAIRS.values(), ids=["-".join(map(str, key)) for key in REPAIRS])
def test_a_row_names_the_thing_and_can_be_filled(row: object) -> None:
    (repair,) = [one for one in REPAIRS.values() if one is row]
    assert [field for _, field, _, _ in Formatter().parse(repair.wrong) if field]
    filled = repair.filled(**NAMES)
    for text in (filled.wrong, filled.repair, filled.prevention):
        assert text.endswith(".")
        assert not re.search(r"[{}]|  ", text)
        assert text.isascii()


def test_the_cause_that_says_most_decides() -> None:
    assert deciding_cause([MismatchCause.UNKNOWN, MismatchCause.PEM_DIGEST]) == "pem_digest"
    assert deciding_cause([MismatchCause.STALE_CERTIFICATE, MismatchCause.UNKNOWN]) == (
        "stale_certificate"
    )
    assert deciding_cause([]) is MismatchCause.UNKNOWN
