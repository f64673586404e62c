"""`danesurvey doctor`: would a survey here and now be true, and could it work?"""

import json
from typing import Annotated

import typer

from danesurvey.cli.context import settings_of


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: danesurvey doctor --json")(doctor)


def doctor(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One object on stdout.")] = False,
) -> None:
    """Check resolver, machine, identity and database, and say what to do.

    Exit code 1 if a survey would be false or impossible.
    """
    from danesurvey.doctor import Outcome, examine, verdict

    results = []
    for result in examine(settings_of(context)):
        results.append(result)
        if as_json:
            continue
        print(f"{result.outcome:8} {result.check.name:20} {result.detail}")
        if result.outcome is Outcome.FAILED:
            print(f"{'':8} {result.check.harm:20} do: {result.check.advice}")
    code = verdict(results)
    if as_json:
        checks = [
            {
                "name": result.check.name,
                "outcome": result.outcome,
                "detail": result.detail,
                "harm": result.check.harm,
                "advice": result.check.advice,
            }
            for result in results
        ]
        print(json.dumps({"ok": code == 0, "checks": checks}))
    raise typer.Exit(code)
