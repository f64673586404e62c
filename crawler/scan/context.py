"""What a scan is given beside its rows: one typed value, made by who starts the scan.

The coordinator makes one for each stage and pickles it to the workers; `check` makes its own.
mypy finds a field that is misspelt, where a dictionary of options would fail in a worker.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

import pyarrow as pa

from crawler.dns.client import Resolvers
from crawler.dns.settings import CanarySettings, ClientSettings
from crawler.smtp.settings import ProbeSettings
from dane import clock

Family = Literal[4, 6]


class LookupKind(StrEnum):
    """Which lookups a shard holds: never two kinds, for their time limits differ."""

    FIRST = "first"
    LATER = "later"
    LAST = "last"  # waits as long as a resolver may need to give up


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanContext:
    """Immutable, and the same for all rows of a shard.

    schemas              of the tables that the scan fills, in the order of its results
    resolvers            none (`Resolvers(first=())`): a probe asks nothing again
    client, probe        this scan's share of the questions and connections a second
    canaries             None: nothing is confirmed, for a person who waits at the terminal
    operator_merges      registrable domain -> operator
    at                   when certificates must be valid; None: at the connection
    usual_failing_share  of the first lookups of the last run
    families             that this machine has; addresses of another are not probed
    lab_networks         addresses of name servers that may be asked though they are not public
    days_ahead           of real time, where the context is made
    """

    run_id: int
    schemas: tuple[pa.Schema, ...]
    resolvers: Resolvers
    client: ClientSettings
    canaries: CanarySettings | None
    probe: ProbeSettings
    operator_merges: Mapping[str, str] = field(default_factory=dict)
    at: datetime | None = None
    lookup: LookupKind = LookupKind.FIRST
    usual_failing_share: float = 0.0
    families: frozenset[Family] = frozenset({4, 6})
    lab_networks: tuple[str, ...] = ()
    days_ahead: float = field(default_factory=clock.days_ahead)

    @property
    def last_lookup(self) -> bool:
        """Whether what fails or stays unanswered now is believed."""
        return self.lookup is LookupKind.LAST

    @property
    def try_s(self) -> float:
        """How long one question waits for its answer."""
        return self.client.last_try_s if self.last_lookup else self.client.try_s
