"""Our own faults on a running lab: there while they last, gone afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dane.faults import LocalTrouble, Refused
from lab import addresses, faults
from lab.forwarder import latency_s
from lab.internet import Distance, Lab
from lab.namespace import Isolation
from lab.scenarios import CATALOGUE
from tests.lab_fixture import RESOLVER, unbound

FEW = [one for one in CATALOGUE if one.name in ("ee-spki", "tlsa-drop")]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    try:
        internet = Lab(tmp_path_factory.mktemp("faults"), FEW)
    except LocalTrouble as trouble:
        pytest.skip(str(trouble))
    with internet:
        yield internet


def _answers(lab: Lab, server: str, *arguments: str) -> bool:
    argv = ["dig", f"@{server}", "+tries=1", "+time=1", *arguments]
    done = lab.exec(argv, capture_output=True, text=True)
    return "status: NOERROR" in done.stdout


def _root(lab: Lab) -> bool:
    return _answers(lab, addresses.ROOT, "+norec", ".", "SOA")


def test_silent_network(few: Lab) -> None:
    assert _root(few)
    odd = f"{addresses.MISBEHAVING}.1"
    assert _answers(few, odd, "+norec", "tlsa-drop.plain", "SOA")
    with faults.silent_network(few):
        assert not _root(few)
        assert not _answers(few, odd, "+norec", "tlsa-drop.plain", "SOA")
    assert _root(few)
    assert _answers(few, odd, "+norec", "tlsa-drop.plain", "SOA")


def test_a_lab_with_a_silent_network_can_go_down(tmp_path: Path) -> None:
    with Lab(tmp_path, []) as internet, faults.silent_network(internet):
        internet.down()
        assert not internet.is_up


def test_stopped_resolver(few: Lab, tmp_path: Path) -> None:
    if few.isolation is Isolation.NONE:
        pytest.skip("needs a namespace")
    with pytest.raises(Refused, match="no Unbound"), faults.stopped_resolver(few):
        pass
    ask = ("-p", str(RESOLVER[1]), "ee-spki.plain", "MX")
    with unbound(few, tmp_path / "unbound", RESOLVER[1]):
        assert _answers(few, RESOLVER[0], *ask)
        with faults.stopped_resolver(few):
            assert not _answers(few, RESOLVER[0], *ask)
        assert _answers(few, RESOLVER[0], *ask)


def test_empty_root_key(few: Lab) -> None:
    key = few.trust_anchor.read_bytes()
    with faults.empty_root_key(few):
        assert few.trust_anchor.read_bytes() == b""
    assert few.trust_anchor.read_bytes() == key


def test_wrong_clock(few: Lab, tmp_path: Path) -> None:
    ask = ("-p", str(RESOLVER[1]), "ee-spki.plain", "MX")
    with faults.wrong_clock(few, 30 * 86400), unbound(few, tmp_path / "fast", RESOLVER[1]):
        assert not _answers(few, RESOLVER[0], *ask)
        assert _answers(few, RESOLVER[0], "+cdflag", *ask)
    with unbound(few, tmp_path / "right", RESOLVER[1]):
        assert _answers(few, RESOLVER[0], *ask)


def test_far_away(tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", FEW, distance=Distance(latency_ms=200, loss=0.2)) as internet:
        for transport in ("+notcp", "+tcp"):
            argv = ["dig", f"@{addresses.DOMAINS[0]}", "+norec", "+tries=9", "+time=1", transport]
            argv += ["ee-spki.plain", "MX"]
            said = internet.exec(argv, capture_output=True, text=True, check=True).stdout
            assert "10 mx.ee-spki.plain." in said
        ask = ("+time=30", "-p", str(RESOLVER[1]), "ee-spki.plain", "MX")
        with unbound(internet, tmp_path / "unbound", RESOLVER[1]):
            assert _answers(internet, RESOLVER[0], *ask)


def test_latencies_differ_and_stay() -> None:
    found = [latency_s(address, 200) for address in addresses.DOMAINS]
    assert len(set(found)) == len(found)
    assert all(0.02 <= one <= 0.2 for one in found)
    assert found == [latency_s(address, 200) for address in addresses.DOMAINS]
