"""The rows of one lookup scan, pass by pass: one pass over all, two more over what fails.

The caller flushes its resolvers before each later pass; the last one has all the patience
that a resolver needs to give up (measurement, section 2).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pyarrow as pa

from dane.faults import LocalTrouble
from dane.names import bucket
from storage.schemas import Table

Row = dict[str, Any]

LAST_PASS = 3
_PREVIOUS = ("passes", "first_asked", "ede_code", "ede_text")


class Lookups:
    """`rows`: by name, as of its last pass.

    scan     does one pass, whose number it is given, over a shard
    table    of its rows; the last column of its key has the names
    failed   whether a row deserves another pass
    """

    def __init__(
        self,
        scan: Callable[[pa.RecordBatch, int], list[Row]],
        table: Table,
        failed: Callable[[Row], bool],
    ) -> None:
        self.rows: dict[str, Row] = {}
        self._scan = scan
        self._schema = table.schema
        self._key = table.key[-1]
        self._failed = failed

    def settled(self, name: str) -> bool:
        """Whether its row is the last one."""
        return self._next_pass(name) is None

    def due(self, names: Iterable[str], passes: int) -> list[str]:
        """Those of the names whose next pass has that number."""
        return [name for name in names if self._next_pass(name) == passes]

    def _next_pass(self, name: str) -> int | None:
        row = self.rows.get(name)
        if row is None:
            return 1
        done = int(row["passes"])
        return done + 1 if done < LAST_PASS and self._failed(row) else None

    def ask(self, names: Sequence[str], passes: int) -> None:
        """Do that pass. Raises LocalTrouble if the resolver cannot be believed."""
        shard = [
            {
                "bucket": bucket(name),
                self._key: name,
                **{column: self.rows.get(name, {}).get(column) for column in _PREVIOUS},
            }
            for name in names
        ]
        fields = [self._schema.field(column) for column in ("bucket", self._key)]
        fields += [self._schema.field(column).with_nullable(True) for column in _PREVIOUS]
        found = self._scan(pa.RecordBatch.from_pylist(shard, schema=pa.schema(fields)), passes)
        rows = {row[self._key]: row for row in found}
        if missing := [name for name in names if name not in rows]:
            raise LocalTrouble(
                f"{missing[0]}: the canaries fail, so no answer can be believed: "
                "danesurvey doctor says why"
            )
        self.rows |= rows
