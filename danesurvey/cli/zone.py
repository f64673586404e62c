"""`danesurvey zone`: zone files without a database."""

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from dane.faults import UsageFault
from danesurvey.cli.context import settings_with_zones

zone_app = typer.Typer(
    help="Zone files: scan one, fetch the configured ones.",
    epilog="Example: danesurvey zone signed com.zone.gz -o com.csv",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    app.add_typer(zone_app, name="zone")


@zone_app.command(
    "signed", epilog="Example: danesurvey zone signed com.zone.gz --format parquet -o com.parquet"
)
def signed(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Plain, gz, zst, xz or tar; or a directory.")
    ],
    origin: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The zone; default: the owner of its first SOA."),
    ] = None,
    form: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="csv, jsonl or parquet.")
    ] = "csv",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="OUT", help="Default: stdout.")
    ] = None,
) -> None:
    """The signed delegations of a zone file: domain, DS set, NS set.

    In CSV the elements of a list are parted by `;`. Nothing is written of a file that is not
    a whole zone.
    """
    from crawler.zones.output import Format, replacing
    from crawler.zones.signed import write_signed

    try:
        shape = Format(form)
    except ValueError:
        raise UsageFault(f"--format {form}: csv, jsonl or parquet") from None
    with nullcontext(sys.stdout.buffer) if output is None else replacing(output) as out:
        for scan in write_signed(file, origin, shape, out):
            print(
                f"{scan.zone}: serial {scan.serial}, {scan.records} records, "
                f"{scan.delegations} delegations, {scan.signed} signed",
                file=sys.stderr,
            )


@zone_app.command("fetch", epilog="Example: danesurvey zone fetch")
def fetch(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="The files as JSON.")] = False,
) -> None:
    """Download the configured zones, without taking them in."""
    from crawler.zones.files import shown
    from crawler.zones.sources import fetched
    from danesurvey.owner import claim

    settings = settings_with_zones(context)
    claim(settings)
    files = fetched(settings.zones, settings.intake, settings.state_dir / "zones", _talk)
    if as_json:
        print(json.dumps(files, indent=2))
    else:
        for file in files:
            found = file["reason"] if file["path"] is None else shown(file["path"])
            print(file["zone"], file["origin"], found, sep="\t")
    if any(file["reason"] is not None for file in files):
        raise typer.Exit(1)


def _talk(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
