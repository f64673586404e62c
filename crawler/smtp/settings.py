"""Settings of the SMTP probe: who we are, how gently we go, whom we leave alone."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """docs/ethics.md has the reasons. Safe by default: nothing starts without an identity."""

    ehlo_name: str | None = None  # must resolve to us, with PTR
    contact: str | None = None  # mailbox of a person
    information_page: str | None = None  # URL that explains the survey and how to opt out
    port: int = 25
    lab_addresses: tuple[str, ...] = ()  # networks that only a lab may connect to: 127.0.0.0/8
    connect_s: float = 30.0
    reply_s: float = 60.0
    tls_s: float = 30.0
    session_s: float = 180.0
    # At once in a worker: new_per_s * session_s, all that can be open at that rate. So servers
    # that keep us waiting on purpose, however many, take no place from others.
    sessions: int = 3600
    new_per_s: float = 20.0  # in all
    per_operator: int = 2  # connections at once
    address_interval_s: float = 60.0  # between two connections to one address
    names_per_key: int = 20  # SNI names a (address, TLSA RRset), others inherit
    # Targets a run, beyond them `unprobed`: of one operator, one network (/24, /48), and for one
    # domain, whose share is the same for each of its MX hosts
    most_per_operator: int = 2000
    most_per_network: int = 1000
    most_per_domain: int = 64
    attempts_after_s: tuple[float, ...] = (2100.0, 10800.0)  # +35 min, +3 h
    dns_max_age_s: float = 600.0  # re-ask TLSA and addresses when older
    both_key_types: bool = True  # in a full run, a second handshake for the other kind of key
    opt_out: Path | None = None  # docs/ethics.md; read at connect time
    operator_merges: Path | None = None  # TOML: registrable domain = operator
