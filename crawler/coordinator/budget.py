"""What one operator, one network and one domain may cost a run in connections.

A stranger chooses how many MX hosts and addresses a domain has. What is beyond the budget is
`unprobed`, with the reason: never a wrong word. Later attempts are within the budget of the
first one.
"""

import zlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

from crawler.smtp.etiquette import network
from crawler.smtp.settings import ProbeSettings


class Budget:
    """The targets of a run so far. Grows with the operators and networks of a run."""

    def __init__(self, settings: ProbeSettings) -> None:
        self._settings = settings
        self._operators: Counter[str] = Counter()
        self._networks: Counter[str] = Counter()

    def order(self, host: Mapping[str, Any]) -> list[str]:
        """The addresses of an MX host, in an order that nobody chooses."""
        return sorted(
            host["addresses"], key=lambda one: zlib.crc32(f"{host['host']} {one}".encode())
        )

    def refusal(self, row: Mapping[str, Any], number: int, hosts: int) -> str | None:
        """Why a target is beyond the budget, if it is.

        number   of the address among those of its MX host, from 0
        hosts    of the domains that want it, how many MX hosts the one with the fewest has
        """
        settings = self._settings
        of_domain = max(1, settings.most_per_domain // max(1, hosts))
        if number >= of_domain:
            return f"more than {settings.most_per_domain} addresses for the mail of one domain"
        if self._operators[row["operator"]] >= settings.most_per_operator:
            return f"more than {settings.most_per_operator} targets of one operator in a run"
        if self._networks[network(row["address"])] >= settings.most_per_network:
            return f"more than {settings.most_per_network} targets in one network in a run"
        return None

    def spend(self, row: Mapping[str, Any], targets: int = 1) -> None:
        """So many targets of the row's operator, in the network of its address."""
        self._operators[row["operator"]] += targets
        self._networks[network(row["address"])] += targets
