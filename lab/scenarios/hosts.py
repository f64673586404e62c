"""Scenarios about MX hosts: which, where, and how signed (measurement, sections 3, 6 and 7)."""

from lab.scenarios.scenario import (
    RIGHT,
    UNSIGNED,
    Behaviour,
    Chain,
    Host,
    Port,
    Scenario,
    Signing,
    has,
)
from lab.scenarios.verdicts import (
    ADDRESS_FAILED,
    BACKUP_BROKEN,
    BROKEN,
    DANE,
    INDETERMINATE,
    INSECURE,
    INSECURE_MX_HOST,
    NO_TLSA,
    PARTIAL,
    TLSA_FAILED,
    UNREACHABLE,
)
from lab.signer import DAY_S

_EE = ("3 1 1 leaf",)
_WRONG = ("3 1 1 stranger",)
_GOOD = Host(tlsa=_EE)
_TWO = ("@ MX 10 mx1", "@ MX 10 mx2")
_PRIMARY_AND_BACKUP = ("@ MX 10 mx1", "@ MX 20 mx2")
_EXPIRED = Signing(valid_s=(-30 * DAY_S, -3 * DAY_S))
_TLSA_SERVFAIL = Signing(servers=(Behaviour(action="servfail"),))

_SEVERAL = (
    Scenario(
        name="provider",
        what="a provider's own domain, two MX hosts",
        why="measurement 7 row 11",
        records=_TWO,
        hosts=(
            Host(name="mx1", tlsa=_EE),
            Host(name="mx2", tlsa=("3 1 1 leaf", "2 1 1 ca")),
        ),
        verdict=DANE,
        host_verdict={"mx1": {"status": "pass"}, "mx2": {"status": "pass"}},
    ),
    Scenario(
        name="hosted",
        what="a domain at a provider of another zone",
        why="measurement 7 row 11; the domain needs no TLSA of its own (RFC 7672 2.2)",
        tld="hashed",
        records=("@ MX 10 mx1.provider.plain.", "@ MX 20 mx2.provider.plain."),
        hosts=(),
        verdict={**DANE, "mx_operator": ["provider.plain"]},
    ),
    Scenario(
        name="one-of-two-broken",
        what="two MX of one preference, one with a wrong TLSA",
        why="measurement 7 row 5: any F, here at the lowest preference; deliverable: a P",
        records=_TWO,
        hosts=(Host(name="mx1", tlsa=_EE), Host(name="mx2", tlsa=_WRONG)),
        verdict={**BROKEN, "deliverable": True},
        host_verdict={"mx1": {"status": "pass"}, "mx2": {"status": "mismatch"}},
    ),
    Scenario(
        name="backup-broken",
        what="the backup MX has a wrong TLSA",
        why="measurement 7 row 5, level backup; dane_primary looks at the lowest preference only",
        records=_PRIMARY_AND_BACKUP,
        hosts=(Host(name="mx1", tlsa=_EE), Host(name="mx2", tlsa=_WRONG)),
        verdict=BACKUP_BROKEN,
        host_verdict={"mx1": {"status": "pass"}, "mx2": {"status": "mismatch"}},
    ),
    Scenario(
        name="primary-broken",
        what="the primary MX has a wrong TLSA, the backup none",
        why="measurement 7 row 5; deliverable null: an N",
        records=_PRIMARY_AND_BACKUP,
        hosts=(Host(name="mx1", tlsa=_WRONG), Host(name="mx2")),
        verdict={**BROKEN, "deliverable": None},
        host_verdict={"mx1": {"status": "mismatch"}, "mx2": {"status": "absent"}},
    ),
    Scenario(
        name="partial-backup",
        what="the primary MX has TLSA, the backup none",
        why="measurement 7 row 10; dane_primary: all of the lowest preference is P",
        records=_PRIMARY_AND_BACKUP,
        hosts=(Host(name="mx1", tlsa=_EE), Host(name="mx2")),
        verdict={**PARTIAL, "dane_primary": True},
        host_verdict={"mx1": {"status": "pass"}, "mx2": {"status": "absent"}},
    ),
    Scenario(
        name="partial-primary",
        what="the backup MX has TLSA, the primary none",
        why="measurement 7 row 10; dane_primary false: the lowest preference is N",
        records=_PRIMARY_AND_BACKUP,
        hosts=(Host(name="mx1"), Host(name="mx2", tlsa=_EE)),
        verdict=PARTIAL,
        host_verdict={"mx1": {"status": "absent"}, "mx2": {"status": "pass"}},
    ),
    Scenario(
        name="partial-unusable",
        what="one MX has TLSA, the other only unusable records",
        why="measurement 7 row 10: T without a usable record",
        records=_TWO,
        hosts=(Host(name="mx1", tlsa=_EE), Host(name="mx2", tlsa=("1 1 1 leaf",))),
        verdict=PARTIAL,
        host_verdict={"mx1": {"status": "pass"}, "mx2": {"status": "unusable"}},
    ),
    Scenario(
        name="partial-insecure",
        what="one MX has TLSA, the other is in an unsigned zone",
        why="measurement 7 row 10: some host usable, another N",
        records=("@ MX 10 mx1", "@ MX 20 mx.{name}-host.plain."),
        hosts=(Host(name="mx1", tlsa=_EE), Host(name="mx.{name}-host.plain.")),
        zones={"@": RIGHT, "{name}-host.plain.": UNSIGNED},
        verdict={**PARTIAL, "dane_primary": True},
        host_verdict={"mx1": {"status": "pass"}, "mx.{name}-host.plain.": {"status": "insecure"}},
    ),
    Scenario(
        name="nolisting",
        what="the primary MX never listens, the backup is right",
        why="measurement 7 row 11: all hosts T and usable, one P; "
        "dane_primary: none of the lowest preference is P",
        records=_PRIMARY_AND_BACKUP,
        hosts=(Host(name="mx1", tlsa=_EE, port=Port.CLOSED), Host(name="mx2", tlsa=_EE)),
        verdict={**DANE, "dane_primary": False},
        host_verdict={"mx1": {"status": "unreachable"}, "mx2": {"status": "pass"}},
    ),
    Scenario(
        name="all-down",
        what="TLSA is there, nothing listens on port 25",
        why="measurement 6 and 7 row 12: TCP connect fails, only Q",
        hosts=(Host(tlsa=_EE, port=Port.CLOSED),),
        verdict=UNREACHABLE,
        host_verdict={"mx": {"status": "unreachable", "class": "Q", "usable": True}},
    ),
    Scenario(
        name="dead-address",
        what="TLSA is there, connecting times out",
        why="measurement 6: TCP connect fails (time-out)",
        hosts=(Host(tlsa=_EE, port=Port.DEAD),),
        verdict=UNREACHABLE,
        host_verdict={"mx": {"status": "unreachable", "class": "Q"}},
    ),
    Scenario(
        name="name-a-customer",
        what="MX names of this customer's own, all on one address of the provider",
        why="measurement 4: per-tenant names on shared addresses are sampled",
        records=tuple(f"@ MX {n}0 customer-{n}.mx" for n in range(1, 4)),
        hosts=(
            Host(
                name="customer-1.mx", tlsa=_EE, chain=Chain(names=("*.mx.name-a-customer.plain",))
            ),
            *(Host(name=f"customer-{n}.mx", tlsa=_EE, same_as="customer-1.mx") for n in (2, 3)),
        ),
        verdict=DANE,
        host_verdict={f"customer-{n}.mx": {"status": "pass"} for n in range(1, 4)},
    ),
    Scenario(
        name="three-hundred-mx",
        what="300 MX of one preference, all at one wildcard",
        why="measurement 3.6: at most 32 hosts; beyond, excess: X, so row 7",
        records=tuple(f"@ MX 10 h{n:03}" for n in range(300)),
        hosts=(
            Host(
                name="*",
                tlsa=_EE,
                tlsa_at="*",
                chain=Chain(names=("*.three-hundred-mx.plain",)),
            ),
        ),
        verdict={**INDETERMINATE, "deliverable": True},
        domain_mx={"outcome": "secure", "mx_total": 300},
        host_verdict={"h000": {"status": "pass"}, "h031": {"status": "pass"}},
    ),
    Scenario(
        name="one-address-broken",
        what="two addresses, the server at one has another key",
        why="measurement 6: F anywhere wins; 8: divergent",
        hosts=(_GOOD, Host(chain=Chain(key="ecdsa-other"))),
        verdict=BROKEN,
        host_verdict={"mx": {"status": "mismatch", "defects": has("divergent")}},
    ),
    Scenario(
        name="one-address-down",
        what="two addresses, nothing listens at one",
        why="measurement 6: the host takes the first line that any address has, pass before Q",
        hosts=(_GOOD, Host(port=Port.CLOSED)),
        verdict=DANE,
        host_verdict={"mx": {"status": "pass"}},
    ),
)

_SIGNING = (
    Scenario(
        name="no-tlsa",
        what="signed, MX host without TLSA",
        why="measurement 7 row 8: all hosts N, not all insecure",
        verdict=NO_TLSA,
        mx_host={"mx": {"status": "absent", "tlsa": []}},
        host_verdict={"mx": {"status": "absent", "class": "N", "usable": False}},
    ),
    Scenario(
        name="unsigned-domain",
        what="no DS: a zone scan leaves it out",
        why="design 2: signed delegations are surveyed; measurement 3.1: MX not secure",
        zones={"@": UNSIGNED},
        hosts=(_GOOD,),
        surveyed=False,
        verdict=INSECURE,
    ),
    Scenario(
        name="unsigned-provider",
        what="signed domain, MX host in an unsigned zone that publishes TLSA all the same",
        why="measurement 3.2: no secure address, so TLSA is not asked (RFC 7672 2.2.2)",
        records=("@ MX 10 mx.{name}-host.plain.",),
        zones={"@": RIGHT, "{name}-host.plain.": UNSIGNED},
        hosts=(Host(name="mx.{name}-host.plain.", tlsa=_EE),),
        verdict=INSECURE_MX_HOST,
        mx_host={
            "mx.{name}-host.plain.": {
                "status": "insecure",
                "a_outcome": "insecure",
                "tlsa_outcome": None,
                "tlsa": [],
            }
        },
        host_verdict={"mx.{name}-host.plain.": {"status": "insecure", "class": "N"}},
    ),
    Scenario(
        name="unsigned-provider-opt-out",
        what="MX host in an unsigned zone below an opt-out span",
        why="measurement 2: opt-out denial of DS is not secure and not a failure (RFC 5155 6)",
        records=("@ MX 10 mx.{name}-host.hashed.",),
        zones={"@": RIGHT, "{name}-host.hashed.": UNSIGNED},
        hosts=(Host(name="mx.{name}-host.hashed.", tlsa=_EE),),
        verdict=INSECURE_MX_HOST,
        host_verdict={"mx.{name}-host.hashed.": {"status": "insecure"}},
    ),
    Scenario(
        name="tlsa-unsigned-zone",
        what="_tcp below the MX host is delegated to an unsigned zone",
        why="measurement 6: absent, TLSA there but not secure: tlsa_insecure",
        zones={"@": RIGHT, "_tcp.mx": UNSIGNED},
        hosts=(_GOOD,),
        verdict=NO_TLSA,
        mx_host={"mx": {"status": "absent", "tlsa_outcome": "insecure"}},
        host_verdict={"mx": {"status": "absent", "defects": has("tlsa_insecure")}},
    ),
    Scenario(
        name="mx-host-bogus",
        what="the MX host's zone has only expired signatures",
        why="measurement 6: address_failed; 7 row 6: all hosts A",
        records=("@ MX 10 mx.{name}-host.plain.",),
        zones={"@": RIGHT, "{name}-host.plain.": _EXPIRED},
        hosts=(Host(name="mx.{name}-host.plain.", tlsa=_EE),),
        verdict=ADDRESS_FAILED,
        mx_host={"mx.{name}-host.plain.": {"status": "address_failed", "a_outcome": "bogus"}},
    ),
    Scenario(
        name="mx-host-bogus-beside-good",
        what="one MX host's zone is bogus, the other host is right",
        why="measurement 7 row 6: from there on A hosts are ignored; dane_primary allows A",
        records=("@ MX 10 mx", "@ MX 10 mx.{name}-host.plain."),
        zones={"@": RIGHT, "{name}-host.plain.": _EXPIRED},
        hosts=(_GOOD, Host(name="mx.{name}-host.plain.", tlsa=_EE)),
        verdict=DANE,
        host_verdict={
            "mx": {"status": "pass"},
            "mx.{name}-host.plain.": {"status": "address_failed"},
        },
    ),
    Scenario(
        name="tlsa-failed-beside-good",
        what="one MX host's TLSA lookup fails, the other host is right",
        why="measurement 7 row 6: any L; deliverable: a P",
        records=("@ MX 10 mx", "@ MX 10 mx.{name}-host.plain."),
        zones={"@": RIGHT, "{name}-host.plain.": _TLSA_SERVFAIL},
        hosts=(_GOOD, Host(name="mx.{name}-host.plain.", tlsa=_EE)),
        verdict={**TLSA_FAILED, "deliverable": True},
        host_verdict={"mx": {"status": "pass"}, "mx.{name}-host.plain.": {"status": "tlsa_failed"}},
    ),
    Scenario(
        name="broken-and-failed",
        what="one MX host is broken, the other's TLSA lookup fails",
        why="measurement 7: row 5 comes before row 6",
        records=("@ MX 10 mx", "@ MX 10 mx.{name}-host.plain."),
        zones={"@": RIGHT, "{name}-host.plain.": _TLSA_SERVFAIL},
        hosts=(Host(tlsa=_WRONG), Host(name="mx.{name}-host.plain.", tlsa=_EE)),
        verdict=BROKEN,
        host_verdict={
            "mx": {"status": "mismatch"},
            "mx.{name}-host.plain.": {"status": "tlsa_failed"},
        },
    ),
)

SCENARIOS = (*_SEVERAL, *_SIGNING)
