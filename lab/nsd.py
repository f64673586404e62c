"""NSD, the lab's authoritative name server: zone files, configuration, start.

It runs in the foreground from the lab's directory, without a user of its own or chroot, so
that any directory and any caller will do.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
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
    zones: Mapping[str, Iterable[Line]],
    *,
    servers: int = 1,
) -> Path:
    """Writes zone files and nsd.conf into `directory`; returns the configuration's path."""
    directory.mkdir()
    configuration = [_SERVER.format(directory=directory, servers=servers)]
    configuration += [f"  ip-address: {address}\n" for address in listen]
    configuration.append(_CONTROL)
    for n, (origin, lines) in enumerate(zones.items()):
        # numbered: a zone's name may hold any byte
        file = directory / f"{n:06}.zone"
        with file.open("w", encoding="ascii") as out:
            out.writelines(f"{line}\n" for line in lines)
        configuration.append(f'zone:\n  name: "{absolute(origin)}"\n  zonefile: "{file.name}"\n')
    path = directory / "nsd.conf"
    path.write_text("".join(configuration), encoding="ascii")
    return path


def command(configuration: Path) -> list[str]:
    """What runs NSD in the foreground; it dies with its parent."""
    return ["setpriv", "--pdeathsig", "KILL", program(), "-d", "-c", str(configuration)]
