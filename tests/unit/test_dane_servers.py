"""Which servers fail or disagree, by both rounds alone (measurement, section 8)."""

import pytest

from dane.outcomes import AuthorityResult
from dane.servers import ServerAnswer, disagreeing, failing, is_settled


def one(
    number: int, word: str = "answer", answer: str = "x", *, sound: bool = True
) -> ServerAnswer:
    return ServerAnswer("ns", f"192.0.2.{number}", AuthorityResult(word), answer, sound)


GOOD, OTHER, UNSOUND = one(1), one(2, answer="y"), one(2, sound=False)
SILENT, REFUSED = one(2, "timeout", ""), one(2, "refused", "")
DENIED = one(2, "nxdomain", "")
Round = list[ServerAnswer]


@pytest.mark.parametrize(
    ("rounds", "fails", "odd"),
    [
        ([[GOOD, one(2)]], [], []),
        ([[GOOD, SILENT]], [], []),  # not asked a second time yet
        ([[GOOD, SILENT], [GOOD, one(2)]], [], []),  # a packet lost
        ([[GOOD, SILENT], [GOOD, SILENT]], ["ns 192.0.2.2"], []),
        ([[GOOD, SILENT], [GOOD, REFUSED]], ["ns 192.0.2.2"], []),
        ([[SILENT], [SILENT]], [], []),  # none is good: the lookup fails, which is told elsewhere
        ([[GOOD, OTHER], [GOOD, OTHER]], [], ["ns 192.0.2.1", "ns 192.0.2.2"]),
        ([[GOOD, OTHER, one(3)], [GOOD, OTHER, one(3)]], [], ["ns 192.0.2.2"]),
        ([[GOOD, OTHER], [one(1, answer="y"), OTHER]], [], []),  # a zone on its way
        ([[GOOD, DENIED, one(3)], [GOOD, DENIED, one(3)]], [], ["ns 192.0.2.2"]),
        ([[GOOD, UNSOUND], [GOOD, UNSOUND]], [], ["ns 192.0.2.2"]),
        ([[GOOD, UNSOUND], [GOOD, SILENT]], [], []),
        ([[UNSOUND], [UNSOUND]], [], []),  # all alike: no disagreement
    ],
)
def test_both_rounds(rounds: list[Round], fails: list[str], odd: list[str]) -> None:
    assert failing(rounds) == fails
    assert disagreeing(rounds) == odd
    assert failing([answers[::-1] for answers in rounds]) == fails


@pytest.mark.parametrize(
    ("answers", "settled"),
    [
        ([GOOD, one(2)], True),
        ([GOOD], True),
        ([], True),
        ([GOOD, SILENT], False),
        ([GOOD, OTHER], False),
        ([GOOD, UNSOUND], False),
        ([GOOD, DENIED], False),
    ],
)
def test_what_is_asked_again(answers: Round, settled: bool) -> None:
    assert is_settled(answers) is settled
