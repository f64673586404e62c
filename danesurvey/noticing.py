"""Notices drafted and followed: the data set's problems, the database's ledger.

The drafts are noted in the ledger before they are printed. A command that is killed between
the two prints them the next time.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from dane import clock
from dane.faults import UsageFault
from danesurvey.embedded import database
from danesurvey.owner import owner_of
from danesurvey.settings import Settings
from reports import notices, problems
from reports.confirmation import rule
from reports.library import Library
from storage import notices as ledger
from storage.database import Connection, connection
from storage.notices import Notice
from storage.owner import claim

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Drafted:
    """The drafts as an mbox, and how many there are."""

    mbox: bytes
    summary: str


def drafted(settings: Settings, month: str | None, operator: str | None) -> Drafted:
    """Draft what is due. Raises Refused where there is no run, UsageFault for a bad month."""
    library = Library.of(settings.publish, settings.state_dir)
    run = library.run(month)
    with library.views(month) as views:
        letters = notices.letters(problems.find(views, operator=operator))
    now = clock.now()

    async def note(held: Connection) -> tuple[list[tuple[int, notices.Letter]], int]:
        muted = await ledger.muted(held)
        sent = [
            notices.Sent(one.operator, one.recipient, frozenset(one.problems), one.sent)
            for one in await ledger.ledger(held)
            if one.sent is not None
        ]
        due = [letter for letter in letters if notices.due(letter, sent, muted, now)]
        numbered = [
            (
                await ledger.draft(
                    held,
                    operator_kind=letter.operator_kind,
                    operator=letter.operator,
                    recipient=letter.recipient,
                    problems=letter.keys,
                    run_id=run.key.run_id,
                    at=now,
                ),
                letter,
            )
            for letter in due
        ]
        return numbered, len(letters) - len(due)

    numbered, held_back = _in_database(settings, note)
    messages = [
        notices.draft(
            letter,
            number=number,
            sender=settings.probe.contact or "",
            information=settings.probe.information_page or "",
            rule=rule(settings.publish.confirmation),
            now=now,
        )
        for number, letter in numbered
    ]
    summary = f"{len(messages)} drafts; nothing is sent"
    if held_back:
        summary += f"; {held_back} held back (told within 30 days, or muted)"
    return Drafted(notices.mbox(messages), summary)


def mark_sent(settings: Settings, path: Path) -> str:
    """Note what was sent. Raises UsageFault for a file that has no notice of this ledger."""
    try:
        mail = path.read_bytes()
    except OSError as error:
        raise UsageFault(f"{path}: {error.strerror}") from error
    numbers = notices.numbers(mail)
    marked = _in_database(settings, lambda held: ledger.mark_sent(held, numbers, clock.now()))
    if not marked:
        raise UsageFault(f"{path}: no notice of this survey in it")
    if missing := sorted(numbers - marked):
        raise UsageFault(
            f"{path}: notices {', '.join(map(str, missing))} are not in the ledger; "
            f"{len(marked)} others are marked as sent"
        )
    return f"{len(marked)} marked as sent"


def mark_answered(settings: Settings, number: int) -> None:
    """Note an answer. Raises UsageFault if there is no such notice."""
    if not _in_database(settings, lambda held: ledger.mark_answered(held, number, clock.now())):
        raise UsageFault(f"no notice {number}; `danesurvey report notices --ledger` lists them")


def mute(settings: Settings, operator: str) -> None:
    """Draft no more notices to an operator."""
    _in_database(settings, lambda held: ledger.mute(held, operator, clock.now()))


def unmute(settings: Settings, operator: str) -> None:
    """Draft notices to it again. Raises UsageFault if it is not muted."""
    if not _in_database(settings, lambda held: ledger.unmute(held, operator)):
        raise UsageFault(f"{operator} is not muted")


def shown(settings: Settings, *, as_json: bool) -> str:
    """The ledger, as a table or as a JSON array."""
    rows, muted = _in_database(settings, _rows)
    if as_json:
        found = [{**asdict(row), "muted": row.operator in muted} for row in rows]
        return json.dumps(found, indent=1, default=str) + "\n"
    lines = [
        f"{row.notice_id:>6}  {row.drafted:%Y-%m-%d}  {_state(row):22}  {row.operator}"
        f"  {row.recipient or '(no address)'}  {len(row.problems)} problems"
        + ("  muted" if row.operator in muted else "")
        for row in rows
    ]
    lines += [f"muted: {operator}" for operator in sorted(muted)]
    return "\n".join(lines or ["no notices"]) + "\n"


async def _rows(held: Connection) -> tuple[list[Notice], frozenset[str]]:
    return await ledger.ledger(held), await ledger.muted(held)


def _state(row: Notice) -> str:
    if row.answered:
        return f"answered {row.answered:%Y-%m-%d}"
    return f"sent {row.sent:%Y-%m-%d}" if row.sent else "draft"


def _in_database(settings: Settings, work: Callable[[Connection], Awaitable[T]]) -> T:
    """What `work` makes of a connection, in one transaction."""

    async def inside(url: str) -> T:
        async with connection(url) as held:
            await claim(held, owner_of(settings))
            async with held.transaction():
                return await work(held)

    with database(settings) as url:
        return asyncio.run(inside(url))
