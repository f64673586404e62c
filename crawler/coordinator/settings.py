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
    shards_in_flight: int | None = None  # default: as many as scans at once, and two
    shard_rows: int = 20_000  # at most
    shard_s: float = 45.0  # how long a scan should take: its rows are counted out for that
    shard_deadline_s: float = 900.0  # besides what its rows may take
    worker_ttl_s: float = 30.0  # a worker that is silent for so long is restarted
    worker_lost_wait_s: float = 60.0  # before a probe whose worker was lost goes out again
    most_quarantined: int = 100  # rows a pass that a scan cannot take; then it is no row's fault
    patience_s: float = 21_600.0  # without any answer that can be believed
    metrics_port: int | None = None  # of 127.0.0.1, for Prometheus; default: none
    keep_full_runs: int = 3  # whose rows stay in the database once they are published
    keep_daily_runs: int = 10  # likewise, of DANE domains and of suspects
