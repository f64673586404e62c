"""Every result that a direct question to an authoritative server can have, on real servers."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dane.faults import LocalTrouble
from dane.outcomes import AuthorityResult
from lab import records, spoil
from lab.internet import Lab
from lab.scenarios.scenario import UNSIGNED, Behaviour, Host, Scenario, Signing
from lab.signer import DAY_S, Line, Nsec3

ROOT = Path(__file__).parents[2]
Row = dict[str, Any]


def _serial_raised(lines: list[Line]) -> list[Line]:
    """What happens when the serial is raised after signing."""
    return [
        _with_text(one, " 1 ", " 2 ") if one.rdata.type == records.SOA else one for one in lines
    ]


def _with_text(line: Line, old: str, new: str) -> Line:
    assert line.rdata.text.count(old) == 1, line
    return replace(line, rdata=line.rdata._replace(text=line.rdata.text.replace(old, new)))


def _unsigned_mx(lines: list[Line]) -> list[Line]:
    return [one for one in lines if one.covers != records.MX]


def _no_denial(lines: list[Line]) -> list[Line]:
    """SOA with its signature, but no NSEC: as from a server that does not know DNSSEC."""
    return [one for one in lines if records.NSEC not in (one.rdata.type, one.covers)]


FAULTS: dict[str, Callable[[list[Line]], list[Line]]] = {
    "test-serial-raised": _serial_raised,
    "test-unsigned-mx": _unsigned_mx,
    "test-no-denial": _no_denial,
}


def _of(name: str, *zone: str | Signing, **parts: Any) -> Scenario:
    signing = next((z for z in zone if isinstance(z, Signing)), Signing())
    return Scenario(
        name=name, what="", why="", verdict={}, zones={"@": signing}, **{"hosts": ()} | parts
    )


def _behaving(action: str, *types: str) -> Signing:
    return Signing(servers=(Behaviour(action=action, types=types or ("MX",)),))


SCENARIOS = [
    _of("auth-good", Signing(nsec3=Nsec3())),
    _of("auth-refused", _behaving("refused")),
    _of("auth-notimp", _behaving("notimp")),
    _of("auth-formerr", _behaving("formerr")),
    _of("auth-servfail", _behaving("servfail")),
    _of("auth-garbage", _behaving("garbage")),
    _of("auth-truncate", _behaving("truncate")),
    _of("auth-drop", _behaving("drop")),
    _of("auth-silent", _behaving("drop", "*")),
    _of("auth-two", Signing(servers=(Behaviour(action="refused", types=("*",)),
                                     Behaviour(action="answer", types=())))),
    _of("auth-expired", Signing(valid_s=(-30 * DAY_S, -3 * DAY_S))),
    _of("auth-badsig", Signing(faults=("bad-signatures",))),
    _of("auth-wrong-ds", Signing(ds="wrong")),
    _of("auth-serial", Signing(faults=("test-serial-raised",))),
    _of("auth-norrsig", Signing(faults=("test-unsigned-mx",))),
    _of("auth-nodenial", Signing(faults=("test-no-denial",))),
    _of("auth-loop", records=("loop CNAME pool", "pool CNAME loop")),
    _of("auth-wild", Signing(nsec3=Nsec3()), records=("@ MX 10 mx", "\\042 MX 10 mx")),
    _of("auth-wild-nsec", records=("@ MX 10 mx", "\\042 MX 10 mx", "deep.ent MX 10 mx")),
    _of("auth-unsigned", UNSIGNED),
    _of("auth-odd-tlsa", Signing(faults=("bad-tlsa-signature",)), records=(),
        hosts=(Host(tlsa=("3 1 2 hex:" + "ab" * 32, "3 1 1 leaf")),)),
    _of("auth-odd-ds", Signing(ds="right-and-short", faults=("bad-signatures",))),
]  # fmt: skip

QUESTIONS = [
    *((one.domain, "MX") for one in SCENARIOS if one.name != "auth-loop"),
    ("auth-good.plain", "TLSA"),
    ("_25._tcp.mx.auth-good.plain", "TLSA"),
    ("_25._tcp.mx.auth-odd-tlsa.plain", "TLSA"),
    ("loop.auth-loop.plain", "MX"),
    ("deep.ent.auth-wild-nsec.plain", "TLSA"),
    ("ent.auth-wild-nsec.plain", "TLSA"),
    ("any.auth-wild.plain", "MX"),
    ("any.auth-wild.plain", "TLSA"),
    ("any.auth-wild-nsec.plain", "MX"),
    ("any.auth-wild-nsec.plain", "TLSA"),
    ("no-such-domain.plain", "MX"),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    spoil.FAULTS.update(FAULTS)
    try:
        internet = Lab(tmp_path_factory.mktemp("lab"), SCENARIOS)
    except LocalTrouble as trouble:
        pytest.skip(str(trouble))
    try:
        with internet:
            yield internet
    finally:
        for fault in FAULTS:
            del spoil.FAULTS[fault]


def asked(lab: Lab, state: Path, questions: list[tuple[str, str]], *flags: str) -> list[Row]:
    argv = [sys.executable, "-m", "tests.authority_run", str(lab.settings_file), str(state)]
    done = lab.exec(
        [*argv, *flags],
        input=json.dumps(questions),
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        check=True,
    )
    rows: list[Row] = json.loads(done.stdout)
    return rows


@pytest.fixture(scope="module")
def rows(world: Lab, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Row]:
    found = asked(world, tmp_path_factory.mktemp("resolver"), QUESTIONS)
    return {(row["name"], row["rrtype"]): row for row in found}


def test_nothing_is_said_of_them_while_our_own_canaries_fail(world: Lab, tmp_path: Path) -> None:
    question = [("auth-refused.plain", "MX")]
    untrue = "canaries.signed=auth-expired.plain", "canaries.recovery_s=1"
    assert asked(world, tmp_path, question, *untrue) == []


def test_servers_on_the_opt_out_list_are_not_asked(
    world: Lab, rows: dict[tuple[str, str], Row], tmp_path: Path
) -> None:
    question = ("auth-refused.plain", "MX")
    before = rows[question]
    listed, address = tmp_path / "opt-out", before["address"][0]
    for entry in (
        f"{address}/32",
        before["server"][0],
        ".".join(before["server"][0].split(".")[-2:]),
    ):
        listed.write_text(f"{entry}\n")
        (row,) = asked(world, tmp_path / "state", [question], f"probe.opt_out={listed}")
        assert address not in row["address"], entry
        assert f"not asked at {address}: on the opt-out list" in row["note"]


def results(row: Row) -> dict[tuple[str, str], set[str]]:
    """(transport, question) to the results of all addresses."""
    found: dict[tuple[str, str], set[str]] = {}
    for transport, question, result in zip(
        row["transport"], row["question"], row["result"], strict=True
    ):
        found.setdefault((transport, question), set()).add(result)
    return found


def both(question: str, result: str) -> dict[tuple[str, str], set[str]]:
    return {("udp", question): {result}, ("tcp", question): {result}}


def test_one_row_a_question_with_parallel_lists(rows: dict[tuple[str, str], Row]) -> None:
    assert set(rows) == set(QUESTIONS)
    for row in rows.values():
        lists = [row[c] for c in ("server", "address", "transport", "question", "result")]
        assert len(set(map(len, lists))) == 1
        assert row["run_id"] == 7
        assert row["bucket"] == 1


def test_every_result_is_seen(rows: dict[tuple[str, str], Row]) -> None:
    seen = {result for row in rows.values() for result in row["result"]}
    assert seen == {result.value for result in AuthorityResult}


@pytest.mark.parametrize(
    ("name", "rrtype", "result"),
    [
        ("auth-good.plain", "MX", "answer"),
        ("auth-good.plain", "TLSA", "answer"),  # a denial that proves itself
        ("_25._tcp.mx.auth-good.plain", "TLSA", "nxdomain"),
        ("auth-refused.plain", "MX", "refused"),
        ("auth-notimp.plain", "MX", "notimp"),
        ("auth-formerr.plain", "MX", "formerr"),
        ("auth-servfail.plain", "MX", "servfail"),
        ("auth-drop.plain", "MX", "timeout"),
        ("auth-norrsig.plain", "MX", "no_rrsig"),
        ("auth-wild.plain", "MX", "answer"),
        ("any.auth-wild.plain", "TLSA", "answer"),
        ("any.auth-wild-nsec.plain", "TLSA", "answer"),
        ("deep.ent.auth-wild-nsec.plain", "TLSA", "answer"),
        ("ent.auth-wild-nsec.plain", "TLSA", "answer"),
        ("any.auth-wild.plain", "MX", "answer"),
        ("any.auth-wild-nsec.plain", "MX", "answer"),
        ("loop.auth-loop.plain", "MX", "cname_loop"),
        ("auth-unsigned.plain", "MX", "answer"),
    ],
)
def test_the_failing_type(
    rows: dict[tuple[str, str], Row], name: str, rrtype: str, result: str
) -> None:
    row = rows[name, rrtype]
    assert {k: v for k, v in results(row).items() if k[1] == rrtype} == both(rrtype, result)
    assert row["note"] is None or result == "no_rrsig"


@pytest.mark.parametrize("name", ["refused", "notimp", "formerr", "servfail", "drop", "garbage"])
def test_the_neighbours_of_a_failing_type_tell_it_from_a_dead_server(
    rows: dict[tuple[str, str], Row], name: str
) -> None:
    found = results(rows[f"auth-{name}.plain", "MX"])
    assert found["udp", "SOA"] == found["tcp", "SOA"] == {"answer"}
    # the domain's apex has no address here: a denial of the type, well proven
    assert found["udp", "A"] == found["tcp", "A"] == {"answer"}


def test_garbage_is_no_dns_message(rows: dict[tuple[str, str], Row]) -> None:
    row = rows["auth-garbage.plain", "MX"]
    assert results(row)["udp", "MX"] == {"formerr"}
    assert "malformed answer" in row["note"]


def test_a_tlsa_record_of_odd_length_is_no_malformed_answer(
    rows: dict[tuple[str, str], Row],
) -> None:
    row = rows["_25._tcp.mx.auth-odd-tlsa.plain", "TLSA"]
    assert results(row)["udp", "TLSA"] == {"answer"}
    assert row["note"] == "RRSIG of TLSA does not verify"


def test_a_zone_with_a_ds_of_odd_length_is_signed(rows: dict[tuple[str, str], Row]) -> None:
    row = rows["auth-odd-ds.plain", "MX"]
    assert results(row)["udp", "MX"] == {"answer"}
    assert "RRSIG of MX does not verify" in row["note"]


def test_a_truncated_answer_is_had_by_tcp(rows: dict[tuple[str, str], Row]) -> None:
    row = rows["auth-truncate.plain", "MX"]
    assert results(row)["tcp", "MX"] == {"answer"}
    assert row["note"] is None


def test_a_silent_server_is_not_asked_on_and_on(rows: dict[tuple[str, str], Row]) -> None:
    found = results(rows["auth-silent.plain", "MX"])
    assert found == {
        (transport, question): {"timeout"}
        for transport in ("udp", "tcp")
        for question in ("MX", "SOA")
    }


def test_each_server_is_told_apart(rows: dict[tuple[str, str], Row]) -> None:
    row = rows["auth-two.plain", "MX"]
    by_address: dict[str, set[str]] = {}
    for address, result in zip(row["address"], row["result"], strict=True):
        by_address.setdefault(address, set()).add(result)
    assert sorted(map(sorted, by_address.values())) == [["answer", "nxdomain"], ["refused"]]
    assert len(set(row["server"])) == 2


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("auth-expired", "RRSIG of MX expired"),
        ("auth-badsig", "RRSIG of MX does not verify"),
        ("auth-wrong-ds", "no DNSKEY fits the DS at the parent"),
        ("auth-serial", "SOA signed before the serial was raised"),
        ("auth-norrsig", "no RRSIG with MX"),
        ("auth-nodenial", "no NSEC or NSEC3 with the denial"),
    ],
)
def test_what_is_wrong_is_said(rows: dict[tuple[str, str], Row], name: str, phrase: str) -> None:
    phrases = rows[f"{name}.plain", "MX"]["note"].split("; ")
    assert any(one.startswith(phrase) for one in phrases)  # of all servers: none is named


@pytest.mark.parametrize("name", ["auth-serial", "auth-nodenial", "auth-badsig", "auth-expired"])
def test_a_denial_that_proves_nothing(rows: dict[tuple[str, str], Row], name: str) -> None:
    assert results(rows[f"{name}.plain", "MX"])["udp", "invented"] == {"bad_denial"}


def test_a_name_that_is_not_delegated_is_the_parents(rows: dict[tuple[str, str], Row]) -> None:
    row = rows["no-such-domain.plain", "MX"]
    assert results(row)["udp", "MX"] == {"nxdomain"}
    assert set(row["server"]) == {"ns1.nic.plain", "ns2.nic.plain"}
