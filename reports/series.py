"""The statistics of all runs of a year, in one file: what changes from run to run."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reports.dataset import Dataset, Files
from reports.derived_tables import SERIES, STATISTICS
from storage.run import Run


def of_year(staged: Files, dataset: Dataset, run: Run) -> Iterator[pa.Table]:
    """The series of the run's year with this run's statistics in place of earlier ones."""
    now = staged.read(STATISTICS)
    rows = now.num_rows
    added = {
        "date": pa.array([run.started.date()] * rows, pa.date32()),
        "month": pa.array([staged.key.month] * rows, pa.string()),
        "run": pa.array([run.run_id] * rows, pa.int32()),
    }
    tables = [
        pa.table({**added, **{name: now.column(name) for name in now.schema.names}}).select(
            SERIES.schema.names
        )
    ]
    for path in dataset.year(SERIES, staged.key):
        earlier = pq.ParquetFile(path).read()
        tables.append(earlier.filter(pc.field("run") != run.run_id))
    whole = pa.concat_tables([one.cast(SERIES.schema) for one in tables])
    yield whole.sort_by([(name, "ascending") for name in SERIES.key])
