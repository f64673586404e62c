"""`danesurvey check`: one domain live, explained."""

import json
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from dane.faults import Fault, UsageFault
from dane.names import NameFault, canonical
from danesurvey.check.advice import EXIT_CODE, NAGIOS_CODE, WORSE_LAST, Severity
from danesurvey.cli.context import settings_of

if TYPE_CHECKING:
    from danesurvey.settings import Settings

_TERMINATED = 143  # exit code, as of a command that SIGTERM ends
_EXAMPLE = "Example: danesurvey check example.org"


class Form(NamedTuple):
    """How to print."""

    json: bool
    quiet: bool
    nagios: bool


def register(app: typer.Typer) -> None:
    app.command("check", epilog=_EXAMPLE)(check)


def check(
    context: typer.Context,
    domains: Annotated[
        list[str] | None,
        typer.Argument(metavar="DOMAIN…", help="Mail domains; `-` or none: one a line on stdin."),
    ] = None,
    print_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a domain and line.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing.")] = False,
    nagios: Annotated[
        bool, typer.Option("--nagios", help="One line and exit code for a monitoring system.")
    ] = False,
    only_4: Annotated[bool, typer.Option("--4", help="Only IPv4 addresses.")] = False,
    only_6: Annotated[bool, typer.Option("--6", help="Only IPv6 addresses.")] = False,
    mx: Annotated[
        str | None,
        typer.Option(metavar="HOST", help="This MX host instead of the domain's own."),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="When certificates must be valid, ISO 8601. Default: now."
        ),
    ] = None,
    resolver: Annotated[
        str | None,
        typer.Option(
            metavar="ADDR[@PORT]", help="A validating resolver on loopback. Default: a fresh one."
        ),
    ] = None,
) -> None:
    """Check the DANE of mail domains now, and explain what is found.

    Exit code: 0 nothing is broken, 1 a domain is broken or its lookups fail, 2 wrong usage, 3
    trouble on this side. With --nagios: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
    """
    form = Form(print_json, quiet, nagios)
    try:
        if only_4 and only_6:
            raise UsageFault("--4 and --6 exclude each other")
        code = _check(
            settings_of(context),
            _names(domains or ["-"]),
            form,
            families=frozenset({4} if only_4 else {6} if only_6 else {4, 6}),
            mx=_name(mx) if mx else None,
            at=_moment(at) if at else None,
            resolver=resolver,
        )
    except Fault as fault:
        if not nagios:
            raise
        print(f"DANE UNKNOWN - {fault}")
        code = NAGIOS_CODE[Severity.UNKNOWN]
    raise typer.Exit(code)


def _check(
    settings: "Settings",
    names: Iterable[str],
    form: Form,
    *,
    families: frozenset[Literal[4, 6]],
    mx: str | None,
    at: datetime | None,
    resolver: str | None,
) -> int:
    """Print each domain's result as soon as it is there; the exit code of the worst."""
    # Heavy imports are for this verb alone.
    from rich.console import Console

    from crawler.dns.unbound import loopback
    from crawler.opt_out import OptOut
    from crawler.smtp.etiquette import missing_identity
    from danesurvey.check.document import document
    from danesurvey.check.measure import Checker, Request

    address = loopback(resolver) if resolver else None
    request = Request(families=families, mx=mx, at=at, resolver=address)
    wanted = list(dict.fromkeys(names))
    if not wanted:
        raise UsageFault("no domain to check")
    listed = OptOut(settings.probe.opt_out)
    if left_alone := [name for name in wanted if listed.covers(names=(name,))]:
        raise UsageFault(f"{left_alone[0]} is on the opt-out list: it is not looked up")
    if missing := () if settings.probe.lab_addresses else missing_identity(settings.probe):
        print(
            "danesurvey: mail servers are not connected to, only DNS is checked: set "
            f"{', '.join(f'probe.{one}' for one in missing)} (docs/ethics.md)",
            file=sys.stderr,
        )
    worst = Severity.OK
    pause = f"{settings.probe.address_interval_s:g} s"
    console = Console(stderr=True)
    with (
        _terminable(),
        Checker(settings, request) as checker,
        closing(checker.measure(wanted)) as results,
    ):
        for left in range(len(wanted), 0, -1):
            waiting = f"checking {left}; a server that fails is visited again after {pause}"
            # A sign of life on a terminal: what fails takes minutes. One display a wait: Rich
            # cannot end a display whose start or end a signal has interrupted.
            with console.status(waiting):
                measured = next(results)
            found = document(measured, at)
            worst = max(worst, found["verdict"]["severity"], key=WORSE_LAST.index)
            _show(found, form)
    return (NAGIOS_CODE if form.nagios else EXIT_CODE)[worst]


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, with another exit code.

    Nothing is raised in the handler: trio takes SIGINT where its own state allows it, and any
    other exception in the midst of its scheduler is a crash.
    """
    terminated = False

    def terminate(*_: object) -> None:
        nonlocal terminated
        terminated = True
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt:
        if terminated:
            sys.exit(_TERMINATED)
        raise


def _show(found: dict[str, Any], form: Form) -> None:
    from rich.console import Console

    from danesurvey.check import terminal

    if form.quiet:
        return
    if form.json:
        print(json.dumps(found), flush=True)
    elif form.nagios:
        print(terminal.nagios(found), flush=True)
    else:
        terminal.show(Console(), found)


def _names(arguments: Iterable[str]) -> Iterator[str]:
    """The domains as keys; `-` stands for the lines of standard input."""
    for argument in arguments:
        if argument != "-":
            yield _name(argument)
            continue
        for line in sys.stdin:
            text = line.partition("#")[0].strip()
            if text:
                yield _name(text)


def _name(text: str) -> str:
    """The key of a domain name; one in Unicode by Python's codec (IDNA 2003)."""
    if "@" in text:
        raise UsageFault(f"{text!r} is not a domain name, but a mail address")
    try:
        if not text.isascii():
            text = text.encode("idna").decode("ascii")
        return canonical(text)
    except (NameFault, UnicodeError) as fault:
        raise UsageFault(f"{text!r} is not a domain name: {fault}") from None


def _moment(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageFault(f"--at {text}: {error}") from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
