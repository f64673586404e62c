"""Scenarios about DNSSEC and name servers (measurement, sections 2 and 3).

EDE codes are sets: they differ between versions of a resolver (RFC 8914).
"""

from collections.abc import Mapping
from typing import Any

from lab.scenarios.scenario import (
    GOOD,
    HASHED,
    Behaviour,
    Host,
    Scenario,
    Signing,
    has,
    one_of,
)
from lab.scenarios.verdicts import (
    ADDRESS_FAILED,
    DANE,
    GONE,
    INSECURE,
    MX_FAILED,
    NO_TLSA,
    TLSA_FAILED,
)
from lab.signer import DAY_S, Nsec3

_EE = ("3 1 1 leaf",)
_GOOD = (Host(tlsa=_EE),)
_WITHOUT = (Host(),)
_ANY = ("*",)


def _zone(
    name: str,
    what: str,
    why: str,
    signing: Signing,
    verdict: Mapping[str, Any],
    *,
    hosts: tuple[Host, ...] = _GOOD,
    tld: str = "plain",
    domain_mx: Mapping[str, Any] | None = None,
    mx: Mapping[str, Any] | None = None,
    host: Mapping[str, Any] | None = None,
) -> Scenario:
    """One zone, signed and served so; `mx` and `host` are columns of mx_host and host_verdict."""
    return Scenario(
        name=name,
        what=what,
        why=why,
        tld=tld,
        zones={"@": signing},
        hosts=hosts,
        verdict=verdict,
        domain_mx=domain_mx or {},
        mx_host={"mx": mx} if mx else {},
        host_verdict={"mx": host} if host else {},
    )


def _bogus_mx(*ede_codes: int) -> dict[str, Any]:
    return {"outcome": "bogus", "secure": False, "ede_code": one_of(*ede_codes)}


_KINDS = (("nsec", None), ("nsec3", Nsec3()))
_ABSENT = {"status": "absent", "class": "N"}
_FAILED_TLSA = {"status": "tlsa_failed", "class": "L"}

_SIGNATURES = (
    _zone(
        "expired",
        "every signature expired three days ago",
        "measurement 2: bogus at the MX question; expired RRSIG are accepted up to 24 h",
        Signing(valid_s=(-30 * DAY_S, -3 * DAY_S)),
        MX_FAILED,
        domain_mx=_bogus_mx(7, 6),
    ),
    _zone(
        "expired-lately",
        "every signature expired two minutes ago",
        "measurement 2: within the validator's skew; 8: rrsig_near_expiry",
        Signing(valid_s=(-30 * DAY_S, -120)),
        DANE,
        host={"status": "pass", "defects": has("rrsig_near_expiry")},
    ),
    _zone(
        "expires-soon",
        "every signature expires within two days",
        "measurement 8: less than 72 h left",
        Signing(valid_s=(-30 * DAY_S, 2 * DAY_S)),
        DANE,
        host={"status": "pass", "defects": has("rrsig_near_expiry")},
    ),
    _zone(
        "future",
        "every signature starts in three days",
        "measurement 2: bogus",
        Signing(valid_s=(3 * DAY_S, 30 * DAY_S)),
        MX_FAILED,
        domain_mx=_bogus_mx(8, 6),
    ),
    _zone(
        "wrong-ds",
        "the DS is of another key",
        "measurement 2: bogus (RFC 4035 5.2)",
        Signing(ds="wrong"),
        MX_FAILED,
        domain_mx=_bogus_mx(9, 6),
    ),
    _zone(
        "no-dnskey",
        "a DS, and no DNSKEY",
        "measurement 2: bogus",
        Signing(faults=("no-dnskey",)),
        MX_FAILED,
        domain_mx=_bogus_mx(9, 6, 10),
    ),
    _zone(
        "no-signatures",
        "DNSKEY, and no RRSIG but its own",
        "measurement 2: bogus",
        Signing(faults=("no-signatures",)),
        MX_FAILED,
        domain_mx=_bogus_mx(10, 6, 9),
    ),
    _zone(
        "unsigned-with-ds",
        "a DS above a zone that is not signed",
        "measurement 2: bogus",
        Signing(signed=False),
        MX_FAILED,
        domain_mx=_bogus_mx(9, 6, 10),
    ),
    _zone(
        "bad-signatures",
        "signatures that do not verify",
        "measurement 2: bogus",
        Signing(faults=("bad-signatures",)),
        MX_FAILED,
        domain_mx=_bogus_mx(6),
    ),
    _zone(
        "bad-mx-signature",
        "the signature over MX does not verify",
        "measurement 2 and 7 row 2",
        Signing(faults=("bad-mx-signature",)),
        MX_FAILED,
        domain_mx=_bogus_mx(6),
    ),
    _zone(
        "bad-tlsa-signature",
        "the signature over TLSA does not verify",
        "measurement 6: tlsa_failed (RFC 7672 2.1.2: bogus is an error)",
        Signing(faults=("bad-tlsa-signature",)),
        TLSA_FAILED,
        mx={"status": "tlsa_failed", "tlsa_outcome": "bogus"},
        host=_FAILED_TLSA,
    ),
    _zone(
        "no-tlsa-signature",
        "no signature over TLSA",
        "measurement 6: tlsa_failed",
        Signing(faults=("no-tlsa-signature",)),
        TLSA_FAILED,
        mx={"status": "tlsa_failed", "tlsa_outcome": "bogus"},
    ),
    _zone(
        "no-address-signature",
        "no signature over A",
        "measurement 6: address_failed; 7 row 6: all hosts A",
        Signing(faults=("no-address-signature",)),
        ADDRESS_FAILED,
        mx={"status": "address_failed", "a_outcome": "bogus"},
        host={"status": "address_failed", "class": "A"},
    ),
    _zone(
        "unknown-algorithm",
        "the DS is of an algorithm that no validator knows",
        "measurement 3.1: insecure (RFC 4035 5.2)",
        Signing(ds="unknown-algorithm"),
        INSECURE,
        domain_mx={"outcome": "insecure", "secure": False},
    ),
    _zone(
        "unknown-digest",
        "the DS has a digest type that no validator knows",
        "measurement 3.1: insecure (RFC 4509 3, RFC 6840 5.2)",
        Signing(ds="unknown-digest"),
        INSECURE,
        domain_mx={"outcome": "insecure", "secure": False},
    ),
    _zone(
        "rsa-zone",
        "algorithm 8",
        "measurement 7 row 11",
        Signing(algorithm=8),
        DANE,
        domain_mx={"rrsig_algorithm": 8},
    ),
)

_DENIAL = (
    _zone(
        "serial-raised",
        "the serial was raised after signing: every denial fails; TLSA is there",
        "measurement 6: A and TLSA need no denial; 8: AAAA fails",
        Signing(faults=("serial-raised",)),
        DANE,
        mx={"aaaa_outcome": "bogus", "defects": has("address_family_failed")},
        host={"status": "pass"},
    ),
    _zone(
        "serial-raised-no-tlsa",
        "the serial was raised after signing; no TLSA",
        "measurement 6: the TLSA question failed, which is no denial (RFC 7672 2.1.2)",
        Signing(faults=("serial-raised",)),
        TLSA_FAILED,
        hosts=_WITHOUT,
        mx={"status": "tlsa_failed", "tlsa_outcome": "bogus"},
    ),
    Scenario(
        name="serial-raised-no-mx",
        what="the serial was raised after signing; no MX",
        why="measurement 3.1: the denial is bogus, so no implicit MX; 7 row 2",
        records=(),
        zones={"@": Signing(faults=("serial-raised",))},
        hosts=(Host(name="@", tlsa=_EE),),
        verdict=MX_FAILED,
        domain_mx={"outcome": "bogus", "secure": False},
    ),
    _zone(
        "no-nsec",
        "signed, NSEC missing; no TLSA",
        "measurement 6: tlsa_failed",
        Signing(faults=("no-denial",)),
        TLSA_FAILED,
        hosts=_WITHOUT,
        mx={"status": "tlsa_failed", "tlsa_outcome": "bogus"},
    ),
    _zone(
        "no-nsec3",
        "signed, NSEC3 missing; no TLSA",
        "measurement 6: tlsa_failed",
        Signing(nsec3=Nsec3(), faults=("no-denial",)),
        TLSA_FAILED,
        hosts=_WITHOUT,
        mx={"status": "tlsa_failed", "tlsa_outcome": one_of("bogus", "servfail")},
    ),
    _zone(
        "nsec3",
        "NSEC3, no TLSA",
        "measurement 6: any denial",
        Signing(nsec3=Nsec3()),
        NO_TLSA,
        hosts=_WITHOUT,
        mx={"status": "absent", "tlsa_outcome": "nxdomain"},
        host=_ABSENT,
    ),
    _zone(
        "nsec3-opt-out",
        "NSEC3 with opt-out, no TLSA",
        "measurement 2: an opt-out denial is not secure and not a failure",
        Signing(nsec3=Nsec3(opt_out=True)),
        NO_TLSA,
        hosts=_WITHOUT,
        mx={"status": "absent"},
        host=_ABSENT,
    ),
    _zone(
        "nsec3-150-iterations",
        "NSEC3 with 150 iterations, no TLSA",
        "measurement 2: as many as the validator accepts; 8: nsec3_iterations",
        Signing(nsec3=Nsec3(iterations=150, salt=b"lab")),
        NO_TLSA,
        hosts=_WITHOUT,
        mx={"status": "absent", "nsec3_iterations": 150},
        host=_ABSENT | {"defects": has("nsec3_iterations")},
    ),
    _zone(
        "nsec3-151-iterations",
        "NSEC3 with 151 iterations, no TLSA",
        "measurement 2: a denial by more than 150 iterations is not secure and not a failure",
        Signing(nsec3=Nsec3(iterations=151, salt=b"lab")),
        NO_TLSA,
        hosts=_WITHOUT,
        mx={"status": "absent", "nsec3_iterations": 151},
        host=_ABSENT,
    ),
    Scenario(
        name="nsec3-151-no-mx",
        what="NSEC3 with 151 iterations, no MX",
        why="measurement 3.1 and 7 row 3: the denial of MX is not secure",
        records=(),
        zones={"@": Signing(nsec3=Nsec3(iterations=151))},
        hosts=(Host(name="@", tlsa=_EE),),
        verdict=INSECURE,
        domain_mx={"outcome": "nodata", "secure": False, "nsec3_iterations": 151},
    ),
    *(
        _zone(
            f"tcp-denied-{kind}",
            f"NXDOMAIN for the empty non-terminal _tcp, proven, {kind.upper()}",
            "measurement 3.4: another outcome with qname minimisation is ent_denied (RFC 8020)",
            Signing(nsec3=nsec3, servers=(Behaviour(action="other-copy-of-tcp", types=_ANY),)),
            DANE,
            mx={"tlsa_outcome": "secure", "second_look_outcome": "nxdomain"},
            host={"status": "pass", "defects": has("ent_denied")},
        )
        for kind, nsec3 in _KINDS
    ),
    *(
        _zone(
            f"tcp-denied-without-proof-{kind}",
            f"NXDOMAIN for the empty non-terminal _tcp, unproven, {kind.upper()}",
            "measurement 3.4: SERVFAIL with qname minimisation makes the host tlsa_failed; "
            "Unbound fails so once and answers the next time, so a later pass may find it secure",
            Signing(
                nsec3=nsec3, servers=(Behaviour(action="deny-empty-non-terminal", types=_ANY),)
            ),
            {"status": one_of("dane", "lookup_failed")},
            mx={
                "status": one_of(None, "tlsa_failed"),
                "second_look_outcome": one_of("bogus", "servfail", "secure"),
            },
            host={"status": one_of("pass", "tlsa_failed")},
        )
        for kind, nsec3 in _KINDS
    ),
    Scenario(
        name="gone",
        what="in the zone file, no longer delegated",
        why="measurement 3.1 and 7 row 4: NXDOMAIN",
        hosts=(),
        records=(),
        gone=True,
        verdict=GONE,
        domain_mx={"outcome": "nxdomain", "secure": True},
    ),
    Scenario(
        name="gone-opt-out",
        what="in the zone file, no longer delegated, denied by opt-out",
        why="measurement 7: row 3 comes before row 4, the denial is not secure",
        tld=HASHED,
        hosts=(),
        records=(),
        gone=True,
        verdict=INSECURE,
        domain_mx={"outcome": "nxdomain", "secure": False},
    ),
)


def _tlsa_answered_with(action: str, what: str) -> Scenario:
    return _zone(
        f"tlsa-{action}",
        what,
        "measurement 2: all of these reach us as SERVFAIL; 6: tlsa_failed (RFC 7672 2.1.2)",
        Signing(servers=(Behaviour(action=action),)),
        TLSA_FAILED,
        mx={"status": "tlsa_failed", "tlsa_outcome": "servfail"},
        host=_FAILED_TLSA,
    )


_SERVERS = (
    _tlsa_answered_with("drop", "the name server never answers TLSA questions"),
    _tlsa_answered_with("notimp", "NOTIMP to TLSA questions"),
    _tlsa_answered_with("refused", "REFUSED to TLSA questions"),
    _tlsa_answered_with("formerr", "FORMERR to TLSA questions"),
    _tlsa_answered_with("servfail", "SERVFAIL to TLSA questions"),
    _tlsa_answered_with("garbage", "nonsense to TLSA questions"),
    _tlsa_answered_with("truncate-and-stall", "TLSA needs TCP, and TCP stalls"),
    _zone(
        "tlsa-truncate",
        "TLSA needs TCP",
        "RFC 7766 5: TCP is required",
        Signing(servers=(Behaviour(action="truncate"),)),
        DANE,
    ),
    _zone(
        "tlsa-slow",
        "TLSA is answered 0.4 s late",
        "measurement 2: an answer, however late",
        Signing(servers=(Behaviour(action="slow"),)),
        DANE,
    ),
    _zone(
        "tlsa-twice",
        "every TLSA record comes twice",
        "measurement 8: duplicate; the signature is over one of them (RFC 2181 5)",
        Signing(servers=(Behaviour(action="twice"),)),
        DANE,
        host={"status": "pass", "defects": has("duplicate")},
    ),
    _zone(
        "lame",
        "the name server refuses the zone",
        "measurement 2: servfail; 7 row 2",
        Signing(servers=(Behaviour(action="refused", types=_ANY),)),
        MX_FAILED,
        domain_mx={"outcome": "servfail", "secure": False},
    ),
    _zone(
        "silent-server",
        "the name server never answers",
        "measurement 2: servfail, after Unbound has given up",
        Signing(servers=(Behaviour(action="drop", types=_ANY),)),
        MX_FAILED,
        domain_mx={"outcome": "servfail", "secure": False},
    ),
    _zone(
        "one-server-lame",
        "one of two name servers refuses the zone",
        "a resolver asks the other",
        Signing(servers=(GOOD, Behaviour(action="refused", types=_ANY))),
        DANE,
    ),
    _zone(
        "one-server-silent",
        "one of two name servers never answers",
        "a resolver asks the other",
        Signing(servers=(GOOD, Behaviour(action="drop", types=_ANY))),
        DANE,
    ),
    _zone(
        "servers-disagree",
        "one of two name servers has an older copy, without TLSA",
        "either copy is signed: what a resolver gets first is the answer",
        Signing(servers=(GOOD, Behaviour(action="other-copy", types=_ANY))),
        {"status": one_of("dane", "no_tlsa")},
        mx={"tlsa_outcome": one_of("secure", "nxdomain")},
    ),
    _zone(
        "one-server-unsigned",
        "one of two name servers has the zone without signatures",
        "a resolver asks the other when validation fails (RFC 4035 4.7)",
        Signing(servers=(GOOD, Behaviour(action="strip-signatures", types=_ANY))),
        DANE,
    ),
    _zone(
        "no-edns",
        "FORMERR to EDNS: no DNSSEC from this server",
        "measurement 2: without EDNS there is no RRSIG (RFC 4035 3): a failure",
        Signing(servers=(Behaviour(action="no-edns", types=_ANY),)),
        MX_FAILED,
        domain_mx={"outcome": one_of("bogus", "servfail"), "secure": False},
    ),
    _zone(
        "fragments-dropped",
        "UDP answers over 1232 bytes never arrive; 80 TLSA records",
        "a resolver that asks for 1232 bytes gets TC and goes on over TCP",
        Signing(servers=(Behaviour(action="drop-large", types=_ANY),)),
        DANE,
        hosts=(Host(tlsa=(*(f"3 1 1 hex:{n:064x}" for n in range(1, 80)), "3 1 1 leaf")),),
    ),
    Scenario(
        name="odd-bytes",
        what="bytes in the MX host's name that are no letters, digits or hyphens",
        why="measurement 4: no SNI for such names; RFC 2181 11: any byte is allowed",
        records=(r"@ MX 10 m\000x\.\195\188",),
        hosts=(Host(name=r"m\000x\.\195\188", tlsa=_EE),),
        verdict=DANE,
    ),
)

SCENARIOS = (*_SIGNATURES, *_DENIAL, *_SERVERS)
