"""Fixtures that last a session and are shared by all kinds of tests."""

from hypothesis import HealthCheck, settings

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

# A slow or busy machine is no finding: nothing here asserts a time.
settings.register_profile("danesurvey", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("danesurvey")
