"""Domains by the thousand: from a real zone's delegations, or made up.

Most domains of the Internet take their mail at a few large providers. So do these: a dozen
providers with the shares below, each with two MX hosts. Domains of their own hosts, and
broken ones, are scenarios of the catalogue under new names, so that what a survey must find
of them is known already (`truth`).
"""

import hashlib
from bisect import bisect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from lab import records
from lab.plan import Builder
from lab.records import Rdata
from lab.scenarios import CATALOGUE
from lab.scenarios.scenario import HASHED, PLAIN, RIGHT, UNSIGNED, Chain, Host, Scenario, Signing
from lab.scenarios.verdicts import DANE, INSECURE_MX_HOST, MX_FAILED, NO_TLSA
from lab.signer import Nsec3

_USUAL = ("3 1 1 leaf",)


@dataclass(frozen=True, slots=True)
class Provider:
    """A mail provider: its share of the domains, the TLSA of its hosts, its zone."""

    domain: str
    share: int
    tlsa: tuple[str, ...] = _USUAL
    signing: Signing = RIGHT
    names_a_customer: bool = False  # each customer has MX names of its own, on shared addresses

    def mx(self, domain: str) -> list[Rdata]:
        """The MX records of a customer."""
        if self.names_a_customer:
            label = domain.replace(".", "-")
            return [records.mx(10, f"{label}.mx.{self.domain}")]
        return [records.mx(10 * n, f"mx{n}.{self.domain}") for n in (1, 2)]


PROVIDERS = (
    Provider("provider-a.plain", 300),
    Provider("provider-b.hashed", 200, ("3 1 1 leaf", "2 1 1 ca")),
    Provider("provider-c.plain", 120, ("2 1 1 ca",)),
    Provider("provider-d.plain", 100, ()),
    Provider("provider-e.hashed", 80, signing=UNSIGNED),
    Provider("provider-f.plain", 50, signing=Signing(algorithm=8)),
    Provider("provider-g.hashed", 40, signing=Signing(nsec3=Nsec3(iterations=5, salt=b"lab"))),
    Provider("provider-h.plain", 30, ("3 1 2 leaf",)),
    Provider("provider-i.plain", 30, ("3 1 1 stranger", "3 1 1 leaf")),
    Provider("provider-j.hashed", 20, ()),
    Provider("provider-k.plain", 20, names_a_customer=True),
    Provider("provider-l.hashed", 10),
)
"""A dozen, the largest first; shares are relative to their sum."""

_CUMULATED = list(accumulate(one.share for one in PROVIDERS))


def verdict(provider: Provider) -> Mapping[str, Any]:
    """What a survey finds of a domain that is right itself and hosted at a provider."""
    if not provider.signing.signed:
        return INSECURE_MX_HOST
    return DANE if provider.tlsa else NO_TLSA


def fraction(label: str) -> float:
    """A number in [0, 1) that is always the same for a label."""
    return int.from_bytes(hashlib.blake2b(label.encode(), digest_size=6).digest()) / (1 << 48)


def provider_of(domain: str) -> Provider:
    """The provider that a domain is hosted at, by share."""
    at = fraction(f"provider/{domain}") * _CUMULATED[-1]
    return PROVIDERS[bisect(_CUMULATED, at)]


def add_providers(builder: Builder) -> None:
    """The providers' own domains, zones and mail hosts."""
    for one in PROVIDERS:
        name, _, tld = one.domain.partition(".")
        hosts = [Host(name=f"mx{n}", tlsa=one.tlsa) for n in (1, 2)]
        if one.names_a_customer:
            chain = Chain(names=(f"*.mx.{one.domain}",))
            hosts.append(Host(name="*.mx", tlsa=one.tlsa, tlsa_at="*.mx", chain=chain))
        builder.add(
            Scenario(
                name=name,
                tld=tld,
                what="a provider",
                why="",
                records=("@ MX 10 mx1", "@ MX 20 mx2"),
                hosts=tuple(hosts),
                zones={"@": one.signing},
                verdict=verdict(one),
            )
        )


def add_hosted(builder: Builder, domain: str, signing: Signing) -> None:
    """A domain whose mail its provider takes."""
    builder.add_hosted(domain, provider_of(domain).mx(domain), signing)


BROKEN_WAYS = (
    *("ee-stranger", "no-starttls", "expired", "all-down", "leaf-expired-ta", "ta-not-sent"),
    *("ta-name-mismatch", "digest-of-nothing", "pkix-only", "one-of-two-broken", "backup-broken"),
    *("starttls-454", "greeting-554", "wrong-ds", "bad-tlsa-signature", "serial-raised-no-tlsa"),
)
"""Scenarios of the catalogue that make the broken 3 %, in turn."""

OWN_HOSTS = (
    *("ee-spki", "ta-spki", "no-tlsa", "implicit-mx", "current-and-next", "mx-is-the-domain"),
    *("no-tlsa", "null-mx"),
)
"""Scenarios that the domains with mail hosts of their own are, in turn."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What a survey must find of one made-up domain: its row of `domain_verdict`."""

    domain: str
    recipe: str  # a scenario's name, `hosted` or `dead`
    verdict: Mapping[str, Any]


def add_made_up(builder: Builder, count: int, dead: float = 0.0) -> Iterator[Truth]:
    """Adds `count` signed domains, yields the truth of each.

    `dead` is the share that has a name server of its own that never answers.
    """
    catalogue = {one.name: one for one in CATALOGUE}
    for n in range(count):
        tld = (PLAIN, HASHED)[n & 1]
        name = f"domain-{n:07}"
        if fraction(f"dead/{name}") < dead:
            builder.add_dead(f"{name}.{tld}")
            yield Truth(f"{name}.{tld}", "dead", MX_FAILED)
            continue
        at = fraction(f"kind/{name}")
        if at >= 0.10:
            signing = Signing(algorithm=8 if at >= 0.96 else 13)
            domain = f"{name}.{tld}"
            add_hosted(builder, domain, signing)
            yield Truth(domain, "hosted", verdict(provider_of(domain)))
            continue
        recipes = BROKEN_WAYS if at < 0.03 else OWN_HOSTS
        recipe = recipes[n // 2 % len(recipes)]
        scenario = replace(catalogue[recipe], name=name, tld=tld)
        builder.add(scenario)
        yield Truth(scenario.domain, recipe, scenario.verdict)


def add_delegations(builder: Builder, delegations: Iterable[tuple[str, bool]]) -> None:
    """The delegations of a real zone: (domain, whether it has DS), each hosted somewhere."""
    for domain, is_signed in delegations:
        add_hosted(builder, domain, Signing() if is_signed else UNSIGNED)
