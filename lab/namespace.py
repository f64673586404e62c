"""The lab's network namespace: made by unshare(1), entered by nsenter(1).

Three kinds, the first that works here: as root; as an ordinary user inside a user namespace;
none, on the host's own loopback (a container's root without the right to make namespaces).
Inside a namespace there is no route out and IPv6 can be given addresses at will; a process
namespace with it makes the end certain: when its first process dies, all others do.
"""

import enum
import fcntl
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterable

from dane.faults import LocalTrouble

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


class Isolation(enum.StrEnum):
    """How the lab is kept apart from the host's network."""

    ROOT = "root"  # network and process namespaces
    USER = "user"  # the same, inside a user namespace
    NONE = "none"  # 127/8 of the host

    @property
    def unshare(self) -> list[str]:
        """What precedes the lab's first process on its command line."""
        common = ["unshare", "--net", "--pid", "--fork", "--kill-child"]
        match self:
            case Isolation.ROOT:
                return common
            case Isolation.USER:
                # the caller's own user inside too: PostgreSQL refuses to run as root
                return [*common, "--user", "--map-current-user", "--keep-caps"]
            case Isolation.NONE:
                return []

    def enter(self, pid: int) -> list[str]:
        """What precedes a command that is to run beside the process `pid`."""
        match self:
            case Isolation.ROOT:
                return ["nsenter", f"--net=/proc/{pid}/ns/net", "--"]
            case Isolation.USER:
                user = f"--user=/proc/{pid}/ns/user"
                return [
                    "nsenter",
                    user,
                    "--preserve-credentials",
                    f"--net=/proc/{pid}/ns/net",
                    "--",
                ]
            case Isolation.NONE:
                return []


def available() -> Isolation:
    """The best kind that works here. Raises LocalTrouble if even plain loopback will not do."""
    is_root = os.geteuid() == 0
    kind = Isolation.ROOT if is_root else Isolation.USER
    if shutil.which("unshare") and shutil.which("nsenter"):
        tried = subprocess.run([*kind.unshare, "true"], capture_output=True, check=False)
        if tried.returncode == 0:
            return kind
    if is_root:
        return Isolation.NONE
    raise LocalTrouble(
        "the lab needs root or user namespaces: name servers listen on port 53, mail servers on 25"
    )


def set_up(ipv6: Iterable[str]) -> None:
    """Inside a new namespace: loopback up, and the IPv6 addresses on it.

    Raises LocalTrouble without ip(8).
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
    commands = "".join(f"address add {one}/128 dev lo nodad\n" for one in ipv6)
    if commands:
        if shutil.which("ip") is None:
            raise LocalTrouble("no `ip` on this machine: apt install iproute2")
        subprocess.run(["ip", "-6", "-batch", "-"], input=commands, text=True, check=True)
