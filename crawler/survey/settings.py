"""Settings of the coordinator and its workers."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveySettings:
    workers: int | None = None  # processes of the LocalCluster; default: cores
    scheduler: str | None = None  # "tls://host:port" of a cluster; default: a LocalCluster
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    shards_in_flight: int = 6
    shard_rows: int = 20_000
    shard_deadline_s: float = 900.0
    patience_s: float = 21_600.0  # without any answer that can be believed
    worker_lost_wait_s: float = 60.0
    keep_full_runs: int = 3
