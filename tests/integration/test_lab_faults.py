"""Our own faults on a running lab: there while they last, gone afterwards."""

import subprocess
import sys
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


def _authenticated(lab: Lab, name: str) -> bool:
    """Whether the resolver says AD."""
    port = str(RESOLVER[1])
    argv = ["dig", f"@{RESOLVER[0]}", "-p", port, "+tries=3", "+time=2", name, "SOA"]
    said = lab.exec(argv, capture_output=True, text=True).stdout
    flags = said.partition(";; flags:")[2].partition(";")[0]
    return "ad" in flags.split()


@pytest.fixture
def resolver(few: Lab, tmp_path: Path) -> Iterator[None]:
    if few.isolation is Isolation.NONE:
        pytest.skip("needs a namespace")
    with unbound(few, tmp_path / "unbound", RESOLVER[1]):
        yield


@pytest.mark.usefixtures("resolver")
def test_empty_root_key(few: Lab) -> None:
    key = few.trust_anchor.read_bytes()
    assert _authenticated(few, "ee-spki.plain")
    with faults.empty_root_key(few):
        assert few.trust_anchor.read_bytes() == b""
        assert not _authenticated(few, "ee-spki.plain")
    assert few.trust_anchor.read_bytes() == key
    assert _authenticated(few, "ee-spki.plain")


@pytest.mark.usefixtures("resolver")
def test_second_resolver(few: Lab) -> None:
    with faults.second_resolver(few):
        told = {_authenticated(few, "ee-spki.plain") for _ in range(40)}
    assert told == {True, False}
    assert all(_authenticated(few, "ee-spki.plain") for _ in range(10))


def test_killed_resolver(few: Lab, tmp_path: Path) -> None:
    if few.isolation is Isolation.NONE:
        pytest.skip("needs a namespace")
    ask = ("-p", str(RESOLVER[1]), "ee-spki.plain", "MX")
    with unbound(few, tmp_path / "unbound", RESOLVER[1]):
        with faults.killed_resolver(few):
            assert not _answers(few, RESOLVER[0], *ask)
        assert not _answers(few, RESOLVER[0], *ask)


def test_dropped_fragments(few: Lab) -> None:
    """Of a datagram that is larger than the MTU nothing arrives; others do."""
    if few.isolation is Isolation.NONE:
        pytest.skip("needs a namespace")
    assert _arrives(few, 2000)
    with faults.dropped_fragments(few):
        assert _arrives(few, 1200)
        assert not _arrives(few, 2000)
    assert _arrives(few, 2000)


def _arrives(lab: Lab, size: int) -> bool:
    program = f"""
from socket import AF_INET, SOCK_DGRAM, socket
one, other = socket(AF_INET, SOCK_DGRAM), socket(AF_INET, SOCK_DGRAM)
one.bind(("127.0.0.1", 0))
other.sendto(bytes({size}), one.getsockname())
one.settimeout(0.5)
one.recv(65535)
"""
    return lab.exec([sys.executable, "-c", program], stderr=subprocess.DEVNULL).returncode == 0


def test_command(few: Lab) -> None:
    """Broken for a time; and well again when it is told to end before."""
    argv = [sys.executable, "-m", "danesurvey", "lab", "fault", "network"]
    argv += ["--directory", str(few.directory), "--for"]
    with subprocess.Popen([*argv, "600"], stderr=subprocess.PIPE, text=True) as command:
        assert command.stderr is not None
        assert command.stderr.readline() == "network: broken for 600 s\n"
        assert not _root(few)
        command.terminate()
    assert command.returncode == 0
    assert _root(few)
    assert subprocess.run([*argv, "0"], capture_output=True).returncode == 0
    assert _root(few)


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
