"""Checks of who we are to mail servers: port 25 outward, EHLO name, PTR, contact, and whom we
leave alone."""

import contextlib
import socket

import dns.reversename
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.MX import MX

from crawler.addresses import Addresses
from crawler.opt_out import OptOut
from danesurvey.doctor.check import NotApplicable, Situation, Unwell
from danesurvey.doctor.resolver import ask

_CONNECT_S = 10.0
_MOST_TRIED = 3  # MX hosts
_UDP_DISCARD = 9
_MOST_PRINTED = 100  # entries of the opt-out list


def introduces_itself(situation: Situation) -> str:
    probe = situation.settings.probe
    missing = [
        key for key in ("ehlo_name", "contact", "information_page") if not getattr(probe, key)
    ]
    if missing:
        raise Unwell(f"[probe] lacks {', '.join(missing)}")
    return f"{probe.ehlo_name}, {probe.contact}, {probe.information_page}"


def opt_out(situation: Situation) -> str:
    """What the list covers, as it was understood: whoever wrote it can compare."""
    path = situation.settings.probe.opt_out
    if path is None:
        raise NotApplicable("[probe] opt_out is not set")
    listed = OptOut(path).current()
    if not listed:
        return "covers nobody yet"
    entries = list(listed)
    more = len(entries) - _MOST_PRINTED
    return (
        f"{len(listed.names)} names with all below them, {len(listed.networks)} networks: "
        f"{', '.join(entries[:_MOST_PRINTED])}{f' and {more} more' if more > 0 else ''}"
    )


def ehlo_name(situation: Situation) -> str:
    """The name leads to us, and each of its addresses back to the name (RFC 1912 section 2.1)."""
    name = situation.settings.probe.ehlo_name
    if not name:
        raise NotApplicable("[probe] ehlo_name is not set")
    if situation.is_lab:
        raise NotApplicable("a lab")
    addresses = _addresses(situation, name)
    if not addresses:
        raise Unwell(f"{name} has no address")
    for address in addresses:
        reverse = dns.reversename.from_address(address)
        reply = ask(situation.resolver, reverse.to_text(), RdataType.PTR)
        names = {
            str(record).rstrip(".").lower()
            for rrset in reply.answer
            if rrset.rdtype == RdataType.PTR
            for record in rrset
        }
        if name.rstrip(".").lower() not in names:
            raise Unwell(f"the PTR of {address} is {', '.join(sorted(names)) or 'missing'}")
    for ours in _our_addresses():
        if ours not in addresses:
            raise Unwell(f"{name} does not lead to {ours}, which we connect from")
    return f"{name} and {', '.join(addresses)} agree"


def port_25(situation: Situation) -> str:
    """By a look at the mail servers of our own contact: nobody else's are asked for this."""
    probe = situation.settings.probe
    if not probe.contact:
        raise NotApplicable("[probe] contact is not set: no mail server to try")
    domain = probe.contact.rpartition("@")[2]
    reply = ask(situation.resolver, domain, RdataType.MX)
    exchanges = sorted(
        (record.preference, record.exchange.to_text())
        for rrset in reply.answer
        for record in rrset
        if isinstance(record, MX)
    )
    rule = Addresses(probe.lab_addresses)
    tried = []
    for _, host in exchanges[:_MOST_TRIED]:
        for address in _addresses(situation, host):
            if rule.refusal(address):
                continue
            tried.append(host)
            if _connects(address, probe.port):
                return f"{host} answers"
    if not tried:
        raise NotApplicable(f"{domain} has no mail server that may be tried")
    raise Unwell(f"cannot connect to {', '.join(dict.fromkeys(tried))}")


def _connects(address: str, port: int) -> bool:
    try:
        stream = socket.create_connection((address, port), _CONNECT_S)
    except OSError:
        return False
    with stream, contextlib.suppress(OSError):
        stream.recv(512)  # the greeting first: who talks before it is taken for a spammer
        stream.sendall(b"QUIT\r\n")
    return True


def _addresses(situation: Situation, name: str) -> list[str]:
    return [
        str(record)
        for rdtype in (RdataType.A, RdataType.AAAA)
        for rrset in ask(situation.resolver, name, rdtype).answer
        if rrset.rdtype == rdtype
        for record in rrset
    ]


def _our_addresses() -> list[str]:
    """The source addresses of this machine that are public; behind NAT there are none."""
    rule = Addresses()
    found = []
    for family, target in ((socket.AF_INET, "193.0.14.129"), (socket.AF_INET6, "2001:7fd::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((target, _UDP_DISCARD))  # consults the routing table, sends nothing
            address = probe.getsockname()[0]
            if rule.refusal(address) is None:
                found.append(address)
    return found
