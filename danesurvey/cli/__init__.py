"""The command people type. No logic: arguments in, a package called, its result printed.

A verb lives in the module of its name, which defines `register(app)`. stdout is data,
stderr is talk. A `dane.faults.Fault` becomes one line on stderr and its exit code, and so does
what the machine is in the way with (a full disk, a read-only one, no memory); any other exception
is a bug and keeps its traceback.
"""

import errno
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from dane.faults import Fault, LocalTrouble
from danesurvey.cli import (
    check,
    cluster,
    db,
    doctor,
    intake,
    lab,
    report,
    resolver,
    status,
    survey,
    verify,
    zone,
)
from danesurvey.cli.context import GlobalOptions

app = typer.Typer(
    name="danesurvey",
    help="A survey of DANE for SMTP across the whole DNS.",
    epilog="Example: danesurvey survey --set database.url=postgresql:///danesurvey",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich takes a third of the time of --help
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"danesurvey {version('danesurvey')}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="Settings file; default ./danesurvey.toml.", metavar="FILE")
    ] = None,
    state_dir: Annotated[
        Path | None, typer.Option(help="Where databases, resolver and files live.", metavar="DIR")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="One setting, as section.key=value; before the verb.", metavar="KEY=VALUE"
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    flags = tuple(setting or ())
    if state_dir is not None:
        flags += (f"state_dir={state_dir}",)
    context.obj = GlobalOptions(config, flags)


# In the order of `danesurvey --help`. Each module is cheap to import: what is heavy is
# imported inside its verbs.
for _verb in (
    survey,
    intake,
    zone,
    check,
    verify,
    report,
    status,
    doctor,
    db,
    resolver,
    cluster,
    lab,
):
    _verb.register(app)


def main() -> None:
    """Entry point of the `danesurvey` command."""
    # Of the processes that multiprocessing starts: nothing is imported from the working directory.
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # here, and not when nobody can tell any more that it failed
    except Fault as fault:
        _fail(str(fault), fault.exit_code)
    except BrokenPipeError:
        _fail(None, _BROKEN_PIPE)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # typer's exit code 1 means broken
            _fail(None, _BROKEN_PIPE)
        raise
    except OSError as error:
        if error.errno not in _OF_THE_MACHINE:
            raise
        named = (str(error.filename or ""), error.strerror)
        _fail(": ".join(filter(None, named)), LocalTrouble.exit_code)
    except (MemoryError, ImportError, RuntimeError) as error:
        if not _is_memory(error):
            raise
        _fail("out of memory, or of address space (ulimit -v)", LocalTrouble.exit_code)


# A disk, file system, permission or limit is in the way; no bug of ours ends so.
_OF_THE_MACHINE = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOMEM),
        *(errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE),
    }
)
_BROKEN_PIPE = 141  # `danesurvey … | head`, as if by SIGPIPE


def _is_memory(error: Exception) -> bool:
    """Whether an allocation failed: a library that is mapped, or a thread's stack."""
    words = ("can't start new thread", "failed to map", "annot allocate memory")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def _fail(reason: str | None, exit_code: int) -> NoReturn:
    """End, with nothing more to stdout: what waits there cannot be written."""
    if reason is not None:
        print(f"danesurvey: {reason}", file=sys.stderr)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(exit_code)
