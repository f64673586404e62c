"""Exception lists for senders: confirmed-broken domains, for a while, on somebody's word.

An exception tells senders to stop checking, which is what an attacker between us and a
server would want. So no breakage makes one by itself (docs/measurement.md, section 9):
each host needs an approval that names a person, rests on a second vantage or on the
operator's word, and ends within 14 days. Lookup failures never get one: what cannot be
looked up cannot be delivered to either way.

Approvals are a TOML file kept by the survey's operator:

    [[exception]]
    host = "mx.example.org"
    approver = "Jo Doe"
    grounds = "operator"          # or "vantage": seen from another network too
    reference = "their mail of 2026-11-20"
    from = 2026-11-20
    until = 2026-11-30
"""

import tomllib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from importlib.resources import files as package_files
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb

from dane.faults import UsageFault
from dane.names import NameFault, canonical
from dane.outcomes import HostStatus
from reports.dictionary import BreakageState
from reports.escape import printable
from reports.views import read


class Grounds(StrEnum):
    """What an approval rests on."""

    VANTAGE = "vantage"  # another survey, from another network, confirms the same breakage
    OPERATOR = "operator"  # the host's operator says so


class Action(StrEnum):
    """What Postfix is told (TLS_README, smtp_tls_policy_maps)."""

    ENCRYPT = "encrypt"  # TLS without authentication
    MAY = "may"  # TLS if it works


_ACTION = {
    HostStatus.MISMATCH: Action.ENCRYPT,
    HostStatus.NAME_MISMATCH: Action.ENCRYPT,
    HostStatus.TA_EXPIRED: Action.ENCRYPT,
    HostStatus.NO_STARTTLS: Action.MAY,
    HostStatus.STARTTLS_REJECTED: Action.MAY,
    HostStatus.TLS_FAILED: Action.MAY,
}


@dataclass(frozen=True, slots=True)
class Approval:
    """One person's word for one host; both days are included."""

    host: str
    approver: str
    grounds: Grounds
    reference: str
    begins: date
    until: date


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the list. `until` is the last day on which it may be used."""

    domain: str
    action: Action
    until: date
    hosts: tuple[str, ...]
    approvers: tuple[str, ...]


def read_approvals(path: Path, *, max_days: int) -> list[Approval]:
    """The approvals of a file. Raises UsageFault, with the entry, for one against the rules."""
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageFault(f"approvals {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageFault(f"approvals {path}: {error}") from error
    entries = found.pop("exception", [])
    if found or not isinstance(entries, list):
        raise UsageFault(f"approvals {path}: only [[exception]] tables are known")
    approvals = []
    for number, entry in enumerate(entries, 1):
        try:
            approvals.append(_approval(entry, max_days))
        except (ValueError, NameFault) as error:
            raise UsageFault(f"approvals {path}: exception {number}: {error}") from error
    return approvals


_KEYS: Mapping[str, type] = {
    "host": str,
    "approver": str,
    "grounds": str,
    "reference": str,
    "from": date,
    "until": date,
}


def _approval(entry: Mapping[str, Any], max_days: int) -> Approval:
    if unknown := entry.keys() - _KEYS.keys():
        raise ValueError(f"no such key: {', '.join(sorted(unknown))}")
    for key, kind in _KEYS.items():
        value = entry.get(key)
        if type(value) is not kind or not value or (kind is str and not str(value).strip()):
            raise ValueError(f"{key} is needed, as a {kind.__name__}")
    approval = Approval(
        host=canonical(entry["host"]),
        approver=entry["approver"].strip(),
        grounds=Grounds(entry["grounds"]),
        reference=entry["reference"].strip(),
        begins=entry["from"],
        until=entry["until"],
    )
    days = (approval.until - approval.begins).days + 1
    if not 1 <= days <= max_days:
        raise ValueError(f"it lasts {days} days; 1 to {max_days} are allowed")
    return approval


def entries(
    views: duckdb.DuckDBPyConnection,
    approvals: Sequence[Approval],
    *,
    today: date,
    second_vantage: Set[tuple[str, str]] = frozenset(),
    fresh_days: int = 2,
) -> list[Entry]:
    """The exceptions that hold today, by domain.

    A domain gets one if a sender that enforces DANE cannot deliver to it, and each of its
    broken hosts is confirmed, was seen so within `fresh_days`, and has an approval of
    today; on the ground of a second vantage only if (host, status) is in `second_vantage`:
    else whoever takes away STARTTLS before our network alone turns a mismatch into `may`. The
    weakest action that a host needs is the domain's; the list ends with the first approval.
    """
    statement = (package_files("reports") / "exceptions.sql").read_text("utf-8")
    rows = read(views, statement).to_pylist()
    oldest = today - timedelta(days=fresh_days)
    found = []
    for domain, group in groupby(rows, lambda row: row["domain"]):
        hosts = list(group)
        words = [_approved(row, approvals, today, second_vantage) for row in hosts]
        used = [one for one in words if one]
        if len(used) < len(hosts) or not all(
            row["state"] == BreakageState.CONFIRMED and row["last_look"].date() >= oldest
            for row in hosts
        ):
            continue
        actions = {_ACTION[HostStatus(row["status"])] for row in hosts}
        found.append(
            Entry(
                domain,
                Action.MAY if Action.MAY in actions else Action.ENCRYPT,
                min(one.until for one in used),
                tuple(one.host for one in used),
                tuple(sorted({one.approver for one in used})),
            )
        )
    return found


def _approved(
    row: Mapping[str, Any],
    approvals: Sequence[Approval],
    today: date,
    second_vantage: Set[tuple[str, str]],
) -> Approval | None:
    """The approval of a host's breakage that holds longest, if any holds today."""
    held = (
        one
        for one in approvals
        if one.host == row["host"]
        and one.begins <= today <= one.until
        and (one.grounds is Grounds.OPERATOR or (one.host, row["status"]) in second_vantage)
    )
    return max(held, key=lambda one: one.until, default=None)


def as_postfix(found: Sequence[Entry], *, today: date) -> str:
    """A table for smtp_tls_policy_maps. It expires only by being fetched again, so its head
    says until when it may be used: the first day on which an entry ends."""
    until = min((one.until for one in found), default=today)
    lines = [
        f"# Exceptions from DANE, confirmed and approved; made {today}.",
        f"# Not to be used after {until}: remove this file then, or make it again.",
    ]
    for one in found:
        by = printable(", ".join(one.approvers))
        lines.append(f"# until {one.until}, hosts {' '.join(one.hosts)}, approved by {by}")
        lines.append(f"{one.domain} {one.action}")
    return "\n".join(lines) + "\n"
