"""NSD, the lab's authoritative name server: zone files, configuration, start.

It runs in the foreground from the lab's directory, without a user of its own or chroot, so
that any directory and any caller will do.
"""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from dane.faults import LocalTrouble
from lab.records import absolute
from lab.signer import Line

_SERVER = """\
server:
  port: 53
  username: ""
  chroot: ""
  database: ""
  server-count: {servers}
  tcp-count: 500
  zonesdir: "{directory}"
  pidfile: "{directory}/nsd.pid"
  logfile: "{directory}/nsd.log"
  xfrdfile: "{directory}/xfrd.state"
  xfrdir: "{directory}"
  zonelistfile: "{directory}/zone.list"
  rrl-ratelimit: 0
  minimal-responses: yes
"""
_CONTROL = """\
remote-control:
  control-enable: no
"""


def program() -> str:
    """The path of nsd. Raises LocalTrouble."""
    # /usr/sbin is not on the PATH of every user
    found = shutil.which("nsd") or shutil.which("nsd", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise LocalTrouble("nsd is not installed; the lab needs it (Debian: nsd)")
    return found


def write(
    directory: Path,
    listen: Sequence[str],
    zones: Iterable[tuple[str, Iterable[Line]]],
    *,
    zone_directory: Path | None = None,
    servers: int = 1,
) -> tuple[Path, dict[str, str]]:
    """Writes zone files (into `zone_directory` if given) and nsd.conf into a new `directory`.

    Returns the configuration's path and the zone files' by origin.
    """
    directory.mkdir()
    configuration = [_SERVER.format(directory=directory, servers=servers)]
    configuration += [f"  ip-address: {address}\n" for address in listen]
    configuration.append(_CONTROL)
    files = write_zones(zone_directory or directory, zones)
    for origin, file in files.items():
        configuration.append(f'zone:\n  name: "{absolute(origin)}"\n  zonefile: "{file}"\n')
    path = directory / "nsd.conf"
    path.write_text("".join(configuration), encoding="ascii")
    return path, files


def write_zones(directory: Path, zones: Iterable[tuple[str, Iterable[Line]]]) -> dict[str, str]:
    """Writes zone files; their paths by origin. The same zones in the same order have the same."""
    files: dict[str, str] = {}
    for n, (origin, lines) in enumerate(zones):
        # numbered: a zone's name may hold any byte
        files[origin] = file = f"{directory}/{n:06}.zone"
        with open(file, "w", encoding="ascii") as out:
            out.writelines(map("{}\n".format, lines))
    return files


def pid(directory: Path, parent: int) -> int:
    """The process of the NSD whose configuration is in `directory`, a child of `parent`.

    NSD's own pid file is of no use: inside a namespace processes have other numbers.
    """
    wanted = f"\0{directory / 'nsd.conf'}\0".encode()
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text("ascii").split():
        if wanted in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise LocalTrouble(f"no NSD runs from {directory}")


def command(configuration: Path) -> list[str]:
    """What runs NSD in the foreground; it dies with its parent."""
    return ["setpriv", "--pdeathsig", "KILL", program(), "-d", "-c", str(configuration)]
