"""Scenarios about MX hosts and TLSA RRsets that are aliases (measurement, section 3.3)."""

from lab.scenarios.scenario import (
    EE,
    GOOD,
    RIGHT,
    UNSIGNED,
    WRONG,
    Behaviour,
    Host,
    Port,
    Scenario,
    Signing,
    has,
    lacks,
    one_of,
)
from lab.scenarios.verdicts import (
    ADDRESS_FAILED,
    BROKEN,
    DANE,
    INDETERMINATE,
    NO_TLSA,
    TLSA_FAILED,
)
from lab.signer import DAY_S

_TLSA_SERVFAIL = Signing(servers=(Behaviour(action="servfail"),))

_TLSA_NOTIMP = Signing(servers=(Behaviour(action="notimp"),))
_ADDRESS_NOTIMP = Signing(servers=(Behaviour(action="notimp", types=("A", "AAAA")),))


def _at_fault(zone: str, name: str) -> dict[str, object]:
    """Columns of a verdict: TLSA is blocked at a name of a zone."""
    return {
        "status": "tlsa_failed",
        "class": "L",
        "dns_cause": "type_blocked",
        "failed_zone": zone,
        "failed_name": f"{name}.{zone}",
    }


def _into_a_zone_at_fault(name: str, what: str, records: tuple[str, ...]) -> Scenario:
    """TLSA leads into a zone that answers NOTIMP to it."""
    return Scenario(
        name=name,
        what=what,
        why="measurement 2: the zone at fault is where the chain fails; 6: tlsa_failed",
        records=("@ MX 10 mx", *records),
        zones={"@": RIGHT, "{name}-keys.plain.": _TLSA_NOTIMP},
        hosts=(Host(tlsa=EE, tlsa_at="_25.{name}-keys.plain."),),
        verdict=TLSA_FAILED,
        mx_host={"mx": {"status": "tlsa_failed", "tlsa_outcome": "servfail"}},
        host_verdict={"mx": _at_fault(f"{name}-keys.plain", "_25")},
    )


_INTO = (
    (
        "tlsa-alias-into-notimp",
        "_25._tcp is a CNAME into a zone that answers NOTIMP to TLSA",
        ("_25._tcp.mx CNAME _25.{name}-keys.plain.",),
    ),
    (
        "tlsa-dname-into-notimp",
        "_tcp is a DNAME into a zone that answers NOTIMP to TLSA",
        ("_tcp.mx DNAME {name}-keys.plain.",),
    ),
    (
        "tlsa-wildcard-into-notimp",
        "_25._tcp is a wildcard's CNAME into a zone that answers NOTIMP to TLSA",
        ("\\042._tcp.mx CNAME _25.{name}-keys.plain.",),
    ),
)

SCENARIOS = (
    Scenario(
        name="alias",
        what="the MX name is a CNAME, all secure, TLSA at the target",
        why="measurement 3.3: the expanded name first (RFC 7672 2.2.3); 8: mx_alias",
        records=("@ MX 10 mx", "mx CNAME real"),
        hosts=(Host(name="real", tlsa=EE),),
        verdict=DANE,
        mx_host={
            "mx": {
                "cname_chain": ["real.alias.plain"],
                "cname_secure": True,
                "tlsa_base": "real.alias.plain",
                "defects": has("mx_alias"),
            }
        },
        host_verdict={"mx": {"status": "pass"}},
    ),
    Scenario(
        name="alias-tlsa-at-both",
        what="CNAME, a right TLSA at the target and a wrong one at the MX name",
        why="measurement 3.3: the expanded name first",
        records=("@ MX 10 mx", "mx CNAME real"),
        hosts=(
            Host(name="real", tlsa=EE),
            Host(name="mx", tlsa=WRONG, addresses=(), port=Port.CLOSED),
        ),
        verdict=DANE,
        mx_host={"mx": {"tlsa_base": "real.alias-tlsa-at-both.plain"}},
    ),
    Scenario(
        name="alias-tlsa-wrong-at-target",
        what="CNAME, a wrong TLSA at the target and a right one at the MX name",
        why="measurement 3.3: the first candidate with a secure TLSA RRset is the base",
        records=("@ MX 10 mx", "mx CNAME real"),
        hosts=(
            Host(name="real", tlsa=WRONG),
            Host(name="spare", tlsa=EE, tlsa_at="_25._tcp.mx", same_as="real"),
        ),
        verdict=BROKEN,
        mx_host={"mx": {"tlsa_base": "real.alias-tlsa-wrong-at-target.plain"}},
        host_verdict={"mx": {"status": "mismatch"}},
    ),
    Scenario(
        name="alias-tlsa-at-original",
        what="CNAME, TLSA only at the MX name",
        why="measurement 3.3: then the original name",
        records=("@ MX 10 mx", "mx CNAME real"),
        hosts=(
            Host(name="real"),
            Host(name="spare", tlsa=EE, tlsa_at="_25._tcp.mx", same_as="real"),
        ),
        verdict=DANE,
        mx_host={"mx": {"tlsa_base": "mx.alias-tlsa-at-original.plain"}},
        host_verdict={"mx": {"status": "pass"}},
    ),
    Scenario(
        name="alias-tlsa-insecure-at-target",
        what="CNAME, an unsigned TLSA at the target and a right one at the MX name",
        why="measurement 3.3: an insecure TLSA RRset is no error, the original name is next "
        "(RFC 7672 2.2.2)",
        records=("@ MX 10 mx", "mx CNAME real"),
        zones={"@": RIGHT, "_tcp.real": UNSIGNED},
        hosts=(
            Host(name="real", tlsa=WRONG),
            Host(name="spare", tlsa=EE, tlsa_at="_25._tcp.mx", same_as="real"),
        ),
        verdict=DANE,
        mx_host={
            "mx": {
                "tlsa_outcome": "secure",
                "tlsa_base": "mx.alias-tlsa-insecure-at-target.plain",
            }
        },
        host_verdict={"mx": {"status": "pass"}},
    ),
    Scenario(
        name="alias-insecure-target",
        what="secure CNAME to a host in an unsigned zone, TLSA at the MX name",
        why="measurement 3.3: insecure target with secure first CNAME: original only "
        "(RFC 7672 2.2.2)",
        records=("@ MX 10 mx", "mx CNAME real.{name}-host.plain."),
        zones={"@": RIGHT, "{name}-host.plain.": UNSIGNED},
        hosts=(
            Host(name="real.{name}-host.plain.", tlsa=WRONG),
            Host(name="spare", tlsa=EE, tlsa_at="_25._tcp.mx", same_as="real.{name}-host.plain."),
        ),
        verdict=DANE,
        mx_host={
            "mx": {
                "a_secure": False,
                "first_cname_secure": True,
                "tlsa_base": "mx.alias-insecure-target.plain",
            }
        },
        host_verdict={"mx": {"status": "pass"}},
    ),
    Scenario(
        name="alias-insecure-target-no-tlsa",
        what="secure CNAME to a host in an unsigned zone, no TLSA at the MX name",
        why="measurement 6: not `insecure`, for its first CNAME is secure: absent",
        records=("@ MX 10 mx", "mx CNAME real.{name}-host.plain."),
        zones={"@": RIGHT, "{name}-host.plain.": UNSIGNED},
        hosts=(Host(name="real.{name}-host.plain.", tlsa=EE),),
        verdict=NO_TLSA,
        mx_host={"mx": {"status": "absent"}},
    ),
    Scenario(
        name="alias-to-provider",
        what="CNAME to a provider's host in another signed zone",
        why="measurement 3.3",
        records=("@ MX 10 mx", "mx CNAME mx1.provider.plain."),
        hosts=(),
        verdict=DANE,
        mx_host={"mx": {"tlsa_base": "mx1.provider.plain"}},
    ),
    Scenario(
        name="alias-error-at-target",
        what="CNAME, the TLSA lookup at the target fails, a right TLSA at the MX name",
        why="measurement 3.3: an error at the expanded name ends it (RFC 7672 2.2.2)",
        records=("@ MX 10 mx", "mx CNAME real.{name}-host.plain."),
        zones={"@": RIGHT, "{name}-host.plain.": _TLSA_SERVFAIL},
        hosts=(
            Host(name="real.{name}-host.plain.", tlsa=EE),
            Host(name="spare", tlsa=EE, tlsa_at="_25._tcp.mx", same_as="real.{name}-host.plain."),
        ),
        verdict=TLSA_FAILED,
        mx_host={"mx": {"status": "tlsa_failed", "tlsa_outcome": "servfail"}},
        host_verdict={"mx": _at_fault("alias-error-at-target-host.plain", "_25._tcp.real")},
    ),
    *(_into_a_zone_at_fault(name, what, records) for name, what, records in _INTO),
    Scenario(
        name="alias-host-into-notimp",
        what="the MX name is a wildcard's alias, and so is its TLSA name, into a zone that "
        "answers NOTIMP to TLSA",
        why="measurement 2: the zone at fault is where the chain fails",
        records=("@ MX 10 mx", "\\042 CNAME real.{name}-host.plain."),
        zones={"@": RIGHT, "{name}-host.plain.": _TLSA_NOTIMP},
        hosts=(Host(name="real.{name}-host.plain.", tlsa=EE),),
        verdict=TLSA_FAILED,
        mx_host={"mx": {"status": "tlsa_failed", "tlsa_outcome": "servfail"}},
        host_verdict={"mx": _at_fault("alias-host-into-notimp-host.plain", "_25._tcp.real")},
    ),
    Scenario(
        name="alias-address-fails",
        what="the MX name is a CNAME into a zone that answers NOTIMP to A and AAAA",
        why="measurement 2: the zone at fault is where the chain fails; 6: address_failed",
        records=("@ MX 10 mx", "mx CNAME real.{name}-host.plain."),
        zones={"@": RIGHT, "{name}-host.plain.": _ADDRESS_NOTIMP},
        hosts=(Host(name="real.{name}-host.plain.", tlsa=EE),),
        verdict=ADDRESS_FAILED,
        mx_host={"mx": {"status": "address_failed"}},
        host_verdict={
            "mx": {
                "dns_cause": "type_blocked",
                "failed_zone": "alias-address-fails-host.plain",
                "failed_name": "real.alias-address-fails-host.plain",
            }
        },
    ),
    Scenario(
        name="parent-at-fault",
        what="the host's own zone is right, and the zone above it has expired",
        why="measurement 2: a zone above that does not delegate rightly is the zone at fault",
        records=("@ MX 10 mx.low.{name}-high.plain.",),
        zones={
            "@": RIGHT,
            "{name}-high.plain.": Signing(valid_s=(-30 * DAY_S, -3 * DAY_S)),
            "low.{name}-high.plain.": RIGHT,
        },
        hosts=(Host(name="mx.low.{name}-high.plain.", tlsa=EE),),
        verdict=ADDRESS_FAILED,
        mx_host={"mx.low.{name}-high.plain.": {"status": "address_failed"}},
        host_verdict={
            "mx.low.{name}-high.plain.": {
                "dns_cause": "signature_expired",
                "failed_zone": "parent-at-fault-high.plain",
            }
        },
    ),
    Scenario(
        name="alias-loop",
        what="two CNAMEs that point at each other",
        why="measurement 2: a loop reaches us as SERVFAIL; 6: address_failed",
        records=("@ MX 10 mx", "mx CNAME other", "other CNAME mx"),
        hosts=(),
        verdict=ADDRESS_FAILED,
        mx_host={"mx": {"status": "address_failed"}},
        host_verdict={"mx": {"dns_cause": "cname_loop"}},
    ),
    Scenario(
        name="alias-loop-across",
        what="two CNAMEs in two zones that point at each other",
        why="measurement 2: cname_loop, within a zone or across zones",
        records=("@ MX 10 mx", "mx CNAME other.{name}-b.plain.", "other.{name}-b.plain. CNAME mx"),
        zones={
            "@": Signing(servers=(GOOD,)),
            "{name}-b.plain.": Signing(servers=(GOOD,)),
        },
        hosts=(),
        verdict=ADDRESS_FAILED,
        mx_host={"mx": {"status": "address_failed"}},
        host_verdict={"mx": {"dns_cause": "cname_loop"}},
    ),
    Scenario(
        name="alias-chain-long",
        what="a chain of 30 CNAMEs across two zones",
        why="measurement 2: all servers are right, and no resolver follows it: validator_limit, "
        "which is X",
        records=(
            "@ MX 10 mx",
            "mx CNAME c1.{name}-other.plain.",
            *(
                f"c{n}{'' if n % 2 == 0 else '.{name}-other.plain.'} CNAME "
                f"c{n + 1}{'' if n % 2 == 1 else '.{name}-other.plain.'}"
                for n in range(1, 29)
            ),
            "c29.{name}-other.plain. CNAME real",
        ),
        zones={"@": RIGHT, "{name}-other.plain.": RIGHT},
        hosts=(Host(name="real", tlsa=EE),),
        verdict=INDETERMINATE,
        mx_host={"mx": {"status": "address_failed"}},
        host_verdict={
            "mx": {"status": "local_error", "class": "X", "dns_cause": "validator_limit"}
        },
    ),
    Scenario(
        name="alias-chain",
        what="a chain of 14 CNAMEs across two zones",
        why="measurement 2 and 6: a resolver gives up (Unbound after 11 restarts) or resolves it",
        records=(
            "@ MX 10 mx",
            "mx CNAME c1.{name}-other.plain.",
            *(
                f"c{n}{'' if n % 2 == 0 else '.{name}-other.plain.'} CNAME "
                f"c{n + 1}{'' if n % 2 == 1 else '.{name}-other.plain.'}"
                for n in range(1, 13)
            ),
            "c13.{name}-other.plain. CNAME real",
        ),
        zones={"@": RIGHT, "{name}-other.plain.": RIGHT},
        hosts=(Host(name="real", tlsa=EE),),
        verdict={"status": one_of("lookup_failed", "dane")},
        mx_host={"mx": {"status": one_of("address_failed", None)}},
    ),
    Scenario(
        name="tlsa-alias",
        what="_25._tcp is a CNAME to a TLSA RRset in another zone",
        why="measurement 3.3: a CNAME at _25._tcp does not change the base (RFC 7672 2.2.3)",
        records=("@ MX 10 mx", "_25._tcp.mx CNAME tlsa.{name}-keys.plain."),
        zones={"@": RIGHT, "{name}-keys.plain.": RIGHT},
        hosts=(Host(tlsa=EE, tlsa_at="tlsa.{name}-keys.plain."),),
        verdict=DANE,
        mx_host={"mx": {"tlsa_base": "mx.tlsa-alias.plain", "tlsa_outcome": "secure"}},
    ),
    Scenario(
        name="tlsa-alias-unsigned",
        what="_25._tcp is a CNAME to a TLSA RRset in an unsigned zone",
        why="measurement 6: absent, defect tlsa_insecure",
        records=("@ MX 10 mx", "_25._tcp.mx CNAME tlsa.{name}-keys.plain."),
        zones={"@": RIGHT, "{name}-keys.plain.": UNSIGNED},
        hosts=(Host(tlsa=EE, tlsa_at="tlsa.{name}-keys.plain."),),
        verdict=NO_TLSA,
        mx_host={"mx": {"status": "absent"}},
        host_verdict={"mx": {"defects": has("tlsa_insecure")}},
    ),
    Scenario(
        name="tlsa-alias-dangling",
        what="_25._tcp is a CNAME to a name without TLSA records in another signed zone",
        why="measurement 6 and 8: absent (a validated denial), tlsa_alias_dangling",
        records=("@ MX 10 mx", "_25._tcp.mx CNAME tlsa.{name}-keys.plain."),
        zones={"@": RIGHT, "{name}-keys.plain.": RIGHT},
        verdict=NO_TLSA,
        mx_host={"mx": {"status": "absent", "tlsa_outcome": "nxdomain"}},
        host_verdict={"mx": {"defects": has("tlsa_alias_dangling")}},
    ),
    Scenario(
        name="tlsa-name-by-wildcard-alias",
        what="a wildcard CNAME below the MX host covers _25._tcp and leads to a name without TLSA",
        why="measurement 8: nobody made that alias for TLSA (RFC 4592 3.3.1)",
        records=("@ MX 10 mx", "*.mx CNAME web", "web TXT page"),
        verdict=NO_TLSA,
        mx_host={"mx": {"status": "absent", "tlsa_outcome": "nodata"}},
        host_verdict={"mx": {"defects": lacks("tlsa_alias_dangling")}},
    ),
)
