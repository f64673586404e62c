"""Who listens on a port of this machine."""

import os
import socket
from pathlib import Path

from dane.faults import LocalTrouble


def refuse_taken(address: tuple[str, int]) -> None:
    """LocalTrouble if another process listens on `address`.

    Asked before each start, because with SO_REUSEPORT a second Unbound of the same user
    would bind beside the first, and the two would answer alternately.
    """
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as trial:
            if kind == socket.SOCK_STREAM:  # connections in TIME_WAIT are nobody's
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(address)
            except OSError as error:
                host, port = address
                who = holder(port) or f"see `ss -lntup 'sport = :{port}'`"
                raise LocalTrouble(
                    f"port {port} of {host}: {error.strerror} ({who}): stop that, "
                    "or set [resolver] port and second_look_port"
                ) from error


def holder(port: int) -> str | None:
    """ "unbound, pid 4711" that listens on `port`; None if it cannot be told."""
    inodes = set()
    for table, listening in (("udp", "07"), ("udp6", "07"), ("tcp", "0A"), ("tcp6", "0A")):
        try:
            lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == listening and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(fd) in inodes for fd in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()}, pid {process.name}"
        except OSError:  # ended meanwhile, or another user's
            continue
    return None
