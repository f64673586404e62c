"""A line added to the opt-out list while a survey runs holds from the next connection on."""

from pathlib import Path

import pytest

from lab.internet import Lab
from tests.e2e.survey_run import finish, read, start, wait_for
from tests.postgres_fixture import reachable_directory

LEAVES = "no-starttls.plain"


def test_the_host_is_in_no_list_and_is_not_visited_again(quick_lab: Lab, tmp_path: Path) -> None:
    """It failed once; the second attempt would come ten seconds later."""
    listed = tmp_path / "opt-out"
    listed.write_text("")
    settings = (f"probe.opt_out={listed}", "probe.attempts_after_s=[10,10]")
    flags = [word for setting in settings for word in ("--set", setting)]
    with reachable_directory() as directory:
        survey = start(quick_lab, directory / "state", *flags, "survey")
        wait_for(survey, "probe", "resting")
        with listed.open("a") as file:
            file.write(f"postmaster@{LEAVES}\n")
        finish(survey)
        tables = read(directory / "state")
    (verdict,) = (one for one in tables["host_verdict"] if one["host"] == f"mx.{LEAVES}")
    assert (verdict["status"], verdict["class"], verdict["usable"]) == ("opted_out", "Q", False)
    (domain,) = (one for one in tables["domain_verdict"] if one["domain"] == LEAVES)
    assert domain["status"] not in ("broken", "partial"), "nothing is said of it"


@pytest.mark.parametrize("spoil", ["AS64500\n", None], ids=["not understood", "gone"])
def test_a_survey_never_goes_on_without_the_list(
    quick_lab: Lab, tmp_path: Path, spoil: str | None
) -> None:
    listed = tmp_path / "opt-out"
    listed.write_text(f"{LEAVES}\n")
    flags = ("--set", f"probe.opt_out={listed}", "--set", "probe.attempts_after_s=[20,20]")
    with reachable_directory() as directory:
        state = directory / "state"
        survey = start(quick_lab, state, *flags, "survey")
        wait_for(survey, "probe", "resting")
        if spoil is None:
            listed.unlink()
        else:
            listed.write_text(f"{LEAVES}\n{spoil}")
        _, said = survey.communicate()
        assert survey.returncode == 2, said[-2000:]
        assert "opt-out" in said
        assert "Traceback" not in said, [x for x in said.splitlines() if not x.startswith("{")][:40]

        listed.write_text(f"{LEAVES}\n")
        finish(start(quick_lab, state, *flags, "--set", "probe.attempts_after_s=[0.3]", "survey"))
        assert LEAVES not in {one["domain"] for one in read(state)["domain_mx"]}
