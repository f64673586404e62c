"""Settings of what is published."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishSettings:
    directory: Path | None = None  # of `dataset/`; default: under the state directory
    top_providers: int = 10
    memory_limit: str = "1.5GB"  # of DuckDB
