"""Scenarios about DNSSEC and name servers (measurement, sections 2 and 3)."""

from lab.scenarios.scenario import Behaviour, Host, Scenario, Signing
from lab.scenarios.verdicts import MX_FAILED, TLSA_FAILED
from lab.signer import DAY_S

SCENARIOS = (
    Scenario(
        name="expired",
        what="every signature expired three days ago",
        why="measurement 2: bogus at the MX question; 1: beyond the skew of 24 h",
        zones={"@": Signing(valid_s=(-30 * DAY_S, -3 * DAY_S))},
        hosts=(Host(tlsa=("3 1 1 leaf",)),),
        verdict=MX_FAILED,
        domain_mx={"outcome": "bogus", "secure": False},
    ),
    Scenario(
        name="tlsa-dropped",
        what="the name server never answers TLSA questions",
        why="measurement 6 (tlsa_failed) and 7 row 6 (RFC 7672 2.1.2)",
        zones={"@": Signing(servers=(Behaviour(action="drop"),))},
        hosts=(Host(tlsa=("3 1 1 leaf",)),),
        verdict=TLSA_FAILED,
        mx_host={"mx": {"status": "tlsa_failed", "tlsa_outcome": "servfail"}},
        host_verdict={"mx": {"status": "tlsa_failed", "class": "L"}},
    ),
)
