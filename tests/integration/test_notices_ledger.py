"""The ledger of notices in a real PostgreSQL: drafted, sent, answered, muted."""

from datetime import UTC, datetime, timedelta

import pytest

from storage import notices
from storage.database import Connection

pytestmark = pytest.mark.asyncio

NOW = datetime(2026, 12, 1, 6, tzinfo=UTC)


async def drafted(connection: Connection, *problems: str, recipient: str = "pm@p.example") -> int:
    return await notices.draft(
        connection,
        operator_kind="mx",
        operator="p.example",
        recipient=recipient,
        problems=problems,
        run_id=3,
        at=NOW,
    )


async def test_a_draft_that_was_not_sent_is_made_again_under_its_number(
    connection: Connection,
) -> None:
    first = await drafted(connection, "host a")
    assert await drafted(connection, "host a", "host b") == first
    (row,) = await notices.ledger(connection)
    assert (row.problems, row.sent, row.run_id) == (("host a", "host b"), None, 3)
    assert await drafted(connection, "host a", recipient="x@p.example") != first


async def test_what_was_sent_stays_and_the_next_draft_is_a_new_one(connection: Connection) -> None:
    first = await drafted(connection, "host a")
    assert await notices.mark_sent(connection, [first, first + 9], NOW) == {first}
    assert await notices.mark_sent(connection, [first], NOW + timedelta(days=1)) == {first}
    second = await drafted(connection, "host b")
    assert [(row.notice_id, row.sent) for row in await notices.ledger(connection)] == [
        (first, NOW),
        (second, None),
    ]


async def test_answers_and_mutes(connection: Connection) -> None:
    number = await drafted(connection, "host a")
    assert await notices.mark_answered(connection, number, NOW)
    assert not await notices.mark_answered(connection, number + 1, NOW)
    (row,) = await notices.ledger(connection)
    assert row.answered == NOW
    await notices.mute(connection, "p.example", NOW)
    await notices.mute(connection, "p.example", NOW)
    assert await notices.muted(connection) == {"p.example"}
    assert await notices.unmute(connection, "p.example")
    assert not await notices.unmute(connection, "p.example")
