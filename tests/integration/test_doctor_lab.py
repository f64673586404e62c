"""The doctor in the lab: what it says when all is well, and of each thing that is not."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from crawler.dns import installation
from crawler.dns.settings import ResolverSettings
from crawler.dns.unbound import home
from dane.faults import LocalTrouble
from danesurvey.doctor import CHECKS, Harm
from danesurvey.settings import load
from lab.internet import Lab
from lab.scenarios import CATALOGUE

ROOT = Path(__file__).parents[2]
FEW = [one for one in CATALOGUE if one.name == "ee-spki"]


@dataclass(frozen=True, slots=True)
class Report:
    code: int
    checks: Mapping[str, tuple[str, str]]

    @property
    def failed(self) -> set[str]:
        return {name for name, (outcome, _) in self.checks.items() if outcome == "failed"}


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    try:
        internet = Lab(tmp_path_factory.mktemp("lab"), FEW)
    except LocalTrouble as trouble:
        pytest.skip(str(trouble))
    with internet:
        yield internet


@pytest.fixture(scope="module")
def database(few: Lab, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of the flags: a server that is not there, for the resolver's checks need none."""
    return f"database.url=postgresql:///x?host={tmp_path_factory.mktemp('nothing')}"


def examined(lab: Lab, *flags: str, clock_ahead_s: float = 0) -> Report:
    done = lab.exec(
        [
            *("env", f"CLOCK_AHEAD_S={clock_ahead_s}", sys.executable, "-m", "tests.doctor_run"),
            *(str(lab.settings_file), *flags),
        ],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        check=True,
    )
    found = json.loads(done.stdout)
    return Report(found["code"], {k: (v[0], v[1]) for k, v in found["checks"].items()})


@contextmanager
def resolver(
    lab: Lab, directory: Path, settings: ResolverSettings, *changes: str
) -> Iterator[None]:
    """One more Unbound in the lab, its configuration changed by (old, new) pairs."""
    installation.prepare(settings, directory)
    file = directory / "unbound.conf"
    text = file.read_text()
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    with lab.popen(
        [*map(str, installation.command())], cwd=directory, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr
        assert b"start of service" in process.stderr.readline()
        try:
            yield
        finally:
            process.terminate()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def settings(few: Lab) -> ResolverSettings:
    return replace(load(few.settings_file).resolver, threads=1)


def test_all_is_well_in_the_lab(few: Lab, state: Path) -> None:
    report = examined(few, f"state_dir={state}")
    assert report.failed == set()
    assert report.code == 0
    assert set(report.checks) == {check.name for check in CHECKS}
    skipped = {name for name, (outcome, _) in report.checks.items() if outcome == "skipped"}
    assert not skipped & {c.name for c in CHECKS if c.harm is Harm.FALSIFIES} - {"port_25"}


def test_a_second_process_on_the_port(
    few: Lab, state: Path, settings: ResolverSettings, database: str, tmp_path: Path
) -> None:
    ours = home(state / "unbound", second_look=False)
    with resolver(few, ours, settings), resolver(few, tmp_path / "stranger", settings):
        report = examined(few, f"state_dir={state}", database)
    assert "resolver_alone" in report.failed
    assert "another process" in report.checks["resolver_alone"][1]
    assert report.code == 1


@pytest.mark.parametrize(
    ("old", "new", "failing"),
    [
        ("    trust-anchor:", "    #", {"resolver_validates", "resolver_root_keys"}),
        ("discard-timeout: 0", "discard-timeout: 1900", {"resolver_options"}),
        ("aggressive-nsec: no", "aggressive-nsec: yes", {"resolver_options"}),
        ("ede: yes", "ede: no", {"resolver_ede"}),
        ("    do-ip6: no", "    do-ip6: no\n    do-tcp: no", {"resolver_tcp"}),
        ("remote-control:", "forward-zone:\n  name: x.\n  forward-addr: 127.20.0.1\n"
         "remote-control:", {"resolver_options"}),
    ],
)  # fmt: skip
def test_a_resolver_that_is_not_to_be_believed(
    few: Lab,
    state: Path,
    settings: ResolverSettings,
    database: str,
    old: str,
    new: str,
    failing: set[str],
) -> None:
    with resolver(few, home(state / "unbound", second_look=False), settings, old, new):
        report = examined(few, f"state_dir={state}", database)
    assert report.failed == {*failing, "database"}
    harms = {check.harm for check in CHECKS if check.name in failing}
    assert report.code == 1 or harms == {Harm.WORSENS}


@pytest.mark.parametrize("ahead_s", [-2 * 86_400, 30 * 86_400])
def test_a_clock_that_is_wrong(few: Lab, state: Path, database: str, ahead_s: float) -> None:
    report = examined(few, f"state_dir={state}", database, clock_ahead_s=ahead_s)
    assert report.failed == {"clock", "database"}
    assert report.code == 1


def test_a_survey_without_a_name_and_a_database(few: Lab, state: Path, database: str) -> None:
    report = examined(few, f"state_dir={state}", database, "probe.contact=")
    assert report.failed == {"identity", "database"}
    assert report.checks["identity"][1] == "[probe] lacks contact"
    assert report.code == 1


def test_a_port_that_is_taken_by_something_else(few: Lab, state: Path, database: str) -> None:
    with few.popen(
        [
            sys.executable,
            "-c",
            "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
            "s.bind(('127.0.0.1', 5301)); print(flush=True); sys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as squatter:
        assert squatter.stdout
        squatter.stdout.readline()
        report = examined(few, f"state_dir={state}", database)
    assert report.failed == {"resolver", "database"}
    assert "python" in report.checks["resolver"][1]
    assert report.checks["resolver_validates"] == ("skipped", "after fresh_names")
