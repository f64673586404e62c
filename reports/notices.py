"""Drafts of notices to operators about confirmed breakage.

One message an operator, to the mailbox that RFC 2142 and RFC 5321 section 4.5.1 give it:
postmaster@ for mail, hostmaster@ for DNS. It says which domains suffer, what was seen,
and what to do. There is no code that sends: a person reads the drafts (an mbox), corrects
them, and sends them or does not.
"""

import io
import re
from collections.abc import Iterable, Sequence
from email.generator import Generator
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from importlib.resources import files as package_files
from itertools import groupby

from jinja2 import Environment, StrictUndefined

from dane.outcomes import HostStatus
from reports.breakage import Breakage
from reports.dictionary import BreakageState, OperatorKind
from reports.escape import printable

_MAILBOX = {OperatorKind.MX: "postmaster", OperatorKind.DNS: "hostmaster"}
_HOST_NAME = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")
_DOMAINS_SHOWN = 200

# What repairs each status; the reader is the operator, not a student of RFCs.
_REPAIR = {
    HostStatus.MISMATCH: "Publish a TLSA record of the key that the server uses now (3 1 1), and "
    "from now on the record of the next key before the key changes.",
    HostStatus.TA_EXPIRED: "Renew the certificate that is outside its dates.",
    HostStatus.NAME_MISMATCH: "Use a certificate with the MX host's name, or a 3 1 1 TLSA record "
    "of the server's key, which needs no name.",
    HostStatus.NO_STARTTLS: "Offer STARTTLS to every client, or remove the TLSA records.",
    HostStatus.STARTTLS_REJECTED: "Make STARTTLS work for everybody, or remove the TLSA records.",
    HostStatus.TLS_FAILED: "Make the TLS handshake work, or remove the TLSA records.",
}
_REPAIR_LOOKUP = (
    "Make every authoritative server answer this question, signed, or with a signed denial."
)


def drafts(breakages: Iterable[Breakage], *, sender: str, information: str) -> list[EmailMessage]:
    """One draft an operator with confirmed breakage; others are left out.

    `sender` is the survey's contact mailbox, `information` the page that explains it.
    """
    known = [one for one in breakages if one.state is BreakageState.CONFIRMED]
    known.sort(key=lambda one: (one.operator_kind, one.operator, one.host, one.domain))
    return [
        _draft(kind, operator, list(cases), sender, information)
        for (kind, operator), cases in groupby(known, lambda one: (one.operator_kind, one.operator))
    ]


def mbox(messages: Iterable[EmailMessage]) -> str:
    """The drafts as an mbox (RFC 4155), for a mail program to open; nothing is sent."""
    out = io.StringIO()
    generator = Generator(out, mangle_from_=True, policy=SMTP.clone(linesep="\n"))
    for message in messages:
        out.write("From danesurvey@localhost Thu Jan  1 00:00:00 1970\n")
        generator.flatten(message)
        out.write("\n")
    return out.getvalue()


def _draft(
    kind: OperatorKind,
    operator: str,
    cases: Sequence[Breakage],
    sender: str,
    information: str,
) -> EmailMessage:
    domains = len({one.domain for one in cases})
    said = "1 domain" if domains == 1 else f"{domains} domains"
    message = EmailMessage(policy=SMTP)
    if sender:
        message["From"] = printable(sender)
    if _HOST_NAME.fullmatch(operator):
        message["To"] = Address(username=_MAILBOX[kind], domain=operator)
    message["Subject"] = f"DANE for SMTP: mail to {said} is delayed or refused"
    message["X-Danesurvey-Status"] = "draft, not sent"
    message.set_content(_text(kind, operator, cases, information), cte="7bit")
    return message


def _text(kind: OperatorKind, operator: str, cases: Sequence[Breakage], information: str) -> str:
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["printable"] = printable
    template = (package_files("reports") / "templates" / "notice.txt.j2").read_text("utf-8")
    problems = [
        {
            "host": host,
            "status": status,
            "stage": stage,
            "repair": _REPAIR.get(HostStatus(status), "") if not stage else _REPAIR_LOOKUP,
            "first": min(one.first_look for one in group),
            "evidence": group[0].evidence,
            "domains": [one.domain for one in group][:_DOMAINS_SHOWN],
            "more": max(0, len(group) - _DOMAINS_SHOWN),
        }
        for (host, stage, status), group in (
            (key, list(same)) for key, same in groupby(sorted(cases, key=_problem), _problem)
        )
    ]
    return environment.from_string(template).render(
        kind=kind, operator=operator, problems=problems, information=information
    )


def _problem(one: Breakage) -> tuple[str, str, str]:
    return one.host, one.stage, one.status
