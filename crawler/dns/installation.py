"""A private Unbound in a directory of the survey's: binary, configuration, root hints.

The binary is a copy of the installed one, since Debian's AppArmor profile confines the
packaged path; its libraries stay the system's. As root it is started as user `unbound` (or
`nobody`), for it parses what strangers send. Nothing of the system is changed.
"""

import os
import pwd
import shutil
import tempfile
from pathlib import Path

from crawler.dns.configuration import CONTROL, HINTS, Machine, accepted, configuration
from crawler.dns.settings import ResolverSettings
from dane.faults import LocalTrouble, UsageFault

# Never the working directory, whatever PATH says: it may be a stranger's.
_SEARCHED = (
    *filter(os.path.isabs, os.get_exec_path()),
    *("/usr/local/sbin", "/usr/sbin", "/sbin"),
)


def find(program: str, *, package: str = "unbound", beside: Path | None = None) -> Path:
    """An installed program, or LocalTrouble that says how to get it."""
    places = (str(beside.parent), *_SEARCHED) if beside else _SEARCHED
    found = shutil.which(program, path=os.pathsep.join(places))
    if not found:
        raise LocalTrouble(f"no `{program}` on this machine: apt install {package}")
    return Path(found)


def binary(settings: ResolverSettings) -> Path:
    """The installed Unbound that is copied: `[resolver] unbound`, else found on PATH."""
    if settings.unbound is None:
        return find("unbound")
    if not settings.unbound.is_file():
        raise UsageFault(f"[resolver] unbound: no file {settings.unbound}")
    return settings.unbound


def usable_configuration(
    settings: ResolverSettings, machine: Machine, *, second_look: bool = False
) -> str:
    """`configuration` without what the installed Unbound does not know."""
    text = configuration(settings, machine, second_look=second_look)
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        _lay_out(settings, directory)
        return accepted(text, find("unbound-checkconf", beside=binary(settings)), directory)


def prepare(settings: ResolverSettings, directory: Path, *, second_look: bool = False) -> None:
    """Lay out `directory`: binary, configuration, root hints, a place for the socket.

    Raises UsageFault, LocalTrouble.
    """
    source = binary(settings)
    checkconf = find("unbound-checkconf", beside=source)
    try:
        _prepare(settings, directory, source, checkconf, second_look=second_look)
    except OSError as error:
        raise LocalTrouble(
            f"the resolver's files: {error.filename or directory}: {error.strerror}"
        ) from None


def _prepare(
    settings: ResolverSettings, directory: Path, source: Path, checkconf: Path, *, second_look: bool
) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    _lay_out(settings, directory)
    _copy(source, directory / "unbound")
    text = configuration(settings, Machine.here(), second_look=second_look)
    file = directory / "unbound.conf"
    file.write_text(accepted(text, checkconf, directory))
    file.chmod(0o644)


def _lay_out(settings: ResolverSettings, directory: Path) -> None:
    run = directory / Path(CONTROL).parent
    run.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        # Only this one belongs to the unprivileged user: what root writes and starts stays
        # out of its reach.
        user = _unprivileged()
        os.chown(run, user.pw_uid, user.pw_gid)
    if settings.root_hints:
        try:
            _copy(settings.root_hints, directory / HINTS)
        except OSError as error:
            raise UsageFault(
                f"[resolver] root_hints {settings.root_hints}: {error.strerror}"
            ) from error


def _copy(source: Path, target: Path) -> None:
    """Replace `target` as a whole: a binary that runs cannot be written to."""
    new = target.with_name(target.name + ".new")
    shutil.copyfile(source, new)
    new.chmod(source.stat().st_mode & 0o755 | 0o444)
    new.replace(target)


def _unprivileged() -> pwd.struct_passwd:
    """Debian's package made a user `unbound`; everyone has `nobody`."""
    try:
        return pwd.getpwnam("unbound")
    except KeyError:
        return pwd.getpwnam("nobody")


def command() -> list[str | Path]:
    """What starts it, in its directory: unprivileged, and killed when our thread ends.

    To be started by this process itself.

    setpriv(1) sets the death signal after the change of user, which would clear it; so
    Unbound must not change its user by itself (`username: ""`).
    """
    setpriv: list[str | Path] = [find("setpriv", package="util-linux")]
    setpriv += ["--no-new-privs", "--pdeathsig", "KILL"]
    if os.geteuid() == 0:
        user = _unprivileged()
        setpriv += ["--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
    # Who died before the signal was set sends none: then our parent is another already.
    start = '[ "$PPID" = "$1" ] && exec ./unbound -d -c unbound.conf'
    return [*setpriv, "--", "/bin/sh", "-c", start, "sh", str(os.getpid())]


def environment() -> dict[str, str]:
    """Ours without what may hold secrets: database and zone passwords."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("DANESURVEY_", "PG"))}
