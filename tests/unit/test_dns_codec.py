"""The codec against dnspython, and against bytes that mean harm."""

import struct
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.dns.codec import Question, decode
from crawler.dns.rdata import (
    CNAME,
    DNSKEY,
    MX,
    READERS,
    SOA,
    TLSA,
    A,
    Flaw,
    Key,
)
from dane.names import NameFault, canonical, from_labels, to_wire
from tests.fuzz import dns_codec as fuzz
from tests.oracle.dns_message import differences, read

WIRE = Path(__file__).parents[3] / "shared" / "data" / "wire"
needs_data = pytest.mark.skipif(not WIRE.is_dir(), reason="../shared/data/wire is not there")

_OPT = b"\0" + struct.pack(">HHIH", 41, 1232, 0x8000, 0)


def response(
    question: Question, *records: bytes, counts: tuple[int, int, int] = (0, 0, 0)
) -> bytes:
    """A message with the question and the records given in wire form."""
    return struct.pack(">HHHHHH", 7, 0x81A0, 1, *counts) + question.wire + b"".join(records)


def record(owner: bytes, rdtype: int, data: bytes, rdclass: int = 1) -> bytes:
    return owner + struct.pack(">HHIH", rdtype, rdclass, 60, len(data)) + data


# --- questions -----------------------------------------------------------------------------

labels = st.lists(st.binary(min_size=1, max_size=63), max_size=6).filter(
    lambda parts: sum(len(part) + 1 for part in parts) < 255
)


@given(labels, st.sampled_from(sorted(READERS)), st.booleans())
def test_a_question_is_what_dnspython_would_send(parts: list[bytes], rdtype: int, cd: bool) -> None:
    question = Question(from_labels(parts), rdtype, cd=cd)
    lower = [part.lower() for part in parts]
    expected = dns.message.make_query(
        dns.name.Name([*lower, b""]), rdtype, use_edns=0, want_dnssec=True, payload=1232, pad=128
    )
    if cd:
        expected.flags |= dns.flags.CD
    assert question.packet == expected.to_wire()[2:]


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".org", ".".join(["x" * 63] * 4) + ".org"])
def test_no_question_for_what_is_no_name(name: str) -> None:
    with pytest.raises(NameFault):
        Question(name, MX)


# --- responses, against the oracle ---------------------------------------------------------

_HOSTS = [
    "example.com",
    "mx.example.com",
    "a.b.example.com",
    r"o\.d\007d.example.com",
    "example.net",
]
_SIGNATURE = "13 2 3600 {} 20200101000000 {} example.com. " + "AAAA" * 21 + "Ab=="
hosts = st.sampled_from(_HOSTS)
octets = st.integers(0, 255)
data = {
    "A": st.tuples(octets, octets).map("192.0.{0[0]}.{0[1]}".format),
    "AAAA": octets.map("2001:db8::{:x}".format),
    "MX": st.tuples(st.integers(0, 65535), hosts).map("{0[0]} {0[1]}.".format),
    "CNAME": hosts.map("{}.".format),
    "TLSA": st.binary(max_size=70).map(lambda raw: f"3 1 0 {raw.hex() or '00'}"),
    "DS": octets.map("{} 13 250 abcd".format),
    "NSEC3PARAM": octets.map("1 0 {} aabb".format),
    "RRSIG": st.tuples(
        st.sampled_from(["A", "MX", "TLSA", "CNAME"]),
        st.integers(2021, 2099),
        st.integers(0, 65535),
    ).map(lambda v: f"{v[0]} " + _SIGNATURE.format(f"{v[1]}0101000000", v[2])),
    "NSEC3": st.tuples(octets, st.booleans()).map(
        lambda v: f"1 {int(v[1])} {v[0]} - 2t7b4g4vsa5smi47k61mv5bv1a22bojr MX"
    ),
    "SOA": octets.map("ns.example.com. host.example.com. {} 1 2 3 4".format),
    "TXT": st.just('"text"'),
}


@st.composite
def sections(draw: st.DrawFn, types: list[str]) -> list[dns.rrset.RRset]:
    found = []
    for rdtype in draw(st.lists(st.sampled_from(types), max_size=5)):
        texts = draw(st.lists(data[rdtype], min_size=1, max_size=3))
        if rdtype in ("CNAME", "SOA", "RRSIG"):
            texts = texts[:1]
        found.append(dns.rrset.from_text(draw(hosts) + ".", 60, "IN", rdtype, *texts))
    return found


@given(
    hosts,
    st.sampled_from(["A", "AAAA", "MX", "CNAME", "TLSA", "DS", "NSEC3PARAM"]),
    sections(sorted(set(data) - {"SOA", "NSEC3"})),
    sections(["SOA", "NSEC3", "RRSIG", "TXT"]),
    st.sampled_from([0, 2, 3, 5, 16, 23]),
    st.booleans(),
)
def test_reads_what_dnspython_reads(
    name: str,
    rdtype: str,
    answer: list[dns.rrset.RRset],
    authority: list[dns.rrset.RRset],
    rcode: int,
    ad: bool,
) -> None:
    question = Question(canonical(name), dns.rdatatype.from_text(rdtype))
    message = dns.message.make_response(dns.message.from_wire(b"\0\0" + question.packet))
    message.use_edns(0, dns.flags.DO, 1232)
    message.set_rcode(rcode)
    message.flags |= dns.flags.AD if ad else 0
    message.answer, message.authority = answer, authority
    wire = message.to_wire()
    ours = decode(wire, question)
    assert ours.flaw in (None, Flaw.CNAME_LOOP)
    assert differences(wire, question, ours) == []


def test_the_fuzz_seeds_are_read_in_full() -> None:
    for wire, question in fuzz.seeds():
        ours = decode(wire, question)
        assert ours.flaw is None
        assert read(wire, question) is not None
        assert differences(wire, question, ours) == []


def test_mutated_messages_100_000() -> None:
    assert list(fuzz.failures(100_000, seed=1, compare_every=5)) == []


@needs_data
def test_mutated_packets_of_others() -> None:
    files = sorted((WIRE / "c-ares").iterdir())
    assert list(fuzz.failures(30_000, seed=2, files=files, compare_every=3)) == []


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_mutated_messages_10_000_000() -> None:
    files = sorted((WIRE / "c-ares").iterdir()) if WIRE.is_dir() else []
    assert list(fuzz.failures(10_000_000, seed=3, files=files, compare_every=100)) == []


@needs_data
@pytest.mark.parametrize("file", sorted(WIRE.glob("systemd/*.pkts")), ids=lambda file: file.name)
def test_real_records(file: Path) -> None:
    """Each record, put into a response to the question that it answers."""
    raw = file.read_bytes()
    position = 0
    while position < len(raw):
        (length,) = struct.unpack_from("<Q", raw, position)
        wire = raw[position + 8 : position + 8 + length]
        position += 8 + length
        end = 0
        while wire[end]:
            end += wire[end] + 1
        rdtype = struct.unpack_from(">H", wire, end + 1)[0]
        owner = from_labels(list(dns.name.from_wire(wire, 0)[0].labels[:-1]))
        if rdtype not in READERS and rdtype != TLSA:
            continue
        question = Question(owner, rdtype)
        message = response(question, wire, counts=(1, 0, 0))
        ours = decode(message, question)
        assert ours.flaw is None
        assert len(ours.records) == 1
        assert differences(message, question, ours) == []


# --- what means harm -----------------------------------------------------------------------

MX_QUESTION = Question("example.com", MX)
OWNER = b"\xc0\x0c"
GOOD_MX = record(OWNER, MX, b"\0\x0a\2mx" + OWNER)


@pytest.mark.parametrize(
    ("wire", "flaw"),
    [
        (b"", Flaw.SHORT),
        (b"\0" * 11, Flaw.SHORT),
        (response(MX_QUESTION)[:20], Flaw.OTHER_QUESTION),
        (b"\0\7\1\0" + response(MX_QUESTION)[4:], Flaw.NOT_A_RESPONSE),
        (b"\0\7\xa9\0" + response(MX_QUESTION)[4:], Flaw.NOT_A_RESPONSE),
        (response(Question("example.org", MX)), Flaw.OTHER_QUESTION),
        (response(Question("example.com", A)), Flaw.OTHER_QUESTION),
        (response(MX_QUESTION, GOOD_MX, counts=(2, 0, 0)), Flaw.SHORT),
        (response(MX_QUESTION, GOOD_MX, counts=(65535, 65535, 65535)), Flaw.SHORT),
        (response(MX_QUESTION, GOOD_MX, counts=(0, 0, 0)), Flaw.TRAILING),
        (response(MX_QUESTION, GOOD_MX, b"\0", counts=(1, 0, 0)), Flaw.TRAILING),
        (response(MX_QUESTION, GOOD_MX[:-1], counts=(1, 0, 0)), Flaw.SHORT),
        (response(MX_QUESTION, record(OWNER, MX, b"\0"), counts=(1, 0, 0)), Flaw.SHORT),
        (
            response(MX_QUESTION, record(OWNER, MX, b"\0\1" + OWNER + b"!"), counts=(1, 0, 0)),
            Flaw.BAD_RDATA,
        ),
        # pointers: forward, to itself, into the header, to a reserved label type
        (response(MX_QUESTION, record(b"\xc0\xff", MX, b""), counts=(1, 0, 0)), Flaw.BAD_NAME),
        (response(MX_QUESTION, record(b"\xc0\x1d", MX, b""), counts=(1, 0, 0)), Flaw.BAD_NAME),
        (response(MX_QUESTION, record(b"\xc0\x02", MX, b""), counts=(1, 0, 0)), Flaw.BAD_NAME),
        (response(MX_QUESTION, record(b"\x80\x02", MX, b""), counts=(1, 0, 0)), Flaw.BAD_NAME),
        (
            response(
                MX_QUESTION, record((b"\x3f" + b"x" * 63) * 5 + b"\0", MX, b""), counts=(1, 0, 0)
            ),
            Flaw.BAD_NAME,
        ),
        (response(MX_QUESTION, _OPT, _OPT, counts=(0, 0, 2)), Flaw.BAD_OPT),
        (response(MX_QUESTION, _OPT, counts=(1, 0, 0)), Flaw.BAD_OPT),
        (
            response(MX_QUESTION, record(b"\0", 41, b"\0\x0f\0\x09ab"), counts=(0, 0, 1)),
            Flaw.BAD_OPT,
        ),
        (
            response(MX_QUESTION, record(b"\0", 41, b"\0\x0f\0\x01a"), counts=(0, 0, 1)),
            Flaw.BAD_OPT,
        ),
        (response(MX_QUESTION, record(OWNER, CNAME, OWNER), counts=(1, 0, 0)), Flaw.CNAME_LOOP),
    ],
)
def test_flaws(wire: bytes, flaw: Flaw) -> None:
    ours = decode(wire, MX_QUESTION)
    assert ours.flaw is flaw
    assert (ours.records, ours.chain, ours.signature, ours.denial) == ((), (), None, None)


def test_a_name_over_255_bytes_made_of_pointers() -> None:
    """Five labels of 63 bytes, each followed by a pointer to the one before."""
    question = Question("x", MX)
    wire = bytearray(response(question, counts=(5, 0, 0)))
    before = b"\xc0\x0c"
    for _ in range(5):
        here = len(wire)
        wire += record(b"\x3f" + b"a" * 63 + before, A, b"\1\2\3\4")
        before = (0xC000 | here).to_bytes(2, "big")
    assert decode(bytes(wire), question).flaw is Flaw.BAD_NAME


def test_a_long_chain_of_pointers_costs_little() -> None:
    """Pointers to pointers, 8 000 deep, used by 4 000 records: refused at the 128th."""
    question = Question("x", MX)
    start = 12 + len(question.wire) + 11
    pointers = b"".join(
        (0xC000 | (12 if n == 0 else start + 2 * (n - 1))).to_bytes(2, "big") for n in range(7000)
    )
    deep = (0xC000 | (start + 2 * 6999)).to_bytes(2, "big")
    wire = response(
        question, record(b"\0", 16, pointers), record(deep, A, b"") * 4000, counts=(4001, 0, 0)
    )
    assert decode(wire, question).flaw is Flaw.BAD_NAME


def test_case_of_the_echoed_question_does_not_matter() -> None:
    wire = response(MX_QUESTION, GOOD_MX, counts=(1, 0, 0)).replace(b"example", b"eXaMpLe", 1)
    assert decode(wire, MX_QUESTION).records == [(10, "mx.example.com")]


def test_type_bytes_are_numbers_not_letters() -> None:
    """Type 65 is `A` in ASCII, and 97 is `a`: not the same question."""
    wire = response(Question("x", 65))
    assert decode(wire, Question("x", 97)).flaw is Flaw.OTHER_QUESTION


def test_odd_bytes_in_names_stay_apart() -> None:
    """A dot within a label is not a label's end."""
    question = Question("example.com", MX)
    data = b"\0\1" + b"\3a.b\0", b"\0\1" + b"\1a\1b\0"
    wire = response(question, *(record(OWNER, MX, one) for one in data), counts=(2, 0, 0))
    assert [host for _, host in decode(wire, question).records] == [r"a\046b", "a.b"]


def test_records_of_another_class_are_not_answers() -> None:
    wire = response(MX_QUESTION, record(OWNER, MX, b"\0\1\0", rdclass=3), counts=(1, 0, 0))
    assert not decode(wire, MX_QUESTION).records


def test_key_sizes() -> None:
    question = Question("example.com", DNSKEY)
    rsa = b"\1\1\3\x08" + b"\3\1\0\1" + b"\xc1" + b"\0" * 255
    long_exponent = b"\1\1\3\x05" + b"\0\0\3\1\0\1" + b"\x80" + b"\0" * 127
    keys = (rsa, long_exponent, b"\1\0\3\x0d" + b"k" * 64, b"\1\0\3\x08", b"\1\0\3\xfd" + b"?")
    wire = response(question, *(record(OWNER, DNSKEY, key) for key in keys), counts=(5, 0, 0))
    expected = [Key(257, 8, 2048), Key(257, 5, 1024), Key(256, 13, 256), Key(256, 8, 0)]
    assert decode(wire, question).records == [*expected, Key(256, 253, 0)]


def test_80_tlsa_records_and_one_of_a_single_byte() -> None:
    question = Question("_25._tcp.mx.example.com", TLSA)
    data = [b"\3\1\1" + bytes([n]) * 32 for n in range(80)] + [b"\3"]
    wire = response(question, *(record(OWNER, TLSA, one) for one in data), counts=(81, 0, 0))
    assert decode(wire, question).records == data


def test_a_truncated_response_is_not_read_further() -> None:
    wire = bytearray(response(MX_QUESTION, GOOD_MX[:-3], counts=(1, 0, 0)))
    wire[2] |= 2
    ours = decode(bytes(wire), MX_QUESTION)
    assert ours.tc
    assert ours.flaw is None


def test_extended_errors() -> None:
    options = b"\0\x0a\0\2ab" + b"\0\x0f\0\x09\0\x07expi\0\xff\0" + b"\0\x0f\0\2\0\6"
    wire = response(MX_QUESTION, record(b"\0", 41, options), counts=(0, 0, 1))
    ours = decode(wire, MX_QUESTION)
    assert (ours.ede_code, ours.ede_text) == (7, "expi��")


def test_an_extended_rcode() -> None:
    opt = b"\0" + struct.pack(">HHIH", 41, 1232, 0x01008000, 0)
    assert decode(response(MX_QUESTION, opt, counts=(0, 0, 1)), MX_QUESTION).rcode == 16


def test_the_signature_that_expires_last() -> None:
    def signature(expiration: int, tag: int) -> bytes:
        head = struct.pack(">HBBIIIH", MX, 13, 2, 300, expiration, 100, tag)
        return record(OWNER, 46, head + to_wire("example.com") + b"s" * 64)

    wire = response(
        MX_QUESTION, signature(5, 1), GOOD_MX, signature(9, 2), signature(7, 3), counts=(4, 0, 0)
    )
    one = decode(wire, MX_QUESTION).signature
    assert one is not None
    assert (one.expiration, one.key_tag, one.bits) == (9, 2, 512)


def test_a_soa_too_short_is_malformed() -> None:
    soa = record(OWNER, SOA, b"\0" * 21)
    assert decode(response(MX_QUESTION, soa, counts=(0, 1, 0)), MX_QUESTION).flaw is Flaw.BAD_RDATA
