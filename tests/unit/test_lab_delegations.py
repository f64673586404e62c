"""Real zone files as the lab's contents: what is read, what is refused."""

import gzip
from pathlib import Path

import pytest

from dane.faults import Refused, UsageFault
from lab.contents import Contents
from lab.delegations import read
from lab.scenarios import CATALOGUE

ZONE = """\
$ORIGIN example.
@ 3600 IN SOA ns.example. hostmaster.example. 1 2 3 4 5
@ NS ns
ns A 192.0.2.1
SIGNED NS ns1.elsewhere.
signed DS 1 13 2 ( 00000000000000000000000000000000
                   00000000000000000000000000000000 )
unsigned 60 IN NS ns2.elsewhere.
below.unsigned NS ns3.elsewhere.
two.labels NS ns4.elsewhere.
"""


@pytest.fixture
def zone(tmp_path: Path) -> Path:
    path = tmp_path / "example.zone"
    path.write_text(ZONE)
    return path


def test_delegations(zone: Path) -> None:
    found = read(zone)
    assert found.origin == "example"
    assert found.signed == {
        "signed.example": True,
        "unsigned.example": False,
        "two.labels.example": False,
    }


def test_gzip(zone: Path) -> None:
    packed = zone.with_suffix(".gz")
    packed.write_bytes(gzip.compress(zone.read_bytes()))
    assert read(packed) == read(zone)


def test_every_delegation_is_served_and_signed_where_it_was(zone: Path, tmp_path: Path) -> None:
    plan, surveyed = Contents(zone=zone).plan(tmp_path / "truth", 1_800_000_000)
    assert list(surveyed) == ["example"]
    served = {origin: [str(line) for line in lines] for origin, lines in plan.domains}
    for domain, is_signed in read(zone).signed.items():
        assert any(" IN MX " in line for line in served[domain])
        assert any(" IN RRSIG " in line for line in served[domain]) is is_signed
    tld = {origin: [str(line) for line in lines] for origin, lines in plan.tlds}["example"]
    with_ds = {line.split()[0] for line in tld if line.split()[3] == "DS"}
    assert with_ds == {"signed.example."}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no SOA"),
        ("<html><body>Not Found</body></html>", "line 1"),
        ("example. IN NS ns.example.\n", "no SOA"),
        ("example. 1 IN SOA a. b. 1 2 3 4 5\nexample. NS ns.example.\n", "no delegations"),
        (". 1 IN SOA a. b. 1 2 3 4 5\ncom. NS ns.com.\n", "below a top-level domain"),
        ("plain. 1 IN SOA a. b. 1 2 3 4 5\na.plain. NS ns.a.plain.\n", "lab's own"),
    ],
)
def test_refused_with_the_reason(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "zone"
    path.write_text(text)
    with pytest.raises(Refused, match=why):
        Contents(zone=path).plan(tmp_path / "truth", 0)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(UsageFault):
            read(path)
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(ZONE.encode())[:-12])
    with pytest.raises(Refused):
        read(cut)


def test_contents_are_found_again(zone: Path) -> None:
    for contents in (
        Contents(scenarios=CATALOGUE[:3], seed=7),
        Contents(zone=zone),
        Contents(domains=10, dead=0.5),
    ):
        assert Contents.from_json(contents.to_json()) == contents
