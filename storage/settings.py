"""Settings of the database."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    url: str | None = None  # postgresql://…; default: the embedded PostgreSQL
    connections: int = 8
