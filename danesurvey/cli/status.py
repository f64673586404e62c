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
    with_verdicts: Annotated[
        bool,
        typer.Option(
            "--verdicts",
            help="Every domain's verdict so far, and what may still change it; with --json an"
            " object a line.",
        ),
    ] = False,
) -> None:
    """Progress of the unfinished run, else of the last one; what waits, and until when."""
    from danesurvey.status import latest, verdicts
    from reports.escape import printable

    if with_verdicts:
        verdicts(
            settings_of(context),
            lambda one: typer.echo(
                json.dumps(one.as_dict()) if as_json else printable(one.as_text())
            ),
        )
        return

    found = latest(settings_of(context))
    if as_json:
        typer.echo(json.dumps(found))
        return
    typer.echo(_line(found))
    if found["stages"]:
        from rich.console import Console

        from danesurvey.display import sentence, table, waiting_lines

        Console().print(table(found["stages"]))
        for line in waiting_lines(found):
            typer.echo(line)
        typer.echo(sentence(found["now"]) if found["running"] else _counts(found))


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
    dropped = ", rows dropped" if run["dropped"] else ""
    state = f"{run['state']}, at work now" if run.get("running") else run["state"]
    return f"run {run['run']} ({run['kind']}): {state}, started {run['started']}{ended}{dropped}"


def _counts(run: dict[str, Any]) -> str:
    """What a run counted, for one that nobody works on; less if it is unfinished."""
    said = [f"processes that worked on it: {run['sessions']} (the table: the last)"]
    if run["questions"]:
        said.append(
            f"{run['questions']['all']:,} questions, {run['questions']['a_domain']} a domain"
        )
    if run["local"]:
        said.append(f"outcomes of our own: {sum(run['local'].values()):,}")
    if run["quarantined"]:
        said.append(f"quarantined: {run['quarantined']:,}")
    if run["canaries"]:
        said.append(
            "rounds of canaries: "
            + ", ".join(f"{n:,} {w}" for w, n in run["canaries"]["rounds"].items())
        )
    return "; ".join(said)
