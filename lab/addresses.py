"""The lab's addresses: always the same, all on loopback.

    127.20.0.1      name server of the root
    127.20.1.x      name servers of the top-level domains
    127.20.2.x      name servers of the domains (NSD)
    127.20.3.x      name servers that misbehave, one address a scenario
    127.20.4.1      other copies of some zones, asked by those only
    127.21.x.y      the real name servers, where 127.20 is far away (`lab.forwarder`)
    127.30.x.y      mail servers
    127.48.0.0/13   name servers that are dead: sockets that nobody reads

Inside a namespace each mail server that asks for it has an IPv6 address too, with the same
two last numbers: 127.30.x.y is beside fd00:30::x:y (written in decimal digits).
"""

from collections.abc import Iterator
from ipaddress import IPv4Address

ROOT = "127.20.0.1"
TLD = ("127.20.1.1", "127.20.1.2")
DOMAINS = tuple(f"127.20.2.{n}" for n in range(1, 9))
MISBEHAVING = "127.20.3"
OTHER_COPIES = "127.20.4.1"
MAIL = "127.30"
_DEAD = IPv4Address("127.48.0.0")

DNS_PORT = 53
SMTP_PORT = 25

PROBED_NETWORKS = ("127.30.0.0/16", "fd00:30::/32")
"""Where a survey of the lab may connect to: its mail servers and nothing else."""


def misbehaving() -> Iterator[str]:
    """Addresses for name servers that misbehave, in order."""
    return (f"{MISBEHAVING}.{n}" for n in range(1, 255))


def mail() -> Iterator[str]:
    """Addresses for mail servers, in order."""
    return (f"{MAIL}.{x}.{y}" for x in range(1, 255) for y in range(1, 255))


def dead() -> Iterator[str]:
    """Addresses for name servers that never answer, in order."""
    return (str(_DEAD + n) for n in range(1, 1 << 19))


def real(public: str) -> str:
    """Where the name server of a public address is, when a forwarder stands between."""
    return public.replace("127.20.", "127.21.", 1)


def beside(address: str) -> str:
    """The IPv6 address beside a mail server's IPv4 address."""
    _, second, third, fourth = address.split(".")
    return f"fd00:{second}::{third}:{fourth}"
