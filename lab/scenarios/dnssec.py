"""Scenarios about signatures and denial of existence (measurement, sections 2 and 3).

EDE codes are sets: they differ between versions of a resolver (RFC 8914).
"""

from typing import Any

from lab.scenarios.scenario import (
    EE,
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
from lab.scenarios.zone import zone
from lab.signer import DAY_S, Nsec3

_WITHOUT = (Host(),)
_ANY = ("*",)


def _bogus_mx(*ede_codes: int) -> dict[str, Any]:
    return {"outcome": "bogus", "secure": False, "ede_code": one_of(*ede_codes)}


_KINDS = (("nsec", None), ("nsec3", Nsec3()))
_ABSENT = {"status": "absent", "class": "N"}
_FAILED_TLSA = {"status": "tlsa_failed", "class": "L"}

_SHA1 = "measurement 2: RFC 9905 2 has resolvers take it for unsupported; ours does not"
_SIGNATURES = (
    zone(
        "expired",
        "every signature expired three days ago",
        "measurement 2: bogus at the MX question; expired RRSIG are accepted up to 24 h",
        Signing(valid_s=(-30 * DAY_S, -3 * DAY_S)),
        {**MX_FAILED, "dns_cause": "signature_expired"},
        domain_mx=_bogus_mx(7, 6),
    ),
    zone(
        "expired-lately",
        "every signature expired two minutes ago",
        "measurement 2: within the validator's skew; 8: rrsig_near_expiry",
        Signing(valid_s=(-30 * DAY_S, -120)),
        DANE,
        host={"status": "pass", "defects": has("rrsig_near_expiry")},
    ),
    zone(
        "expires-soon",
        "every signature expires within two days",
        "measurement 8: less than 72 h left",
        Signing(valid_s=(-30 * DAY_S, 2 * DAY_S)),
        DANE,
        host={"status": "pass", "defects": has("rrsig_near_expiry")},
    ),
    zone(
        "future",
        "every signature starts in three days",
        "measurement 2: bogus",
        Signing(valid_s=(3 * DAY_S, 30 * DAY_S)),
        {**MX_FAILED, "dns_cause": "signature_not_yet_valid"},
        domain_mx=_bogus_mx(8, 6),
    ),
    zone(
        "wrong-ds",
        "the DS is of another key",
        "measurement 2: bogus (RFC 4035 5.2)",
        Signing(ds="wrong"),
        {**MX_FAILED, "dns_cause": "ds_without_key"},
        domain_mx=_bogus_mx(9, 6),
    ),
    zone(
        "no-dnskey",
        "a DS, and no DNSKEY",
        "measurement 2: bogus",
        Signing(faults=("no-dnskey",)),
        {**MX_FAILED, "dns_cause": "dnskey_missing"},
        domain_mx=_bogus_mx(9, 6, 10),
    ),
    zone(
        "no-signatures",
        "DNSKEY, and no RRSIG but its own",
        "measurement 2: bogus",
        Signing(faults=("no-signatures",)),
        {**MX_FAILED, "dns_cause": "no_rrsig"},
        domain_mx=_bogus_mx(10, 6, 9),
    ),
    zone(
        "unsigned-with-ds",
        "a DS above a zone that is not signed",
        "measurement 2: bogus",
        Signing(signed=False),
        {**MX_FAILED, "dns_cause": "dnskey_missing"},
        domain_mx=_bogus_mx(9, 6, 10),
    ),
    zone(
        "bad-signatures",
        "signatures that do not verify",
        "measurement 2: bogus",
        Signing(faults=("bad-signatures",)),
        {**MX_FAILED, "dns_cause": "signature_invalid"},
        domain_mx=_bogus_mx(6),
    ),
    zone(
        "bad-mx-signature",
        "the signature over MX does not verify",
        "measurement 2 and 7 row 2",
        Signing(faults=("bad-mx-signature",)),
        {**MX_FAILED, "dns_cause": "signature_invalid"},
        domain_mx=_bogus_mx(6),
    ),
    zone(
        "bad-tlsa-signature",
        "the signature over TLSA does not verify",
        "measurement 6: tlsa_failed (RFC 7672 2.1.2: bogus is an error)",
        Signing(faults=("bad-tlsa-signature",)),
        TLSA_FAILED,
        mx={"status": "tlsa_failed", "tlsa_outcome": "bogus"},
        host={**_FAILED_TLSA, "dns_cause": "signature_invalid"},
    ),
    zone(
        "no-tlsa-signature",
        "no signature over TLSA",
        "measurement 6: tlsa_failed",
        Signing(faults=("no-tlsa-signature",)),
        TLSA_FAILED,
        mx={"status": "tlsa_failed", "tlsa_outcome": "bogus"},
        host={**_FAILED_TLSA, "dns_cause": "no_rrsig"},
    ),
    zone(
        "no-address-signature",
        "no signature over A",
        "measurement 6: address_failed; 7 row 6: all hosts A",
        Signing(faults=("no-address-signature",)),
        ADDRESS_FAILED,
        mx={"status": "address_failed", "a_outcome": "bogus"},
        host={"status": "address_failed", "class": "A", "dns_cause": "no_rrsig"},
    ),
    zone(
        "unknown-algorithm",
        "the DS is of an algorithm that no validator knows",
        "measurement 3.1: insecure (RFC 4035 5.2)",
        Signing(ds="unknown-algorithm"),
        INSECURE,
        domain_mx={"outcome": "insecure", "secure": False},
    ),
    zone(
        "unknown-digest",
        "the DS has a digest type that no validator knows",
        "measurement 3.1: insecure (RFC 4509 3, RFC 6840 5.2)",
        Signing(ds="unknown-digest"),
        INSECURE,
        domain_mx={"outcome": "insecure", "secure": False},
    ),
    zone(
        "rsa-zone",
        "algorithm 8",
        "measurement 7 row 11",
        Signing(algorithm=8),
        {**DANE, "sha1_only": False},
        domain_mx={"rrsig_algorithm": 8},
    ),
    zone(
        "sha1",
        "algorithm 5 (RSASHA1) alone",
        _SHA1,
        Signing(algorithm=5),
        {**DANE, "sha1_only": True},
        domain_mx={"rrsig_algorithm": 5, "sha1_only": True},
        mx={"sha1_only": True},
        host={"status": "pass", "sha1_only": True},
    ),
    zone(
        "sha1-nsec3",
        "algorithm 7 (RSASHA1-NSEC3-SHA1) with NSEC3, and no MX but the domain itself",
        _SHA1,
        Signing(algorithm=7, nsec3=Nsec3()),
        {**DANE, "sha1_only": True},
        domain_mx={"sha1_only": True},
        host={"status": "pass", "sha1_only": True},
    ),
    Scenario(
        name="sha1-host",
        what="algorithm 13, and a zone of algorithm 5 that its MX host is in",
        why=_SHA1,
        records=("@ MX 10 mx.{name}-mail.plain.",),
        zones={"@": Signing(), "{name}-mail.plain.": Signing(algorithm=5)},
        hosts=(Host(name="mx.{name}-mail.plain.", tlsa=EE),),
        verdict={**DANE, "sha1_only": True},
        domain_mx={"sha1_only": False},
        host_verdict={"mx.{name}-mail.plain.": {"status": "pass", "sha1_only": True}},
    ),
    Scenario(
        name="sha1-above",
        what="the MX host's zone is of algorithm 13, and below one of algorithm 5",
        why=_SHA1,
        records=("@ MX 10 mx.low.{name}-high.plain.",),
        zones={
            "@": Signing(),
            "{name}-high.plain.": Signing(algorithm=5),
            "low.{name}-high.plain.": Signing(),
        },
        hosts=(Host(name="mx.low.{name}-high.plain.", tlsa=EE),),
        verdict={**DANE, "sha1_only": True},
        domain_mx={"sha1_only": False},
        host_verdict={"mx.low.{name}-high.plain.": {"status": "pass", "sha1_only": True}},
    ),
    Scenario(
        name="sha1-alias",
        what="the MX name is a CNAME, in a zone of algorithm 5, to a host in one of 13",
        why=_SHA1,
        records=("@ MX 10 mx.{name}-alias.plain.", "mx.{name}-alias.plain. CNAME real"),
        zones={"@": Signing(), "{name}-alias.plain.": Signing(algorithm=5)},
        hosts=(Host(name="real", tlsa=EE),),
        verdict={**DANE, "sha1_only": True},
        mx_host={"mx.{name}-alias.plain.": {"tlsa_base": "real.sha1-alias.plain"}},
        host_verdict={"mx.{name}-alias.plain.": {"status": "pass", "sha1_only": True}},
    ),
)

_DENIAL = (
    zone(
        "serial-raised",
        "the serial was raised after signing: every denial fails; TLSA is there",
        "measurement 6: A and TLSA need no denial; 8: AAAA fails",
        Signing(faults=("serial-raised",)),
        DANE,
        mx={"aaaa_outcome": "bogus", "defects": has("address_family_failed")},
        host={"status": "pass", "dns_cause": "serial_raised_after_signing"},
    ),
    zone(
        "serial-raised-no-tlsa",
        "the serial was raised after signing; no TLSA",
        "measurement 6: the TLSA question failed, which is no denial (RFC 7672 2.1.2)",
        Signing(faults=("serial-raised",)),
        TLSA_FAILED,
        hosts=_WITHOUT,
        mx={"status": "tlsa_failed", "tlsa_outcome": "bogus"},
        host={**_FAILED_TLSA, "dns_cause": "serial_raised_after_signing"},
    ),
    Scenario(
        name="serial-raised-no-mx",
        what="the serial was raised after signing; no MX",
        why="measurement 3.1: the denial is bogus, so no implicit MX; 7 row 2",
        records=(),
        zones={"@": Signing(faults=("serial-raised",))},
        hosts=(Host(name="@", tlsa=EE),),
        verdict={**MX_FAILED, "dns_cause": "serial_raised_after_signing"},
        domain_mx={"outcome": "bogus", "secure": False},
    ),
    zone(
        "no-nsec",
        "signed, NSEC missing; no TLSA",
        "measurement 6: tlsa_failed",
        Signing(faults=("no-denial",)),
        TLSA_FAILED,
        hosts=_WITHOUT,
        mx={"status": "tlsa_failed", "tlsa_outcome": "bogus"},
        host={**_FAILED_TLSA, "dns_cause": "denial_missing"},
    ),
    zone(
        "no-nsec3",
        "signed, NSEC3 missing; no TLSA",
        "measurement 6: tlsa_failed",
        Signing(nsec3=Nsec3(), faults=("no-denial",)),
        TLSA_FAILED,
        hosts=_WITHOUT,
        mx={"status": "tlsa_failed", "tlsa_outcome": one_of("bogus", "servfail")},
        host={**_FAILED_TLSA, "dns_cause": "denial_missing"},
    ),
    zone(
        "nsec3",
        "NSEC3, no TLSA",
        "measurement 6: any denial",
        Signing(nsec3=Nsec3()),
        NO_TLSA,
        hosts=_WITHOUT,
        mx={"status": "absent", "tlsa_outcome": "nxdomain"},
        host=_ABSENT,
    ),
    zone(
        "nsec3-opt-out",
        "NSEC3 with opt-out, no TLSA",
        "measurement 2: an opt-out denial is not secure and not a failure",
        Signing(nsec3=Nsec3(opt_out=True)),
        NO_TLSA,
        hosts=_WITHOUT,
        mx={"status": "absent"},
        host=_ABSENT,
    ),
    zone(
        "nsec3-150-iterations",
        "NSEC3 with 150 iterations, no TLSA",
        "measurement 2: as many as the validator accepts; 8: nsec3_iterations",
        Signing(nsec3=Nsec3(iterations=150, salt=b"lab")),
        NO_TLSA,
        hosts=_WITHOUT,
        mx={"status": "absent", "nsec3_iterations": 150},
        host=_ABSENT | {"defects": has("nsec3_iterations")},
    ),
    zone(
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
        hosts=(Host(name="@", tlsa=EE),),
        verdict=INSECURE,
        domain_mx={"outcome": "nodata", "secure": False, "nsec3_iterations": 151},
    ),
    *(
        zone(
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
        zone(
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

SCENARIOS = (*_SIGNATURES, *_DENIAL)
