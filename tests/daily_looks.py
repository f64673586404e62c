"""Made-up days: what daily looks see of many hosts, published one run after the other.

A host's look is a letter: `p` pass, `m` mismatch, `n` no STARTTLS, `f` TLS fails, `t` tempfail,
`l` its TLSA lookup fails, `a` its TLSA records are removed, `-` its domain has other MX hosts,
`x` its domain has left the zone. Each host has one domain.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from dane.outcomes import HOST_CLASS, HostStatus
from reports.columns import PublishedTable
from reports.confirmation import follow
from reports.dataset import Files, RunKey, write_table
from reports.dictionary import (
    ADDRESSES,
    BREAKAGES,
    CONFIRMATIONS,
    DOMAINS,
    EPISODES,
    MX_HOSTS,
    PROBES,
    ZONES,
)
from reports.settings import ConfirmationSettings
from reports.views import open_views
from tests.published_rows import NOON, domain, write

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
TTL_S = 300
STATUS = {
    "p": HostStatus.PASS,
    "m": HostStatus.MISMATCH,
    "n": HostStatus.NO_STARTTLS,
    "f": HostStatus.TLS_FAILED,
    "t": HostStatus.TEMPFAIL,
    "l": HostStatus.TLSA_FAILED,
    "a": HostStatus.ABSENT,
}
_DOMAIN = {"p": "dane", "m": "broken", "n": "broken", "f": "broken", "t": "unreachable",
           "l": "lookup_failed", "a": "no_tlsa"}  # fmt: skip
_WITH_TLS = {"p", "m"}
Looks = Mapping[str, str]  # the letter of each host
Leaves = Mapping[str, str]  # the leaf certificate that a host shows, where it is not the usual one


class Days:
    """Runs a day apart, each compared with the one before."""

    def __init__(self, root: Path, settings: ConfirmationSettings | None = None) -> None:
        self._root = root
        self._settings = settings or ConfirmationSettings()
        self.runs: list[Files] = []
        self.tables: dict[str, list[dict[str, Any]]] = {}

    def live(
        self, day: int, looks: Looks, leaves: Leaves | None = None, *, apart: timedelta = HOUR
    ) -> None:
        """One run that finds this on that day."""
        at = NOON + day * DAY
        rows = rows_of(at, looks, leaves or {}, apart)
        files = write(self._root / str(day), rows, RunKey(f"{at:%Y-%m}", day), without=BREAKAGES)
        with open_views(
            "500MB",
            files,
            previous_run=self.runs[-1] if self.runs else None,
            recent_runs=self.runs[-62:],
            past_runs=self.runs,
        ) as views:
            following = follow(views, self._settings, at - 2 * HOUR)
            write_table(files, BREAKAGES, following.breakages())
            write_table(files, CONFIRMATIONS, [following.confirmations()])
            write_table(files, EPISODES, [following.episodes()])
        self.runs.append(files)
        self.tables = {
            table.name: files.read(table).to_pylist()
            for table in (BREAKAGES, CONFIRMATIONS, EPISODES)
        }

    def history(self, pattern: Sequence[str], host: str = "mx.h.example") -> None:
        """A day a letter; a blank is a day without a run."""
        for day, letter in enumerate(pattern):
            if letter != " ":
                self.live(day, {host: letter})

    @property
    def episode(self) -> dict[str, Any]:
        """The only one."""
        (one,) = self.tables["episodes"]
        return one

    @property
    def state(self) -> str | None:
        """Of the only breakage; None: nothing is broken."""
        states = {one["state"] for one in self.tables["breakages"]}
        assert len(states) < 2
        return states.pop() if states else None


def rows_of(
    at: datetime, looks: Looks, leaves: Leaves, apart: timedelta
) -> Mapping[PublishedTable, Sequence[Mapping[str, Any]]]:
    """The rows of a run at `at`, two sessions a host that are so far apart."""
    domains, hosts, addresses, probes = [], [], [], []
    for number, (host, letter) in enumerate(looks.items()):
        name = host.removeprefix("mx.")
        if letter == "x":
            continue
        if letter == "-":
            other = [("mx.other.example", 10, "absent", "N")]
            domains.append(domain(name, "no_tlsa", other, mx_outcome="secure", last_asked=at))
            continue
        status = STATUS[letter]
        one = (host, 10, status.value, HOST_CLASS[status].value)
        domains.append(
            domain(name, _DOMAIN[letter], [one], mx_outcome="secure", last_asked=at,
                   stage="tlsa" if letter == "l" else None,
                   deliverable=letter == "p" if letter in "pmnf" else None)
        )  # fmt: skip
        tlsa = None if letter in "la" else f"tlsa-{host}"
        hosts.append(
            {"host": host, "operator": name, "status": status.value,
             "class": HOST_CLASS[status].value, "tlsa_digest": tlsa, "tlsa_base": host,
             "first_asked": at - apart, "last_asked": at, "passes": 4,
             "rrsig_original_ttl": TTL_S, "tlsa_outcome": "servfail" if letter == "l" else "secure"}
        )  # fmt: skip
        if letter in "la":
            continue
        address = f"192.0.{number // 250}.{number % 250}"
        addresses.append({"host": host, "address": address, "status": status.value})
        leaf = [leaves.get(host, f"leaf-{host}")] if letter in _WITH_TLS else []
        probes += [
            {"address": address, "tlsa_digest": tlsa, "operator": name, "sni": host, "host": host,
             "status": status.value, "chain": leaf, "attempt": attempt, "connected": connected}
            for attempt, connected in ((1, at - apart), (2, at))
        ]  # fmt: skip
    zones = [{"zone": "example", "kind": "file"}]
    return {DOMAINS: domains, MX_HOSTS: hosts, ADDRESSES: addresses, PROBES: probes, ZONES: zones}
