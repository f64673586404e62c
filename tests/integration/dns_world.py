"""A root, a top-level domain and a few domains on one NSD, with Unbound before it.

All on loopback addresses that only this process uses (127.77/16); zones come from the lab's
signer. The names that the tests ask for are the keys of `World.domains`.
"""

import os
import secrets
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import time

import dns.exception
import dns.message
import dns.query

from crawler.dns.client import Resolvers
from crawler.dns.settings import CanarySettings, ClientSettings, ResolverSettings
from crawler.dns.unbound import Unbound
from lab import keys, nsd, records
from lab.records import Rdata
from lab.signer import DAY_S, Line, Nsec3, Validity, Zone, sign, unsigned

TLD = "world"
_DNAME = 39
_NET = f"127.77.{os.getpid() % 250 + 1}"
SERVER = f"{_NET}.1"
SILENT = f"{_NET}.9"  # bound, and never read
SERVFAILING = f"{_NET}.3"  # an NSD that has no zone: REFUSED

CANARIES = CanarySettings(
    zones=(".", TLD, f"good.{TLD}"),
    algorithms={"13": TLD},
    signed=f"good.{TLD}",
    broken=f"bogus.{TLD}",
    every_s=0.3,
    reply_s=1.0,
    recovery_s=20.0,
)
CLIENT = ClientSettings(try_s=2.0, last_try_s=4.0, questions_per_s_per_name_server_set=0)
TLSA_DATA = bytes(range(32))


@dataclass(frozen=True, slots=True)
class World:
    resolvers: Resolvers
    unbound: Unbound  # the first
    server: subprocess.Popen[bytes]  # NSD, for all names but the dead and the refused ones

    def signal_server(self, number: int) -> None:
        """To NSD and its children."""
        os.killpg(self.server.pid, number)


def zone_of(origin: str, server: str = SERVER) -> Zone:
    """A zone with SOA, NS and the address of its server."""
    zone = Zone(origin)
    host = "ns" if origin == "." else f"ns.{origin}"
    zone.add(origin, records.soa(host, host, 1, 300), records.ns(host))
    zone.add(host, records.address(server))
    return zone


def _domains() -> Iterator[tuple[Zone, Nsec3 | None, Validity | None, str]]:
    """Zone, its denial, its validity (None: unsigned), the address of its server."""
    now = time()
    fresh = Validity.around(now)
    good = zone_of(f"good.{TLD}")
    good.add(good.origin, *(records.mx(p, f"mx{p}.{good.origin}") for p in (20, 10)))
    for host in (f"mx10.{good.origin}", f"mx20.{good.origin}"):
        good.add(host, records.a("127.30.0.1"), records.aaaa("fd00:30::1"))
        good.add(f"_25._tcp.{host}", records.tlsa(3, 1, 1, TLSA_DATA))
    good.add(f"alias.{good.origin}", records.cname(f"mx10.{good.origin}"))
    good.add(f"half.{good.origin}", records.cname(f"mx.unsigned.{TLD}"))
    good.add(f"_25._tcp.half.{good.origin}", records.tlsa(2, 0, 1, TLSA_DATA))
    good.add(f"plain.{good.origin}", records.a("127.30.0.2"))
    good.add(f"\\042.wild.{good.origin}", records.tlsa(3, 1, 1, TLSA_DATA))
    good.add(f"wild.{good.origin}", records.a("127.30.0.3"))
    good.add(f"many.{good.origin}", *(records.a(f"127.30.1.{n}") for n in range(1, 41)))
    good.add(
        f"_25._tcp.big.{good.origin}", *(records.tlsa(3, 1, 1, bytes([n]) * 32) for n in range(80))
    )
    good.add(f"big.{good.origin}", records.a("127.30.0.4"))
    # as many as a message of 64 KiB holds
    most = (records.tlsa(3, 1, 1, n.to_bytes(32, "big")) for n in range(1380))
    good.add(f"_25._tcp.most.{good.origin}", *most)
    good.add(f"most.{good.origin}", records.a("127.30.0.4"))
    good.add(f"aliased.{good.origin}", records.cname(f"implicit.{TLD}"))
    for target in ("implicit", "unsigned"):
        dname = records.cname(f"{target}.{TLD}")._replace(type=_DNAME)
        good.add(f"to-{target}.{good.origin}", dname)
    yield good, None, fresh, SERVER
    implicit = zone_of(f"implicit.{TLD}")
    implicit.add(implicit.origin, records.a("127.30.0.5"))
    yield implicit, Nsec3(5, b"salt"), fresh, SERVER
    null = zone_of(f"null.{TLD}")
    null.add(null.origin, records.mx(0, "."))
    yield null, None, Validity.around(now, after_s=DAY_S), SERVER
    plain = zone_of(f"unsigned.{TLD}")
    for owner in (plain.origin, f"mail.{plain.origin}"):
        plain.add(owner, records.mx(10, f"mx.{plain.origin}"))
    plain.add(f"mx.{plain.origin}", records.a("127.30.0.6"))
    plain.add(f"_25._tcp.mx.{plain.origin}", records.tlsa(3, 1, 1, TLSA_DATA))
    yield plain, None, None, SERVER
    bogus = zone_of(f"bogus.{TLD}")
    bogus.add(bogus.origin, records.mx(10, f"mx.{bogus.origin}"))
    yield bogus, None, Validity(int(now) - 20 * DAY_S, int(now) - 5 * DAY_S), SERVER
    many = zone_of(f"many.{TLD}")
    many.add(many.origin, *(records.mx(n, f"mx{n}.{many.origin}") for n in range(300)))
    yield many, None, fresh, SERVER
    for origin, server in ((f"dead.{TLD}", SILENT), (f"refused.{TLD}", SERVFAILING)):
        yield zone_of(origin, server), None, fresh, server


@dataclass(frozen=True, slots=True)
class Extra:
    """A zone beside the usual ones, with finished lines, the DS that the parent has, and the

    address of its server.
    """

    lines: Iterable[Line]
    ds: Rdata
    server: str = SERVER


@contextmanager
def world(
    directory: Path, extra: Mapping[str, Extra] | None = None, *, root: str | None = None
) -> Iterator[World]:
    """Everything up, and down again at the end.

    `extra`: zones by their origin. `root`: another address of the root's server.
    """
    top, tld = zone_of("."), zone_of(TLD)
    if root is not None:
        top.add("ns", records.address(root))
    zones: dict[str, Iterable[Line]] = {}
    for zone, denial, validity, server in _domains():
        key = keys.zone_key(1, zone.origin)
        if server == SERVER:
            zones[zone.origin] = sign(zone, key, denial, validity) if validity else unsigned(zone)
        tld.add(zone.origin, records.ns(f"ns.{zone.origin}"))
        tld.add(f"ns.{zone.origin}", records.a(server))
        if validity:
            tld.add(zone.origin, key.ds(zone.origin))
    for origin, more in (extra or {}).items():
        zones[origin] = more.lines
        tld.add(origin, records.ns(f"ns.{origin}"), more.ds)
        tld.add(f"ns.{origin}", records.address(more.server))
    now = Validity.around(time())
    tld_key, root_key = keys.zone_key(1, TLD), keys.zone_key(1, ".")
    zones[TLD] = sign(tld, tld_key, None, now)
    top.add(TLD, records.ns(f"ns.{TLD}"), tld_key.ds(TLD))
    top.add(f"ns.{TLD}", records.a(SERVER))
    zones["."] = sign(top, root_key, None, now)
    hints, anchor = directory / "root.hints", directory / "root.key"
    hints.write_text(f". 3600 NS ns.\nns. 3600 A {SERVER}\n")
    anchor.write_text(f". IN DS {root_key.ds('.').text}\n")
    settings = ResolverSettings(
        port=free_port(),
        second_look_port=free_port(),
        root_hints=hints,
        trust_anchor=anchor,
        query_localhost=True,
        threads=1,
        cache_mib=64,
        ipv6=False,
    )
    with ExitStack() as stack:
        silent = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        silent.bind((SILENT, 53))
        servers = []
        for name, address, content in (("nsd", SERVER, zones), ("empty", SERVFAILING, {})):
            configuration, _ = nsd.write(directory / name, [address], content.items())
            process = subprocess.Popen(nsd.command(configuration), start_new_session=True)
            servers.append(process)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            _await_server(address)
        first = stack.enter_context(Unbound(settings, directory / "first"))
        second = stack.enter_context(Unbound(settings, directory / "second", second_look=True))
        control = first.control.path, second.control.path
        yield World(Resolvers((first.address,), (second.address,), control), first, servers[0])


def _await_server(address: str) -> None:
    question = dns.message.make_query(".", "SOA")
    for _ in range(100):
        try:
            dns.query.udp(question, address, timeout=0.1)
        except (dns.exception.Timeout, OSError):
            continue
        return
    raise AssertionError(f"no name server at {address}")


def free_port() -> int:
    """A port of 127.0.0.1 that is free for UDP and TCP.

    Below those that the kernel gives to clients: none beside us gets it before it is used.
    """
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with socket.socket(type=socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            try:
                udp.bind(("127.0.0.1", port))
                tcp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
