"""Attempts at an address, as `dane.attempts` takes them; passed, if nothing else is said."""

from typing import Any

from dane.attempts import Probe
from dane.outcomes import HostStatus


def probe(status: str = "pass", attempt: int = 1, **other: Any) -> Probe:
    return Probe(
        **{
            "address": "192.0.2.1",
            "sni": "mx.example.org",
            "attempt": attempt,
            "status": HostStatus(status),
            "leaf_names": (),
            "record_cause": (),
            "defects": (),
            **other,
        }
    )
