"""`scheduler`, `worker` and `certificates`: the processes of a cluster (docs/scaling.md)."""

from pathlib import Path
from typing import Annotated

import typer

from danesurvey.cli.context import settings_of

Scheduler = Annotated[
    str | None,
    typer.Option(
        help="Of a cluster: its scheduler, tls://HOST:PORT; default: survey.scheduler.",
        metavar="URL",
    ),
]


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: danesurvey worker --scheduler tls://survey.example.net:8786")(
        worker
    )
    app.command(epilog="Example: danesurvey scheduler --scheduler tls://0.0.0.0:8786")(scheduler)
    app.command(epilog="Example: danesurvey certificates /etc/danesurvey/cluster")(certificates)


def worker(context: typer.Context, scheduler: Scheduler = None) -> None:
    """Start this node's resolvers and worker processes, and join a cluster until stopped."""
    from danesurvey import cluster

    cluster.worker(settings_of(context, *scheduler_flags(scheduler)))


def scheduler(context: typer.Context, scheduler: Scheduler = None) -> None:
    """Run a cluster's scheduler until stopped."""
    from danesurvey import cluster

    cluster.scheduler(settings_of(context, *scheduler_flags(scheduler)))


def certificates(
    directory: Annotated[Path, typer.Argument(help="Where ca.pem, node.pem and node.key go.")],
) -> None:
    """Make the TLS certificates that all processes of a cluster need."""
    from danesurvey import cluster

    cluster.make_certificates(directory)


def scheduler_flags(scheduler: str | None) -> list[str]:
    return [f"survey.scheduler={scheduler}"] if scheduler else []
