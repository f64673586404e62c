"""Problems made up for tests: one that differs from a plain mismatch by what is given."""

from datetime import UTC, datetime, timedelta
from typing import Any

from dane.outcomes import DnsCause, MismatchCause
from dane.repairs import ProblemKind
from reports.dictionary import OperatorKind
from reports.problems import Problem

NOW = datetime(2026, 12, 1, 6, tzinfo=UTC)
DIGEST = "ab" * 32


def problem(**given: Any) -> Problem:
    host = given.get("host", "mx.provider.example")
    values: dict[str, Any] = {
        "operator_kind": OperatorKind.MX,
        "operator": "provider.example",
        "kind": ProblemKind.MISMATCH,
        "cause": MismatchCause.UNKNOWN,
        "host": host,
        "base": host,
        "name": f"_25._tcp.{host}",
        "rrtype": "TLSA",
        "zone": "",
        "domains": ("a.example",),
        "undeliverable": 1,
        "good_until": NOW - timedelta(days=6),
        "began": NOW - timedelta(days=5),
        "recurrence": 0,
        "evidence": (),
        "records": (f"_25._tcp.{host}. IN TLSA 3 1 1 {DIGEST}",),
        "servers": (),
        "contact": None,
    }
    return Problem(**(values | given))


def failing(domain: str = "c.example", **given: Any) -> Problem:
    """A domain whose MX lookup fails."""
    values = {
        "operator_kind": OperatorKind.DNS,
        "operator": "dns.example",
        "kind": ProblemKind.LOOKUP,
        "cause": DnsCause.SIGNATURE_EXPIRED,
        "host": "",
        "name": domain,
        "rrtype": "MX",
        "zone": domain,
        "domains": (domain,),
        "records": (),
    }
    return problem(**(values | given))
