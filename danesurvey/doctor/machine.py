"""Checks of this machine: clock, limits, network, disk."""

import ctypes
import os
import resource
import shutil
import socket
from pathlib import Path

from dns.rdatatype import RdataType
from dns.rdtypes.ANY.RRSIG import RRSIG

from crawler.dns.configuration import OUTGOING_RANGE, Machine, has_route
from dane.clock import seconds
from danesurvey.address_space import require_address_space
from danesurvey.doctor.check import NotApplicable, Situation, Unwell
from danesurvey.doctor.resolver import ask
from danesurvey.owner import claim

_GIB = 1 << 30
_FULL_RUN = 50 * _GIB  # three runs in PostgreSQL (5.5 GB each at 25 M domains), zones, data set
_NOTHING_LEFT = 2 * _GIB
_BUFFER = 4 << 20  # so-rcvbuf, so-sndbuf of the resolver
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised


def state_directory(situation: Situation) -> str:
    """Ours to write to, and nobody else's. Raises Refused, LocalTrouble."""
    claim(situation.settings)
    return str(situation.settings.state_dir)


def clock(situation: Situation) -> str:
    """By the root zone's signatures: they are made with the right time, a few hours ago."""
    try:
        reply = ask(situation.resolver, ".", RdataType.SOA, checking=False)
    except Unwell as silence:
        raise NotApplicable(str(silence)) from None
    made = [r for rrset in reply.answer for r in rrset if isinstance(r, RRSIG)]
    if not made:  # no network, or a middlebox: other checks say which
        raise NotApplicable("the root's SOA comes without a signature to tell the time by")
    now = seconds()
    latest = max(signature.inception for signature in made)
    if now < latest:
        raise Unwell(f"{(latest - now) / 3600:.1f} h behind the root's newest signature")
    if now > max(signature.expiration for signature in made):
        raise Unwell("after the end of the root's signatures")
    age_s = now - latest
    if age_s > situation.settings.canaries.root_signed_within_s:
        raise Unwell(f"{age_s / 86_400:.1f} days after the root's newest signature")
    return f"the root's newest signature is {age_s / 3600:.1f} h old"


def clock_is_kept(situation: Situation) -> str:
    if situation.is_lab:
        raise NotApplicable("a lab")
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(ctypes.create_string_buffer(512))  # struct timex, all zero: read only
    if state < 0:
        raise NotApplicable(f"adjtimex: {os.strerror(ctypes.get_errno())}")
    if state == _TIME_ERROR:
        raise Unwell("the kernel says that nothing keeps the clock")
    return "synchronised"


def address_space(situation: Situation) -> str:
    """Raises LocalTrouble where our processes would not fit."""
    require_address_space()
    return "enough"


def open_files(situation: Situation) -> str:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    threads = situation.settings.resolver.threads or Machine.here().cores
    wanted = threads * (OUTGOING_RANGE + 256) + 64
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Unwell(f"{hard} a process, the resolver wants {wanted} for {threads} threads")
    return "no limit" if hard == resource.RLIM_INFINITY else str(hard)


def socket_buffers(situation: Situation) -> str:
    found = {}
    for name in ("rmem_max", "wmem_max"):
        try:
            found[name] = int(Path(f"/proc/sys/net/core/{name}").read_text())
        except OSError:  # a namespace of its own may not show them
            raise NotApplicable(f"net.core.{name} is not to be seen here") from None
    small = {name: value for name, value in found.items() if value < _BUFFER}
    if small:
        raise Unwell(", ".join(f"net.core.{name} is {value}" for name, value in small.items()))
    return f"{min(found.values()) >> 20} MiB"


def ipv4_route(situation: Situation) -> str:
    return _route(situation, socket.AF_INET, "IPv4")


def ipv6_route(situation: Situation) -> str:
    return _route(situation, socket.AF_INET6, "IPv6")


def _route(situation: Situation, family: socket.AddressFamily, name: str) -> str:
    if situation.is_lab:
        raise NotApplicable("a lab")
    if not has_route(family):
        raise Unwell(f"no {name} route to the Internet")
    return "there is one"


def disk_holds_anything(situation: Situation) -> str:
    return _free(situation, _NOTHING_LEFT)


def disk_holds_full_runs(situation: Situation) -> str:
    if situation.is_lab:
        raise NotApplicable("a lab")
    return _free(situation, _FULL_RUN)


def _free(situation: Situation, wanted: int) -> str:
    place = situation.settings.state_dir.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    text = f"{free / _GIB:.1f} GiB free below {place}"
    if free < wanted:
        raise Unwell(text)
    return text
