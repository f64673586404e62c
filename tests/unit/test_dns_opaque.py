"""RDATA that dnspython refuses is read as it was sent; other malformed messages are not."""

import dns.edns
import dns.exception
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import pytest
from dns.rdatatype import RdataType

from crawler.dns.opaque import read_message

NAME = dns.name.from_text("_25._tcp.mx.example.")
GOOD_TLSA = "030101" + "ab" * 32
SHORT_TLSA = "030102" + "ab" * 32  # SHA-512 with a digest of SHA-256's length


def response(rdtype: RdataType, *datas: str) -> dns.message.Message:
    """An answer of RDATA in hexadecimal, whatever its form, with a good A record behind it."""
    query = dns.message.make_query(NAME, rdtype, want_dnssec=True)
    found = dns.message.make_response(query)
    rrset = dns.rrset.RRset(NAME, dns.rdataclass.IN, rdtype)
    for data in datas:
        rrset.add(dns.rdata.GenericRdata(dns.rdataclass.IN, rdtype, bytes.fromhex(data)), 300)
    found.answer.append(rrset)
    found.additional.append(dns.rrset.from_text(NAME, 300, "IN", "A", "192.0.2.1"))
    return found


@pytest.mark.parametrize(
    ("rdtype", "datas"),
    [
        (RdataType.TLSA, [SHORT_TLSA]),
        (RdataType.TLSA, [GOOD_TLSA, SHORT_TLSA]),
        (RdataType.TLSA, ["03"]),
        (RdataType.TLSA, [""]),
        (RdataType.DS, ["00010d02" + "ab" * 32, "00010d02" + "ab" * 31]),
        (RdataType.DNSKEY, ["0101"]),
        (RdataType.RRSIG, ["0034"]),
        (RdataType.A, ["c00002"]),
    ],
)
def test_what_was_sent_is_read(rdtype: RdataType, datas: list[str]) -> None:
    wire = response(rdtype, *datas).to_wire()
    with pytest.raises(dns.exception.FormError):
        dns.message.from_wire(wire)
    read = read_message(wire)
    rrset = read.answer[0]
    assert (rrset.name, rrset.rdtype, rrset.ttl) == (NAME, rdtype, 300)
    assert sorted(one.to_wire().hex() for one in rrset) == sorted(datas)
    assert read.additional[0].to_text() == f"{NAME} 300 IN A 192.0.2.1"
    assert read.edns == 0
    assert read.question[0].rdtype == rdtype


@pytest.mark.parametrize("rdtype", [RdataType.MX, RdataType.NS, RdataType.CNAME, RdataType.SOA])
def test_types_with_names_that_may_be_compressed_are_never_opaque(rdtype: RdataType) -> None:
    with pytest.raises(dns.exception.FormError):
        read_message(response(rdtype, "0001").to_wire())


def test_other_faults_of_the_message_stay_faults() -> None:
    wire = response(RdataType.TLSA, SHORT_TLSA).to_wire()
    for spoiled in (wire[:-3], wire + b"\0", wire[:7] + b"\5" + wire[8:]):
        with pytest.raises(dns.exception.DNSException):
            read_message(spoiled)


def test_an_option_record_that_is_none_is_a_fault() -> None:
    good = response(RdataType.TLSA, SHORT_TLSA)
    good.use_edns(0, options=[dns.edns.GenericOption(65001, b"abcd")])
    wire = good.to_wire()
    with pytest.raises(dns.exception.FormError):
        read_message(wire.replace(b"\xfd\xe9\0\4abcd", b"\xfd\xe9\0\5abcd"))


def test_a_signed_message_is_verified_all_the_same() -> None:
    """The record that is refused comes before the TSIG, which is then verified in the end."""
    key = dns.tsig.Key("key.", b"secret", dns.tsig.HMAC_SHA256)
    message = response(RdataType.DS, "00010d02" + "ab" * 31)
    message.use_tsig(key)
    wire = message.to_wire()
    assert read_message(wire, keyring=key).had_tsig
    with pytest.raises(dns.tsig.BadSignature):
        read_message(wire.replace(b"\xab\xab", b"\xab\xac", 1), keyring=key)
    with pytest.raises(dns.tsig.BadSignature):
        read_message(wire, keyring=dns.tsig.Key("key.", b"other", dns.tsig.HMAC_SHA256))
