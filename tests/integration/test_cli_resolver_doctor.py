"""`danesurvey resolver config` and `danesurvey doctor` as commands: output and exit codes."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from crawler.dns.installation import find
from danesurvey.doctor import CHECKS
from lab.internet import Lab

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "danesurvey"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize("flags", [(), ("--second-look",)])
def test_the_configuration_is_all_of_stdout(flags: Sequence[str], tmp_path: Path) -> None:
    done = run("resolver", "config", *flags)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert f"qname-minimisation: {'yes' if flags else 'no'}\n" in done.stdout
    file = tmp_path / "unbound.conf"
    file.write_text(done.stdout)
    subprocess.run([find("unbound-checkconf"), file], check=True, capture_output=True)


def test_a_trust_anchor_that_is_not_there_is_a_usage_fault(tmp_path: Path) -> None:
    done = run("--set", f"resolver.trust_anchor={tmp_path}/none", "resolver", "config")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "No such file" in done.stderr


def test_doctor_as_json_and_for_people(lab: Lab, tmp_path: Path) -> None:
    argv = [*COMMAND, "--config", str(lab.settings_file), "--state-dir", str(tmp_path), "doctor"]
    done = lab.exec([*argv, "--json"], capture_output=True, text=True, cwd=ROOT)
    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout
    assert found["ok"] is True
    assert [one["name"] for one in found["checks"]] == [check.name for check in CHECKS]
    assert {one["outcome"] for one in found["checks"]} <= {"ok", "skipped", "failed"}

    # and with something wrong, which is said with what to do about it
    argv[3:3] = ["--set", "probe.contact="]
    done = lab.exec(argv, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert "failed   identity             [probe] lacks contact\n" in done.stdout
    assert "prevents             do: say in [probe] who you are" in done.stdout
