"""What a lab is made of, and the plan that comes of it.

Kept beside the lab's files as `contents.json`, so that another process can build the same
again: scenarios by their names, a zone file by its path.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dane.faults import Refused
from lab import delegations, population, truth
from lab.plan import Builder, Plan
from lab.scenarios import CATALOGUE
from lab.scenarios.scenario import TLDS, Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Scenarios; or the delegations of a `zone` file; or that many made-up `domains`, the share
    `dead` of them at name servers that never answer."""

    scenarios: tuple[Scenario, ...] = ()
    seed: int = 1
    zone: Path | None = None
    domains: int = 0
    dead: float = 0.0
    certified: float | None = None  # when the certificates were made; None: when the lab was

    @property
    def is_population(self) -> bool:
        """Whether there may be more zones than a disk likes files."""
        return self.zone is not None or self.domains > 0

    def plan(self, truth_file: Path, now: float) -> tuple[Plan, Sequence[str]]:
        """Everything that is to be served, signed as of `now`; and the top-level domains whose
        zone files a survey reads. What a survey must find of made-up domains goes to
        `truth_file`.

        Raises UsageFault or Refused if the zone file cannot be read or has no delegations.
        """
        if self.zone is not None:
            return self._delegated(self.zone, now)
        builder = Builder(self.seed, now, certified=self.certified)
        for scenario in self.scenarios:
            builder.add(scenario)
        if self.domains:
            population.add_providers(builder)
            truth.write(truth_file, population.add_made_up(builder, self.domains, self.dead))
        return builder.finish(), TLDS

    def _delegated(self, zone: Path, now: float) -> tuple[Plan, Sequence[str]]:
        found = delegations.read(zone)
        if found.origin in TLDS:
            raise Refused(f"{zone}: {found.origin} is one of the lab's own names")
        builder = Builder(self.seed, now, tlds=(*TLDS, found.origin))
        population.add_providers(builder)
        population.add_delegations(builder, found.signed.items())
        return builder.finish(), (found.origin,)

    def to_json(self) -> str:
        """Itself as text, for `from_json`."""
        return json.dumps(
            {
                "scenarios": [one.name for one in self.scenarios],
                "seed": self.seed,
                "zone": None if self.zone is None else str(self.zone.absolute()),
                "domains": self.domains,
                "dead": self.dead,
                "certified": self.certified,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Contents":
        """What `to_json` wrote. Scenarios that are not of the catalogue are not found again."""
        said = json.loads(text)
        names = set(said.pop("scenarios"))
        zone = said.pop("zone")
        return cls(
            scenarios=tuple(one for one in CATALOGUE if one.name in names),
            zone=None if zone is None else Path(zone),
            **said,
        )
