"""A good domain's verdict does not wait for a bad one: it is shown while the others rest."""

import json
import signal
import time

from lab.internet import Lab
from tests.e2e.survey_run import command, read, start
from tests.postgres_fixture import reachable_directory

RESTS = ("--set", "client.passes_s=[600]", "--set", "probe.attempts_after_s=[600]")
PATIENCE_S = 120.0


def test_good_verdicts_are_shown_while_bad_ones_rest(quick_lab: Lab) -> None:
    with reachable_directory() as directory:
        state = directory / "state"
        survey = start(quick_lab, state, *RESTS, "survey")

        def said(*words: str) -> str:
            done = quick_lab.exec(
                command(quick_lab, state, *RESTS, *words), capture_output=True, text=True
            )
            return str(done.stdout)

        found: dict[str, dict[str, object]] = {}
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            lines = said("status", "--verdicts", "--json").splitlines()
            found = {one["domain"]: one for one in map(json.loads, lines)}
            settled = [one for one in found.values() if one["waits_for"] is None]
            if {"dane", "no_tlsa", "no_mail"} <= {one["status"] for one in settled}:
                break
        assert survey.poll() is None
        good = found["ee-spki.plain"]
        assert (good["status"], good["provisional"], good["waits_for"]) == ("dane", True, None)
        broken = found["no-starttls.plain"]
        assert broken["waits_for"] == "probe"
        assert broken["until"] is not None

        status = json.loads(said("status", "--json"))
        waiting = {one["stage"]: one for one in status["waiting"]}
        assert waiting["probe"]["rows"] >= 1
        assert waiting["probe"]["next"] is not None
        assert "probe: " in (text := said("status"))
        assert "next at" in text

        listed = json.loads(said("report", "breakage", "--provisional", "--json"))
        assert "no-starttls.plain" in {one["domain"] for one in listed}
        assert "ee-spki.plain" not in {one["domain"] for one in listed}
        assert "nothing of this is confirmed" in said("report", "breakage", "--provisional")

        survey.send_signal(signal.SIGTERM)
        survey.communicate()
        tables = read(state)  # shown, and never stored
        assert not tables["domain_verdict"]
        assert not tables["host_verdict"]
