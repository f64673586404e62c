"""Settings of zone intake: the list of sources and the acceptance bounds."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dane.faults import UsageFault


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneSource:
    """One `[[zones]]` entry. Which fields a kind needs is checked when it is read."""

    zone: str  # origin, "com" or "com."; "*" with kind czds: every approved zone
    kind: Literal["file", "czds", "axfr", "list"]
    path: Path | None = None  # file, list: a file or a directory
    url: str | None = None  # list, czds (base URLs below)
    format: Literal["plain", "csv"] | None = None  # list
    column: str | None = None  # list, csv
    server: str | None = None  # axfr: address, or address#port
    tsig_name: str | None = None
    tsig_algorithm: str = "hmac-sha256"
    tsig_secret_file: Path | None = None  # or DANESURVEY_TSIG_SECRET
    username: str | None = None  # czds
    password_file: Path | None = None  # or DANESURVEY_CZDS_PASSWORD
    authenticate_url: str = "https://account-api.icann.org"
    download_url: str = "https://czds-api.icann.org"
    promises_final_soa: bool = False  # the last record repeats the SOA: a cut is noticed
    allow_include: bool = False  # $INCLUDE and $GENERATE
    public: bool = False  # the licence of the zone allows to pass its names on
    licence: str | None = None  # that licence; needed where `public`


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeSettings:
    """Bounds of acceptance, and of downloads (docs/zones.md)."""

    max_lost_delegations: float = 0.02  # share; but never fewer than 50
    max_lost_signed: float = 0.10
    max_ratio: float = 200.0  # uncompressed to compressed
    downloads: int = 4  # at a time
    download_timeout_s: float = 60.0  # to connect, and without a byte
    retry_wait_s: float = 30.0  # before the second try of a download; doubled each time
    user_agent: str = "danesurvey"
    # One in so many delegations without DS is looked up, too, from each zone's next snapshot on:
    # how many would have DANE if only they were signed. 0: none.
    unsigned_sample: int = 0


def open_zones(sources: Iterable[ZoneSource]) -> dict[str, str]:
    """The licence of each zone whose names may be passed on.

    Raises UsageFault for a zone that is public without a licence, and for `*`: a licence is
    that of one zone.
    """
    found = {}
    for source in sources:
        if source.public and (not source.licence or source.zone == "*"):
            raise UsageFault(
                f"zone {source.zone}: public = true needs the licence of that zone: "
                'licence = "CC-BY-4.0", say'
            )
        if source.public and source.licence:
            found[source.zone.rstrip(".").lower()] = source.licence
    return found
