"""Exception lists for senders: confirmed-broken domains, for a while, on somebody's word.

An exception tells senders to stop checking, which is what an attacker between us and a
server would want. So no breakage makes one by itself (docs/measurement.md, section 9):
each host needs an approval that names a person, rests on a second vantage or on the
operator's word, and ends within 14 days. Lookup failures never get one: what cannot be
looked up cannot be delivered to either way.

An approval names the kind of fault, and that kind must be confirmed by itself. What senders are
told follows from the approval and from nothing that is seen: whoever takes away STARTTLS before
our network turns no `encrypt` into `may`.

Approvals are a TOML file kept by the survey's operator:

    [[exception]]
    host = "mx.example.org"
    kind = "certificate"          # or "tls": STARTTLS or TLS is missing
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
from dane.outcomes import FAULT_KIND, FaultKind, HostStatus
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


_ACTION = {FaultKind.CERTIFICATE: Action.ENCRYPT, FaultKind.TLS: Action.MAY}


@dataclass(frozen=True, slots=True)
class Approval:
    """One person's word for one kind of fault of one host; both days are included."""

    host: str
    kind: FaultKind
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
    "kind": str,
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
        kind=_kind(entry["kind"]),
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


def _kind(word: str) -> FaultKind:
    """The kind of fault that an approval names, also by the status that was seen."""
    if word in FAULT_KIND:
        return FAULT_KIND[HostStatus(word)]
    if word not in _ACTION:
        raise ValueError(f"kind {word!r}: it is {' or '.join(_ACTION)}")
    return FaultKind(word)


def entries(
    views: duckdb.DuckDBPyConnection,
    approvals: Sequence[Approval],
    *,
    today: date,
    second_vantage: Set[tuple[str, FaultKind]] = frozenset(),
    fresh_days: int = 2,
) -> list[Entry]:
    """The exceptions that hold today, by domain.

    A domain gets one if a sender that enforces DANE cannot deliver to it, and each of its
    broken hosts has an approval of today for a kind of fault that is confirmed by itself and was
    seen within `fresh_days`; on the ground of a second vantage only if (host, kind) is in
    `second_vantage`. The action is that of the approvals; where hosts of a domain need different
    ones, the weaker. The list ends with the first approval.
    """
    statement = (package_files("reports") / "exceptions.sql").read_text("utf-8")
    rows = read(views, statement).to_pylist()
    oldest = today - timedelta(days=fresh_days)
    held: dict[str, list[Approval]] = {}
    for one in approvals:
        if one.begins <= today <= one.until and (
            one.grounds is Grounds.OPERATOR or (one.host, one.kind) in second_vantage
        ):
            held.setdefault(one.host, []).append(one)
    found = []
    for domain, group in groupby(rows, lambda row: row["domain"]):
        hosts = list(group)
        used = [
            approval
            for row in hosts
            if (approval := _approved(row, held.get(row["host"], ()), oldest)) is not None
        ]
        if len(used) < len(hosts):
            continue
        actions = {_ACTION[one.kind] for one in used}
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
    row: Mapping[str, Any], approvals: Sequence[Approval], oldest: date
) -> Approval | None:
    """The approval to use for a broken host, if any: of the fault that it shows now rather than
    of another, then the one that holds longest."""
    confirmed = {kind["fault"] for kind in row["kinds"] if kind["last_look"].date() >= oldest}
    fitting = [one for one in approvals if one.kind in confirmed]
    return max(fitting, key=lambda one: (one.kind == row["fault"], one.until), default=None)


class Table(StrEnum):
    """The mail server that a list is for."""

    POSTFIX = "postfix"  # smtp_tls_policy_maps
    EXIM = "exim"  # an lsearch file, for hosts_try_dane and hosts_require_tls


_SEPARATOR = {Table.POSTFIX: " ", Table.EXIM: ": "}


def as_table(found: Sequence[Entry], *, today: date, table: Table = Table.POSTFIX) -> str:
    """A table for a mail server. It expires only by being written again, so its head says until
    when it may be used: the first day on which an entry ends, today where there is none."""
    until = min((one.until for one in found), default=today)
    lines = [
        f"# Exceptions from DANE, confirmed and approved; made {today}.",
        f"{_USABLE}{until}: remove this file then, or make it again.",
    ]
    for one in found:
        by = printable(", ".join(one.approvers))
        lines.append(f"# until {one.until}, hosts {' '.join(one.hosts)}, approved by {by}")
        lines.append(f"{one.domain}{_SEPARATOR[table]}{one.action}")
    return "\n".join(lines) + "\n"


_USABLE = "# Not to be used after "
_HEAD = 400  # bytes, in which the line with the last day stands


def last_day(path: Path) -> date | None:
    """The last day on which an installed table may be used; None for what is no such table.

    Raises OSError.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD).decode("utf-8", "replace")
    for line in head.splitlines():
        if line.startswith(_USABLE):
            try:
                return date.fromisoformat(line.removeprefix(_USABLE)[:10])
            except ValueError:
                return None
    return None
