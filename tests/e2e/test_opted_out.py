"""MX hosts on the opt-out list: nothing is asked of them, and the hosts beside them decide."""

from pathlib import Path

import pytest

from lab.internet import Lab
from tests.e2e.survey_run import Tables, finish, read, start
from tests.e2e.test_check import check
from tests.postgres_fixture import reachable_directory

# `hosted` points at both, `provider` is their own domain (lab.scenarios).
LEFT_ALONE, BESIDE = "mx2.provider.plain", "mx1.provider.plain"


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("listed") / "opt-out"
    path.write_text(f"{LEFT_ALONE}\nno-starttls.plain\n")
    return path


@pytest.fixture(scope="module")
def tables(quick_lab: Lab, listed: Path) -> Tables:
    with reachable_directory() as directory:
        finish(start(quick_lab, directory / "state", "--set", f"probe.opt_out={listed}", "survey"))
        return read(directory / "state")


def test_the_host_has_a_row_without_a_question(tables: Tables) -> None:
    (row,) = (one for one in tables["mx_host"] if one["host"] == LEFT_ALONE)
    assert (row["status"], row["a_outcome"], row["addresses"]) == ("opted_out", None, [])
    (verdict,) = (one for one in tables["host_verdict"] if one["host"] == LEFT_ALONE)
    assert (verdict["status"], verdict["class"], verdict["usable"]) == ("opted_out", "Q", False)


def test_the_hosts_beside_it_decide(tables: Tables) -> None:
    (domain,) = (one for one in tables["domain_verdict"] if one["domain"] == "hosted.hashed")
    assert domain["host"] == [BESIDE, LEFT_ALONE]
    assert domain["host_status"] == ["pass", "opted_out"]
    assert (domain["status"], domain["deliverable"]) == ("dane", True)


def test_a_domain_on_the_list_has_no_row(tables: Tables) -> None:
    assert "no-starttls.plain" not in {one["domain"] for one in tables["domain_mx"]}
    assert "mx.no-starttls.plain" not in {one["host"] for one in tables["mx_host"]}


def test_check_says_so(quick_lab: Lab, listed: Path) -> None:
    done = check(quick_lab, "hosted.hashed", settings=(f"probe.opt_out={listed}",))
    assert done.returncode == 0, done.stderr
    assert f"MX 20 {LEFT_ALONE}: opted_out" in done.stdout
    assert "every MX host that may be asked about has TLSA records" in done.stdout
    assert f"({LEFT_ALONE} not)" in done.stdout


def test_check_does_not_look_up_a_domain_on_the_list(quick_lab: Lab, listed: Path) -> None:
    done = check(quick_lab, "no-starttls.plain", settings=(f"probe.opt_out={listed}",))
    assert (done.returncode, done.stdout) == (2, "")
    assert "no-starttls.plain is on the opt-out list" in done.stderr
