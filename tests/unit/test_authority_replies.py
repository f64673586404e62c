"""Replies of authoritative servers, judged without a network: hostile ones, and the pace."""

import random
from itertools import pairwise

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rrset
import pytest
import trio
import trio.testing
from dns.rdatatype import RdataType

from crawler.dns import signatures
from crawler.dns.authority import Pace
from crawler.dns.reply import Zone, judge
from dane.outcomes import AuthorityResult, DnsCause
from lab import records
from lab.keys import zone_key
from lab.signer import Nsec3, Validity, sign
from lab.signer import Zone as LabZone

ORIGIN = dns.name.from_text("example.")
NOW = 1_000_000_000
KEY = zone_key(1, "example")


def rrsets(nsec3: Nsec3 | None = None) -> list[dns.rrset.RRset]:
    """A small signed zone, one RRset after the other, signatures by what they cover."""
    zone = LabZone("example")
    zone.add("example", records.soa("ns.example", "ns.example", 7, 300), records.ns("ns.example"))
    zone.add("ns.example", records.a("127.0.0.1"))
    zone.add("example", records.mx(10, "mx.example"))
    zone.add("\\042.wild.example", records.mx(10, "mx.example"))
    zone.add("alias.example", records.cname("example"))
    found: dict[tuple[str, int, int], list[str]] = {}
    for line in sign(zone, KEY, nsec3, Validity(NOW - 3600, NOW + 3600)):
        found.setdefault((line.owner, line.rdata.type, line.covers), []).append(line.rdata.text)
    return [
        dns.rrset.from_text_list(owner + ".", 300, "IN", records.MNEMONIC[code], texts)
        for (owner, code, _), texts in found.items()
    ]


ZONE = rrsets()
KEYS = next(r for r in ZONE if r.rdtype == RdataType.DNSKEY)
JUDGED_BY = Zone(ORIGIN, True, KEYS, NOW)


def reply(
    name: str, rdtype: RdataType, answer: set[str], authority: set[str]
) -> dns.message.Message:
    """With the RRsets, and their signatures, of the owners that are named."""
    found = dns.message.make_response(dns.message.make_query(name, rdtype, want_dnssec=True))
    found.flags |= dns.flags.AA
    for section, owners in ((found.answer, answer), (found.authority, authority)):
        denying = {RdataType.NSEC, RdataType.SOA}
        wanted = denying if section is found.authority else {rdtype, RdataType.CNAME}
        for rrset in ZONE:
            covered = rrset[0].covers() or rrset.rdtype
            if rrset.name.to_text() in owners and covered in wanted:
                section.append(rrset)
    return found


GOOD = {
    "data": (reply("example.", RdataType.MX, {"example."}, set()), "example."),
    "alias": (reply("alias.example.", RdataType.MX, {"alias.example.", "example."}, set()),
              "alias.example."),
    "nodata": (reply("example.", RdataType.MX, set(), {"example."}), "example."),
}  # fmt: skip


def test_data_and_aliases_that_validate() -> None:
    for kind in ("data", "alias"):
        message, name = GOOD[kind]
        found = judge(message, dns.name.from_text(name), RdataType.MX, JUDGED_BY)
        assert found == (AuthorityResult.ANSWER, None)


def test_a_denial_of_what_the_nsec_says_is_there() -> None:
    message, name = GOOD["nodata"]
    result, note = judge(message, dns.name.from_text(name), RdataType.MX, JUDGED_BY)
    assert result is AuthorityResult.BAD_DENIAL
    assert note == ("the denial says that the name has MX", DnsCause.BAD_DENIAL)
    assert judge(message, dns.name.from_text(name), RdataType.TLSA, JUDGED_BY) == (
        AuthorityResult.ANSWER,
        None,
    )


@pytest.mark.parametrize(
    ("at", "phrase", "cause"),
    [
        (NOW + 7200, "expired 2001-09-09", DnsCause.SIGNATURE_EXPIRED),
        (NOW - 7200, "not valid before", DnsCause.SIGNATURE_NOT_YET_VALID),
    ],
)
def test_dates_are_those_of_the_observation(at: float, phrase: str, cause: DnsCause) -> None:
    message, name = GOOD["data"]
    _, note = judge(message, dns.name.from_text(name), RdataType.MX, Zone(ORIGIN, True, KEYS, at))
    assert note
    assert phrase in note.phrase
    assert note.cause is cause


def test_an_soa_signed_before_the_serial_was_raised() -> None:
    soa, signature = (
        next(r for r in ZONE if (r[0].covers() or r.rdtype) == RdataType.SOA and r.rdtype == kind)
        for kind in (RdataType.SOA, RdataType.RRSIG)
    )
    for ahead, expected in ((0, None), (1, signatures.SERIAL_RAISED),
                            (2, ("RRSIG of SOA does not verify",
                                 DnsCause.SIGNATURE_INVALID))):  # fmt: skip
        raised = dns.rrset.from_rdata(
            soa.name, soa.ttl, soa[0].replace(serial=soa[0].serial + ahead)
        )
        assert signatures.defect(raised, list(signature), ORIGIN, KEYS, NOW) == expected


def test_hundreds_of_keys_and_signatures_are_not_all_tried() -> None:
    """KeyTrap (CVE-2023-50387): 65 000 products of a key and a signature with its tag."""
    key = KEYS[0].key
    same_tag = [
        KEYS[0].replace(key=key[:i] + key[i + 2 : i + 4] + key[i : i + 2] + key[i + 4 :])
        for i in range(0, len(key) - 4, 2)
    ]
    keys = dns.rrset.from_rdata_list(ORIGIN, 300, same_tag * 8)
    mx = next(r for r in ZONE if r.rdtype == RdataType.MX and r.name == ORIGIN)
    good = signatures.signatures_of(ZONE, mx)[0]
    forged = [good.replace(signature=bytes((i % 256, i // 256)) * 32) for i in range(2000)]
    assert signatures.defect(mx, forged, ORIGIN, keys, NOW) == (
        "RRSIG of MX does not verify",
        DnsCause.VALIDATOR_LIMIT,  # a good one may be among those that were not tried
    )
    assert signatures.defect(mx, [good], ORIGIN, KEYS, NOW) is None


@pytest.mark.parametrize("kind", GOOD)
def test_no_mutation_is_more_than_a_result(kind: str) -> None:
    message, name = GOOD[kind]
    wire = message.to_wire()
    dice = random.Random(kind)
    parsed = 0
    for _ in range(3000):
        mutated = bytearray(wire)
        for _ in range(dice.randint(1, 4)):
            mutated[dice.randrange(2, len(mutated))] = dice.randrange(256)
        try:
            one = dns.message.from_wire(bytes(mutated))
        except dns.exception.DNSException:
            continue
        parsed += 1
        result, _ = judge(one, dns.name.from_text(name), RdataType.MX, JUDGED_BY)
        assert result in AuthorityResult
    assert parsed > 500


def test_the_pace_of_one_address_and_the_freedom_of_another() -> None:
    times: dict[str, list[float]] = {"a": [], "b": []}

    async def asker(pace: Pace, address: str) -> None:
        for _ in range(20):
            await pace.turn(address)
            times[address].append(trio.current_time())

    async def main() -> None:
        pace = Pace(50)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(asker, pace, "a")
            nursery.start_soon(asker, pace, "b")

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    for turns in times.values():
        assert all(later - sooner > 0.0199 for sooner, later in pairwise(turns))
    assert max(times["b"]) < max(times["a"]) / 4
