"""`[lab]`: which lab a survey is of, and whether it lives in the future.

A survey of the Internet with a wrong clock would call every zone's signatures expired, so the
setting is refused unless root, trust anchor and mail servers are all a lab's.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crawler.dns.settings import ResolverSettings
from crawler.smtp.settings import ProbeSettings

_IANA_KEY_TAGS = frozenset({20326, 38696})  # of the root's KSKs (RFC 9718)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSettings:
    identity: str | None = None  # which lab this is, by its root key
    days_ahead: float = 0.0  # of real time, for a lab that lives through months


def objections(lab: LabSettings, resolver: ResolverSettings, probe: ProbeSettings) -> Iterator[str]:
    """Why this survey's clock may not run ahead; nothing if it may, or does not."""
    if not lab.days_ahead:
        return
    only = "lab.days_ahead is for a lab only"
    roots = [one.address for one in _records(resolver.root_hints, "A", "AAAA")]
    if not roots or not all(ipaddress.ip_address(one).is_loopback for one in roots):
        yield f"{only}: resolver.root_hints must name a root on loopback"
    tags = {_key_tag(one) for one in _records(resolver.trust_anchor, "DS", "DNSKEY")}
    if not tags or tags & _IANA_KEY_TAGS:
        yield f"{only}: resolver.trust_anchor must be the key of a lab's root"
    if not probe.lab_addresses or not all(map(_is_private, probe.lab_addresses)):
        yield f"{only}: probe.lab_addresses must name a lab's networks"


def _records(path: Path | None, *types: str) -> list[Any]:
    """The records of these types in a file; none of one that cannot be read."""
    import dns.exception  # here: most commands have no lab
    import dns.zonefile

    try:
        text = path.read_text() if path else ""
        rrsets = dns.zonefile.read_rrsets(text, rdclass=None, default_ttl=0, origin=".")
    except (OSError, UnicodeDecodeError, dns.exception.DNSException):
        return []
    return [record for rrset in rrsets if rrset.rdtype.name in types for record in rrset]


def _key_tag(record: Any) -> int:
    import dns.dnssec

    return int(record.key_tag if hasattr(record, "key_tag") else dns.dnssec.key_id(record))


def _is_private(network: str) -> bool:
    try:
        return not ipaddress.ip_network(network, strict=False).is_global
    except ValueError:
        return False
