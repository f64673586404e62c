"""What a stage is: one value, which `stages.py` fills in for each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from crawler.coordinator.dispatcher import Time
from crawler.coordinator.node import Scan
from crawler.scan.context import ScanContext
from storage.schemas import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage.

    tables      that its scan fills; the first one has the rows that were asked for
    due         which rows are due: the questions of `storage.due` and `storage.assessment`
    scan        shard and context to rows, in a worker
    counted     the column whose words the display counts
    reads       stages whose rows make rows of this one due
    waits_for   stages that must have nothing left
    time        when its rows may be due
    share       of the questions to the DNS that one scan may have open or ask a second
    later_share  the same for later lookups, which have a slot of their own
    longest_s   how long a scan of these rows may take
    """

    name: str
    tables: tuple[Table, ...]
    due: Any
    scan: Scan
    counted: str
    reads: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()
    time: Time = Time.DATED
    share: float = 0.0
    later_share: float = 0.0
    longest_s: Callable[[ScanContext, pa.RecordBatch], float] = lambda _, __: 0.0
