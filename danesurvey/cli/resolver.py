"""`danesurvey resolver`: what the survey's Unbound is told."""

from typing import Annotated

import typer

from danesurvey.cli.context import settings_of


def register(app: typer.Typer) -> None:
    resolver = typer.Typer(
        help="The validating resolver that every lookup goes through.",
        epilog="Example: danesurvey resolver config > unbound.conf",
        no_args_is_help=True,
    )
    resolver.command("config", epilog="Example: danesurvey resolver config > unbound.conf")(config)
    app.add_typer(resolver, name="resolver")


def config(
    context: typer.Context,
    second_look: Annotated[
        bool,
        typer.Option(
            "--second-look", help="Of the second resolver, with senders' qname minimisation."
        ),
    ] = False,
) -> None:
    """Print Unbound's configuration for this machine (unbound.conf).

    Paths in it are relative to the directory that Unbound is started in, where it needs a
    directory `run` for its control socket.
    """
    from crawler.dns.configuration import Machine
    from crawler.dns.installation import usable_configuration

    settings = settings_of(context).resolver
    print(usable_configuration(settings, Machine.here(), second_look=second_look), end="")
