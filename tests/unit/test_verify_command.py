"""`danesurvey verify` as a person and as a program uses it: output, exit codes, one-line faults."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner

from dane.faults import UsageFault
from danesurvey.cli.verify import register
from tests.oracle.chains import AT, BASE, Authority, Leaf, Plan, RecordPlan, make

_AUTHORITY = Authority("p256", 0, 0, 0)


def _app() -> typer.Typer:
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    return app


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    path = tmp_path / "chain.pem"
    path.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in _MADE.all))
    return path


_MADE = make(
    Plan(
        Leaf(),
        (_AUTHORITY,),
        (1,),
        (RecordPlan(2, 0, 1, 1), RecordPlan(3, 1, 1, 1), RecordPlan(1, 1, 1, 0)),
        (),
    )
)
_TA, _WRONG, _PKIX = (one.text() for one in _MADE.tlsa)


def _run(arguments: Sequence[str | Path], stdin: bytes | None = None) -> tuple[int, str]:
    """Exit code and stdout; a UsageFault is raised, as it is by the command."""
    result = CliRunner().invoke(_app(), ["verify", *map(str, arguments)], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def _at(chain: Path, *arguments: str) -> list[str | Path]:
    return ["--chain", chain, "--at", AT.isoformat(), *arguments]


def test_a_match_is_told_with_every_record(chain: Path) -> None:
    code, output = _run(_at(chain, "--tlsa", _TA, "--tlsa", _WRONG, "--name", "MX.Example.org."))
    assert code == 0
    assert output == (
        "match\n"
        f"  {_TA}: match, certificate 1\n"
        f"  {_WRONG}: wrong_usage, certificate 1\n"
        f"  names in the certificate: {BASE}\n"
        "  rollover scheme: issuer_only\n"
    )


def test_json(chain: Path) -> None:
    code, output = _run(_at(chain, "--tlsa", _TA, "--name", "other.example", "--json"))
    assert code == 1
    answer = json.loads(output)
    assert answer["verdict"] == "name_mismatch"
    assert answer["leaf_names"] == [BASE]


@pytest.mark.parametrize(
    ("arguments", "verdict", "code"),
    [
        (["--tlsa", _TA], "match", 0),
        (["--tlsa", _PKIX], "unusable", 0),
        (["--tlsa", _WRONG], "mismatch", 1),
        (["--tlsa", _TA, "--at", "2040-01-01"], "ta_expired", 1),
        (["--tlsa", _TA, "--name", "other.example"], "name_mismatch", 1),
    ],
)
def test_exit_codes(chain: Path, arguments: list[str], verdict: str, code: int) -> None:
    found, output = _run(_at(chain, *arguments))
    assert (output.splitlines()[0], found) == (verdict, code)


def test_a_certificate_that_cannot_be_read_is_local_trouble(tmp_path: Path) -> None:
    path = tmp_path / "junk.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\nanVuaw==\n-----END CERTIFICATE-----\n")
    code, output = _run(_at(path, "--tlsa", _WRONG))
    assert (output.splitlines()[0], code) == ("cert_unparsed", 3)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "verify needs --chain and --tlsa, or --batch"),
        (["--chain", "CHAIN"], "verify needs --chain and --tlsa, or --batch"),
        (["--chain", "CHAIN", "--tlsa", "3 1"], "tlsa: a TLSA record is: usage selector"),
        (["--chain", "CHAIN", "--tlsa", _TA, "--at", "x"], "at: 'x' is not a time"),
        (["--chain", "CHAIN", "--tlsa", _TA, "--name", "a..b"], "names: an empty label"),
        (["--chain", "MISSING", "--tlsa", _TA], "No such file or directory"),
        (["--chain", "DIRECTORY", "--tlsa", _TA], "Is a directory"),
        (["--chain", "EMPTY", "--tlsa", _TA], "chain: no PEM certificate"),
        (["--chain", "HUGE", "--tlsa", _TA], "over 16777216 bytes"),
        (["--batch", "MISSING"], "No such file or directory"),
        (["--batch", "-", "--name", BASE], "--batch takes all from its lines"),
    ],
)
def test_faults_are_one_line(tmp_path: Path, chain: Path, arguments: list[str], fault: str) -> None:
    empty, huge = tmp_path / "empty", tmp_path / "huge"
    empty.write_bytes(b"")
    with huge.open("wb") as file:
        file.truncate(16 * 1024 * 1024 + 1)
    places = {
        "CHAIN": chain,
        "MISSING": tmp_path / "missing",
        "DIRECTORY": tmp_path,
        "EMPTY": empty,
        "HUGE": huge,
    }
    with pytest.raises(UsageFault) as raised:
        _run([places.get(one, one) for one in arguments])
    assert fault in str(raised.value)
    assert "\n" not in str(raised.value)


def _line(**changes: object) -> bytes:
    pem = [one.public_bytes(Encoding.PEM).decode() for one in _MADE.all]
    case = {"id": 1, "chain": pem, "tlsa": [_TA], "names": [BASE], "at": AT.isoformat()}
    return json.dumps({**case, **changes}).encode() + b"\n"


def test_a_batch_from_stdin_and_from_a_file(tmp_path: Path) -> None:
    lines = _line() + b"\n" + _line(id=2, names=["other.example"])
    path = tmp_path / "cases.jsonl"
    path.write_bytes(lines)
    answers = [_run(["--batch", "-"], lines), _run(["--batch", path, "--json"])]
    assert answers[0] == answers[1]
    code, output = answers[0]
    assert code == 0
    told = [(one["id"], one["verdict"]) for one in map(json.loads, output.splitlines())]
    assert told == [(1, "match"), (2, "name_mismatch")]
    assert _run(["--batch", "-"], b"") == (0, "")


def test_a_bad_line_has_an_error_and_the_others_an_answer() -> None:
    too_long = b"x" * (16 * 1024 * 1024 + 9)
    lines = b"x\n" + _line(tlsa=["3 1"]) + _line() + too_long + b"\n" + _line() + too_long
    result = CliRunner().invoke(_app(), ["verify", "--batch", "-"], input=lines)
    assert isinstance(result.exception, UsageFault)
    assert str(result.exception) == "4 of 6 lines are no cases (see their `error`)"
    answers = [json.loads(one) for one in result.stdout.splitlines()]
    assert [one.get("verdict") for one in answers] == [None, None, "match", None, "match", None]
    assert [one["id"] for one in answers] == [None, 1, 1, None, 1, None]
    assert answers[3]["error"] == "the line is over 16777216 bytes"
