"""Scenarios about MX hosts: which, where, and how signed (measurement, sections 3 and 7)."""

from lab.scenarios.scenario import UNSIGNED, Host, Scenario, Signing
from lab.scenarios.verdicts import (
    DANE,
    INSECURE,
    INSECURE_MX_HOST,
    NO_TLSA,
    NULL_MX,
    UNREACHABLE,
)

SCENARIOS = (
    Scenario(
        name="provider",
        what="a provider's own domain, two MX hosts",
        why="measurement 7 row 11",
        records=("@ MX 10 mx1", "@ MX 10 mx2"),
        hosts=(
            Host(name="mx1", tlsa=("3 1 1 leaf",)),
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
        verdict=DANE,
    ),
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
        hosts=(Host(tlsa=("3 1 1 leaf",)),),
        surveyed=False,
        verdict=INSECURE,
    ),
    Scenario(
        name="unsigned-provider",
        what="signed domain, MX host in an unsigned zone that publishes TLSA all the same",
        why="measurement 3.2: no secure address, so TLSA is not asked (RFC 7672 2.2.2)",
        records=("@ MX 10 mx.{name}-host.plain.",),
        zones={"@": Signing(), "{name}-host.plain.": UNSIGNED},
        hosts=(Host(name="mx.{name}-host.plain.", tlsa=("3 1 1 leaf",)),),
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
        name="implicit-mx",
        what="no MX, the domain's own address takes its mail",
        why="measurement 3.1: secure NODATA is implicit MX (RFC 5321 5.1)",
        records=(),
        hosts=(Host(name="@", tlsa=("3 1 1 leaf",)),),
        verdict=DANE,
        domain_mx={
            "outcome": "nodata",
            "secure": True,
            "mx_host": ["implicit-mx.plain"],
            "mx_preference": [0],
        },
        host_verdict={"@": {"status": "pass", "class": "P"}},
    ),
    Scenario(
        name="null-mx",
        what="MX 0 . alone",
        why="measurement 3.1: no mail (RFC 7505)",
        tld="hashed",
        records=("@ MX 0 .",),
        hosts=(),
        verdict=NULL_MX,
        domain_mx={"outcome": "secure", "secure": True},
    ),
    Scenario(
        name="all-down",
        what="TLSA is there, nothing listens on port 25",
        why="measurement 6 and 7 row 12: TCP connect fails, only Q",
        hosts=(Host(tlsa=("3 1 1 leaf",), listens=False),),
        verdict=UNREACHABLE,
        host_verdict={"mx": {"status": "unreachable", "class": "Q", "usable": True}},
    ),
)
