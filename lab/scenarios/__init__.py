"""The catalogue of the lab: every way to be right or broken, as data."""

from lab.scenarios import certificates, dns, hosts, smtp
from lab.scenarios.scenario import Scenario

CATALOGUE: tuple[Scenario, ...] = (
    *certificates.SCENARIOS,
    *hosts.SCENARIOS,
    *smtp.SCENARIOS,
    *dns.SCENARIOS,
)
"""All scenarios, in the order in which `danesurvey lab list` shows them."""
