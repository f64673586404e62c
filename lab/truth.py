"""The ground truth of made-up domains, as Parquet beside the lab's zones."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lab.population import Truth

_COLUMNS: "list[pa.Field[Any]]" = [
    pa.field("domain", pa.string(), nullable=False),
    pa.field("recipe", pa.string(), nullable=False),  # a scenario's name, `hosted` or `dead`
    # of domain_verdict
    pa.field("status", pa.string(), nullable=False),
    pa.field("stage", pa.string()),
    pa.field("reason", pa.string()),
    pa.field("level", pa.string()),
    pa.field("mx_secure", pa.bool_(), nullable=False),
    pa.field("dane_primary", pa.bool_(), nullable=False),
    pa.field("deliverable", pa.bool_()),
]
SCHEMA = pa.schema(_COLUMNS)


_ROWS = 8192


def write(path: Path, truths: Iterable[Truth]) -> None:
    """Writes them in order, a few thousand at a time."""
    truths = iter(truths)
    with pq.ParquetWriter(path, SCHEMA) as out:
        while some := list(islice(truths, _ROWS)):
            rows = [{"domain": one.domain, "recipe": one.recipe, **one.verdict} for one in some]
            out.write_batch(pa.RecordBatch.from_pylist(rows, schema=SCHEMA))
