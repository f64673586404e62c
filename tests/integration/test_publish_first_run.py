"""A first run has no run before it: whole operators that are silent tell that port 25 is closed."""

import pytest

from reports.publish import objections
from reports.settings import PublishSettings
from storage import copy
from storage import run as runs
from storage.database import Connection
from storage.run import RunKind
from storage.schemas import SMTP_PROBE
from tests.storage_rows import batch_of

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize(
    ("operators", "silent", "expected"),
    [
        (100, 50, ["50 of 100 operators", "50 of 100 address blocks"]),
        (100, 21, ["21 of 100 operators", "21 of 100 address blocks"]),
        (100, 20, []),
        (49, 49, []),  # of a small run nothing follows
    ],
)
async def test_whole_operators_that_are_silent_refuse_a_first_run(
    connection: Connection, database_url: str, operators: int, silent: int, expected: list[str]
) -> None:
    run = await runs.create(connection, RunKind.FULL, {})
    rows = [
        {
            "address": f"198.51.{number}.25",
            "tlsa_digest": "d",
            "operator": f"o{number}.example",
            "sni": f"mx.o{number}.example",
            "host": f"mx.o{number}.example",
            "attempt": attempt,
            # an operator that answers once is not silent
            "status": "unreachable" if number < silent or attempt == 1 else "pass",
        }
        for number in range(operators)
        for attempt in (1, 2)
    ]
    async with copy.writer(database_url) as out:
        await out.store([(SMTP_PROBE, batch_of(SMTP_PROBE, run.run_id, *rows))], replace=False)
    reasons = await objections(connection, run, PublishSettings(), [])
    assert len(reasons) == len(expected)
    for reason, part in zip(reasons, expected, strict=True):
        assert part in reason
        assert "is port 25 open from here?" in reason
