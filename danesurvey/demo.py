"""`lab demo`: the main job on the miniature Internet, from nothing to what is published."""

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lab.internet import Lab
from lab.scenarios import CATALOGUE

# One of each kind, without those that only long time-outs tell: a demonstration is short.
SHOWN = frozenset(
    {
        *("ee-spki", "ta-spki", "ee-and-ta", "current-and-next", "provider", "hosted"),
        *("no-tlsa", "unsigned-domain", "unsigned-provider", "implicit-mx", "null-mx"),
        *("ee-stranger", "certificate-as-key", "ta-not-sent", "ta-expired", "ta-name-mismatch"),
        *("pkix-only", "one-of-two-broken", "backup-broken", "partial-primary", "name-a-customer"),
        *("no-starttls", "starttls-454", "greeting-554", "tls-alert", "all-down"),
        *("alias", "tlsa-refused", "tlsa-servfail", "expired", "wrong-ds", "serial-raised"),
        *("nsec3-opt-out", "tcp-denied-nsec3", "odd-bytes"),
    }
)


def demo(directory: Path) -> int:
    """Bring a lab up in `directory`, survey it, print the results, take it down; the exit code.

    Talk goes to stderr, the post and the breakage list to stdout. What an earlier demo left
    in `directory` is removed first; what this one published stays.
    """
    with Lab(directory, [one for one in CATALOGUE if one.name in SHOWN]) as lab:
        state = directory / "state"
        shutil.rmtree(state, ignore_errors=True)
        began = time.monotonic()
        say(f"The miniature Internet is up: {len(lab.scenarios)} scenarios. Surveying it.")
        code = run(lab, ["survey"], quiet=True)
        if code == 0:
            say(f"Surveyed in {time.monotonic() - began:.0f} s. The monthly post:")
            code = run(lab, ["report", "post"])
        if code == 0:
            say("The breakage list (one run only suspects):")
            code = run(lab, ["report", "breakage"])
    if code == 0:
        say(f"The Parquet files are in {state / 'dataset'}")
    return code


def run(lab: Lab, words: Sequence[str], *, quiet: bool = False) -> int:
    """One danesurvey command inside the lab."""
    sys.stdout.flush()
    settings = ["--config", str(lab.settings_file)]
    command = [sys.executable, "-P", "-m", "danesurvey", *settings, *words]
    return lab.popen(command, stdout=subprocess.DEVNULL if quiet else None).wait()


def say(text: str) -> None:
    """A line of talk, apart from what stands around it."""
    print(f"\n{text}\n", file=sys.stderr, flush=True)
