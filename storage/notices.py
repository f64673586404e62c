"""The ledger of notices: what was drafted for whom, sent, answered, and who wants none.

A draft that is not sent is replaced by the next one for the same operator and recipient, and
keeps its Message-ID: whoever lost the drafts makes them again. Nothing here sends mail; the
survey's operator says what was sent (`danesurvey report notices --sent FILE`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from storage.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One row of the ledger. `problems` are keys of `reports.problems.Problem`, sorted."""

    notice_id: int
    operator_kind: str
    operator: str
    recipient: str
    problems: tuple[str, ...]
    run_id: int
    drafted: datetime
    sent: datetime | None
    answered: datetime | None


async def ledger(connection: Connection) -> list[Notice]:
    """All notices, the oldest first."""
    rows = await connection.fetch("SELECT * FROM notice ORDER BY notice_id")
    return [Notice(**{**row, "problems": tuple(row["problems"])}) for row in rows]


async def muted(connection: Connection) -> frozenset[str]:
    """Operators that get no notices."""
    rows = await connection.fetch("SELECT operator FROM muted_operator")
    return frozenset(row["operator"] for row in rows)


async def draft(
    connection: Connection,
    *,
    operator_kind: str,
    operator: str,
    recipient: str,
    problems: Sequence[str],
    run_id: int,
    at: datetime,
) -> int:
    """Note a draft, in place of one to the same recipient that was not sent; its number."""
    number: int = await connection.fetchval(
        "INSERT INTO notice (operator_kind, operator, recipient, problems, run_id, drafted)"
        " VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT (operator_kind, operator, recipient) WHERE sent IS NULL"
        " DO UPDATE SET problems = excluded.problems, run_id = excluded.run_id,"
        " drafted = excluded.drafted RETURNING notice_id",
        operator_kind,
        operator,
        recipient,
        list(problems),
        run_id,
        at,
    )
    return number


async def mark_sent(
    connection: Connection, notice_ids: Collection[int], at: datetime
) -> frozenset[int]:
    """Note that these were sent; those that the ledger has, whether or not they were marked
    before (the first time stays)."""
    rows = await connection.fetch(
        "UPDATE notice SET sent = coalesce(sent, $2) WHERE notice_id = ANY ($1)"
        " RETURNING notice_id",
        list(notice_ids),
        at,
    )
    return frozenset(row["notice_id"] for row in rows)


async def mark_answered(connection: Connection, notice_id: int, at: datetime) -> bool:
    """Note that the operator answered; False if the ledger has no such notice."""
    return bool(
        await connection.fetchval(
            "UPDATE notice SET answered = coalesce(answered, $2) WHERE notice_id = $1"
            " RETURNING true",
            notice_id,
            at,
        )
    )


async def mute(connection: Connection, operator: str, at: datetime) -> None:
    """Draft no more notices to an operator."""
    await connection.execute(
        "INSERT INTO muted_operator (operator, since) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        operator,
        at,
    )


async def unmute(connection: Connection, operator: str) -> bool:
    """Draft notices to an operator again; False if it was not muted."""
    return bool(
        await connection.fetchval(
            "DELETE FROM muted_operator WHERE operator = $1 RETURNING true", operator
        )
    )
