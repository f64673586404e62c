"""What a stranger makes large is bounded: one budget a chain, counted in steps (dane/work.py)."""

import hashlib

import pytest

from dane.outcomes import RecordResult, Verdict
from dane.tlsa import TLSARecord
from dane.verify import Verification, verify
from dane.work import MOST_STEPS, SHORT_STEPS, Exhausted, Work
from tests.oracle.chains import AT, BASE
from tests.support.bombs import BOMBS, Bomb, honest, names_by_constraints, self_issued

_DECIDED = {
    "many names by many constraints": Verdict.MISMATCH,
    "many directory names by many constraints": Verdict.MISMATCH,
    "many digests by many certificates": Verdict.MISMATCH,
    "names of 900 attributes": Verdict.MATCH,
}
"""What the budget suffices for. All others are never called a mismatch."""


def _verify(bomb: Bomb, steps: int = MOST_STEPS) -> Verification:
    return verify(bomb.chain, bomb.tlsa, (BASE,), AT, (), steps)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_put_out(name: str) -> None:
    """Before there was one budget, the first of these took 47 s."""
    verification = _verify(BOMBS[name]())
    assert verification.verdict is _DECIDED.get(name, Verdict.CERT_UNPARSED)
    assert verification.over_budget is (name not in _DECIDED)


@pytest.mark.parametrize("name", BOMBS)
def test_what_an_event_loop_spares_is_used_up_by_every_bomb(name: str) -> None:
    """So that it is verified in a thread."""
    assert _verify(BOMBS[name](), SHORT_STEPS).over_budget


def test_a_chain_as_mail_servers_send_it_needs_no_thread() -> None:
    verification = _verify(honest(), SHORT_STEPS)
    assert verification.verdict is Verdict.MATCH
    assert not verification.over_budget
    assert [one.result for one in verification.records] == [RecordResult.MATCH] * 5


@pytest.mark.parametrize("matching_type", [0, 1, 2])
@pytest.mark.parametrize("name", BOMBS)
def test_no_bomb_hides_that_the_leaf_matches(name: str, matching_type: int) -> None:
    bomb = BOMBS[name]()
    leaf = bomb.chain[0]
    digests = {0: leaf, 1: hashlib.sha256(leaf).digest(), 2: hashlib.sha512(leaf).digest()}
    own = TLSARecord(3, 0, matching_type, digests[matching_type])
    verification = verify(bomb.chain, (*bomb.tlsa, own), (BASE,), AT)
    assert verification.verdict is Verdict.MATCH
    assert verification.matched_record == len(bomb.tlsa) or name in _DECIDED


def test_the_same_input_has_the_same_verdict_and_results_every_time() -> None:
    """Also when what was read of its certificates is still there from the last time."""
    bomb = self_issued(12, 10, 3, 2)
    verifications = {repr(_verify(bomb, steps)) for steps in (9_000,) * 3}
    assert len(verifications) == 1


def test_all_names_are_compared_with_all_constraints() -> None:
    """None of the permitted names is the reference name; the last name is not permitted."""
    assert _verify(names_by_constraints(200, 200)).verdict is Verdict.NAME_MISMATCH
    assert _verify(names_by_constraints(201, 200)).verdict is Verdict.MISMATCH


def test_an_exhausted_budget_stays_exhausted() -> None:
    work = Work(3)
    work.spend(3)
    assert not work.exhausted
    for _ in range(2):
        with pytest.raises(Exhausted):
            work.spend(1)
    assert work.exhausted
