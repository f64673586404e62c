"""Fixtures that last a session and are shared by all kinds of tests."""

from tests.lab_fixture import lab, lab_resolver

__all__ = ["lab", "lab_resolver"]
