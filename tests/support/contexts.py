"""The context of a scan, for tests: nothing in it leads anywhere unless a test says so."""

from typing import Any

import pyarrow as pa

from crawler.dns.client import Resolvers
from crawler.dns.settings import ClientSettings
from crawler.scan.context import ScanContext
from crawler.smtp.settings import ProbeSettings


def scan_context(*schemas: pa.Schema, **changes: Any) -> ScanContext:
    """A context without resolvers and canaries, but for `changes`."""
    given: dict[str, Any] = {
        "run_id": 1,
        "schemas": schemas,
        "resolvers": Resolvers(first=()),
        "client": ClientSettings(),
        "canaries": None,
        "probe": ProbeSettings(),
    }
    return ScanContext(**given | changes)
