"""While a survey runs: what it shows on a terminal, to `status`, to Prometheus; no second one."""

import json
import os
import pty
import re
import signal
import sys

from lab.internet import Lab
from tests.e2e.survey_run import command, finish, start, wait_for
from tests.postgres_fixture import reachable_directory

PORT = 9469
FETCH = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{PORT}/metrics').read().decode())"
# long enough for a look at it
PATIENT = ("--set", "client.passes_s=[20]", "--set", f"survey.metrics_port={PORT}")
SAMPLE = re.compile(r'danesurvey_\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [0-9.]+')


def test_seen_from_outside(quick_lab: Lab) -> None:
    with reachable_directory() as directory:
        state = directory / "state"
        survey = start(quick_lab, state, *PATIENT, "survey")
        wait_for(survey, "resolve", "resting")

        def beside(*words: str) -> tuple[int, str, str]:
            done = quick_lab.exec(command(quick_lab, state, *words), capture_output=True, text=True)
            return done.returncode, done.stdout, done.stderr

        code, out, _ = beside("status", "--json")
        found = json.loads(out)
        assert (code, found["state"], found["running"]) == (0, "unfinished", True)

        done = quick_lab.exec([sys.executable, "-c", FETCH], capture_output=True, text=True)
        lines = done.stdout.split("\n")
        samples = [line for line in lines if line and not line.startswith("#")]
        assert samples, done.stderr
        assert all(SAMPLE.fullmatch(line) for line in samples), samples
        assert 'danesurvey_stage_running{stage="resolve"} 1' in lines
        assert "danesurvey_canaries_good 1" in lines
        assert sum(line.startswith("danesurvey_resident_memory_bytes{") for line in lines) >= 2

        assert beside("survey")[0] == 3  # the resolver's port is taken, to begin with
        code, _, error = beside("assess")
        assert code == 3
        assert "another survey is running on this database" in error

        survey.send_signal(signal.SIGTERM)
        survey.communicate()
        code, out, _ = beside("status", "--json")
        assert json.loads(out)["running"] is False
        finish(start(quick_lab, state))


def test_a_terminal_sees_a_table(quick_lab: Lab) -> None:
    with reachable_directory() as directory:
        ours, theirs = pty.openpty()
        survey = quick_lab.popen(
            command(quick_lab, directory / "state", "survey"),
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "160"},
        )
        os.close(theirs)
        shown = ""
        try:
            while part := os.read(ours, 65536):
                shown += part.decode(errors="replace")
        except OSError:  # a terminal's end of file
            pass
        os.close(ours)
        assert survey.wait() == 0, shown[-2000:]
        for word in (
            "under way",
            "next in",
            "resolve",
            "assess domains",
            "questions/s",
            "canaries",
        ):
            assert word in shown
        assert "MiB, workers" in shown
