"""A scenario that is one zone with one MX host, which all about DNS are."""

from collections.abc import Mapping
from typing import Any

from lab.scenarios.scenario import GOOD_HOST, Host, Scenario, Signing


def zone(
    name: str,
    what: str,
    why: str,
    signing: Signing,
    verdict: Mapping[str, Any],
    *,
    hosts: tuple[Host, ...] = (GOOD_HOST,),
    tld: str = "plain",
    domain_mx: Mapping[str, Any] | None = None,
    mx: Mapping[str, Any] | None = None,
    host: Mapping[str, Any] | None = None,
) -> Scenario:
    """One zone, signed and served so; `mx` and `host` are columns of mx_host and host_verdict."""
    return Scenario(
        name=name,
        what=what,
        why=why,
        tld=tld,
        zones={"@": signing},
        hosts=hosts,
        verdict=verdict,
        domain_mx=domain_mx or {},
        mx_host={"mx": mx} if mx else {},
        host_verdict={"mx": host} if host else {},
    )
