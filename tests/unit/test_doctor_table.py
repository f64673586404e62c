"""The doctor's table: every check says what to do, and what decides the exit code."""

import pytest

from danesurvey.doctor import CHECKS, Harm, Outcome, Result, verdict


def test_names_are_distinct_words() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    assert all(name.replace("_", "").isalnum() for name in names)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: str(check.name))
def test_advice_is_one_line(check: object) -> None:
    advice = getattr(check, "advice")  # noqa: B009
    assert len(advice) > 10
    assert "\n" not in advice


@pytest.mark.parametrize("harm", Harm)
@pytest.mark.parametrize("outcome", Outcome)
def test_the_exit_code_counts_what_would_be_false_or_impossible(
    harm: Harm, outcome: Outcome
) -> None:
    check = next(check for check in CHECKS if check.harm is harm)
    code = verdict([Result(check, outcome, "")])
    assert code == int(outcome is Outcome.FAILED and harm is not Harm.WORSENS)
