"""What a scan's canaries showed, handed back beside its rows: in the batch's metadata.

The rows need no column for it: what is not enclosed by good canaries has no row.
"""

import json
from collections.abc import Sequence

import pyarrow as pa

Look = tuple[float, str]
"""When a round of canaries ended (seconds since 1970), and its `crawler.dns.canaries.Health`."""

_KEY = b"canaries"


def attach(batch: pa.RecordBatch, looks: Sequence[Look]) -> pa.RecordBatch:
    """The batch with the looks beside it."""
    return batch.replace_schema_metadata({_KEY: json.dumps(looks).encode()})


def looks_of(batch: pa.RecordBatch) -> list[Look]:
    """The looks beside a batch; none for a scan without canaries."""
    told = (batch.schema.metadata or {}).get(_KEY)
    return [(float(at), str(health)) for at, health in json.loads(told)] if told else []
