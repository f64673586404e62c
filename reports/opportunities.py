"""Opportunities: which operator could make most domains DANE domains, and by what.

Only what an operator can change by itself counts: domains whose MX RRset is validated and
whose most preferred hosts lack one kind of thing at one operator (`opportunities.sql`).
Nobody is blamed here, and no domain is named.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files as package_files

import duckdb

from reports.escape import printable
from reports.views import read


class OpportunityKind(StrEnum):
    """What is missing at the hosts."""

    PUBLISH_TLSA = "publish_tlsa"
    SIGN_ZONE = "sign_zone"
    ADD_USABLE = "add_usable"


_MEANING = {
    OpportunityKind.PUBLISH_TLSA: "signed zone, no TLSA records: publish them",
    OpportunityKind.SIGN_ZONE: "unsigned zone: sign it, then publish TLSA records",
    OpportunityKind.ADD_USABLE: "no usable TLSA record: add a 3 1 1 record",
}


@dataclass(frozen=True, slots=True)
class Opportunity:
    kind: OpportunityKind
    operator: str
    domains: int  # that would become DANE domains
    hosts: int  # of the operator, to be changed for that


def find(views: duckdb.DuckDBPyConnection) -> list[Opportunity]:
    """All opportunities, those with most domains first."""
    statement = (package_files("reports") / "opportunities.sql").read_text("utf-8")
    return [
        Opportunity(OpportunityKind(row["kind"]), row["operator"], row["domains"], row["hosts"])
        for row in read(views, statement).to_pylist()
    ]


def as_text(found: Sequence[Opportunity], top: int) -> str:
    """The largest of each kind, as columns."""
    lines: list[str] = []
    for kind in OpportunityKind:
        of_kind = [one for one in found if one.kind is kind][:top]
        if of_kind:
            lines += [_MEANING[kind], "", "   domains    hosts  operator"]
            lines += [
                f"{one.domains:>10,} {one.hosts:>8,}  {printable(one.operator)}" for one in of_kind
            ]
            lines.append("")
    return "\n".join(lines) or "No opportunities found.\n"
