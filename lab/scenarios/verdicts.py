"""The columns of `domain_verdict` for the usual endings (measurement, section 7).

Each is complete, so that a scenario says everything by naming one and what differs.
"""

from typing import Any

Verdict = dict[str, Any]


def _verdict(status: str, **columns: object) -> Verdict:
    usual = {
        "stage": None,
        "reason": None,
        "level": None,
        "mx_secure": True,
        "dane_primary": False,
        "deliverable": None,
    }
    return {"status": status, **usual, **columns}


DANE = _verdict("dane", dane_primary=True, deliverable=True)
BROKEN = _verdict("broken", level="primary", deliverable=False)
BACKUP_BROKEN = _verdict("broken", level="backup", dane_primary=True, deliverable=True)
PARTIAL = _verdict("partial", deliverable=True)
NO_TLSA = _verdict("no_tlsa")
INSECURE_MX_HOST = _verdict("insecure_mx_host")
UNUSABLE = _verdict("unusable", deliverable=True)
UNREACHABLE = _verdict("unreachable")
INDETERMINATE = _verdict("indeterminate")
INSECURE = _verdict("insecure", mx_secure=False)
MX_FAILED = _verdict("lookup_failed", stage="mx", mx_secure=False, deliverable=False)
TLSA_FAILED = _verdict("lookup_failed", stage="tlsa", deliverable=False)
ADDRESS_FAILED = _verdict("lookup_failed", stage="address", deliverable=False)
NULL_MX = _verdict("no_mail", reason="null_mx")
NO_ADDRESS = _verdict("no_mail", reason="no_address")
GONE = _verdict("no_mail", reason="nxdomain")
