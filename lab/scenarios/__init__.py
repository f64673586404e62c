"""The catalogue of the lab: every way to be right or broken, as data."""

from lab.scenarios import (
    addresses,
    aliases,
    certificates,
    dnssec,
    exchanges,
    hosts,
    mismatches,
    servers,
    smtp,
)
from lab.scenarios.scenario import Scenario

CATALOGUE: tuple[Scenario, ...] = (
    *certificates.SCENARIOS,
    *mismatches.SCENARIOS,
    *hosts.SCENARIOS,
    *exchanges.SCENARIOS,
    *aliases.SCENARIOS,
    *addresses.SCENARIOS,
    *smtp.SCENARIOS,
    *dnssec.SCENARIOS,
    *servers.SCENARIOS,
)
"""All scenarios, in the order in which `danesurvey lab list` shows them."""
