"""The proof of a denial: all of a zone's records prove what is true of it and nothing else."""

import itertools
from collections.abc import Iterable
from functools import cache

import dns.name
import dns.rdataclass
import dns.rrset
import pytest
from dns.rdatatype import RdataType
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.dns.denial import MOST_ITERATIONS, defect, expansion_defect
from lab import records
from lab.keys import ECDSAP256SHA256, zone_key
from lab.signer import Nsec3, Validity, Zone, sign

ORIGIN = "example"
LABELS = ("a", "b", "\\042", "zz", "0")
NAMES = [ORIGIN] + [
    ".".join((*labels, ORIGIN))
    for depth in (1, 2, 3)
    for labels in itertools.product(LABELS, repeat=depth)
    if "\\042" not in labels[1:]  # an asterisk below the first label is no wildcard
]
VALIDITY = Validity(0, 2**31)
DENIALS = (None, Nsec3(), Nsec3(iterations=3, salt=b"\xab\xcd"))
MX, TLSA = RdataType.MX, RdataType.TLSA


def denial_records(names: Iterable[str], nsec3: Nsec3 | None) -> list[dns.rrset.RRset]:
    """The whole NSEC or NSEC3 chain of a zone that has MX records at `names`."""
    zone = Zone(ORIGIN)
    zone.add(ORIGIN, records.soa("ns.example", "ns.example", 1, 300), records.ns("ns.invalid"))
    for name in names:
        zone.add(name, records.mx(1, "mx.invalid"))
    kinds = (records.NSEC, records.NSEC3)
    return [
        dns.rrset.from_text(
            line.owner + ".", 300, "IN", records.MNEMONIC[line.rdata.type], line.rdata.text
        )
        for line in sign(zone, zone_key(1, ORIGIN, ECDSAP256SHA256), nsec3, VALIDITY)
        if line.rdata.type in kinds
    ]


@cache
def name_of(key: str) -> dns.name.Name:
    return dns.name.from_text(key + ".")


def truth(held: set[str], name: str) -> tuple[bool, bool]:
    """Whether `name` exists (an empty non-terminal does), and whether it or a wildcard has MX."""
    tree = {ORIGIN}
    for one in held:
        labels = one.split(".")
        tree |= {".".join(labels[i:]) for i in range(len(labels))}
    tree.discard("")
    if name in tree:
        return True, name in held
    encloser = name
    while encloser not in tree:
        encloser = encloser.partition(".")[2]
    wildcard = f"\\042.{encloser}"
    return wildcard in tree, wildcard in held


@settings(max_examples=150, deadline=None)
@given(
    held=st.sets(st.sampled_from(NAMES), max_size=8),
    asked=st.lists(st.sampled_from(NAMES), min_size=1, max_size=5),
    nsec3=st.sampled_from(DENIALS),
)
def test_a_whole_chain_proves_just_the_truth(
    held: set[str], asked: list[str], nsec3: Nsec3 | None
) -> None:
    chain = denial_records(held, nsec3)
    zone = name_of(ORIGIN)
    for name in asked:
        exists, has_mx = truth(held, name)
        denied = defect(chain, name_of(name), MX, zone, exists=False) is None
        without_mx = defect(chain, name_of(name), MX, zone, exists=True) is None
        without_tlsa = defect(chain, name_of(name), TLSA, zone, exists=True) is None
        assert denied is not exists, (name, held)
        assert without_mx is (exists and not has_mx), (name, held)
        assert without_tlsa is exists, (name, held)


@pytest.mark.parametrize("nsec3", DENIALS)
def test_each_record_of_a_minimal_proof_is_needed(nsec3: Nsec3 | None) -> None:
    chain = denial_records(["a.example", "b.b.example", "zz.example"], nsec3)
    zone, name = name_of(ORIGIN), name_of("0.zz.example")
    minimal = list(chain)
    for one in chain:
        less = [other for other in minimal if other is not one]
        if defect(less, name, MX, zone, exists=False) is None:
            minimal = less
    assert defect(minimal, name, MX, zone, exists=False) is None
    for one in minimal:
        less = [other for other in minimal if other is not one]
        assert defect(less, name, MX, zone, exists=False) is not None


@pytest.mark.parametrize("nsec3", DENIALS)
def test_an_expansion_needs_the_denial_of_the_name(nsec3: Nsec3 | None) -> None:
    chain = denial_records(["\\042.example", "a.example"], nsec3)
    zone = name_of(ORIGIN)
    assert expansion_defect(chain, name_of("zz.zz.example"), 1, zone) is None
    assert expansion_defect(chain, name_of("a.example"), 1, zone) is not None
    assert expansion_defect([], name_of("zz.zz.example"), 1, zone) is not None


def test_the_parents_record_at_a_cut_says_nothing_of_the_child() -> None:
    chain = denial_records([], None)
    cut = dns.rrset.from_text("a.example.", 300, "IN", "NSEC", "example. NS RRSIG NSEC")
    apex = [dns.rrset.from_text("example.", 300, "IN", "NSEC", "a.example. NS SOA RRSIG NSEC")]
    zone = name_of(ORIGIN)
    assert defect([*apex, cut], name_of("a.example"), MX, zone, exists=True) is not None
    assert defect([*apex, cut], name_of("b.a.example"), MX, zone, exists=False) is not None
    assert defect(chain, name_of("b.a.example"), MX, zone, exists=False) is None


def test_more_iterations_than_a_validator_follows_are_not_looked_into() -> None:
    chain = denial_records(["a.example"], Nsec3(iterations=MOST_ITERATIONS + 1))
    assert defect(chain, name_of("a.example"), MX, name_of(ORIGIN), exists=False) is None


@pytest.mark.parametrize("exists", [True, False])
def test_nothing_proves_nothing(exists: bool) -> None:
    other = dns.rrset.from_text("other.", 300, "IN", "NSEC", "other. NS SOA")
    for authority in ([], [other]):
        found = defect(authority, name_of("a.example"), MX, name_of(ORIGIN), exists=exists)
        assert found == "no NSEC or NSEC3 with the denial"
