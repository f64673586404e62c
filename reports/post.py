"""The monthly post: plain text for a mailing list, from public data alone.

It reads the `statistics` table of a full run, of the last full run of the month before,
and of the same month a year ago, and the settings in the manifest, so that anyone who has
the public data set can print it again, byte for byte. 72 columns. `reports.letter` makes mail
and HTML of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files as package_files
from textwrap import fill
from typing import Any

import pyarrow as pa
from jinja2 import Environment, FunctionLoader, StrictUndefined

from reports.confirmation import rule
from reports.dataset import Dataset, months_before
from reports.derived_tables import STATISTICS
from reports.escape import printable
from reports.manifest import RunEntry, runs, settings_of
from reports.settings import ConfirmationSettings, PublishSettings
from storage.run import RunKind

WIDTH = 72
_DEFAULTS = PublishSettings()

_SENTENCES = {
    "rules_changed": "the rules of counting changed",
    "zone_not_seen": "their zone was not taken in for one of the runs",
    "opted_out": "they, or their MX hosts, opted out or came back",
    "signed_new": "newly signed",
    "domain_gone": "no longer a signed delegation",
    "ds_removed": "their DS records were removed",
    "mx_moved": "moved to other MX hosts",
    "operator_published_tlsa": "published TLSA records",
    "operator_removed_tlsa": "removed TLSA records",
    "broke": "broke",
    "repaired": "repaired",
    "lookup_fails": "lookups fail now",
    "lookup_works": "lookups work again",
    "unreachable": "cannot or could not be reached",
    "other": "other reasons",
}


class Numbers:
    """The statistics of one run, by metric, dimension and key."""

    def __init__(self, statistics: pa.Table) -> None:
        self._split: dict[tuple[str, str], dict[str, float]] = {}
        for row in statistics.to_pylist():
            split = self._split.setdefault((row["metric"], row["dimension"]), {})
            split[row["key"] or ""] = row["value"]

    def has(self, metric: str) -> bool:
        """Whether the run has this number."""
        return (metric, "all") in self._split

    def count(self, metric: str, key: str = "", by: str = "all") -> int:
        """One count; 0 where the run has no such row."""
        return int(self._split.get((metric, by), {}).get(key) or 0)

    def percentage(self, metric: str, key: str = "", by: str = "all") -> float | None:
        """A percentage, truncated when it was computed; None where there is no whole."""
        return self._split.get((metric, by), {}).get(key)

    def split(self, metric: str, by: str) -> list[tuple[str, int]]:
        """(key, count), the largest first, equal ones by key; named members only."""
        found = self._split.get((metric, by), {})
        return sorted(
            ((key, int(value)) for key, value in found.items() if not key.startswith("(")),
            key=lambda one: (-one[1], one[0]),
        )

    def reasons(self, metric: str) -> list[tuple[str, int]]:
        """Why a headline moved: (reason and operator, domains gained or lost), the most first."""
        by = "reason and operator"
        moved = [
            (key, sign * int(value))
            for direction, sign in (("gained", 1), ("lost", -1))
            for key, value in self._split.get((f"{metric}_{direction}", by), {}).items()
        ]
        return sorted(moved, key=lambda one: (-abs(one[1]), one[0], one[1]))


@dataclass(frozen=True, slots=True)
class Edition:
    """One post: the month, the numbers that it sets side by side, and the rules of the run."""

    month: str
    this_month: Numbers
    last_month: Numbers | None
    last_year: Numbers | None
    top_providers: int
    floor: int = _DEFAULTS.public_floor
    confirmation: ConfirmationSettings = _DEFAULTS.confirmation


def edition(dataset: Dataset, run: RunEntry, top_providers: int) -> Edition:
    """The post of a full run, beside the last full runs of the month before and a year ago."""
    entries = {one.key.month: one for one in runs(dataset) if one.kind == RunKind.FULL}

    def numbers(of: str) -> Numbers | None:
        entry = entries.get(of)
        return Numbers(dataset.files(entry.key).read(STATISTICS)) if entry else None

    said: Mapping[str, Any] = settings_of(dataset, run.key).get("publish", {})
    return Edition(
        run.key.month,
        Numbers(dataset.files(run.key).read(STATISTICS)),
        numbers(months_before(run.key.month, 1)),
        numbers(months_before(run.key.month, 12)),
        top_providers,
        said.get("public_floor", _DEFAULTS.public_floor),
        ConfirmationSettings(**said.get("confirmation", {})),
    )


def write(edition: Edition) -> str:
    """The text of the post, lines of at most 72 columns."""
    environment = Environment(
        loader=FunctionLoader(_template),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # plain text; every name goes through `printable`
    )
    environment.filters |= {
        "count": _grouped,
        "columns": columns,
        "domains": _domains,
        "percent": _percent,
        "reasons": _reasons,
    }
    names = [
        {name for name, _ in numbers.split("dane_domains", "mx_operator")[: edition.top_providers]}
        for numbers in (edition.this_month, edition.last_month)
        if numbers
    ]
    now, before = (names[0], names[1]) if len(names) > 1 else (set(), set())
    text = environment.get_template("post.txt.j2").render(
        month=edition.month,
        now=edition.this_month,
        before=edition.last_month,
        year_ago=edition.last_year,
        providers=provider_table(edition),
        zone_table=zone_table(edition),
        arrived=sorted(map(printable, now - before)),
        departed=sorted(map(printable, before - now)),
        top=edition.top_providers,
        floor=edition.floor,
        rule=rule(edition.confirmation),
    )
    return wrapped(text)


def zone_table(edition: Edition) -> str:
    """Zones by DANE domains: count, share, and the change since last month."""
    lines = []
    for zone, count in edition.this_month.split("dane_domains", "zone")[: edition.top_providers]:
        share = edition.this_month.percentage("dane_percentage", zone, "zone")
        was = edition.last_month and edition.last_month.count("dane_domains", zone, "zone")
        change = f"{count - was:+,}" if was else ""
        lines.append(
            f"  {count:>10,} {_percent(share):>8} {change:>9}  {_shortened(printable(zone), 38)}"
        )
    return "\n".join(line.rstrip() for line in lines)


def provider_table(edition: Edition) -> str:
    """The largest providers of each month side by side, as past posts have them."""
    months = [("This month", edition.this_month)]
    if edition.last_month:
        months.append(("Last month", edition.last_month))
    if edition.last_year:
        months.append(("Last year", edition.last_year))
    tops = [
        numbers.split("dane_domains", "mx_operator")[: edition.top_providers]
        for _, numbers in months
    ]
    if not tops[0]:
        return "  (none)"
    cells = [
        [title, "-" * len(title), *columns(top).splitlines()]
        for (title, _), top in zip(months, tops, strict=True)
    ]
    height = max(map(len, cells))
    widths = [max(map(len, column)) for column in cells]
    rows = (
        "  ".join(
            (column[row] if row < len(column) else "").ljust(width)
            for column, width in zip(cells, widths, strict=True)
        )
        for row in range(height)
    )
    lines = [f"  {row}".rstrip() for row in rows]
    if max(map(len, lines)) <= WIDTH:
        return "\n".join(lines)
    # long names: the months one below the other
    return "\n\n".join("\n".join(f"  {line}" for line in column) for column in cells)


def columns(rows: Sequence[tuple[str, int]]) -> str:
    """`count name` lines, counts right-aligned; a name too long for a line is cut with `…`."""
    if not rows:
        return "(none)"
    width = max(len(str(count)) for _, count in rows)
    return "\n".join(
        f"{count:>{width}} {_shortened(printable(name), WIDTH - 4 - width)}" for name, count in rows
    )


def wrapped(text: str) -> str:
    """Paragraphs filled to the width; lines that begin with a space are kept as they are."""
    paragraphs = [
        part
        if part.startswith((" ", "[")) or "\n " in part
        else fill(part, WIDTH, break_on_hyphens=False)
        for part in text.strip().split("\n\n")
        if part.strip()
    ]
    return "\n\n".join(paragraphs) + "\n"


def _template(name: str) -> str:
    return (package_files("reports") / "templates" / name).read_text("utf-8")


def _shortened(name: str, width: int) -> str:
    return name if len(name) <= width else name[: width - 3] + "..."


def _grouped(number: float) -> str:
    return f"{int(number):,}"


def _domains(number: float) -> str:
    return f"{int(number):,} domain" + ("" if int(number) == 1 else "s")


def _reasons(rows: Sequence[tuple[str, int]]) -> str:
    """`+149,213 provider.example: published TLSA records`, one a line."""
    width = max((len(f"{count:+,}") for _, count in rows), default=0)
    lines = []
    for key, count in rows:
        reason, _, who = key.partition(" ")
        said = _SENTENCES.get(reason, reason)
        named = f"{printable(who)}: {said}" if who else said
        lines.append(f"{count:>+{width},} {_shortened(named, WIDTH - 3 - width)}")
    return "\n".join(lines) or "(none)"


def _percent(number: float | None) -> str:
    return "no share" if number is None else f"{number:.2f}%"
