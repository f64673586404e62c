"""From scenarios to what is served: zones by name server, mail servers, odd name servers.

A plan is complete and inert: signed zone contents, certificates, addresses. `lab.internet`
writes it to disk, `lab.supervisor` serves it.
"""

import hashlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from lab import addresses, keys, records, signer, spoil
from lab.certificates import Certificates, Issued, association, utc
from lab.records import Rdata
from lab.scenarios.scenario import TLDS, Behaviour, Host, Scenario, Session, Signing
from lab.signer import Line, Nsec3, Validity, Zone

DENIAL: dict[str, Nsec3 | None] = {"plain": None, "hashed": Nsec3(iterations=0, opt_out=True)}
"""How each of the lab's own top-level domains denies names; others do as `plain` does."""

OPERATORS = {
    "dns-alpha.plain": addresses.DOMAINS[0:2],
    "dns-beta.hashed": addresses.DOMAINS[2:4],
    "dns-gamma.plain": addresses.DOMAINS[4:6],
}
"""The lab's DNS operators: their domain and the addresses of ns1, ns2 in it."""

CANARY, CANARY_RSA, CANARY_BROKEN = "canary.plain", "canary-rsa.plain", "canary-broken.plain"
"""Zones for the survey's own health checks: signed (13 and 8), and broken on purpose."""

TTL_S = 300


@dataclass(frozen=True, slots=True)
class MailServer:
    """One mail host at some addresses. `pem` is its key and chain, None without TLS."""

    host: str
    addresses: tuple[str, ...]
    session: Session
    pem: bytes


@dataclass(frozen=True, slots=True)
class OddNameServer:
    """A name server that passes questions on to `upstream`, but for what `behaviour` says."""

    address: str
    upstream: str
    behaviour: Behaviour


@dataclass(slots=True)
class _Domain:
    """A zone under construction."""

    zone: Zone
    signing: Signing
    key: keys.ZoneKey


@dataclass(slots=True)
class Plan:
    """Everything that the lab serves. Zones are finished lines by origin."""

    root: dict[str, list[Line]] = field(default_factory=dict)
    tlds: dict[str, list[Line]] = field(default_factory=dict)
    domains: dict[str, list[Line]] = field(default_factory=dict)
    mail: list[MailServer] = field(default_factory=list)
    name_servers: list[OddNameServer] = field(default_factory=list)
    trust_anchor: str = ""


class Builder:
    """Adds scenarios one by one; `finish` signs and returns the plan."""

    def __init__(self, seed: int = 1, now: float | None = None, tlds: Iterable[str] = TLDS) -> None:
        self._seed = seed
        self._now = time.time() if now is None else now
        self._certificates = Certificates(seed, utc(self._now))
        self._domains: dict[str, _Domain] = {}
        self._mail_addresses = addresses.mail()
        self._odd_addresses = addresses.misbehaving()
        self._plan = Plan()
        self._tlds = {name: Zone(name, TTL_S) for name in tlds}
        for operator, servers in OPERATORS.items():
            domain = self._domain(operator, Signing())
            for n, address in enumerate(servers, 1):
                name = f"ns{n}.{operator}"
                domain.zone.add(name, records.a(address))
                self._parent(operator).add(name, records.a(address))  # glue
        self._domain(CANARY, Signing())
        self._domain(CANARY_RSA, Signing(algorithm=keys.RSASHA256))
        self._domain(CANARY_BROKEN, Signing(faults=("bad-signatures",)))
        for name in (CANARY, CANARY_RSA, CANARY_BROKEN):
            self._domains[name].zone.add(name, records.txt("canary"))

    def add(self, scenario: Scenario) -> None:
        """Adds a scenario's zones, records and servers."""
        for name, signing in scenario.zones.items():
            self._domain(scenario.absolute(name), signing)
        for text in scenario.records:
            owner, code, rest = text.format(name=scenario.name).split(None, 2)
            owner = scenario.absolute(owner)
            self._zone_of(owner).add(owner, _rdata(scenario, code, rest))
        for host in scenario.hosts:
            self._add_host(scenario, host)

    def add_zone(self, zone: Zone, signing: Signing) -> None:
        """Adds a domain whose content is ready but for its SOA and NS."""
        self._domain(zone.origin, signing).zone.rrsets.update(zone.rrsets)

    def _domain(self, origin: str, signing: Signing) -> _Domain:
        if origin in self._domains:
            raise ValueError(f"{origin} is built twice")
        zone = Zone(origin, TTL_S)
        key = keys.zone_key(self._seed, origin, signing.algorithm)
        domain = self._domains[origin] = _Domain(zone, signing, key)
        servers = self._name_servers(origin, signing)
        zone.add(origin, records.soa(servers[0], f"hostmaster.{origin}", 1, TTL_S))
        parent = self._parent(origin)
        for server in servers:
            zone.add(origin, records.ns(server))
            parent.add(origin, records.ns(server))
        if (ds := _ds(origin, signing, key)) is not None:
            parent.add(origin, ds)
        return domain

    def _name_servers(self, origin: str, signing: Signing) -> list[str]:
        if signing.servers:
            names = []
            for n, behaviour in enumerate(signing.servers, 1):
                name, address = f"ns{n}.{origin}", next(self._odd_addresses)
                names.append(name)
                self._domains[origin].zone.add(name, records.a(address))
                self._parent(origin).add(name, records.a(address))  # glue
                odd = OddNameServer(address, addresses.DOMAINS[0], behaviour)
                self._plan.name_servers.append(odd)
            return names
        operator = origin
        if operator not in OPERATORS:
            operators = sorted(OPERATORS)
            operator = operators[hashlib.sha256(origin.encode()).digest()[0] % len(operators)]
        return [f"ns1.{operator}", f"ns2.{operator}"]

    def _parent(self, origin: str) -> Zone:
        """The zone that delegates `origin`."""
        name = origin.partition(".")[2]
        return self._zone_of(name)

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
        taken: list[str] = []
        for wanted in host.addresses:
            match wanted:
                case "next":
                    taken.append(next(self._mail_addresses))
                case "next6":
                    taken.append(
                        addresses.beside(taken[-1] if taken else next(self._mail_addresses))
                    )
                case _:
                    taken.append(wanted)
        for address in taken:
            zone.add(name, records.address(address))
        issued = self._certificates.issue(name, host.chain)
        for text in host.tlsa:
            zone.add(f"_25._tcp.{name}", _tlsa(text, issued))
        if host.listens:
            server = MailServer(name, tuple(taken), host.session, issued.pem())
            self._plan.mail.append(server)

    def finish(self) -> Plan:
        """Signs every zone, children's DS in their parents."""
        plan = self._plan
        for origin, domain in self._domains.items():
            plan.domains[origin] = _signed(domain, self._now)
        root = Zone(".", TTL_S)
        root_server = "a.root-servers.plain"
        usual = Validity.around(self._now)
        root.add(".", records.soa(root_server, "hostmaster.nic.plain", 1, TTL_S))
        root.add(".", records.ns(root_server))
        self._tlds["plain"].add(root_server, records.a(addresses.ROOT))
        root.add(root_server, records.a(addresses.ROOT))
        for name, zone in self._tlds.items():
            key = keys.zone_key(self._seed, name)
            root.add(name, key.ds(name))
            zone.add(name, records.soa(f"ns1.nic.{name}", f"hostmaster.nic.{name}", 1, TTL_S))
            for n, address in enumerate(addresses.TLD, 1):
                server = f"ns{n}.nic.{name}"
                for side in (zone, root):
                    side.add(name, records.ns(server))
                    side.add(server, records.a(address))
            plan.tlds[name] = signer.sign(zone, key, DENIAL.get(name), usual)
        root_key = keys.zone_key(self._seed, ".")
        plan.root["."] = signer.sign(root, root_key, None, usual)
        plan.trust_anchor = f". {TTL_S} IN DS {root_key.ds('.').text}\n"
        return plan


def _signed(domain: _Domain, now: float) -> list[Line]:
    signing = domain.signing
    if not signing.signed:
        out = signer.lines(domain.zone)
    else:
        validity = Validity(int(now) + signing.valid_s[0], int(now) + signing.valid_s[1])
        out = signer.sign(domain.zone, domain.key, signing.nsec3, validity)
    for fault in signing.faults:
        out = spoil.FAULTS[fault](out)
    return out


def _ds(origin: str, signing: Signing, key: keys.ZoneKey) -> Rdata | None:
    match signing.ds:
        case "right":
            return key.ds(origin)
        case "wrong":
            return records.ds(key.tag, key.algorithm, 2, hashlib.sha256(b"wrong").digest())
        case "unknown":
            return records.ds(key.tag, key.algorithm, 250, hashlib.sha256(b"unknown").digest())
        case "none":
            return None
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


def _tlsa(text: str, issued: Issued) -> Rdata:
    """A TLSA record as `Host.tlsa` describes it."""
    usage, selector, matching_type, source = text.split()
    return records.tlsa(
        int(usage),
        int(selector),
        int(matching_type),
        _association(source, int(selector), int(matching_type), issued),
    )


def _association(source: str, selector: int, matching_type: int, issued: Issued) -> bytes:
    if source == "empty":
        return b""
    if source == "nothing":
        return hashlib.new({1: "sha256", 2: "sha512"}[matching_type]).digest()
    if source.startswith("hex:"):
        return bytes.fromhex(source[4:])
    part, *as_if = source.split("/")
    if as_if:
        selector, matching_type = map(int, as_if)
    return association(issued.parts[part], selector, matching_type)


def by_name_server(plan: Plan) -> Iterator[tuple[str, tuple[str, ...], dict[str, list[Line]]]]:
    """(name, addresses, zones) of each NSD. Three, so that none answers for another's zones."""
    yield "root", (addresses.ROOT,), plan.root
    yield "tld", addresses.TLD, plan.tlds
    yield "domains", addresses.DOMAINS, plan.domains
