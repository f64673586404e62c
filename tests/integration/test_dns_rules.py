"""Measurement, sections 2 and 3, rule by rule: what the scans make of a resolver's answers.

The resolver is scripted, so that each rule is seen alone; test_dns_scan has real ones.
"""

import dataclasses
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pyarrow as pa
import pytest

from crawler.dns.client import Resolvers
from crawler.dns.settings import CanarySettings, ClientSettings
from crawler.operators import merges
from crawler.scan import hosts, resolve
from crawler.scan.context import LookupKind
from crawler.smtp.settings import ProbeSettings
from dane.names import bucket
from storage.schemas import DOMAIN_MX, MX_HOST
from tests.integration.scripted_resolver import Resolver, Script, echo, scripted
from tests.support.contexts import scan_context

CANARIES = CanarySettings(
    zones=("canary",),
    signed="signed.canary",
    broken="broken.canary",
    algorithms={},
    recovery_s=2.0,
)
CLIENT = ClientSettings(
    sockets=4, try_s=0.4, last_try_s=0.4, resend_s=0.1, questions_per_s_per_name_server_set=0
)
_SIGNATURE = "{} 13 {} 3600 20990101000000 20200101000000 7 {} " + "Abcd" * 21 + "Ab=="
TLSA = "3 1 1 " + "ab" * 32


@dataclass(frozen=True, slots=True)
class Reply:
    """What the resolver says to one question. `answer`: "OWNER TYPE DATA" lines."""

    answer: tuple[str, ...] = ()
    ad: bool = True
    rcode: str = "NOERROR"
    unchecked: str | None = None  # the rcode with CD=1; None: no reply
    ede: tuple[int, str] | None = None
    authority: tuple[str, ...] = ()


def secure(*answer: str) -> Reply:
    return Reply(answer)


def insecure(*answer: str) -> Reply:
    return Reply(answer, ad=False)


NODATA, NXDOMAIN = Reply(), Reply(rcode="NXDOMAIN")
BOGUS = Reply(rcode="SERVFAIL", ad=False, unchecked="NOERROR", ede=(7, "expired"))
SERVFAIL = Reply(rcode="SERVFAIL", ad=False, unchecked="SERVFAIL")
HALF_KNOWN = Reply(rcode="SERVFAIL", ad=False)
REFUSED = Reply(rcode="REFUSED", ad=False)
SILENCE = Reply(rcode="silence")

Answers = Mapping[tuple[str, str], Reply]
_CANARY_ANSWERS: Answers = {
    ("signed.canary", "SOA"): secure("signed.canary SOA a. b. 1 2 3 4 5"),
    ("broken.canary", "SOA"): BOGUS,
    (".", "SOA"): secure(". SOA a. b. 1 2 3 4 5"),
}


def is_canary(wire: bytes) -> bool:
    """Below `canary`, or the root itself."""
    return b"\6canary" in wire or not wire[12]


def respond(wire: bytes, answers: Answers) -> list[bytes]:
    query = dns.message.from_wire(wire)
    name = query.question[0].name.to_text(omit_final_dot=True)
    rdtype = dns.rdatatype.to_text(query.question[0].rdtype)
    reply = answers.get((name, rdtype)) or _CANARY_ANSWERS.get((name, rdtype), NXDOMAIN)
    rcode = reply.rcode
    if query.flags & dns.flags.CD and rcode == "SERVFAIL":
        rcode = reply.unchecked or "silence"
    if rcode == "silence":
        return []
    message = dns.message.make_response(query, recursion_available=True)
    message.set_rcode(dns.rcode.from_text(rcode))
    message.flags |= dns.flags.AD if reply.ad else 0
    for section, lines in ((message.answer, reply.answer), (message.authority, reply.authority)):
        for line in lines:
            owner, kind, data = line.split(maxsplit=2)
            section.append(_rrset(owner.rstrip(".") + ".", kind, data))
    if reply.ede:
        message.use_edns(0, dns.flags.DO, 1232, options=[dns.edns.EDEOption(*reply.ede)])
    return [message.to_wire(max_size=4096)]


def _rrset(owner: str, kind: str, data: str) -> dns.rrset.RRset:
    if not data.startswith("\\#"):
        return dns.rrset.from_text(owner, 60, "IN", kind, data)
    # dnspython would have the data follow the type's form
    wire = bytes.fromhex(data.split()[2])
    one = dns.rdata.GenericRdata(dns.rdataclass.IN, dns.rdatatype.from_text(kind), wire)
    return dns.rrset.from_rdata(owner, 60, one)


def rows(
    module: Any,
    name: str,
    answers: Answers,
    second: Answers | None = None,
    *,
    last_pass: bool = True,
    **earlier: Any,
) -> list[dict[str, Any]]:
    column, schema = {
        resolve: ("domain", DOMAIN_MX.schema),
        hosts: ("host", MX_HOST.schema),
    }[module]
    shard = pa.RecordBatch.from_pydict(
        {
            "bucket": [bucket(name)],
            column: [name],
            "passes": [3 if last_pass else 0],
            **{key: [value] for key, value in earlier.items()},
        }
    )
    with (
        scripted(lambda wire, _: respond(wire, answers)) as first,
        scripted(lambda wire, _: respond(wire, second or {})) as other,
    ):
        found = module.scan(
            shard,
            scan_context(
                schema,
                client=CLIENT,
                canaries=CANARIES,
                resolvers=Resolvers(
                    (first.address,), (other.address,) if second is not None else ()
                ),
                lookup=LookupKind.LAST if last_pass else LookupKind.FIRST,
            ),
        )
    assert found.schema == schema
    return found.to_pylist()  # type: ignore[no-any-return]


def domain(answers: Answers, second: Answers | None = None, **options: Any) -> dict[str, Any]:
    (row,) = rows(resolve, "d.example", answers, second, **options)
    return row


def host(answers: Answers, second: Answers | None = None, **options: Any) -> dict[str, Any]:
    (row,) = rows(hosts, "mx.example", answers, second, **options)
    return row


# --- section 2: outcomes ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "last_pass", "outcome", "is_secure", "questions"),
    [
        (secure("d.example MX 10 mx.example."), False, "secure", True, 1),
        (insecure("d.example MX 10 mx.example."), False, "insecure", False, 1),
        (NODATA, False, "nodata", True, 1),
        (Reply(ad=False), False, "nodata", False, 1),
        (NXDOMAIN, False, "nxdomain", True, 1),
        (Reply(rcode="NXDOMAIN", ad=False), False, "nxdomain", False, 1),
        (BOGUS, False, "bogus", False, 2),
        (SERVFAIL, False, "servfail", False, 2),
        # not yet told apart: the next pass asks again; the last one has to say something
        (HALF_KNOWN, False, "unanswered", False, 2),
        (HALF_KNOWN, True, "servfail", False, 2),
        (REFUSED, False, "local_resolver", False, 1),
        (Reply(rcode="FORMERR", ad=False), False, "local_resolver", False, 1),
        (Reply(rcode="NOTIMP", ad=False), False, "local_resolver", False, 1),
        (Reply(rcode="YXDOMAIN"), False, "servfail", False, 1),
        (SILENCE, False, "unanswered", False, 1),
        (SILENCE, True, "unanswered", False, 1),
    ],
)
def test_outcomes(
    reply: Reply, last_pass: bool, outcome: str, is_secure: bool, questions: int
) -> None:
    signed = {("d.example", "DNSKEY"): NODATA, ("d.example", "NSEC3PARAM"): NODATA}
    row = domain({("d.example", "MX"): reply, **signed}, last_pass=last_pass)
    assert (row["outcome"], row["secure"]) == (outcome, is_secure)
    beside = 2 if row["dnskey_outcome"] else 0  # DNSKEY and NSEC3PARAM
    beside += is_secure and outcome in ("secure", "nodata")  # the DS set of the zone above
    assert row["questions"] == questions + beside
    assert row["passes"] == (4 if last_pass else 1)


def test_failures_get_a_second_look_in_the_last_pass_only() -> None:
    answers, second = {("d.example", "MX"): BOGUS}, {("d.example", "MX"): NODATA}
    row = domain(answers, second)
    assert (row["first_look_outcome"], row["second_look_outcome"]) == ("bogus", "nodata")
    assert domain(answers, second, last_pass=False)["second_look_outcome"] is None


@pytest.mark.parametrize(
    ("second", "outcome", "overruled"),
    [
        (secure("d.example MX 1 mx.example."), "secure", "bogus"),
        (insecure("d.example MX 1 mx.example."), "insecure", "bogus"),
        (NODATA, "nodata", "bogus"),
        (NXDOMAIN, "nxdomain", "bogus"),
        (BOGUS, "bogus", None),
        (SERVFAIL, "bogus", None),
        (SILENCE, "bogus", None),
        (REFUSED, "bogus", None),
    ],
)
def test_the_answer_of_the_second_resolver_counts_where_it_has_one(
    second: Reply, outcome: str, overruled: str | None
) -> None:
    """Measurement, section 1: a failing lookup counts only when a second witness agrees."""
    row = domain({("d.example", "MX"): BOGUS}, {("d.example", "MX"): second})
    assert (row["outcome"], row["first_look_outcome"]) == (outcome, overruled)
    assert row["mx_host"] == (["mx.example"] if second.answer else row["mx_host"])


def test_the_first_extended_error_and_the_first_time_are_kept() -> None:
    """Unbound 1.17 repeats a cached bogus answer with a bare EDE 6."""
    repeated = Reply(rcode="SERVFAIL", ad=False, unchecked="NOERROR", ede=(6, ""))
    answers = {("d.example", "MX"): repeated}
    first = domain({("d.example", "MX"): BOGUS}, last_pass=False)
    assert (first["ede_code"], first["ede_text"]) == (7, "expired")
    earlier = {key: first[key] for key in ("first_asked", "ede_code", "ede_text")}
    later = domain(answers, **earlier)
    assert {key: later[key] for key in earlier} == earlier
    assert later["last_asked"] > first["last_asked"]
    assert domain(answers, first_asked=None, ede_code=None, ede_text=None)["ede_code"] == 6


def test_an_extended_error_from_the_cache_gives_way_to_one_that_says_more() -> None:
    """The shard of a lost worker is asked again of a resolver that has its answers already."""
    repeated = {"first_asked": None, "ede_code": 6, "ede_text": None}
    told = domain({("d.example", "MX"): BOGUS}, **repeated)
    assert (told["ede_code"], told["ede_text"]) == (7, "expired")
    silent = Reply(rcode="SERVFAIL", ad=False, unchecked="NOERROR")
    assert domain({("d.example", "MX"): silent}, **repeated)["ede_code"] == 6


# --- section 3.1: domains ---------------------------------------------------------------------


def test_hosts_by_preference_and_name_each_once_and_capped() -> None:
    many = [f"d.example MX {n % 7} m{n:03}.example." for n in range(60)]
    row = domain({("d.example", "MX"): secure(*many, "d.example MX 9 m000.example.")})
    expected = sorted((n % 7, f"m{n:03}.example") for n in range(60))
    assert list(zip(row["mx_preference"], row["mx_host"], strict=True)) == expected[:32]
    assert row["mx_total"] == 60
    beyond = zip(row["mx_excess_preference"], row["mx_excess_host"], strict=True)
    assert list(beyond) == expected[32:]


@pytest.mark.parametrize(
    ("answer", "hosts_found", "target"),
    [
        (["d.example MX 0 ."], ["."], None),
        (["d.example MX 10 .", "d.example MX 10 mx.example."], [".", "mx.example"], None),
        (["d.example CNAME e.example.", "e.example MX 5 mx.example."], ["mx.example"], "e.example"),
        ([], ["d.example"], None),
        (["d.example CNAME e.example."], ["e.example"], "e.example"),
    ],
    ids=["null MX", "mixed", "alias", "implicit", "implicit by alias"],
)
def test_hosts(answer: list[str], hosts_found: list[str], target: str | None) -> None:
    row = domain({("d.example", "MX"): secure(*answer)})
    assert (row["mx_host"], row["cname_target"]) == (hosts_found, target)
    assert row["outcome"] == ("secure" if any(" MX " in line for line in answer) else "nodata")


def test_a_failing_or_missing_domain_has_no_hosts() -> None:
    beside = ("d.example MX 10 mx.example.",)  # records where none belong
    denied, failed = (dataclasses.replace(one, answer=beside) for one in (NXDOMAIN, SERVFAIL))
    for reply in (BOGUS, NXDOMAIN, SILENCE, denied, failed):
        row = domain({("d.example", "MX"): reply})
        assert (row["mx_host"], row["mx_total"]) == ([], 0)


# --- section 3.5: keys and denial -------------------------------------------------------------


def test_keys_denial_and_signature() -> None:
    key = "d.example DNSKEY 257 3 13 " + "Abcd" * 21 + "Ag=="
    row = domain(
        {
            ("d.example", "MX"): Reply(
                authority=(
                    "example SOA a. b. 1 2 3 4 5",
                    "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example NSEC3 1 1 12 AABB "
                    "2t7b4g4vsa5smi47k61mv5bv1a22bojr NS",
                )
            ),
            ("d.example", "DNSKEY"): secure(key),
            ("d.example", "NSEC3PARAM"): secure("d.example NSEC3PARAM 1 0 3 AABBCC"),
        }
    )
    assert (row["nsec3_iterations"], row["nsec3_salt_length"], row["nsec3_opt_out"]) == (
        12,
        2,
        True,
    )
    assert (row["nsec3param_iterations"], row["nsec3param_salt_length"]) == (3, 3)
    assert (row["dnskey_algorithm"], row["dnskey_bits"], row["dnskey_flags"]) == (
        [13],
        [256],
        [257],
    )


def test_an_unsigned_domain_is_not_asked_for_keys() -> None:
    row = domain({("d.example", "MX"): insecure("d.example MX 1 mx.example.")})
    assert (row["questions"], row["dnskey_outcome"]) == (1, None)


def test_a_domain_signed_with_an_unknown_algorithm_is() -> None:
    signature = "d.example RRSIG " + _SIGNATURE.format("MX", 2, "d.example.")
    row = domain({("d.example", "MX"): insecure("d.example MX 1 mx.example.", signature)})
    assert (row["questions"], row["dnskey_outcome"]) == (3, "nxdomain")
    assert (row["rrsig_signer"], row["rrsig_labels"]) == ("d.example", 2)


@pytest.mark.parametrize("silent", ["DNSKEY", "NSEC3PARAM"])
def test_keys_that_are_not_told_in_time_are_asked_for_again(silent: str) -> None:
    """Our own resolver may have stood still just then: only the last pass leaves it at that."""
    answers = {
        ("d.example", "MX"): secure("d.example MX 1 mx.example."),
        ("d.example", silent): SILENCE,
    }
    row = domain(answers, last_pass=False)
    assert (row["outcome"], row["secure"], row["mx_host"]) == ("unanswered", False, [])
    row = domain(answers, last_pass=True)
    assert (row["outcome"], row["mx_host"]) == ("secure", ["mx.example"])
    assert (row["dnskey_outcome"] == "unanswered") is (silent == "DNSKEY")


def _ds(zone: str, *algorithms: int) -> Reply:
    return secure(*(f"{zone} DS 7 {one} 2 {one:064x}" for one in algorithms))


_SHA1_RRSIG = "d.example RRSIG " + _SIGNATURE.format("MX", 2, "d.example.").replace(" 13 ", " 5 ")
_MX = "d.example MX 1 mx.example."


@pytest.mark.parametrize(
    ("answers", "expected", "asked"),
    [
        ({("d.example", "MX"): secure(_MX)}, False, ["example"]),
        # a DS set of the domain is asked for where it has a key of SHA-1
        ({("d.example", "MX"): secure(_MX, _SHA1_RRSIG)}, True, ["example"]),
        ({("example", "DS"): _ds("example", 5, 7)}, True, ["example"]),
        ({("example", "DS"): _ds("example", 5, 8)}, False, ["example"]),
        ({("example", "DS"): _ds("example", 5, 200)}, True, ["example"]),
        ({("example", "DS"): _ds("example", 13)}, False, ["example"]),
        ({("example", "DS"): dataclasses.replace(_ds("example", 5), ad=False)}, False, ["example"]),
        ({("example", "DS"): BOGUS}, False, ["example"]),
    ],
)
def test_sha1_of_a_link_of_the_chain(answers: Answers, expected: bool, asked: list[str]) -> None:
    """RFC 9905 section 2: every DS set on the way, and the RRSIGs over the answer."""
    row = domain({("d.example", "MX"): secure(_MX), **answers})
    assert row["sha1_only"] is expected
    failing = 1 if answers.get(("example", "DS")) is BOGUS else 0
    assert row["questions"] == 3 + len(asked) + failing


def test_a_zone_with_keys_of_sha1_alone_signs_its_denials_by_it() -> None:
    key = "d.example DNSKEY 257 3 {} " + "AwEAAQ" + "Abcd" * 42 + "Ag=="
    for algorithm, expected in ((7, True), (8, False)):
        keys = secure(key.format(algorithm))
        row = domain({("d.example", "MX"): NODATA, ("d.example", "DNSKEY"): keys})
        assert row["sha1_only"] is expected


# --- sections 3.2, 3.3 and 6: hosts ------------------------------------------------------------

ADDRESS, ADDRESS6 = "mx.example A 192.0.2.1", "mx.example AAAA 2001:db8::1"
ALIAS = "mx.example CNAME real.example."
TARGET = "real.example A 192.0.2.1"
AT_HOST, AT_TARGET = ("_25._tcp.mx.example", "TLSA"), ("_25._tcp.real.example", "TLSA")
A_, AAAA_, CNAME_ = ("mx.example", "A"), ("mx.example", "AAAA"), ("mx.example", "CNAME")
HOST_TLSA = {AT_HOST: secure(f"_25._tcp.mx.example TLSA {TLSA}")}
TARGET_TLSA = {AT_TARGET: secure(f"_25._tcp.real.example TLSA {TLSA}")}
PLAIN = {A_: secure(ADDRESS), AAAA_: NODATA}
SECURE_ALIAS = {A_: secure(ALIAS, TARGET), AAAA_: secure(ALIAS)}
HALF_SECURE = {
    A_: insecure(ALIAS, TARGET),
    AAAA_: insecure(ALIAS),
    CNAME_: secure(ALIAS),
}


@pytest.mark.parametrize(
    "name",
    [
        *("localhost", "a.localhost", "invalid", "mx.test", "printer.local", "x.onion"),
        *("home.arpa", "router.home.arpa", "mail.corp.internal"),
    ],
)
def test_a_special_use_name_is_no_mail_host(name: str) -> None:
    """RFC 6761 section 6: whatever a zone built into the resolver answers."""
    (row,) = rows(hosts, name, {(name, "A"): secure(f"{name} A 127.0.0.1")})
    assert (row["status"], row["addresses"], row["questions"]) == ("no_address", [], 0)


@pytest.mark.parametrize("name", ["localhost.example", "arpa", "xlocal", "test-1.example"])
def test_a_name_that_only_looks_like_one_is_asked_for(name: str) -> None:
    (row,) = rows(hosts, name, {(name, "A"): secure(f"{name} A 192.0.2.1")})
    assert row["addresses"] == ["192.0.2.1"]


def test_an_alias_of_a_special_use_name_is_no_mail_host() -> None:
    row = host({A_: secure("mx.example CNAME localhost.", "localhost A 127.0.0.1")})
    assert (row["status"], row["addresses"], row["tlsa_outcome"]) == ("no_address", [], None)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({**PLAIN, **HOST_TLSA}, {"status": None, "tlsa_base": "mx.example", "questions": 6}),
        # one secure family suffices
        ({A_: insecure(ADDRESS), AAAA_: secure(ADDRESS6), **HOST_TLSA}, {"status": None}),
        ({A_: SERVFAIL, AAAA_: secure(ADDRESS6), **HOST_TLSA}, {"status": None}),
        # and TLSA is not asked without one: whatever is there
        (
            {A_: insecure(ADDRESS), AAAA_: NODATA, **HOST_TLSA},
            {"status": "insecure", "tlsa_outcome": None, "questions": 2},
        ),
        ({A_: NODATA, AAAA_: NODATA, **HOST_TLSA}, {"status": "no_address", "questions": 2}),
        ({A_: NXDOMAIN, AAAA_: NXDOMAIN}, {"status": "no_address"}),
        ({A_: BOGUS, AAAA_: NODATA}, {"status": "address_failed"}),
        ({A_: NODATA, AAAA_: SERVFAIL}, {"status": "address_failed"}),
        ({A_: SILENCE, AAAA_: secure(ADDRESS6)}, {"status": "local_error"}),
        ({A_: secure(ADDRESS), AAAA_: REFUSED}, {"status": "local_error"}),
        # denials of TLSA, secure or not, and TLSA that is not secure
        ({**PLAIN, AT_HOST: NODATA}, {"status": "absent", "tlsa_outcome": "nodata"}),
        ({**PLAIN, AT_HOST: Reply(rcode="NXDOMAIN", ad=False)}, {"status": "absent"}),
        (
            {**PLAIN, AT_HOST: insecure(f"_25._tcp.mx.example TLSA {TLSA}")},
            {"status": "absent", "tlsa": [], "defects": ["tlsa_insecure"]},
        ),
        ({**PLAIN, AT_HOST: BOGUS}, {"status": "tlsa_failed", "tlsa_outcome": "bogus"}),
        ({**PLAIN, AT_HOST: SERVFAIL}, {"status": "tlsa_failed"}),
        ({**PLAIN, AT_HOST: SILENCE}, {"status": "local_error"}),
        # an alias that is secure all along: the expanded name, then the original
        (
            {**SECURE_ALIAS, **TARGET_TLSA, AT_HOST: BOGUS},
            {"status": None, "tlsa_base": "real.example", "cname_chain": ["real.example"]},
        ),
        (
            {**SECURE_ALIAS, AT_TARGET: NXDOMAIN, **HOST_TLSA},
            {"status": None, "tlsa_base": "mx.example", "cname_secure": True},
        ),
        (
            {
                **SECURE_ALIAS,
                AT_TARGET: insecure(f"_25._tcp.real.example TLSA {TLSA}"),
                **HOST_TLSA,
            },
            {"status": None, "tlsa_base": "mx.example"},
        ),
        ({**SECURE_ALIAS, AT_TARGET: SERVFAIL, **HOST_TLSA}, {"status": "tlsa_failed"}),
        ({**SECURE_ALIAS, AT_TARGET: NODATA, AT_HOST: NODATA}, {"status": "absent"}),
        # another alias for each family: the target of the secure one
        (
            {
                A_: insecure("mx.example CNAME other.example.", "other.example A 192.0.2.1"),
                AAAA_: secure(ALIAS, "real.example AAAA 2001:db8::1"),
                **TARGET_TLSA,
            },
            {"status": None, "tlsa_base": "real.example", "cname_chain": ["real.example"]},
        ),
        # only its first CNAME secure: the original name, never the target
        (
            {**HALF_SECURE, **HOST_TLSA, AT_TARGET: BOGUS},
            {"status": None, "tlsa_base": "mx.example", "first_cname_secure": True},
        ),
        ({**HALF_SECURE, **TARGET_TLSA}, {"status": "absent", "tlsa_outcome": "nxdomain"}),
        (
            {**HALF_SECURE, CNAME_: insecure(ALIAS), **HOST_TLSA},
            {"status": "insecure", "first_cname_secure": False},
        ),
        ({**HALF_SECURE, CNAME_: SERVFAIL, **HOST_TLSA}, {"status": "tlsa_failed"}),
        ({**HALF_SECURE, CNAME_: SILENCE, **HOST_TLSA}, {"status": "local_error"}),
        # names in between are no candidates
        (
            {
                A_: secure(ALIAS, "real.example CNAME end.example.", "end.example A 192.0.2.1"),
                AAAA_: secure(ALIAS, "real.example CNAME end.example."),
                **TARGET_TLSA,
            },
            {"status": "absent", "cname_chain": ["real.example", "end.example"]},
        ),
        # a CNAME at _25._tcp does not change the base
        (
            {
                **PLAIN,
                AT_HOST: secure("_25._tcp.mx.example CNAME t.example.", f"t.example TLSA {TLSA}"),
            },
            {"status": None, "tlsa_base": "mx.example", "tlsa_usable": 1},
        ),
        # unusable records are a base all the same
        (
            {**PLAIN, AT_HOST: secure("_25._tcp.mx.example TLSA 1 1 1 " + "ab" * 32)},
            {"status": None, "tlsa_usable": 0, "defects": ["pkix_usage"]},
        ),
        (
            {**PLAIN, AT_HOST: secure(r"_25._tcp.mx.example TLSA \# 1 03")},
            {"status": None, "tlsa_usable": 0, "tlsa": [r"\# 1 03"]},
        ),
    ],
)
def test_host_rules(answers: Answers, expected: dict[str, Any]) -> None:
    row = host(answers)
    assert {key: row[key] for key in expected} == expected


def test_defects_of_addresses_and_aliases() -> None:
    row = host({A_: SERVFAIL, AAAA_: secure(ADDRESS6), **HOST_TLSA})
    assert "address_family_failed" in row["defects"]
    assert "mx_alias" in host({**SECURE_ALIAS, **TARGET_TLSA})["defects"]


def test_more_addresses_than_the_cap() -> None:
    many = [f"mx.example A 192.0.2.{n}" for n in range(33)]
    row = host({A_: secure(*many), AAAA_: NODATA, **HOST_TLSA})
    assert (row["status"], row["address_total"], len(row["addresses"])) == ("excess", 33, 32)


@pytest.mark.parametrize(
    ("reply", "status", "outcome", "denied"),
    [
        (HOST_TLSA[AT_HOST], None, "secure", False),
        (NXDOMAIN, None, "nxdomain", True),
        (NODATA, None, "nodata", True),
        (insecure(f"_25._tcp.mx.example TLSA {TLSA}"), None, "insecure", True),
        # `tlsa_failed` only if a direct question shows that `_tcp` is denied (section 3.4)
        (SERVFAIL, None, "servfail", False),
        (BOGUS, None, "bogus", False),
        (SILENCE, None, "unanswered", False),
    ],
)
def test_the_second_look_at_a_tlsa_rrset(
    reply: Reply, status: str | None, outcome: str, denied: bool
) -> None:
    row = host({**PLAIN, **HOST_TLSA}, {AT_HOST: reply})
    assert (row["status"], row["second_look_outcome"]) == (status, outcome)
    assert ("ent_denied" in row["defects"]) == denied
    assert row["tlsa_base"] == "mx.example"
    fails = outcome in ("servfail", "bogus")
    assert row["failed_names"] == (["_25._tcp.mx.example"] if fails else [])


def test_denials_get_no_second_look() -> None:
    assert host({**PLAIN, AT_HOST: NODATA}, HOST_TLSA)["second_look_outcome"] is None


def test_what_fails_and_at_which_name_is_kept() -> None:
    row = host({**PLAIN, AT_HOST: SERVFAIL}, HOST_TLSA)
    assert (row["status"], row["first_look_outcome"]) == (None, "servfail")
    assert (row["second_look_outcome"], row["tlsa_outcome"]) == ("secure", "secure")
    assert (row["failed_names"], row["failed_types"]) == (["_25._tcp.mx.example"], ["TLSA"])
    failing = {**SECURE_ALIAS, AT_TARGET: SERVFAIL, **HOST_TLSA}
    row = host(failing, failing)
    assert (row["status"], row["first_look_outcome"]) == ("tlsa_failed", None)
    assert (row["failed_names"], row["failed_types"]) == (["_25._tcp.real.example"], ["TLSA"])
    row = host({A_: secure(ADDRESS), AAAA_: BOGUS, **HOST_TLSA}, {AAAA_: BOGUS, **HOST_TLSA})
    assert (row["failed_names"], row["failed_types"]) == (["mx.example"], ["AAAA"])
    assert (row["status"], row["tlsa_outcome"]) == (None, "secure")


def test_signatures_near_their_end_and_wildcards() -> None:
    soon = _SIGNATURE.replace("20990101", "20200102")
    answers = {
        A_: secure(ADDRESS, "mx.example RRSIG " + soon.format("A", 2, "example.")),
        AAAA_: NODATA,
        AT_HOST: secure(
            f"_25._tcp.mx.example TLSA {TLSA}",
            "_25._tcp.mx.example RRSIG " + _SIGNATURE.format("TLSA", 2, "example."),
        ),
    }
    row = host(answers)
    assert row["defects"] == ["rrsig_near_expiry", "wildcard_tlsa"]
    assert (row["rrsig_signer"], row["rrsig_labels"]) == ("example", 2)


def test_the_root_is_no_host_and_a_name_without_room_has_no_tlsa() -> None:
    (row,) = rows(hosts, ".", {})
    assert (row["status"], row["questions"]) == ("no_address", 0)
    long = ".".join(["x" * 61] * 4)
    answers = {(long, "A"): secure(f"{long} A 192.0.2.1"), (long, "AAAA"): NODATA}
    (row,) = rows(hosts, long, answers)
    assert (row["status"], row["tlsa_outcome"]) == ("absent", None)


def test_whoever_opted_out_has_a_row_and_is_not_asked_for(tmp_path: Path) -> None:
    listed, table = tmp_path / "opt-out", tmp_path / "merges.toml"
    listed.write_text("leave.example\nbig.example\n")
    table.write_text('"cheap.example" = "big.example"\n')
    names = ["mx.leave.example", "mx1.cheap.example", "mx.other.example"]
    with scripted(lambda wire, _: respond(wire, {})) as resolver:
        found = hosts.scan(
            pa.RecordBatch.from_pydict({"bucket": [bucket(name) for name in names], "host": names}),
            scan_context(
                MX_HOST.schema,
                client=CLIENT,
                canaries=CANARIES,
                resolvers=Resolvers((resolver.address,)),
                lookup=LookupKind.LAST,
                probe=ProbeSettings(opt_out=listed),
                operator_merges=merges(table),
            ),
        ).to_pylist()
    rows = {row["host"]: row for row in found}
    assert [rows[name]["status"] for name in names[:2]] == ["opted_out", "opted_out"]
    assert rows[names[2]]["status"] != "opted_out"
    for name in names[:2]:
        assert (rows[name]["questions"], rows[name]["addresses"]) == (0, [])
    asked = [wire for _, wire in resolver.arrivals]
    assert any(b"\x05other" in wire for wire in asked)
    assert not any(b"\x05leave" in wire or b"\x05cheap" in wire for wire in asked)


def test_an_alias_of_whoever_opted_out_has_no_address_to_visit(tmp_path: Path) -> None:
    listed = tmp_path / "opt-out"
    listed.write_text("leave.example\n")
    answers = {
        ("mx.alias.example", "A"): secure(
            "mx.alias.example CNAME mx.leave.example.", "mx.leave.example A 192.0.2.1"
        ),
        ("_25._tcp.mx.alias.example", "TLSA"): secure(f"_25._tcp.mx.alias.example TLSA {TLSA}"),
    }
    with scripted(lambda wire, _: respond(wire, answers)) as resolver:
        (row,) = hosts.scan(
            pa.RecordBatch.from_pydict({"bucket": [1], "host": ["mx.alias.example"]}),
            scan_context(
                MX_HOST.schema,
                client=CLIENT,
                canaries=CANARIES,
                resolvers=Resolvers((resolver.address,)),
                lookup=LookupKind.LAST,
                probe=ProbeSettings(opt_out=listed),
            ),
        ).to_pylist()
    assert (row["status"], row["addresses"], row["tlsa"]) == ("opted_out", [], [])
    assert not any(b"\4_tcp" in wire for _, wire in resolver.arrivals)


@pytest.mark.parametrize(("age_s", "right"), [(3600, True), (-3600, False), (49 * 3600, False)])
def test_nothing_is_believed_while_our_clock_is_wrong(age_s: int, right: bool) -> None:
    """By the root's newest signature, which is never two days old."""
    made = time.strftime("%Y%m%d%H%M%S", time.gmtime(time.time() - age_s))
    soa = ". SOA a. b. 1 2 3 4 5", f". RRSIG SOA 8 0 60 20990101000000 {made} 7 . AbcdAb=="
    answers = {(".", "SOA"): secure(*soa), ("d.example", "MX"): secure("d.example MX 1 a.example.")}
    assert bool(rows(resolve, "d.example", answers)) is right


def many(script: Script, count: int, **columns: list[Any]) -> tuple[list[dict[str, Any]], Resolver]:
    """A first pass over `count` domains before a resolver that answers canaries rightly."""

    def with_canaries(wire: bytes, number: int) -> Sequence[bytes]:
        return respond(wire, {}) if is_canary(wire) else script(wire, number)

    domains = [f"d{number}.example" for number in range(count)]
    shard = {"bucket": [0] * count, "domain": domains, **columns}
    with scripted(with_canaries) as resolver:
        found = resolve.scan(
            pa.RecordBatch.from_pydict(shard),
            scan_context(
                DOMAIN_MX.schema,
                client=dataclasses.replace(CLIENT, questions_per_s_per_name_server_set=40.0),
                canaries=CANARIES,
                resolvers=Resolvers((resolver.address,)),
            ),
        )
    return found.to_pylist(), resolver


def test_too_many_failures_are_asked_again_although_the_canaries_are_good() -> None:
    """For a while every third name fails through us: none of that is believed."""
    asked: Counter[str] = Counter()

    def ailing(wire: bytes, number: int) -> Sequence[bytes]:
        name = wire[13 : 13 + wire[12]].decode()
        asked[name] += 1
        fails = number < 3500 and int(name[1:]) % 3 == 0
        return [echo(wire, rcode=2, flags=0x8180) if fails else echo(wire, rcode=3)]

    rows, _ = many(ailing, 3000)
    assert {row["outcome"] for row in rows} == {"nxdomain"}
    assert len(rows) == 3000


def test_failures_that_stay_are_theirs() -> None:
    def failing(wire: bytes, _: int) -> Sequence[bytes]:
        fails = int(wire[14 : 13 + wire[12]]) % 3 == 0
        return [echo(wire, rcode=2, flags=0x8180) if fails else echo(wire, rcode=3)]

    rows, _ = many(failing, 3000)
    assert Counter(row["outcome"] for row in rows) == {"servfail": 1000, "nxdomain": 2000}


def test_domains_of_one_name_server_set_are_spaced() -> None:
    servers = [["ns1.op.example", "ns2.op.example"] if n < 30 else None for n in range(60)]
    rows, resolver = many(lambda wire, _: [echo(wire, rcode=3)], 60, ns=servers)
    assert len(rows) == 60
    spaced = [
        at
        for at, wire in resolver.arrivals
        if not is_canary(wire) and int(wire[14 : 13 + wire[12]]) < 30
    ]
    assert spaced[-1] - spaced[0] >= 28 / 40


def test_an_empty_shard() -> None:
    shard = pa.RecordBatch.from_pydict({"bucket": [], "domain": []})
    found = resolve.scan(
        shard,
        scan_context(
            DOMAIN_MX.schema,
            client=CLIENT,
            canaries=CANARIES,
            resolvers=Resolvers((("127.0.0.1", 9),)),
        ),
    )
    assert (found.num_rows, found.schema) == (0, DOMAIN_MX.schema)
