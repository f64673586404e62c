"""`status` and `runs`: what the database knows of runs, also while another process works."""

import json
from typing import Annotated, Any

import typer

from danesurvey.cli.context import settings_of


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: danesurvey status --json")(status)
    app.command(epilog="Example: danesurvey runs")(runs)


def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One object on stdout.")] = False,
) -> None:
    """Progress of the unfinished run, else of the last one."""
    from danesurvey.status import latest

    found = latest(settings_of(context))
    if as_json:
        typer.echo(json.dumps(found))
        return
    typer.echo(_line(found))
    if found["passes"]:
        from rich.console import Console

        from danesurvey.display import table

        Console().print(table(found["passes"], found["now"]))


def runs(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One object a line.")] = False,
) -> None:
    """All runs, the newest first."""
    from danesurvey.status import every

    for one in every(settings_of(context)):
        typer.echo(json.dumps(one) if as_json else _line(one))


def _line(run: dict[str, Any]) -> str:
    ended = f", finished {run['finished']}" if run["finished"] else ""
    state = f"{run['state']}, at work now" if run.get("running") else run["state"]
    return f"run {run['run']} ({run['kind']}): {state}, started {run['started']}{ended}"
