"""What a scenario is: how a domain is built, and what a survey must find there.

Everything is data; `lab.plan` turns it into zones and servers. Names in a scenario are
relative to its domain unless they end with a dot; `@` is the domain itself, and `{name}`
stands for the scenario's name.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dane.names import canonical
from lab.signer import DAY_S, HOUR_S, Nsec3

PLAIN, HASHED = "plain", "hashed"
TLDS = (PLAIN, HASHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The certificates of a mail host. `send` lists what the server presents, in order.

    Parts: `leaf`; `ca`, the authority that signed it; `root`, that authority's own issuer
    where it is an intermediate; `authority:NAME`, any other; `second`, a leaf like the first
    with `second_key`; `filler`, some 120 kB of unrelated certificates.
    """

    names: tuple[str, ...] | None = None  # dNSNames of the leaf; default: the host
    common_name: str | None = None
    # `ecdsa`, or `ecdsa-…` for another of the same host, or an RSA key that is checked in
    key: str = "ecdsa"
    with_sha1: bool = False  # the leaf's signature; only for a self-signed one of an RSA key
    second_key: str | None = None  # the server has a certificate of this key too
    only_for: str | None = None  # without this server name the client gets another certificate
    authority: str | None = "lab"  # a name in lab.certificates.AUTHORITIES; None: self-signed
    valid_s: tuple[int, int] = (-30 * DAY_S, 60 * DAY_S)  # before and after the lab's start
    send: tuple[str, ...] = ("leaf", "ca")


USUAL = Chain()
LEAF_ONLY = Chain(send=("leaf",))
OTHER_NAME = Chain(names=("other.example",))
EXPIRED_S = (-60 * DAY_S, -2 * DAY_S)
NOT_YET_S = (2 * DAY_S, 60 * DAY_S)
"""When a certificate is valid, as `Chain.valid_s`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """How a mail server talks. Replies may have several lines; `{host}` is its name.

    `faults` are names of `lab.mailserver` deviations that no reply text can express.
    """

    greeting: str = "220 {host} ESMTP lab"
    ehlo: str = "250-{host}\n250-SIZE 10240000\n250-STARTTLS\n250 8BITMIME"
    helo: str = "250 {host}"
    starttls: str = "220 2.0.0 Ready to start TLS"
    faults: tuple[str, ...] = ()


class Port(StrEnum):
    """What is on port 25 of a mail host's address."""

    OPEN = "open"
    CLOSED = "closed"  # nothing: connecting is refused at once
    DEAD = "dead"  # a socket that nobody reads: connecting times out
    POSTFIX = "postfix"  # a real Postfix, whatever the session says
    ELSEWHERE = "elsewhere"  # not the lab's: an address that must never be connected to


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A mail host: its addresses, TLSA records, certificates and manners.

    A TLSA record is `usage selector type SOURCE`, where SOURCE is a part of the chain (`leaf`,
    `ca`, `root`), `stranger` (a certificate that no server has), `nothing` (a digest of no
    data), `empty` (no data at all), `key:NAME` (the leaf of another key, as `Chain.key`) or
    `hex:…`. `leaf/0/2` is the leaf's data as selector 0 and
    matching type 2 would have it, whatever the record says. `pem:leaf` is the digest of the
    leaf's PEM text (of its key, for selector 1). `short:03` is a record of that
    one byte, which needs a name server that does `shorten-tlsa`.
    """

    name: str = "mx"
    tlsa: tuple[str, ...] = ()
    tlsa_at: str | None = None  # the TLSA records' owner; default: _25._tcp before the name
    chain: Chain = USUAL
    session: Session = Session()
    port: Port = Port.OPEN
    # `next`: a free address; `next6`: the IPv6 one beside it; else the address itself
    addresses: tuple[str, ...] = ("next",)
    same_as: str | None = None  # a host before it in the scenario: its server, address and key


EE = ("3 1 1 leaf",)
WRONG = ("3 1 1 stranger",)
GOOD_HOST = Host(tlsa=EE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What a misbehaving name server does to questions of some types; the rest it answers.

    `action` is a name in `lab.nameserver.ACTIONS`.
    """

    action: str
    types: tuple[str, ...] = ("TLSA",)  # `*`: every type


GOOD = Behaviour(action="answer", types=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """How a zone is signed and served.

    `ds` is what the parent has: `right`, `none`, `wrong` (the digest of another key),
    `unknown-digest` or `unknown-algorithm` (that no validator knows), `right-and-short` (a
    second one whose digest is a byte too short). `faults` are names in `lab.spoil.FAULTS`,
    applied in order to the signed zone. `servers` empty: the zone is at one of the lab's DNS
    operators; else it has a server of its own for each behaviour.
    """

    signed: bool = True
    ds: str = "right"
    algorithm: int = 13
    nsec3: Nsec3 | None = None
    valid_s: tuple[int, int] = (-HOUR_S, 14 * DAY_S)
    faults: tuple[str, ...] = ()
    servers: tuple[Behaviour, ...] = ()


RIGHT = Signing()
UNSIGNED = Signing(signed=False, ds="none")


@dataclass(frozen=True, slots=True)
class OneOf:
    """An expectation that any of some values meets (resolver versions differ)."""

    values: frozenset[Any]

    def __contains__(self, found: object) -> bool:
        return found in self.values


@dataclass(frozen=True, slots=True)
class Has:
    """An expectation about a list: these are in it, whatever else is."""

    values: frozenset[str]

    def __contains__(self, found: object) -> bool:
        return isinstance(found, list | tuple) and self.values <= set(found)


@dataclass(frozen=True, slots=True)
class Lacks:
    """An expectation about a list: none of these is in it."""

    values: frozenset[str]

    def __contains__(self, found: object) -> bool:
        return isinstance(found, list | tuple) and not self.values & set(found)


def one_of(*values: object) -> OneOf:
    return OneOf(frozenset(values))


def has(*values: str) -> Has:
    return Has(frozenset(values))


def lacks(*values: str) -> Lacks:
    return Lacks(frozenset(values))


Columns = Mapping[str, Any]
"""Column to the value that must be there, or to a OneOf, Has or Lacks."""


@dataclass(frozen=True, slots=True)
class Expected:
    """One cell of one table: what must be there after a survey."""

    scenario: str
    table: str
    key: str  # the domain or host
    column: str
    value: Any

    def met_by(self, found: object) -> bool:
        if isinstance(self.value, OneOf | Has | Lacks):
            return found in self.value
        return bool(found == self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One way to be right or broken.

    `domain`, `mx`, `hosts_found` are what `domain_verdict`, `domain_mx` and (by host name)
    `host_verdict` and `mx_host` must show. They come from MEASUREMENT and the RFCs, never from
    what our code answers; `why` names the section.
    """

    name: str
    what: str
    why: str
    verdict: Columns
    domain_mx: Columns = field(default_factory=dict)
    domain_policy: Columns = field(default_factory=dict)
    mx_host: Mapping[str, Columns] = field(default_factory=dict)
    host_verdict: Mapping[str, Columns] = field(default_factory=dict)
    tld: str = PLAIN
    records: tuple[str, ...] = ("@ MX 10 mx",)
    hosts: tuple[Host, ...] = (Host(),)
    zones: Mapping[str, Signing] = field(default_factory=lambda: {"@": Signing()})
    # `ipv6`, `isolation`: only in a namespace; `postfix`: also root, and Postfix
    needs: frozenset[str] = frozenset()
    # False: no DS, so a zone scan leaves it out; `verdict` is what a look at it alone finds
    surveyed: bool = True
    # the zone file that the survey reads has the delegation, the name servers have it no more
    gone: bool = False

    @property
    def domain(self) -> str:
        return f"{self.name}.{self.tld}"

    def absolute(self, name: str) -> str:
        """The key of a name as a scenario writes it."""
        name = name.format(name=self.name)
        if name == "@":
            return self.domain
        return canonical(name if name.endswith(".") else f"{name}.{self.domain}")

    def expected(self) -> Iterator[Expected]:
        """Every cell that the scenario declares."""
        domains = (
            ("domain_verdict", self.verdict),
            ("domain_mx", self.domain_mx),
            ("domain_policy", self.domain_policy),
        )
        for table, columns in domains:
            for column, value in columns.items():
                yield Expected(self.name, table, self.domain, column, value)
        hosts = (("mx_host", self.mx_host), ("host_verdict", self.host_verdict))
        for table, by_host in hosts:
            for host, columns in by_host.items():
                for column, value in columns.items():
                    yield Expected(self.name, table, self.absolute(host), column, value)
