"""`danesurvey db`: the schema of the survey's database."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from danesurvey.cli.context import settings_of

if TYPE_CHECKING:
    from storage.migrate import Migration


def register(app: typer.Typer) -> None:
    db = typer.Typer(
        help="The schema of the survey's database.",
        epilog="Example: danesurvey db status",
        no_args_is_help=True,
    )
    app.add_typer(db, name="db")

    @db.command(epilog="Example: danesurvey db upgrade")
    def upgrade(context: typer.Context) -> None:
        """Apply the migrations that this database has not seen; a survey does so by itself."""
        import asyncio

        from danesurvey.embedded import database
        from danesurvey.owner import owner_of

        settings = settings_of(context)
        with database(settings) as url:
            applied = asyncio.run(_upgrade(url, owner_of(settings)))
        for migration in applied:
            print(f"{migration.number:04} {migration.name}")
        if not applied:
            typer.echo("nothing to do", err=True)

    @db.command(epilog="Example: danesurvey db status --json")
    def status(
        context: typer.Context,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    ) -> None:
        """List the migrations and when each was applied."""
        import asyncio

        from danesurvey.embedded import database

        with database(settings_of(context)) as url:
            known = asyncio.run(_status(url))
        for migration in known:
            applied = migration.applied and migration.applied.isoformat(timespec="seconds")
            if as_json:
                print(
                    json.dumps(
                        {"number": migration.number, "name": migration.name, "applied": applied}
                    )
                )
            else:
                print(f"{migration.number:04} {migration.name:24} {applied or 'missing'}")


async def _upgrade(url: str, owner: str) -> "list[Migration]":
    from storage.database import connection
    from storage.owner import claim

    async with connection(url) as opened:
        return await claim(opened, owner)


async def _status(url: str) -> "list[Migration]":
    from storage import migrate
    from storage.database import connection

    async with connection(url) as opened:
        return await migrate.status(opened)
