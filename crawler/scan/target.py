"""What a probe scan is given: an address to connect to, for which name, and the records there."""

from dataclasses import dataclass, fields
from datetime import datetime

import pyarrow as pa

from dane.tlsa import TLSARecord, parse_text


@dataclass(frozen=True, slots=True)
class Key:
    """A row of a probe scan's shard: the key of a probe, with what was published for it."""

    bucket: int
    address: str
    tlsa_digest: str
    operator: str
    sni: str
    attempt: int
    host: str
    tlsa: tuple[str, ...]
    dns_asked: datetime
    not_before: datetime | None = None  # when its address may be connected to
    reached: bool = False  # in the last run: then its visit is a canary of port 25
    earlier: tuple[bytes, ...] = ()  # certificates (DER) that this server showed in earlier runs

    @property
    def records(self) -> list[TLSARecord]:
        return [parse_text(text) for text in self.tlsa]


_COLUMNS = [field.name for field in fields(Key)]


def keys_of(shard: pa.RecordBatch) -> list[Key]:
    """The rows of a shard; `not_before` and `earlier` may be missing."""
    given = [name for name in _COLUMNS if name in shard.schema.names]
    return [
        Key(**{**row, "tlsa": tuple(row["tlsa"]), "earlier": tuple(row.get("earlier", ()))})
        for row in shard.select(given).to_pylist()
    ]
