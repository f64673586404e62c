"""Name servers that misbehave, as a proxy before one that does not.

Whatever is not broken about them is answered by NSD, so a scenario breaks exactly one thing:
each question goes upstream by the transport that it came by, and an action may withhold it,
answer it wrongly or change the answer. UDP and TCP, port 53.
"""

import contextlib
import random
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rrset
import trio

from crawler.dns.opaque import read_message
from dane import clock
from dane.faults import LocalTrouble
from lab import addresses, keys, records, signer
from lab.plan import TTL_S, OddNameServer
from lab.records import absolute
from lab.signer import Validity

_UPSTREAM_S = 5.0
_DATAGRAM_MAX = 65535
_IDLE_S = 30.0
_SLOW_S = 0.4
_LOSS = 0.05
_UNFRAGMENTED = 1232
_APEX_TYPES = frozenset({"SOA", "NS", "DS", "DNSKEY"})


@dataclass(frozen=True, slots=True)
class Question:
    """One question as it came: the parsed message, its bytes, `udp` or `tcp`, who was asked."""

    message: dns.message.Message
    wire: bytes
    transport: str
    server: OddNameServer

    @property
    def type(self) -> str:
        question = self.message.question
        return dns.rdatatype.to_text(question[0].rdtype) if question else ""

    @property
    def is_for_tcp(self) -> bool:
        return _is_for_tcp(self.message)


def _is_for_tcp(message: dns.message.Message) -> bool:
    """Whether the question is for a name that starts with the label `_tcp`."""
    return bool(message.question) and message.question[0].name.labels[0].lower() == b"_tcp"


Ask = Callable[..., Awaitable[bytes | None]]
"""Asks the good server; with an address, another one; with `transport` or `wire`, otherwise."""

Action = Callable[[Question, Ask], Awaitable[bytes | None]]
"""Answers a question; None is silence."""


async def answer(question: Question, ask: Ask) -> bytes | None:
    return await ask()


async def drop(question: Question, ask: Ask) -> bytes | None:
    return None


def _rcode(code: dns.rcode.Rcode) -> Action:
    async def refuse(question: Question, ask: Ask) -> bytes | None:
        reply = dns.message.make_response(question.message)
        reply.set_rcode(code)
        return reply.to_wire()

    return refuse


async def garbage(question: Question, ask: Ask) -> bytes | None:
    """The right ID and then nonsense."""
    return question.wire[:2] + b"\x84\x00" + bytes(range(40))


async def truncate(question: Question, ask: Ask) -> bytes | None:
    """TC over UDP, whatever the size; all of it over TCP."""
    if question.transport == "tcp":
        return await ask()
    reply = dns.message.make_response(question.message)
    reply.flags |= dns.flags.AA | dns.flags.TC
    return reply.to_wire()


async def truncate_and_stall(question: Question, ask: Ask) -> bytes | None:
    """TC over UDP, silence over TCP."""
    return None if question.transport == "tcp" else await truncate(question, ask)


async def lossy(question: Question, ask: Ask) -> bytes | None:
    """As a path that loses one datagram in twenty; TCP sends again what is lost."""
    if question.transport == "udp" and random.random() < _LOSS:
        return None
    return await ask()


async def slow(question: Question, ask: Ask) -> bytes | None:
    """The answer, late. Unbound gives up on a server that is slower than it was before by more
    than this, so a delay that survives is short."""
    await trio.sleep(_SLOW_S)
    return await ask()


async def drop_large(question: Question, ask: Ask) -> bytes | None:
    """As a path that drops fragments: UDP answers over 1232 bytes never arrive."""
    reply = await ask()
    if reply is not None and question.transport == "udp" and len(reply) > _UNFRAGMENTED:
        return None
    return reply


async def lose_fragments(question: Question, ask: Ask) -> bytes | None:
    """A server that heeds no EDNS buffer size, behind a path that drops fragments."""
    reply = await ask(transport="tcp")
    if reply is not None and question.transport == "udp" and len(reply) > _UNFRAGMENTED:
        return None
    return reply


async def fail_checking_disabled(question: Question, ask: Ask) -> bytes | None:
    """SERVFAIL to questions with CD, which a validator sets and others do not."""
    if question.message.flags & dns.flags.CD:
        return await _rcode(dns.rcode.SERVFAIL)(question, ask)
    return await ask()


async def deny_another(question: Question, ask: Ask) -> bytes | None:
    """NXDOMAIN with a proof that is good for another name of the zone."""
    asked = question.message.question[0]
    other = dns.name.from_text("zzzz", dns.name.from_text(absolute(question.server.zone)))
    query = dns.message.make_query(other, asked.rdtype, want_dnssec=True, id=question.message.id)
    wire = await ask(wire=query.to_wire())
    if wire is None:
        return None
    reply = dns.message.from_wire(wire)
    reply.question = [asked]
    return reply.to_wire(max_size=_DATAGRAM_MAX)


async def no_edns(question: Question, ask: Ask) -> bytes | None:
    """FORMERR to EDNS, as servers from before RFC 6891 do; the rest without DNSSEC."""
    if question.message.edns < 0:
        return await ask()
    reply = dns.message.make_response(question.message)
    reply.use_edns(False)
    reply.set_rcode(dns.rcode.FORMERR)
    return reply.to_wire()


def _changed(change: Callable[[dns.message.Message], None]) -> Action:
    async def act(question: Question, ask: Ask) -> bytes | None:
        wire = await ask()
        if wire is None:
            return None
        reply = read_message(wire)
        change(reply)
        return reply.to_wire(max_size=_DATAGRAM_MAX)

    return act


async def other_copy(question: Question, ask: Ask) -> bytes | None:
    """From the copy of the zone that has no TLSA."""
    return await ask(addresses.OTHER_COPIES)


async def other_copy_of_tcp(question: Question, ask: Ask) -> bytes | None:
    """NXDOMAIN with a proof that holds for `_tcp.…`, the right answer for names below it."""
    return await (ask(addresses.OTHER_COPIES) if question.is_for_tcp else ask())


async def apex_alias(question: Question, ask: Ask) -> bytes | None:
    """A signed CNAME at the zone's own name, to the name `alias` in it, beside its SOA and NS
    (against RFC 1034 section 3.6.2): NSD takes no such zone."""
    zone = question.server.zone
    apex = dns.name.from_text(absolute(zone))
    asked = question.message.question
    if not asked or asked[0].name != apex or question.type in _APEX_TYPES:
        return await ask()
    target = records.cname(f"alias.{zone}")
    key = keys.zone_key(question.server.seed, zone)
    usual = Validity.around(clock.seconds())
    signature = signer.rrsig(key, zone, usual, zone, TTL_S, [target])
    reply = dns.message.make_response(question.message)
    reply.flags |= dns.flags.AA
    for rrtype, rdata in (("CNAME", target), ("RRSIG", signature)):
        reply.answer.append(dns.rrset.from_text(apex, TTL_S, "IN", rrtype, rdata.text))
    return reply.to_wire()


def _strip_signatures(reply: dns.message.Message) -> None:
    for section in (reply.answer, reply.authority):
        section[:] = [rrset for rrset in section if rrset.rdtype != dns.rdatatype.RRSIG]


def _deny_empty_non_terminal(reply: dns.message.Message) -> None:
    """NXDOMAIN for `_tcp.…`, though a name below it exists (against RFC 8020)."""
    if _is_for_tcp(reply):
        reply.set_rcode(dns.rcode.NXDOMAIN)


def _shorten_tlsa(reply: dns.message.Message) -> None:
    """The first byte of each TLSA record is all that is sent."""
    for n, rrset in enumerate(reply.answer):
        if rrset.rdtype == dns.rdatatype.TLSA:
            first = rrset[0].to_wire()[:1]
            short = dns.rdata.GenericRdata(rrset.rdclass, rrset.rdtype, first)
            reply.answer[n] = dns.rrset.from_rdata(rrset.name, rrset.ttl, short)


async def twice(question: Question, ask: Ask) -> bytes | None:
    """Every record of the answer twice (against RFC 2181 section 5)."""
    wire = await ask()
    if wire is None:
        return None
    reply = read_message(wire)
    doubled = dns.message.from_wire(wire, one_rr_per_rrset=True)
    doubled.answer = [rrset for one in doubled.answer for rrset in (one, one)]
    doubled.flags = reply.flags
    return doubled.to_wire(max_size=_DATAGRAM_MAX)


ACTIONS: dict[str, Action] = {
    "answer": answer,
    "drop": drop,
    "refused": _rcode(dns.rcode.REFUSED),
    "notimp": _rcode(dns.rcode.NOTIMP),
    "formerr": _rcode(dns.rcode.FORMERR),
    "servfail": _rcode(dns.rcode.SERVFAIL),
    "garbage": garbage,
    "truncate": truncate,
    "truncate-and-stall": truncate_and_stall,
    "lossy": lossy,
    "slow": slow,
    "drop-large": drop_large,
    "lose-fragments": lose_fragments,
    "fail-checking-disabled": fail_checking_disabled,
    "deny-another": deny_another,
    "no-edns": no_edns,
    "strip-signatures": _changed(_strip_signatures),
    "deny-empty-non-terminal": _changed(_deny_empty_non_terminal),
    "shorten-tlsa": _changed(_shorten_tlsa),
    "twice": twice,
    "apex-alias": apex_alias,
    "other-copy": other_copy,
    "other-copy-of-tcp": other_copy_of_tcp,
}
"""Actions by the name that a scenario gives."""


class _Server:
    """One odd name server."""

    def __init__(self, server: OddNameServer) -> None:
        self._server = server

    async def reply(self, wire: bytes, transport: str) -> bytes | None:
        """The reply to one question, None for silence (to what is no question, too)."""
        try:
            message = dns.message.from_wire(wire)
        except (dns.exception.DNSException, ValueError):
            return None
        if message.flags & dns.flags.QR:
            return None
        question = Question(message, wire, transport, self._server)
        behaviour = self._server.behaviour
        affected = question.type in behaviour.types or "*" in behaviour.types
        action = ACTIONS[behaviour.action] if affected else answer

        async def ask(
            upstream: str = self._server.upstream, transport: str = transport, wire: bytes = wire
        ) -> bytes | None:
            over = self._over_udp if transport == "udp" else self._over_tcp
            return await over(wire, upstream)

        return await action(question, ask)

    async def _over_udp(self, wire: bytes, server: str) -> bytes | None:
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as upstream:
            await upstream.connect((server, addresses.DNS_PORT))
            await upstream.send(wire)
            with trio.move_on_after(_UPSTREAM_S):
                return await upstream.recv(_DATAGRAM_MAX)
        return None

    async def _over_tcp(self, wire: bytes, server: str) -> bytes | None:
        with trio.move_on_after(_UPSTREAM_S):
            upstream = await trio.open_tcp_stream(server, addresses.DNS_PORT)
            async with upstream:
                await upstream.send_all(struct.pack("!H", len(wire)) + wire)
                return await _message(upstream)
        return None

    async def udp(self, sock: trio.socket.SocketType) -> None:
        """Answers datagrams for ever, each in a task of its own."""
        async with trio.open_nursery() as nursery:
            while True:
                wire, client = await sock.recvfrom(_DATAGRAM_MAX)
                nursery.start_soon(self._datagram, sock, wire, client)

    async def _datagram(
        self, sock: trio.socket.SocketType, wire: bytes, client: tuple[str, int]
    ) -> None:
        reply = await self.reply(wire, "udp")
        if reply is not None:
            await sock.sendto(reply, client)

    async def tcp(self, stream: trio.SocketStream) -> None:
        """Answers the questions of one connection in turn."""
        with contextlib.suppress(trio.BrokenResourceError), trio.move_on_after(_IDLE_S):
            async with stream:
                while (wire := await _message(stream)) is not None:
                    reply = await self.reply(wire, "tcp")
                    if reply is not None:
                        await stream.send_all(struct.pack("!H", len(reply)) + reply)


async def _message(stream: trio.SocketStream) -> bytes | None:
    """One message with its length before it (RFC 1035 section 4.2.2), None at the end."""
    received = bytearray()
    needed = 2
    while len(received) < needed:
        more = await stream.receive_some(needed - len(received))
        if not more:
            return None
        received += more
        if needed == 2 and len(received) == 2:
            needed = 2 + int.from_bytes(received)
    return bytes(received[2:])


async def serve(servers: Sequence[OddNameServer], *, task_status: trio.TaskStatus[None]) -> None:
    """Serves all of them until cancelled. Raises LocalTrouble if an address is taken."""
    async with trio.open_nursery() as nursery:
        for server in servers:
            one = _Server(server)
            datagrams = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
            connections = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_STREAM)
            connections.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
            try:
                for sock in (datagrams, connections):
                    await sock.bind((server.address, addresses.DNS_PORT))
            except OSError as error:
                raise LocalTrouble(
                    f"cannot listen on {server.address} port 53: {error.strerror}"
                ) from None
            connections.listen(64)
            nursery.start_soon(one.udp, datagrams)
            nursery.start_soon(trio.serve_listeners, one.tcp, [trio.SocketListener(connections)])
        task_status.started()
