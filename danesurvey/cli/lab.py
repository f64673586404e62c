"""`danesurvey lab`: the miniature Internet."""

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from danesurvey.cli.context import settings_of

if TYPE_CHECKING:
    from lab.internet import Lab

Directory = Annotated[
    Path | None,
    typer.Option(help="Where the lab's files are; default: `lab` in the state directory."),
]


def register(app: typer.Typer) -> None:
    lab = typer.Typer(
        help="A miniature Internet: real name servers, mail servers, every way to be broken.",
        epilog="Example: danesurvey lab demo",
        no_args_is_help=True,
    )
    lab.command(epilog="Example: danesurvey lab demo")(demo)
    lab.command(epilog="Example: danesurvey lab up --zone gov.zone.gz")(up)
    lab.command(epilog="Example: danesurvey lab down")(down)
    lab.command(
        "exec",
        epilog="Example: danesurvey lab exec -- dig @127.20.0.1 plain. DS",
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    )(execute)
    lab.command(epilog="Example: danesurvey lab fault network --for 30")(fault)
    lab.command(epilog="Example: danesurvey lab history --days 12")(history)
    lab.command("list", epilog="Example: danesurvey lab list --json")(list_)
    app.add_typer(lab, name="lab")


def _directory(context: typer.Context, given: Path | None) -> Path:
    from lab.internet import CONTENTS_FILE

    if given:
        return given
    state_dir = settings_of(context).state_dir
    if (state_dir.parent / CONTENTS_FILE).exists():
        return state_dir.parent  # the settings are a lab's: that one is meant
    return state_dir / "lab"


def _lab(context: typer.Context, directory: Path | None) -> "Lab":
    from lab.internet import Lab

    return Lab(_directory(context, directory))


def demo(context: typer.Context, directory: Directory = None) -> None:
    """Bring a lab up, survey it, print the post and the broken domains, take it down."""
    from danesurvey.demo import demo as run
    from danesurvey.directories import refuse_unsafe

    where = directory or settings_of(context).state_dir / "demo"
    refuse_unsafe(where)
    raise typer.Exit(run(where))


def up(
    context: typer.Context,
    directory: Directory = None,
    zone: Annotated[
        Path | None,
        typer.Option(help="A zone file whose delegations are served, in place of the catalogue."),
    ] = None,
    domains: Annotated[
        int, typer.Option(min=0, help="Signed domains to make up, in place of the catalogue.")
    ] = 0,
    dead: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of those whose name server never answers."),
    ] = 0.0,
    latency: Annotated[
        int, typer.Option(min=0, help="Milliseconds to the farthest name server.")
    ] = 0,
    loss: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the name servers' UDP replies lost.")
    ] = 0.0,
    days_ahead: Annotated[
        float, typer.Option(min=0, help="Days ahead of real time that the lab lives.")
    ] = 0.0,
) -> None:
    """Bring the lab up; it stays until `lab down`, and is signed for two days: a survey then
    takes its own clock for wrong. Prints the settings file of a survey of it."""
    from dane import clock
    from dane.faults import UsageFault
    from danesurvey.directories import refuse_unsafe
    from lab.internet import Lab
    from lab.supervisor import Distance

    if zone and domains:
        raise UsageFault("--zone and --domains: a lab has either")
    if dead and not domains:
        raise UsageFault("--dead is a share of made-up domains: it goes with --domains")
    where = _directory(context, directory)
    refuse_unsafe(where)
    clock.run_ahead(days_ahead)
    lab = Lab(
        where,
        zone=zone,
        domains=domains,
        dead=dead,
        distance=Distance(latency, loss),
    )
    lab.up(attached=False)
    print(f"the lab is up ({lab.isolation} isolation)", file=sys.stderr)
    for one in lab.left_out:
        print(f"left out: {one.name}, which needs {', '.join(sorted(one.needs))}", file=sys.stderr)
    print(lab.settings_file)


def down(context: typer.Context, directory: Directory = None) -> None:
    """Take the lab down; does nothing if there is none."""
    _lab(context, directory).down()


def execute(
    context: typer.Context,
    command: Annotated[list[str], typer.Argument(help="What to run, with its arguments.")],
    directory: Directory = None,
) -> None:
    """Run a command inside the lab, where its name servers and mail servers are."""
    from dane.faults import UsageFault

    inside = _lab(context, directory).command(command)
    os.environ.pop("PYTHONSAFEPATH", None)  # set for our own processes (danesurvey.cli)
    try:
        os.execvp(inside[0], inside)  # a parent left here would meet Ctrl-C before the command did
    except OSError as error:
        raise UsageFault(f"{inside[0]}: {error.strerror}") from None


def fault(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            help="network, resolver, resolver-killed, second-resolver, rootkey, clock or fragments."
        ),
    ],
    for_s: Annotated[
        float, typer.Option("--for", min=0, help="Seconds until all is well again.")
    ] = 10.0,
    directory: Directory = None,
) -> None:
    """Break something of ours: no server answers, the resolver is stopped, is killed or has a
    stranger on its port, the root's key is lost, the clock is two days slow, fragments are
    dropped. Ctrl-C and SIGTERM mend it early."""
    from dane.faults import UsageFault
    from lab.faults import FAULTS

    if name not in FAULTS:
        raise UsageFault(f"no fault {name!r}; there are: {', '.join(FAULTS)}")
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # nothing stays half broken
    with FAULTS[name](_lab(context, directory)):
        print(f"{name}: broken for {for_s:g} s", file=sys.stderr)
        signal.sigtimedwait(ends, for_s)


def history(
    directory: Annotated[
        Path | None,
        typer.Option(help="Where its files are; default: `history` in the state directory."),
    ] = None,
    days: Annotated[int, typer.Option(min=1, help="Days to live through.")] = 12,
    only: Annotated[
        list[str] | None, typer.Option(help="Only the history of this name.", metavar="NAME")
    ] = None,
) -> None:
    """Live through days in minutes: what breaks, is repaired and renewed, and what is found of
    it. Exit code 1 if something is not found as declared."""
    from danesurvey.history import chosen, live
    from danesurvey.settings import default_state_directory

    for number in (signal.SIGINT, signal.SIGTERM):  # the survey under way ends, and the lab
        signal.signal(number, signal.default_int_handler)
    unmet = live(
        (directory or default_state_directory() / "history").absolute(),
        days=days,
        histories=chosen(only or ()),
        say=lambda line: typer.echo(line, err=True),
    )
    for one in unmet:
        typer.echo(one)
    if unmet:
        raise typer.Exit(1)
    typer.echo(f"{days} days: everything as declared")


def list_(
    json: Annotated[bool, typer.Option("--json", help="One JSON object a scenario.")] = False,
) -> None:
    """The catalogue: what each scenario is, what a survey must find, and why."""
    from lab.catalogue import as_json, as_table

    for line in as_json() if json else as_table():
        print(line)
