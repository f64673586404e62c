"""`survey`, and its stages one by one."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from danesurvey.cli.cluster import Scheduler, scheduler_flags
from danesurvey.cli.context import settings_of

if TYPE_CHECKING:
    from danesurvey.run import Request

_STAGES = {
    "resolve": "MX and DNSSEC facts of every signed domain.",
    "hosts": "Addresses and TLSA records of every MX host.",
    "probe": "Connect to every DANE mail server and compare its certificates.",
    "assess": "A verdict for each MX host and each domain.",
}


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: danesurvey survey --only dane")(survey)
    for stage, what in _STAGES.items():
        help_text = f"{what} One stage of the unfinished run, or of a new one."
        app.command(name=stage, help=help_text, epilog=f"Example: danesurvey {stage}")(
            _one_stage(stage)
        )
    app.command(epilog="Example: danesurvey publish --run 41")(publish)


def survey(
    context: typer.Context,
    only: Annotated[
        str | None,
        typer.Option(help="dane: domains with DANE or failing lookups; suspects: broken ones."),
    ] = None,
    accept_shrink: Annotated[
        bool, typer.Option(help="Accept zones that lost many domains, this once.")
    ] = False,
    force: Annotated[bool, typer.Option(help="Publish a run that would be refused.")] = False,
    scheduler: Scheduler = None,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON on stdout.")] = False,
) -> None:
    """Intake, resolve, hosts, probe, assess, publish; goes on with an unfinished run."""
    from danesurvey.run import Request
    from storage.run import RunKind

    kinds = {None: RunKind.FULL, "dane": RunKind.DANE, "suspects": RunKind.SUSPECTS}
    if only not in kinds:
        raise typer.BadParameter("dane or suspects", param_hint="--only")
    request = Request(kind=kinds[only], accept_shrink=accept_shrink, force=force)
    _run(context, request, as_json, *scheduler_flags(scheduler))


def publish(
    context: typer.Context,
    run: Annotated[
        int | None,
        typer.Option(help="A run whose rows are still there, published under its own date."),
    ] = None,
    force: Annotated[bool, typer.Option(help="Publish a run that would be refused.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON on stdout.")] = False,
) -> None:
    """Export the last run, or another, as Parquet, with statistics and manifest."""
    from danesurvey.run import Request

    _run(context, Request(stages=("publish",), force=force, run_id=run), as_json)


def _one_stage(stage: str) -> Callable[..., None]:
    def command(
        context: typer.Context,
        as_json: Annotated[
            bool, typer.Option("--json", help="The result as JSON on stdout.")
        ] = False,
    ) -> None:
        from danesurvey.run import Request

        _run(context, Request(stages=(stage,)), as_json)

    return command


def _run(context: typer.Context, request: "Request", as_json: bool, *flags: str) -> None:
    from crawler.coordinator.dispatcher import Stopped
    from danesurvey.run import STOPPED, survey

    try:
        done = survey(settings_of(context, *flags), request)
    except Stopped:
        typer.echo("stopped; what was done is kept: `danesurvey survey` goes on", err=True)
        raise typer.Exit(STOPPED) from None
    typer.echo(done.as_json() if as_json else done.as_text())
