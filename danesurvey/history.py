"""`lab history`: a script of days, lived through on a small lab.

Each day the lab is brought up as that day has it, signed as of then, and the daily or the full
survey runs and publishes. Then what the histories declare for the day is looked for in the data
set, the exceptions, the notices and the post. The lab lives in the future (`[lab] days_ahead`),
on dates that are chosen so that day 10 is the first of a month.
"""

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from dane import clock
from dane.faults import UsageFault
from danesurvey import embedded
from danesurvey.settings import Settings, load
from lab import addresses
from lab.faults import silent_network
from lab.histories import HISTORIES, Full, History
from lab.histories.history import MISSING_ZONE, MISSING_ZONE_DAY, OUTAGE_DAY, PORT_25_DAY
from lab.internet import Lab
from lab.scenarios.scenario import Port, Scenario
from reports import post
from reports.dataset import Dataset
from reports.library import Library
from reports.manifest import RunEntry, runs
from reports.views import open_views, read

_FIRST_FULL_DAY = 10
_MONTH_WITHOUT_FULL_RUN = 2  # the number of the first of a month on which only the daily runs
_BEFORE = (-365, -30)  # days of full runs before the first daily one
_FULL, _DAILY = ("survey",), ("survey", "--only", "dane")

# Beside the lab's own settings: a day takes seconds.
_HASTE = {
    "client.passes_s": "[0.2]",
    "canaries.every_s": "1.0",
    "probe.attempts_after_s": "[0.2]",
    "probe.reply_s": "5.0",
    "probe.connect_s": "1.0",
    "publish.confirmation.attempts_apart_s": "0.1",
    "publish.min_coverage": "0.5",  # domains come and go by the dozen
    "survey.workers": "1",
    "survey.keep_daily_runs": "70",
}


@dataclass(frozen=True, slots=True)
class Calendar:
    """Which date each day of the script is."""

    days: int
    today: date  # the real one

    @property
    def ahead(self) -> int:
        """How many days day 0 is ahead of today."""
        earliest = self.today - timedelta(days=min(_BEFORE))
        first = (earliest + timedelta(days=_FIRST_FULL_DAY)).replace(day=1)
        while first - timedelta(days=_FIRST_FULL_DAY) < earliest:
            first = (first + timedelta(days=31)).replace(day=1)
        return (first - timedelta(days=_FIRST_FULL_DAY) - self.today).days

    def date(self, day: int) -> date:
        return self.today + timedelta(days=self.ahead + day)

    def firsts(self) -> list[int]:
        """The days that are the first of a month, in order."""
        return [day for day in range(self.days) if self.date(day).day == 1]

    def is_full(self, day: int) -> bool:
        firsts = self.firsts()
        if day not in firsts:
            return day < 0
        return firsts.index(day) + 1 != _MONTH_WITHOUT_FULL_RUN

    def number(self, day: int | Full) -> int | None:
        """The number of a day; None beyond the end of the script."""
        if isinstance(day, Full):
            firsts = self.firsts()
            return firsts[day.number - 1] if day.number <= len(firsts) else None
        return day if day < self.days else None


@dataclass(frozen=True, slots=True)
class Unmet:
    """Something that was to be found and was not, or the other way round."""

    day: int
    history: str
    what: str

    def __str__(self) -> str:
        return f"day {self.day}: {self.history}: {self.what}"


def chosen(names: Sequence[str]) -> Sequence[History]:
    """The histories of these names, all of them without any. Raises UsageFault."""
    known = {one.name: one for one in HISTORIES}
    if unknown := [name for name in names if name not in known]:
        raise UsageFault(f"no history {unknown[0]!r}; there are: {', '.join(known)}")
    return [known[name] for name in names] or HISTORIES


def live(
    directory: Path,
    *,
    days: int,
    histories: Sequence[History] = HISTORIES,
    say: Callable[[str], None] = lambda _: None,
) -> list[Unmet]:
    """Lives through the first `days` days in `directory`; what was not as declared.

    What an earlier script left there is removed first. Raises LocalTrouble where no lab can run.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    script = _Script(directory, Calendar(days, clock.now().date()), histories)
    unmet: list[Unmet] = []
    began = time.monotonic()
    every = (*_BEFORE, *range(days))
    try:
        with contextlib.ExitStack() as stack:
            for number, day in enumerate(every, 1):
                missed = script.day(day, stack)
                unmet += missed
                left_s = (time.monotonic() - began) / number * (len(every) - number)
                say(
                    f"day {day} ({script.calendar.date(day)}): {script.said}; "
                    f"{len(missed)} unmet; {left_s:.0f} s to go"
                )
                for one in missed:
                    say(f"  {one}")
    finally:
        clock.run_ahead(0)
    return unmet


class _Script:
    """The lab and the survey of one script; a day at a time."""

    def __init__(self, directory: Path, calendar: Calendar, histories: Sequence[History]) -> None:
        self.calendar = calendar
        self.said = ""
        self._directory = directory
        self._histories = histories
        self._opt_out = directory / "opt-out"
        self._merges = directory / "merges.toml"
        self._approvals = directory / "approvals.toml"
        clock.run_ahead(calendar.ahead + min(_BEFORE))
        self._certified = clock.seconds()
        self._database_is_up = False
        self._addresses = _addresses(histories)

    def day(self, day: int, stack: contextlib.ExitStack) -> list[Unmet]:
        """Lives through one day; what was not found as declared."""
        clock.run_ahead(self.calendar.ahead + day)
        self._write_files(day)
        with Lab(self._directory / "lab", self._scenarios(day), certified=self._certified) as lab:
            settings = self._settings(lab, day)
            if not self._database_is_up:  # it stays up from day to day, as in a real survey
                stack.enter_context(embedded.database(settings))
                self._database_is_up = True
            library = Library.of(settings.publish, settings.state_dir)
            before = {one.key for one in runs(library.dataset)}
            began = time.monotonic()
            kind = _FULL if self.calendar.is_full(day) else _DAILY
            with self._circumstances(lab, day):
                done = self._survey(lab, kind)
            new = [one for one in runs(library.dataset) if one.key not in before]
            self.said = (
                f"{'full' if kind is _FULL else 'daily'} survey, "
                f"{'published' if new else 'not published'}, {time.monotonic() - began:.1f} s"
            )
            if not new and day not in (OUTAGE_DAY, PORT_25_DAY):
                reason = done.stderr.strip().splitlines()[-1:] or ["it says nothing"]
                return [Unmet(day, "every history", f"nothing is published: {reason[0]}")]
            return list(self._unmet(lab, library, new[0] if new else None, day))

    def _scenarios(self, day: int) -> list[Scenario]:
        """Those of the day; one that several histories have is there once."""
        every = {one.domain: one for history in self._histories for one in history.scenarios(day)}
        port = Port.CLOSED if day == PORT_25_DAY else Port.OPEN
        return [
            replace(
                one,
                hosts=tuple(
                    replace(host, port=port, addresses=(self._addresses[one.absolute(host.name)],))
                    for host in one.hosts
                ),
            )
            for one in every.values()
        ]

    def _write_files(self, day: int) -> None:
        opted_out = [line for one in self._histories for line in one.opted_out(day)]
        self._opt_out.write_text("".join(f"{line}\n" for line in opted_out))
        merges = {name: to for one in self._histories for name, to in one.merged(day).items()}
        lines = (f"{json.dumps(name)} = {json.dumps(to)}\n" for name, to in merges.items())
        self._merges.write_text("".join(lines))
        today = self.calendar.date(day)
        until = today + timedelta(days=7)
        self._approvals.write_text(
            "".join(
                f'[[exception]]\nhost = "{host}"\nkind = "{kind}"\napprover = "Jo Doe"\n'
                f'grounds = "operator"\nreference = "mail"\nfrom = {today}\nuntil = {until}\n'
                for one in self._histories
                for host, kind in one.approvals
            )
        )

    def _settings(self, lab: Lab, day: int) -> Settings:
        if day == MISSING_ZONE_DAY:
            settings = load(lab.settings_file)
            for source in settings.zones:
                if source.zone == MISSING_ZONE and source.path is not None:
                    whole = source.path.read_bytes()
                    source.path.write_bytes(whole[: len(whole) // 2])
        return load(lab.settings_file, self._flags)

    @property
    def _flags(self) -> list[str]:
        files = {
            "state_dir": self._directory / "state",
            "probe.opt_out": self._opt_out,
            "probe.operator_merges": self._merges,
        }
        return [f"{key}={value}" for key, value in {**_HASTE, **files}.items()]

    def _command(self, lab: Lab, words: Sequence[str]) -> list[str]:
        flags = [word for flag in self._flags for word in ("--set", flag)]
        program = [sys.executable, "-P", "-m", "danesurvey"]
        return [*program, "--config", str(lab.settings_file), *flags, *words]

    def _survey(self, lab: Lab, words: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        done = lab.exec(self._command(lab, words), capture_output=True, text=True)
        with (self._directory / "survey.log").open("a") as log:
            log.write(f"--- {clock.now():%Y-%m-%d} {' '.join(words)}\n{done.stderr}")
        return done

    @contextlib.contextmanager
    def _circumstances(self, lab: Lab, day: int) -> Iterator[None]:
        with silent_network(lab) if day == OUTAGE_DAY else contextlib.nullcontext():
            yield

    def _unmet(self, lab: Lab, library: Library, run: RunEntry | None, day: int) -> Iterator[Unmet]:
        due = [
            (history, found)
            for history in self._histories
            for found in history.found
            if self.calendar.number(found.day) == day
        ]
        wanted = {found.table for _, found in due}
        rows = self._rows(lab, library, run, wanted)
        for history, found in due:
            if found.table not in rows:
                yield Unmet(day, history.name, "nothing is published")
            elif what := found.unmet(rows[found.table]):
                yield Unmet(day, history.name, what)

    def _rows(
        self, lab: Lab, library: Library, run: RunEntry | None, wanted: set[str]
    ) -> dict[str, Sequence[Mapping[str, Any]]]:
        """The rows of what the histories speak of, by table."""
        rows: dict[str, Sequence[Mapping[str, Any]]] = {"runs": [{}] if run else []}
        if run is None:
            return rows
        files = library.dataset.files(run.key)
        with open_views(library.settings.memory_limit, files) as views:
            for table in wanted - {"runs", "exceptions", "notices", "post"}:
                rows[table] = read(views, f'FROM "{table}"').to_pylist()
        if "exceptions" in wanted:
            words = ("report", "exceptions", "--approvals", str(self._approvals), "--json")
            rows["exceptions"] = json.loads(self._survey(lab, words).stdout)
        if "notices" in wanted:
            text = self._survey(lab, ("report", "notices")).stdout
            rows["notices"] = [{"host": word.strip(".,:;()")} for word in sorted(set(text.split()))]
        if "post" in wanted:
            rows["post"] = [_columns_of_post(library.dataset, run)]
        return rows


def _columns_of_post(dataset: Dataset, run: RunEntry) -> Mapping[str, bool]:
    edition = post.edition(dataset, run, 1)
    return {
        "last_month": edition.last_month is not None,
        "last_year": edition.last_year is not None,
    }


def _addresses(histories: Sequence[History]) -> Mapping[str, str]:
    """The address of each mail host, the same on all days, whoever comes and goes."""
    hosts = {
        scenario.absolute(host.name): None
        for history in histories
        for scenarios in history.phases.values()
        for scenario in scenarios
        for host in scenario.hosts
    }
    return dict(zip(hosts, addresses.mail(), strict=False))
