"""`danesurvey intake`: the configured zones into the database."""

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from danesurvey.cli.context import settings_with_zones

if TYPE_CHECKING:
    from crawler.coordinator.intake import ZoneRow

_EXAMPLE = "Example: danesurvey intake --accept-shrink"
_NUMBERS = ("serial", "bytes", "records", "delegations", "signed", "added", "removed")


def register(app: typer.Typer) -> None:
    app.command(epilog=_EXAMPLE)(intake)


def intake(
    context: typer.Context,
    accept_shrink: Annotated[
        bool, typer.Option(help="Accept zones that lost many domains, this once.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON.")] = False,
) -> None:
    """Take in the configured zones: their signed delegations, into the database.

    A zone that is refused keeps its last good names; the exit code is 1 then.
    """
    from crawler.coordinator.dispatcher import Stopped
    from crawler.coordinator.intake import Verdict
    from danesurvey.run import STOPPED, Request, survey

    request = Request(stages=("intake",), accept_shrink=accept_shrink)
    try:
        rows = survey(settings_with_zones(context), request).zones
    except Stopped:
        typer.echo("stopped; the zones that were accepted are kept", err=True)
        raise typer.Exit(STOPPED) from None
    if as_json:
        print(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
    else:
        _print_table(rows)
    if any(row.verdict in (Verdict.REFUSED, Verdict.FAILED) for row in rows):
        raise typer.Exit(1)


def _print_table(rows: "Sequence[ZoneRow]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("zone")
    for name in (*_NUMBERS, "seconds"):
        table.add_column(name, justify="right")
    table.add_column("verdict", no_wrap=False)
    for row in rows:
        numbers = (getattr(row, name) for name in _NUMBERS)
        table.add_row(
            Text(row.zone),
            *("" if number is None else str(number) for number in numbers),
            f"{row.seconds:.1f}",
            Text(row.verdict if row.reason is None else f"{row.verdict}: {row.reason}"),
        )
    console = Console()
    if not console.is_terminal:  # whole lines for other programs
        console.width = 10_000
    console.print(table)
