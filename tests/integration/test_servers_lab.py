"""Measurement, section 8: servers that fail or disagree, on real servers, some of them lossy."""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from dane.faults import LocalTrouble
from dane.outcomes import AuthorityResult
from dane.servers import ServerAnswer, disagreeing, failing
from lab.internet import Lab
from lab.scenarios.scenario import EE, GOOD, RIGHT, Behaviour, Host, Scenario, Signing

ROOT = Path(__file__).parents[2]
LOSSY = 40


def _zone(name: str, *servers: Behaviour, **parts: Any) -> Scenario:
    given = {"zones": {"@": Signing(servers=servers)}, "hosts": (Host(tlsa=EE),)} | parts
    return Scenario(name=name, what="", why="", verdict={}, **given)


def _every(action: str) -> Behaviour:
    return Behaviour(action=action, types=("*",))


SCENARIOS = [
    _zone("all-good", GOOD, GOOD),
    _zone("one-drops", GOOD, Behaviour(action="drop")),
    _zone("one-notimp", GOOD, Behaviour(action="notimp")),
    _zone("one-silent", GOOD, _every("drop")),
    _zone("one-lame", GOOD, _every("refused")),
    _zone("one-needs-tcp", GOOD, Behaviour(action="truncate")),
    _zone("one-unsigned", GOOD, _every("strip-signatures")),
    _zone("one-older", GOOD, GOOD, _every("other-copy")),
    _zone("all-drop", Behaviour(action="drop"), Behaviour(action="drop")),
    _zone(
        "alias",
        records=("@ MX 10 mx", "_25._tcp.mx CNAME tlsa.{name}-keys.plain."),
        zones={
            "@": RIGHT,
            "{name}-keys.plain.": Signing(servers=(GOOD, Behaviour(action="notimp"))),
        },
        hosts=(Host(tlsa=EE, tlsa_at="tlsa.{name}-keys.plain."),),
    ),
    *(_zone(f"lossy-{n}", _every("lossy"), _every("lossy")) for n in range(LOSSY)),
]
Rounds = list[list[ServerAnswer]]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """By scenario, round after round."""
    try:
        lab = Lab(tmp_path_factory.mktemp("lab"), SCENARIOS)
    except LocalTrouble as trouble:
        pytest.skip(str(trouble))
    state = tmp_path_factory.mktemp("resolver")
    hosts = {f"mx.{one.domain}": one.name for one in SCENARIOS}
    with lab:
        done = lab.exec(
            [sys.executable, "-m", "tests.servers_run", str(lab.settings_file), str(state)],
            input=json.dumps(list(hosts)),
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            check=True,
        )
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in json.loads(done.stdout):
        found[hosts[row["host"]]].append(row)
    return found


def _rounds(rows: list[dict[str, Any]]) -> Rounds:
    columns = ("server", "address", "result", "answer", "sound")
    return [
        [
            ServerAnswer(server, address, AuthorityResult(result), answer, sound)
            for server, address, result, answer, sound in zip(
                *(row[column] for column in columns), strict=True
            )
        ]
        for row in rows
    ]


@pytest.mark.parametrize(
    ("name", "fails", "odd", "count"),
    [
        ("all-good", False, False, 1),
        ("one-drops", True, False, 2),
        ("one-notimp", True, False, 2),
        ("one-silent", True, False, 2),
        ("one-lame", True, False, 2),
        ("one-needs-tcp", False, False, 1),
        ("one-unsigned", False, True, 2),
        ("one-older", False, True, 2),
        ("all-drop", False, False, 2),
        ("alias", True, False, 2),
    ],
)
def test_which_server(
    rows: dict[str, list[dict[str, Any]]], name: str, fails: bool, odd: bool, count: int
) -> None:
    assert len(rows[name]) == count
    rounds = _rounds(rows[name])
    zone = "alias-keys.plain" if name == "alias" else f"{name}.plain"
    last = f"ns{3 if name == 'one-older' else 2}.{zone}"
    assert {one.split()[0] for one in failing(rounds)} == ({last} if fails else set())
    assert {one.split()[0] for one in disagreeing(rounds)} == ({last} if odd else set())
    assert {row["zone"] for row in rows[name]} == {zone}


def test_lost_packets_are_no_failing_servers(rows: dict[str, list[dict[str, Any]]]) -> None:
    """One datagram in twenty is lost on the way to 80 servers."""
    for number in range(LOSSY):
        rounds = _rounds(rows[f"lossy-{number}"])
        assert all(len(one) == 2 for one in rounds)
        assert (failing(rounds), disagreeing(rounds)) == ([], [])
