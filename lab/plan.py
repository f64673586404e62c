"""From scenarios to what is served: zones by name server, mail servers, odd name servers.

A plan is complete and inert: signed zone contents, certificates, addresses. `lab.internet`
writes it to disk, `lab.supervisor` serves it.
"""

import hashlib
import ssl
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from lab import addresses, keys, records, signer, spoil
from lab.certificates import Certificates
from lab.records import Rdata
from lab.scenarios.scenario import TLDS, Behaviour, Chain, Host, Port, Scenario, Session, Signing
from lab.signer import Line, Nsec3, Validity, Zone

DENIAL: dict[str, Nsec3 | None] = {"plain": None, "hashed": Nsec3(iterations=0, opt_out=True)}
"""How each of the lab's own top-level domains denies names; others do as `plain` does."""

_OPERATORS = ("dns-alpha.plain", "dns-beta.hashed", "dns-gamma.plain", "dns-delta.hashed")
OPERATORS = {name: addresses.DOMAINS[2 * n : 2 * n + 2] for n, name in enumerate(_OPERATORS)}
"""The lab's DNS operators: their domain and the addresses of ns1, ns2 in it."""

CANARY, CANARY_RSA, CANARY_BROKEN = "canary.plain", "canary-rsa.plain", "canary-broken.plain"
"""Zones for the survey's own health checks: signed (13 and 8), and broken on purpose."""

TTL_S = 300


@dataclass(frozen=True, slots=True)
class MailServer:
    """One mail host at some addresses; its certificates are made when they are first needed."""

    host: str
    addresses: tuple[str, ...]
    session: Session
    chain: Chain
    port: Port = Port.OPEN


@dataclass(frozen=True, slots=True)
class OddNameServer:
    """A name server of one zone that passes questions on to `upstream`, but for what
    `behaviour` says. The seed gives it the zone's key, where it signs by itself."""

    address: str
    upstream: str
    behaviour: Behaviour
    zone: str
    seed: int


@dataclass(slots=True)
class _Domain:
    """A zone under construction."""

    zone: Zone
    signing: Signing


Zones = Iterable[tuple[str, Iterable[Line]]]


@dataclass(slots=True)
class Plan:
    """Everything that the lab serves.

    Zones are finished lines by origin, signed as they are taken: a hundred thousand of them
    would fill the memory.
    """

    root: Zones = ()
    tlds: Zones = ()
    domains: Zones = ()
    other_copies: Zones = ()  # of some domains, without TLSA
    mail: list[MailServer] = field(default_factory=list)
    name_servers: list[OddNameServer] = field(default_factory=list)
    trust_anchor: str = ""
    root_hints: str = ""
    dead: list[str] = field(default_factory=list)  # addresses of name servers that never answer
    # delegations that only the zone files have which a survey reads
    gone: dict[str, list[Rdata]] = field(default_factory=dict)
    seed: int = 1
    certified: float = 0.0  # the time that the certificates' dates are relative to


class Builder:
    """Adds scenarios one by one; `finish` signs and returns the plan."""

    def __init__(
        self,
        seed: int,
        now: float,
        tlds: Iterable[str] = TLDS,
        *,
        certified: float | None = None,
    ) -> None:
        self._seed = seed
        self._now = now
        certified = now if certified is None else certified
        self._certificates = Certificates(seed, certified)
        self._domains: dict[str, _Domain] = {}
        self._hosted: list[tuple[str, Sequence[Rdata], Signing]] = []
        self._mail_addresses = addresses.mail()
        self._odd_addresses = addresses.misbehaving()
        self._dead_addresses = addresses.dead()
        self._plan = Plan(seed=seed, certified=certified)
        self._tlds = {name: Zone(name, TTL_S) for name in tlds}
        for operator, servers in OPERATORS.items():
            domain = self._domain(operator, Signing())
            for n, address in enumerate(servers, 1):
                name = f"ns{n}.{operator}"
                domain.zone.add(name, records.a(address))
                self._zone_of(operator.partition(".")[2]).add(name, records.a(address))  # glue
        self._domain(CANARY, Signing())
        self._domain(CANARY_RSA, Signing(algorithm=keys.RSASHA256))
        self._domain(CANARY_BROKEN, Signing(faults=("bad-signatures",)))
        for name in (CANARY, CANARY_RSA, CANARY_BROKEN):
            self._domains[name].zone.add(name, records.txt("canary"))

    def add(self, scenario: Scenario) -> None:
        """Adds a scenario's zones, records and servers."""
        if scenario.gone:
            key = keys.zone_key(self._seed, scenario.domain)
            servers = map(records.ns, self._name_servers(scenario.domain))
            self._plan.gone[scenario.domain] = [*servers, key.ds(scenario.domain)]
            return
        for name, signing in scenario.zones.items():
            self._domain(scenario.absolute(name), signing)
        for text in scenario.records:
            owner, code, rest = text.format(name=scenario.name).split(None, 2)
            owner = scenario.absolute(owner)
            self._zone_of(owner).add(owner, _rdata(scenario, code, rest))
        for host in scenario.hosts:
            self._add_host(scenario, host)

    def add_hosted(self, origin: str, rdata: Sequence[Rdata], signing: Signing) -> None:
        """Adds a domain that has these records at its apex and nothing else.

        For the many: all that is kept is what is said here.
        """
        key = keys.zone_key(self._seed, origin, signing.algorithm) if signing.signed else None
        self._delegate(origin, self._name_servers(origin), signing, key)
        self._hosted.append((origin, rdata, signing))

    def add_dead(self, origin: str) -> None:
        """Adds a signed delegation to a name server of its own that never answers."""
        address, server = next(self._dead_addresses), f"ns1.{origin}"
        self._plan.dead.append(address)
        self._delegate(origin, [server], Signing(), keys.zone_key(self._seed, origin))
        self._zone_of(origin.partition(".")[2]).add(server, records.a(address))

    def _domain(self, origin: str, signing: Signing) -> _Domain:
        if origin in self._domains:
            raise ValueError(f"{origin} is built twice")
        key = keys.zone_key(self._seed, origin, signing.algorithm)
        domain = self._domains[origin] = _Domain(Zone(origin, TTL_S), signing)
        servers = self._name_servers(origin)
        if signing.servers:
            servers = self._odd_name_servers(domain)
        domain.zone.add(origin, *_apex(origin, servers))
        self._delegate(origin, servers, signing, key)
        return domain

    def _delegate(
        self, origin: str, servers: Iterable[str], signing: Signing, key: keys.ZoneKey | None
    ) -> None:
        """What the parent has of a domain."""
        parent = self._zone_of(origin.partition(".")[2])
        parent.add(origin, *map(records.ns, servers))
        if key is not None:
            parent.add(origin, *_ds(origin, signing, key))

    def _name_servers(self, origin: str) -> tuple[str, ...]:
        """Those of the operator that has this domain, chosen by its name."""
        if origin in OPERATORS:
            operator = origin
        else:
            operator = _OPERATORS[zlib.crc32(origin.encode()) % len(_OPERATORS)]
        return (f"ns1.{operator}", f"ns2.{operator}")

    def _odd_name_servers(self, domain: _Domain) -> tuple[str, ...]:
        """Name servers of a domain's own, one for each behaviour, with their glue."""
        origin = domain.zone.origin
        names = []
        for n, behaviour in enumerate(domain.signing.servers, 1):
            name, address = f"ns{n}.{origin}", next(self._odd_addresses)
            names.append(name)
            domain.zone.add(name, records.a(address))
            self._zone_of(origin.partition(".")[2]).add(name, records.a(address))
            odd = OddNameServer(address, addresses.DOMAINS[0], behaviour, origin, self._seed)
            self._plan.name_servers.append(odd)
        return tuple(names)

    def _zone_of(self, name: str) -> Zone:
        while name:
            if name in self._domains:
                return self._domains[name].zone
            if name in self._tlds:
                return self._tlds[name]
            name = name.partition(".")[2]
        raise ValueError(f"{name!r} is in no zone of the lab")

    def _add_host(self, scenario: Scenario, host: Host) -> None:
        name = scenario.absolute(host.name)
        zone = self._zone_of(name)
        if host.same_as is None:
            served, taken = name, self._addresses(host)
            server = MailServer(name, taken, host.session, host.chain, host.port)
            self._plan.mail.append(server)
        else:
            served = scenario.absolute(host.same_as)
            taken = next(one.addresses for one in self._plan.mail if one.host == served)
        for address in taken:
            zone.add(name, records.address(address))
        owner = f"_25._tcp.{name}" if host.tlsa_at is None else scenario.absolute(host.tlsa_at)
        for text in host.tlsa:
            self._zone_of(owner).add(owner, self._tlsa(text, served, host.chain))

    def _addresses(self, host: Host) -> tuple[str, ...]:
        taken: list[str] = []
        for wanted in host.addresses:
            match wanted:
                case "next":
                    taken.append(next(self._mail_addresses))
                case "next6":
                    beside = taken[-1] if taken else next(self._mail_addresses)
                    taken.append(addresses.beside(beside))
                case _:
                    taken.append(wanted)
        return tuple(taken)

    def _tlsa(self, text: str, host: str, chain: Chain) -> Rdata:
        """A TLSA record as `Host.tlsa` describes it."""
        if text.startswith("short:"):
            # signed as it will be sent; NSD takes only a record of full length
            wire = bytes.fromhex(text[6:])
            return Rdata(records.TLSA, f"{wire[0]} 1 1 {'00' * 32}", wire)
        *numbers, source = text.split()
        usage, selector, matching_type = map(int, numbers)
        if source == "empty":
            data = b""
        elif source == "nothing":
            data = hashlib.new({1: "sha256", 2: "sha512"}[matching_type]).digest()
        elif source.startswith("hex:"):
            data = bytes.fromhex(source[4:])
        elif source.startswith("pem:"):
            der = self._certificates.association(host, chain, source[4:], selector, 0)
            text = ssl.DER_cert_to_PEM_cert(der)
            if selector:
                text = text.replace("CERTIFICATE", "PUBLIC KEY")
            data = hashlib.new({1: "sha256", 2: "sha512"}[matching_type], text.encode()).digest()
        elif source.startswith("key:"):
            other = replace(chain, key=source[4:])
            data = self._certificates.association(host, other, "leaf", selector, matching_type)
        else:
            part, *as_if = source.split("/")
            as_selector, as_type = map(int, as_if) if as_if else (selector, matching_type)
            data = self._certificates.association(host, chain, part, as_selector, as_type)
        return records.tlsa(usage, selector, matching_type, data)

    def finish(self) -> Plan:
        """The plan, with the root and the top-level domains complete."""
        plan = self._plan
        root = Zone(".", TTL_S)
        root_server = "a.root-servers.plain"
        root.add(".", records.soa(root_server, "hostmaster.nic.plain", 1, TTL_S))
        root.add(".", records.ns(root_server))
        self._tlds["plain"].add(root_server, records.a(addresses.ROOT))
        root.add(root_server, records.a(addresses.ROOT))
        for name, zone in self._tlds.items():
            root.add(name, keys.zone_key(self._seed, name).ds(name))
            zone.add(name, records.soa(f"ns1.nic.{name}", f"hostmaster.nic.{name}", 1, TTL_S))
            for n, address in enumerate(addresses.TLD, 1):
                server = f"ns{n}.nic.{name}"
                for side in (zone, root):
                    side.add(name, records.ns(server))
                    side.add(server, records.a(address))
        key = keys.zone_key(self._seed, ".")
        plan.root = [(".", signer.sign(root, key, None, Validity.around(self._now)))]
        plan.tlds = self._signed_tlds()
        plan.domains = self._signed_domains()
        plan.other_copies = self._other_copies()
        plan.trust_anchor = f". {TTL_S} IN DS {key.ds('.').text}\n"
        plan.root_hints = (
            f". {TTL_S} IN NS {root_server}.\n{root_server}. {TTL_S} IN A {addresses.ROOT}\n"
        )
        return plan

    def _signed_tlds(self) -> Iterator[tuple[str, Iterable[Line]]]:
        for name, zone in self._tlds.items():
            key = keys.zone_key(self._seed, name)
            usual = Validity.around(self._now)
            yield name, signer.sign(zone, key, DENIAL.get(name), usual)

    def _signed_domains(self) -> Iterator[tuple[str, Iterable[Line]]]:
        for origin, domain in self._domains.items():
            yield origin, self._signed(domain.zone, domain.signing)
        for origin, rdata, signing in self._hosted:
            zone = Zone(origin, TTL_S)
            zone.add(origin, *_apex(origin, self._name_servers(origin)), *rdata)
            yield origin, self._signed(zone, signing)

    def _other_copies(self) -> Iterator[tuple[str, Iterable[Line]]]:
        for origin, domain in self._domains.items():
            if any(one.action.startswith("other-copy") for one in domain.signing.servers):
                without = {
                    (owner, code): rdata
                    for (owner, code), rdata in domain.zone.rrsets.items()
                    if code != records.TLSA
                }
                yield origin, self._signed(Zone(origin, TTL_S, without), domain.signing)

    def _signed(self, zone: Zone, signing: Signing) -> Iterable[Line]:
        out: Iterable[Line] = signer.unsigned(zone)
        if signing.signed:
            key = keys.zone_key(self._seed, zone.origin, signing.algorithm)
            start, end = (int(self._now) + offset for offset in signing.valid_s)
            out = signer.sign(zone, key, signing.nsec3, Validity(start, end))
        for fault in signing.faults:
            out = spoil.FAULTS[fault](list(out))
        return out


def _apex(origin: str, servers: Sequence[str]) -> list[Rdata]:
    """SOA and NS of a domain."""
    soa = records.soa(servers[0], f"hostmaster.{origin}", 1, TTL_S)
    return [soa, *map(records.ns, servers)]


def _ds(origin: str, signing: Signing, key: keys.ZoneKey) -> tuple[Rdata, ...]:
    """The DS RRset at the parent."""
    right = key.ds(origin)
    match signing.ds:
        case "right":
            return (right,)
        case "wrong":
            digest = hashlib.sha256(b"wrong").digest()
            return (records.ds(key.tag, key.algorithm, 2, digest),)
        case "unknown-digest":
            digest = hashlib.sha256(b"unknown").digest()
            return (records.ds(key.tag, key.algorithm, 250, digest),)
        case "unknown-algorithm":
            return (records.ds(key.tag, 200, 2, hashlib.sha256(b"unknown").digest()),)
        case "right-and-short":
            return right, records.ds(key.tag, key.algorithm, 2, right.wire[4:-1])
        case "none":
            return ()
    raise ValueError(f"no such DS: {signing.ds}")


def _rdata(scenario: Scenario, code: str, rest: str) -> Rdata:
    """The data of a record as a scenario writes it, names relative."""
    match code:
        case "MX":
            preference, host = rest.split()
            return records.mx(int(preference), "." if host == "." else scenario.absolute(host))
        case "CNAME":
            return records.cname(scenario.absolute(rest))
        case "DNAME":
            return records.dname(scenario.absolute(rest))
        case "A" | "AAAA":
            return records.address(rest)
        case "TXT":
            return records.txt(rest)
    raise ValueError(f"{scenario.name}: no such record: {code} {rest}")


def by_name_server(plan: Plan) -> Iterator[tuple[str, tuple[str, ...], Zones]]:
    """(name, addresses, zones) of each NSD: several, so that none answers for another's zones."""
    yield "root", (addresses.ROOT,), plan.root
    yield "tld", addresses.TLD, plan.tlds
    yield "domains", addresses.DOMAINS, plan.domains
    yield "other", (addresses.OTHER_COPIES,), plan.other_copies
