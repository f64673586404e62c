"""Settings of what is published, and when."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationSettings:
    """When a breakage is confirmed (docs/measurement.md, section 9)."""

    looks: int = 4  # daily looks that count, none good between
    span_s: float = 70 * 3600.0  # from the first to the last
    attempts_apart_s: float = 30 * 60.0  # two attempts in each look, at least so far apart
    least_gap_s: float = 12 * 3600.0  # nearer looks count as one
    greatest_gap_s: float = 60 * 3600.0  # farther looks are not in a row: one may say nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishSettings:
    directory: Path | None = None  # of `dataset/`; default: under the state directory
    vantage: str = ""  # name of the network that this survey looks from, in the manifest
    public_floor: int = 10  # surveyed domains that a public name needs
    geoip: Path | None = None  # MMDB file: country of an address
    asn: Path | None = None  # MMDB file: autonomous system of an address
    licence: str = "CC-BY-4.0"  # of the public data set, an SPDX identifier
    top_providers: int = 20  # in the monthly post
    memory_limit: str = "1.5GB"  # of DuckDB
    max_local_share: float = 0.005  # of a stage's targets; above: not published
    least_local_hosts: int = 3  # so many MX hosts, at least, for that to stop a publication
    min_coverage: float = 0.99  # of the last run's domains; below: not published
    max_unreachable_rise: float = 3.0  # times the last run's share of MX hosts; above that,
    usual_unreachable_share: float = 0.05  # and above this: not published
    max_first_silent_share: float = 0.2  # of operators, or address blocks, in a first run
    least_first_groups: int = 50  # so many operators or blocks, at least, for that to count
    max_exception_days: int = 14
    confirmation: ConfirmationSettings = field(default_factory=ConfirmationSettings)
