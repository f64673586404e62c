"""Fixtures that last a session and are shared by all kinds of tests."""

import pytest
from hypothesis import HealthCheck, settings

from dane.faults import LocalTrouble
from lab.namespace import Isolation, available
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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Processes for `-n auto`: three, since tests wait more than they compute.

    None beside this one (0) where labs share the loopback of the host: all have the same ports.
    """
    try:
        return 0 if available() is Isolation.NONE else 3
    except LocalTrouble:
        return 0
