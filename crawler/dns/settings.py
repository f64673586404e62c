"""Settings of the resolver, the DNS client and the canaries."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverSettings:
    """The validating resolvers that every lookup goes through (measurement, section 1).

    With `address` unset an Unbound of our own is started for the command's time, on
    127.0.0.1 at `port`, and a second one (qname minimisation on) at `second_look_port`.
    """

    address: str | None = None  # "127.0.0.1:53": a resolver that runs already, on loopback
    second_look_address: str | None = None
    control: Path | None = None  # Unix control socket of the Unbound at `address`
    second_look_control: Path | None = None
    port: int = 5301
    second_look_port: int = 5302
    unbound: Path | None = None  # the binary; default: found on PATH, copied under the state dir
    threads: int | None = None  # default: cores
    cache_mib: int | None = None  # msg + rrset + key; default: by RAM
    root_hints: Path | None = None
    trust_anchor: Path | None = None  # DS or DNSKEY of the root; default: IANA's 20326 and 38696
    query_localhost: bool = False  # lab only: do-not-query-localhost: no
    ipv6: bool | None = None  # do-ip6; default: by preflight


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """The window and the deadlines of the DNS client."""

    # Questions in flight a worker, all its workers' within threads * 4096 / 4; those older than
    # resend_s do not count, but may be as many again: who is slow holds up nobody.
    window: int = 1000
    sockets: int = 16  # connected UDP sockets a resolver thread
    resend_s: float = 1.0  # a question open so long is sent once more
    try_s: float = 5.0  # deadline of one try; then the name goes to the next pass
    # of the last pass: Unbound takes up to 109 s to give up on servers that all drop
    last_try_s: float = 150.0
    # waits before passes 2, 3, 4; the fifth is at the end of the run
    flush_every_s: float = 60.0  # at least, between two flushes of the resolvers' caches
    passes_s: tuple[float, ...] = (10.0, 90.0, 1200.0)
    questions_per_s_per_name_server_set: float = 50.0
    # One try of a direct question to an authoritative server. By TCP twice as long, and five
    # times as long for the resolver's word about who that server is.
    direct_try_s: float = 3.0
    # Two TXT questions more of each domain with a TLSA host, in full runs: MTA-STS and TLSRPT.
    policies: bool = True
    # Between the two rounds in which all servers of a DANE host are asked for its TLSA RRset.
    servers_again_s: float = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CanarySettings:
    """Names that tell our own outage from theirs (measurement, section 1)."""

    # Zones that deny a fresh name with AD: signed, without opt-out (com, org and nl have it)
    # and without a wildcard; of different operators.
    zones: tuple[str, ...] = (
        *(".", "arpa", "se", "nu"),
        *("isc.org", "ripe.net", "nic.cz", "afnic.fr", "sidnlabs.nl", "cloudflare.com"),
    )
    signed: str = "internetsociety.org"
    broken: str = "dnssec-failed.org"
    # Algorithm number -> an apex that is secure by it.
    algorithms: dict[str, str] = field(default_factory=lambda: {"8": ".", "13": "com"})
    # The root's SOA is signed anew twice a day and cached for one: with an older signature it
    # is our clock that is ahead.
    root_signed_within_s: float = 172_800.0
    every_s: float = 10.0
    reply_s: float = 5.0  # how long a round waits for its replies
    recovery_s: float = 600.0  # how long a scan waits for the network to come back
