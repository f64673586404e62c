"""Which MX hosts a batch of domains wants: stored with them, so that they are due at once."""

from typing import Any

import pyarrow as pa
import pyarrow.compute

from dane.names import bucket
from storage.schemas import WANTED_HOST

pc: Any = pyarrow.compute  # the stubs lack some of the kernels


def wanted_hosts(domains: pa.RecordBatch) -> pa.RecordBatch | None:
    """Rows of `wanted_host` of a batch of rows of `domain_mx`; None if there are none.

    The hosts of secure MX RRsets, each once. A sole "." is null MX (RFC 7505): no host.
    """
    secure = domains.filter(domains.column("secure"))
    if not secure.num_rows:
        return None
    lists = secure.column("mx_host")
    counts = pc.list_value_length(lists)
    rows = pa.table(
        {
            "host": pc.list_flatten(lists),
            "hosts": counts.take(pc.list_parent_indices(lists)),
            "run_id": secure.column("run_id").take(pc.list_parent_indices(lists)),
        }
    )
    rows = rows.filter(pc.or_(pc.not_equal(rows["host"], "."), pc.greater(rows["hosts"], 1)))
    if not rows.num_rows:
        return None
    fewest = rows.group_by(["host", "run_id"]).aggregate([("hosts", "min")]).to_pydict()
    return pa.record_batch(
        [
            pa.array(fewest["run_id"], pa.int32()),
            pa.array([bucket(host) for host in fewest["host"]], pa.int16()),
            pa.array(fewest["host"], pa.string()),
            pa.array(fewest["hosts_min"], pa.int16()),
        ],
        schema=WANTED_HOST.schema,
    )
