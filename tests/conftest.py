"""Fixtures that last a session and are shared by all kinds of tests."""

from tests.lab_fixture import lab, lab_resolver
from tests.postgres_fixture import connection, database_url, postgres_url, state_dir

__all__ = [
    "connection",
    "database_url",
    "lab",
    "lab_resolver",
    "postgres_url",
    "state_dir",
]
