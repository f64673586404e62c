"""What a scan's canaries showed travels beside its rows."""

import pyarrow as pa

from crawler.coordinator.node import from_bytes, to_bytes
from crawler.scan.canary_round import attach, rounds_of
from storage.schemas import DOMAIN_MX


def test_looks_travel_beside_the_rows() -> None:
    batch = pa.RecordBatch.from_pylist([], schema=DOMAIN_MX.schema)
    told = from_bytes(to_bytes(attach(batch, [(1.5, "good"), (2.5, "network_down")])))
    assert rounds_of(told) == [(1.5, "good"), (2.5, "network_down")]
    assert told.schema.equals(DOMAIN_MX.schema)
    assert rounds_of(batch) == []
