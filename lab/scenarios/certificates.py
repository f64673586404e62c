"""Scenarios about certificates and TLSA records (measurement, sections 5, 6 and 8)."""

from lab.scenarios.scenario import Host, Scenario
from lab.scenarios.verdicts import BROKEN, DANE

SCENARIOS = (
    Scenario(
        name="ee-spki",
        what="3 1 1 of the leaf's key",
        why="measurement 5.4: EE(3) matches the key, no name, no date (RFC 7671 5.1)",
        hosts=(Host(tlsa=("3 1 1 leaf",)),),
        verdict=DANE,
        mx_host={"mx": {"tlsa_outcome": "secure", "tlsa_usable": 1, "a_outcome": "secure"}},
        host_verdict={"mx": {"status": "pass", "class": "P", "usable": True}},
    ),
    Scenario(
        name="ta-spki",
        what="2 1 1 of the authority's key, authority sent, name right",
        why="measurement 5.4: TA(2), digest anchor in the presented chain (RFC 7671 5.2)",
        tld="hashed",
        hosts=(Host(tlsa=("2 1 1 ca",)),),
        verdict=DANE,
        host_verdict={"mx": {"status": "pass", "class": "P", "usable": True}},
    ),
    Scenario(
        name="ee-stranger",
        what="3 1 1 of a key that the server does not have",
        why="measurement 6: a usable record, a handshake, no match",
        hosts=(Host(tlsa=("3 1 1 stranger",)),),
        verdict=BROKEN,
        host_verdict={"mx": {"status": "mismatch", "class": "F", "causes": ["unknown"]}},
    ),
)
