"""A cluster in the lab: a scheduler, two nodes with resolvers of their own, a coordinator."""

import re
import signal
import subprocess
from pathlib import Path

import pytest

from lab.internet import Lab
from tests.e2e.survey_run import (
    Tables,
    command,
    differences,
    of_state,
    read,
    start,
    wait_for,
)
from tests.postgres_fixture import reachable_directory

LOCAL_TROUBLE = 3
URL = "tls://127.0.0.1:8786"


def node_settings(number: int, certificates: Path) -> list[str]:
    ports = (f"resolver.port={5400 + number}", f"resolver.second_look_port={5450 + number}")
    files = (("ca", "ca.pem"), ("cert", "node.pem"), ("key", "node.key"))
    tls = (f"survey.tls_{key}={certificates / file}" for key, file in files)
    return [word for one in (*ports, *tls, "survey.workers=1") for word in ("--set", one)]


def test_two_nodes_survey_as_one_and_losing_the_scheduler_loses_nothing(
    quick_lab: Lab, undisturbed: Tables
) -> None:
    with reachable_directory() as directory:
        certificates = directory / "certificates"
        made = quick_lab.exec(
            command(quick_lab, directory / "any", "certificates", str(certificates))
        )
        assert made.returncode == 0
        assert (certificates / "node.key").stat().st_mode & 0o777 == 0o600

        def begin(number: int, *verb: str) -> "subprocess.Popen[str]":
            settings = node_settings(number, certificates)
            return start(quick_lab, directory / f"node-{number}", *settings, *verb)

        scheduler = begin(0, "scheduler", "--scheduler", URL)
        nodes = [begin(number, "worker", "--scheduler", URL) for number in (1, 2)]
        survey = begin(3, "survey", "--scheduler", URL)
        wait_for(survey, "resolve", "resting")
        scheduler.kill()
        for process in (survey, *nodes):
            _, said = process.communicate()
            assert process.returncode == LOCAL_TROUBLE, said
            assert "is gone" in said.splitlines()[-1]

        scheduler = begin(0, "scheduler", "--scheduler", URL)
        nodes = [begin(number, "worker", "--scheduler", URL) for number in (1, 2)]
        survey = begin(3, "survey", "--scheduler", URL)
        _, said = survey.communicate()
        assert survey.returncode == 0, said
        workers = set(re.findall(r'"workers": \{([^}]*)\}', said))
        assert any(len(one.split(",")) == 2 for one in workers)
        assert not differences(read(directory / "node-3"), undisturbed)
        for process in (*nodes, scheduler):
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate()
            assert process.returncode == 0, said
        assert not of_state(directory)


@pytest.mark.parametrize(
    ("scheduler", "wrong"),
    [("tcp://127.0.0.1:8786", "must be tls://"), (URL, "survey.tls_ca"), ("tls://x", "HOST:PORT")],
)
@pytest.mark.parametrize("verb", ["survey", "worker", "scheduler"])
def test_without_tls_there_is_no_cluster(
    quick_lab: Lab, tmp_path: Path, verb: str, scheduler: str, wrong: str
) -> None:
    words = command(quick_lab, tmp_path, verb, "--scheduler", scheduler)
    done = quick_lab.exec(words, capture_output=True, text=True)
    assert done.returncode == 2
    assert wrong in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "postgres").exists()
