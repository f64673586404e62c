"""Drafts of notices to operators about confirmed breakage.

    for letter in letters(problems):               # to whom, about what
        if due(letter, ledger, muted, now):        # not twice within 30 days
            message = draft(letter, ...)

One message an operator. Its recipient is the contact that the SOA of the zone at fault names
(RNAME, RFC 1035 section 3.3.13), else the mailbox that RFC 5321 section 4.5.1 (postmaster) or
RFC 2142 (hostmaster) gives the operator. No address comes from WHOIS, none from a TLSRPT
record: that one asks for other reports. There is no code that sends: a person reads the drafts
(an mbox), corrects them, and sends them or does not.
"""

import csv
import io
import json
import re
import textwrap
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from email.generator import BytesGenerator
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from itertools import groupby

from dane.repairs import ProblemKind
from reports.dictionary import OperatorKind
from reports.escape import csv_cell, printable
from reports.problems import Problem

QUIET = timedelta(days=30)
"""Nobody gets a second notice within this time, unless there are new problems."""

_MAILBOX = {OperatorKind.MX: "postmaster", OperatorKind.DNS: "hostmaster"}
_HOST_NAME = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")
_LOCAL_PART = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.I)
_COLUMNS = 72
_DOMAINS_SHOWN = 10  # of a problem; the attachment has all
_SEEN_SHOWN = 8  # lines of evidence of a problem
_SEEN_COLUMNS = 160  # of one; a TLSA record may have 64 kB
_ID = "X-Danesurvey-Notice"


@dataclass(frozen=True, slots=True)
class Letter:
    """What one notice is about, and for whom. `source` says where the address comes from."""

    operator_kind: OperatorKind
    operator: str
    recipient: str
    source: str
    problems: tuple[Problem, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(sorted({problem.key for problem in self.problems}))


@dataclass(frozen=True, slots=True)
class Sent:
    """A notice that was sent: what it was about, and when."""

    operator: str
    recipient: str
    keys: frozenset[str]
    at: datetime


def letters(problems: Iterable[Problem]) -> list[Letter]:
    """One letter an operator, by kind and name of operator.

    The whole list goes only to an address within the operator's domain. Where there is none,
    each other address gets its own zone's part. An address at a domain whose mail is what is
    broken is used only if there is no other. Without any the recipient is empty.
    """

    def whose(problem: Problem) -> tuple[OperatorKind, str]:
        return problem.operator_kind, problem.operator

    ordered = sorted(problems, key=lambda problem: (*whose(problem), problem.key))
    return [
        letter
        for (kind, operator), group in groupby(ordered, whose)
        for letter in _letters(kind, operator, tuple(group))
    ]


def _letters(kind: OperatorKind, operator: str, problems: tuple[Problem, ...]) -> Iterator[Letter]:
    broken = {domain for problem in problems for domain in problem.domains}
    own = _address(_MAILBOX[kind], operator)
    contacts = {
        problem: address
        for problem in problems
        if problem.contact and (address := _contact(problem.contact))
    }
    within = sorted({one for one in contacts.values() if _is_within(_domain(one), operator)})
    sources = dict.fromkeys(within, "the SOA record of the zone names it")
    if own:
        mailbox = "RFC 5321, 4.5.1" if kind is OperatorKind.MX else "RFC 2142"
        sources.setdefault(own, f"every operator has this mailbox ({mailbox})")
    working = [one for one in sources if _domain(one) not in broken]
    if working:
        yield Letter(kind, operator, working[0], sources[working[0]], problems)
        return
    elsewhere = {
        problem: address for problem, address in contacts.items() if _domain(address) not in broken
    }
    told: list[Problem] = []
    for recipient in sorted(set(elsewhere.values())):
        part = tuple(one for one in problems if elsewhere.get(one) == recipient)
        told += part
        yield Letter(kind, operator, recipient, "the SOA record of the zone names it", part)
    if rest := tuple(one for one in problems if one not in told):
        recipient, source = next(iter(sources.items()), ("", ""))
        yield Letter(kind, operator, recipient, source, rest)


def due(letter: Letter, sent: Iterable[Sent], muted: Collection[str], now: datetime) -> bool:
    """Whether a letter may be drafted: its operator is not muted, and neither operator nor
    recipient was told within 30 days, but for problems that were not in those notices."""
    if letter.operator in muted:
        return False
    told = [
        notice.keys
        for notice in sent
        if now - notice.at < QUIET
        and (notice.operator == letter.operator or notice.recipient == letter.recipient != "")
    ]
    return not told or not set(letter.keys) <= frozenset().union(*told)


def draft(
    letter: Letter,
    *,
    number: int,
    sender: str,
    information: str,
    rule: str,
    now: datetime,
) -> EmailMessage:
    """The message. `number` is its row of the ledger, `sender` the survey's contact mailbox,
    `information` the page that explains the survey, `rule` when a failure is confirmed."""
    message = EmailMessage(policy=SMTP)
    if sender:
        message["From"] = printable(sender)
    if letter.recipient:
        user, _, domain = letter.recipient.rpartition("@")
        message["To"] = Address(username=user, domain=domain)
    message["Subject"] = _subject(letter)
    message["Date"] = now
    ours = sender.rpartition("@")[2].strip("> ")
    message["Message-ID"] = f"<danesurvey.{number}@{ours if _is_host(ours) else 'localhost'}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no automatic answers
    message[_ID] = str(number)
    message["X-Danesurvey-Status"] = "draft, not sent"
    message.set_content(_text(letter, information, rule), cte="7bit")
    message.add_attachment(
        _as_csv(letter.problems).encode(), maintype="text", subtype="csv", filename="domains.csv"
    )
    message.add_attachment(
        _as_json(letter.problems).encode(),
        maintype="application",
        subtype="json",
        filename="evidence.json",
    )
    return message


def mbox(messages: Iterable[EmailMessage]) -> bytes:
    """The drafts as an mbox (RFC 4155), for a mail program to open; nothing is sent."""
    out = io.BytesIO()
    generator = BytesGenerator(out, mangle_from_=True, policy=SMTP.clone(linesep="\n"))
    for message in messages:
        out.write(b"From danesurvey@localhost Thu Jan  1 00:00:00 1970\n")
        generator.flatten(message)
        out.write(b"\n")
    return out.getvalue()


def numbers(mail: bytes) -> frozenset[int]:
    """The ledger's numbers of the notices in an mbox or a single message."""
    return frozenset(
        int(number)
        for number in re.findall(rb"(?im)^" + _ID.encode() + rb":[ \t]*([0-9]{1,9})\r?$", mail)
    )


# --- addresses --------------------------------------------------------------------------------


def _is_host(name: str) -> bool:
    return _HOST_NAME.fullmatch(name) is not None


def _address(user: str, domain: str) -> str | None:
    return f"{user}@{domain}" if _is_host(domain) else None


def _contact(address: str) -> str | None:
    """An address as the scan stores it (RNAME as user@domain), if mail can go there."""
    user, _, domain = address.rpartition("@")
    return address if _LOCAL_PART.fullmatch(user) and _is_host(domain) else None


def _domain(address: str) -> str:
    return address.rpartition("@")[2]


def _is_within(domain: str, operator: str) -> bool:
    return domain == operator or domain.endswith(f".{operator}")


# --- text -------------------------------------------------------------------------------------


def _subject(letter: Letter) -> str:
    """What is true: mail is refused only where no MX host of a domain can be used."""
    refused = len({d for p in letter.problems if p.undeliverable for d in p.domains})
    hosts = len({p.host for p in letter.problems if p.kind is not ProblemKind.LOOKUP})
    if letter.problems and all(p.undeliverable == len(p.domains) for p in letter.problems):
        return f"DANE for SMTP: senders that check it cannot deliver to {_count(refused, 'domain')}"
    if hosts:
        return f"DANE for SMTP is broken at {_count(hosts, 'MX host')}"
    domains = len({d for p in letter.problems for d in p.domains})
    return f"DANE for SMTP: DNS lookups fail for {_count(domains, 'domain')}"


def _text(letter: Letter, information: str, rule: str) -> str:
    said = printable(letter.operator)
    lines = _wrapped(
        "A TLSA record in a signed zone promises that a mail server offers TLS with a certificate "
        "that fits the record (DANE for SMTP, RFC 7672). Senders that check it do not deliver "
        "where the promise does not hold, nor where the lookup of the record fails. A survey of "
        f"all signed domains found what follows at servers of {said}."
    )
    for number, (_, group) in enumerate(_sections(letter.problems), start=1):
        lines += _section(number, group)
    lines += ["", "-" * _COLUMNS]
    why = f"This address was chosen because {letter.source}. " if letter.source else ""
    lines += _wrapped(
        "The attachments have all domains (domains.csv) and all that was seen (evidence.json). "
        + rule
    )
    lines += ["", *_wrapped(
        f"{why}The survey measures what every sender of mail sees, keeps no mail, and writes to "
        "operators so that faults are repaired. It used your address for this notice alone. "
        "Answer to this mail to correct something, or to get no more notices or no more "
        "measurements (GDPR articles 14 and 21)."
    )]  # fmt: skip
    if information:
        lines += ["", f"Who we are and how we measure: {printable(information)}"]
    return "\n".join(lines) + "\n"


def _sections(
    problems: Sequence[Problem],
) -> Iterator[tuple[tuple[str, str], list[Problem]]]:
    """Problems of one kind and cause together, the kind with most domains first."""

    def what(problem: Problem) -> tuple[str, str]:
        return problem.kind, problem.cause or ""

    grouped = [(key, list(group)) for key, group in groupby(sorted(problems, key=what), what)]
    grouped.sort(key=lambda item: (-sum(len(p.domains) for p in item[1]), item[0]))
    yield from grouped


def _section(number: int, problems: Sequence[Problem]) -> Iterator[str]:
    first = problems[0]
    title = str(first.kind) + (f" ({first.cause})" if first.cause else "")
    yield from ("", "", f"{number}. {title.replace('_', ' ')}", "")
    for problem in problems:
        repair = problem.repair
        yield from _wrapped(printable(repair.wrong))
        yield from ("", *_wrapped(_since(problem)))
        yield from _wrapped(_domains(problem))
        yield ""
        seen = [
            *problem.evidence[:_SEEN_SHOWN],
            *(f"{server} [{address}]: {result}" for server, address, result in problem.servers),
        ]
        if seen:
            yield "Seen:"
            yield from (f"  {_shortened(line)}" for line in seen[: 2 * _SEEN_SHOWN])
            yield ""
        yield from _wrapped(f"To repair: {printable(repair.repair)}")
        yield from (f"  {record}" for record in problem.records)
        yield ""
        yield "To see the same, and after the repair that it works:"
        yield from (f"  {printable(line)}" for line in problem.checks)
        yield ""
    yield from _wrapped(f"So that it does not come back: {printable(first.repair.prevention)}")


def _since(problem: Problem) -> str:
    """From when, as far as the looks tell, and how often before."""
    said = "Since: "
    if problem.began is None:
        said += "at least four days"
    elif problem.good_until is None:
        said += f"{_moment(problem.began)} or earlier"
    else:
        said += f"between {_moment(problem.good_until)} and {_moment(problem.began)}"
    if problem.recurrence:
        times = _count(problem.recurrence, "time")
        said += f". It was so {times} before within the year"
    return said + "."


def _domains(problem: Problem) -> str:
    shown = ", ".join(printable(domain) for domain in problem.domains[:_DOMAINS_SHOWN])
    more = len(problem.domains) - _DOMAINS_SHOWN
    return f"{_count(len(problem.domains), 'domain')}: {shown}" + (
        f" and {more} more (domains.csv)." if more > 0 else "."
    )


def _moment(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _shortened(line: str) -> str:
    shown = printable(line)
    if len(shown) <= _SEEN_COLUMNS:
        return shown
    return f"{shown[:_SEEN_COLUMNS]}... ({len(shown)} characters; all in evidence.json)"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _COLUMNS, break_long_words=False, break_on_hyphens=False)


# --- attachments ------------------------------------------------------------------------------


def _as_csv(problems: Sequence[Problem]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(["domain", "host", "kind", "cause", "question", "since"])
    for problem in problems:
        about = (
            problem.host,
            problem.kind,
            problem.cause or "",
            f"{problem.name} {problem.rrtype}" if problem.kind is ProblemKind.LOOKUP else "",
            problem.began.isoformat() if problem.began else "",
        )
        for domain in problem.domains:
            writer.writerow([csv_cell(cell) for cell in (domain, *map(str, about))])
    return out.getvalue()


def _as_json(problems: Sequence[Problem]) -> str:
    rows = [
        {**asdict(problem), "key": problem.key, "checks": problem.checks} for problem in problems
    ]
    return json.dumps(rows, indent=1, default=str) + "\n"
