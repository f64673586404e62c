"""`danesurvey report …` from a data set alone: stdout is data, faults are one line."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from dane.faults import Refused, UsageFault
from danesurvey.cli import report
from danesurvey.cli.context import GlobalOptions
from reports.derived_tables import STATISTICS
from reports.dictionary import BREAKAGES, DOMAINS, MX_HOSTS
from tests.published_rows import NOON, domain, publish

VERBS = ("post", "breakage", "notices", "exceptions", "opportunities")


def run(directory: Path, *arguments: str) -> Result:
    app = typer.Typer()

    @app.callback()
    def options(context: typer.Context) -> None:
        context.obj = GlobalOptions(None, (f"publish.directory={directory}",))

    report.register(app)
    return CliRunner().invoke(app, ["report", *arguments])


@pytest.fixture
def published(tmp_path: Path) -> Path:
    broken = {"operator_kind": "mx", "operator": "p.example", "host": "mx.p.example",
              "domain": "a.example", "status": "mismatch", "fault": "certificate",
              "last_look": NOON}  # fmt: skip
    rows = {
        DOMAINS: [
            domain("a.example", "broken", deliverable=False),
            domain("b.example", "no_tlsa", [("mx.q.example", 0, "absent", "N")], mx_secure=True),
        ],
        MX_HOSTS: [{"host": "mx.q.example", "operator": "q.example"}],
        BREAKAGES: [
            {**broken, "state": "confirmed"},
            {**broken, "operator": "r.example", "state": "suspected"},
        ],
        STATISTICS: [{"metric": "dane_domains", "dimension": "all", "value": 42.0}],
    }
    publish(tmp_path, rows)
    return tmp_path


def test_post(published: Path) -> None:
    text = run(published, "post", "--month", "2026-11").stdout
    assert "The DANE domain count is now 42." in text
    numbers = json.loads(run(published, "post", "--json").stdout)
    assert numbers == [
        {
            "metric": "dane_domains",
            "dimension": "all",
            "key": None,
            "value": 42.0,
            "unit": "",
            "kind": "",
        }
    ]


def test_breakage(published: Path) -> None:
    text = run(published, "breakage").stdout
    assert "a.example" in text
    assert "confirmed when four daily looks agree" in text
    assert len(json.loads(run(published, "breakage", "--json").stdout)) == 2
    assert len(json.loads(run(published, "breakage", "--confirmed", "--json").stdout)) == 1
    both = run(published, "breakage", "--csv", "--json")
    assert isinstance(both.exception, UsageFault)
    csv = run(published, "breakage", "--operator", "r.example", "--csv").stdout
    assert [line.split(",")[1] for line in csv.splitlines()] == ["operator", "r.example"]


def test_exceptions(published: Path) -> None:
    approvals = published / "approvals.toml"
    approvals.write_text("")
    text = run(published, "exceptions", "--approvals", str(approvals)).stdout
    assert all(line.startswith("#") for line in text.splitlines())
    result = run(published, "exceptions", "--approvals", str(approvals), "--json")
    assert json.loads(result.stdout) == []


def test_exceptions_are_installed_whole_and_empty_where_none_can_be_made(
    published: Path, tmp_path: Path
) -> None:
    table = tmp_path / "tls_policy"
    table.write_text("left.example may\n")
    approvals = tmp_path / "approvals.toml"
    given = ("exceptions", "--approvals", str(approvals), "--install", str(table))
    missing = run(published, *given)
    assert isinstance(missing.exception, UsageFault)
    assert all(line.startswith("#") for line in table.read_text().splitlines())
    approvals.write_text("")
    assert run(published, *given).exit_code == 0
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    other = run(published, *given, "--for", "sendmail")
    assert isinstance(other.exception, UsageFault)


def test_opportunities(published: Path) -> None:
    assert "q.example" in run(published, "opportunities").stdout
    (found,) = json.loads(run(published, "opportunities", "--json").stdout)
    assert found == {"kind": "publish_tlsa", "operator": "q.example", "domains": 1, "hosts": 1}


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(verb: str, tmp_path: Path) -> None:
    result = run(tmp_path, verb, "--help")
    assert result.exit_code == 0
    assert "Example: danesurvey report" in result.stdout


@pytest.mark.parametrize("verb", ["post", "breakage", "notices", "opportunities"])
def test_nothing_published_yet(verb: str, tmp_path: Path) -> None:
    fault = run(tmp_path, verb).exception
    assert isinstance(fault, Refused)
    assert "danesurvey publish" in str(fault)
    assert isinstance(run(tmp_path, verb, "--month", "x").exception, UsageFault)
