"""Scenarios about SMTP and STARTTLS (measurement, section 6)."""

from lab.scenarios.scenario import Host, Scenario, Session
from lab.scenarios.verdicts import BROKEN

_PLAIN = Session(ehlo="250-{host}\n250 8BITMIME")

SCENARIOS = (
    Scenario(
        name="no-starttls",
        what="EHLO works and does not offer STARTTLS",
        why="measurement 6: complete 2xx EHLO without STARTTLS (RFC 7672 2.2: TLS is mandatory)",
        hosts=(Host(tlsa=("3 1 1 leaf",), session=_PLAIN),),
        verdict=BROKEN,
        host_verdict={"mx": {"status": "no_starttls", "class": "F", "usable": True}},
    ),
)
