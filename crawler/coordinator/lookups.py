"""The passes of a stage that asks the resolver: resolve and hosts (measurement, section 2).

What fails or goes unanswered is asked again 10 s, 90 s, 20 min later and at the end of the
run, the same query each time: which rows fail and were asked fewer than n times. Only at the end
is a name given the time that a resolver needs to give up, and its failure believed.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute

from crawler.coordinator.engine import Engine, StagePass, Work
from crawler.coordinator.shards import Shard
from crawler.scan.context import LookupKind, ScanContext

pc: Any = pyarrow.compute  # the stubs lack some of the kernels

TRIES_A_ROW = 4  # of a row whose every question goes unanswered, with CD=1 and second looks
QUESTIONS_A_ROW = 3  # to the name servers of a domain: MX, DNSKEY, NSEC3PARAM


async def lookup_passes(
    engine: Engine,
    work: Callable[[LookupKind], Work],
    first: Callable[[StagePass], AsyncGenerator[Shard]],
    later: Callable[[int, StagePass], AsyncGenerator[Shard]],
    *,
    to_the_end: bool,
) -> None:
    """All passes of a stage. Raises Stopped, LocalTrouble.

    work        of that kind of lookup
    later       `later(n, …)` gives the rows that fail and were asked fewer than n times
    to_the_end  the last pass, too; with what has turned up since, if the others are done
    """
    rests = (0.0, *engine.settings.client.passes_s, 0.0)
    last = len(rests)
    begun = engine.begun(work(LookupKind.FIRST).stage)
    for number, rest_s in enumerate(rests, start=1):
        if number == last and not to_the_end:
            break
        ask = first if number == 1 else partial(later, number)
        kind = LookupKind.LATER if number > 1 else LookupKind.FIRST
        made = partial(_work, engine, work, LookupKind.LAST if number == last else kind)
        # Not the end: where a run goes on, a later pass may have been cut short.
        if (begun or number > 1) and not await _any(ask(StagePass("", number))):
            continue
        await engine.finish_pass(made, number, ask, replace=number > 1, rest_s=rest_s)


async def _any(shards: AsyncGenerator[Shard]) -> bool:
    async with aclosing(shards):
        async for _ in shards:
            return True
    return False


def _work(engine: Engine, work: Callable[[LookupKind], Work], kind: LookupKind) -> Work:
    made = work(kind)
    usual = engine.usual_failures.get(made.stage, 0.0)
    context = replace(made.context, usual_failing_share=usual)
    return replace(made, context=context, deadline_s=partial(_longest_s, context))


def _longest_s(context: ScanContext, rows: pa.RecordBatch) -> float:
    """How long lookups of `rows` may take: all unanswered, and those of one set in a row."""
    client = context.client
    unanswered_s = (1 + rows.num_rows / client.window) * TRIES_A_ROW * context.try_s
    per_s = client.questions_per_s_per_name_server_set
    return unanswered_s + _largest_set(rows) * QUESTIONS_A_ROW / per_s


def _largest_set(rows: pa.RecordBatch) -> int:
    """How many of the rows have the same name servers; hosts: the same parent domain."""
    if "ns" in rows.schema.names:
        sets = pc.binary_join(rows.column("ns").cast(pa.list_(pa.string())), " ")
        known = sets.filter(pc.not_equal(sets, ""))
    else:
        known = pc.replace_substring_regex(rows.column("host"), r"^[^.]*\.?", "")
    counts = pc.value_counts(known).field("counts")
    return int(pc.max(counts).as_py() or 0)
