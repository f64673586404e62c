"""Scenarios about the addresses of MX hosts (measurement, sections 3.2 and 6; design 8)."""

from lab.scenarios.scenario import (
    EE,
    GOOD_HOST,
    Behaviour,
    Chain,
    Host,
    Port,
    Scenario,
    Signing,
    has,
)
from lab.scenarios.verdicts import (
    BROKEN,
    DANE,
    UNREACHABLE,
)

_FAMILIES = (
    Scenario(
        name="ipv6-only",
        what="AAAA only",
        why="measurement 3.2: either family secure suffices",
        hosts=(Host(tlsa=EE, addresses=("next6",)),),
        verdict=DANE,
        mx_host={"mx": {"a_outcome": "nodata", "aaaa_outcome": "secure"}},
        needs=frozenset({"ipv6"}),
    ),
    Scenario(
        name="a-fails",
        what="the A lookup fails, AAAA is secure",
        why="measurement 6 and 8: address_family_failed beside a working one",
        zones={"@": Signing(servers=(Behaviour(action="servfail", types=("A",)),))},
        # its own name server's A needs no lookup: it is glue
        hosts=(Host(tlsa=EE, addresses=("next6",)),),
        verdict=DANE,
        mx_host={"mx": {"a_outcome": "servfail", "defects": has("address_family_failed")}},
        needs=frozenset({"ipv6"}),
    ),
    Scenario(
        name="aaaa-fails",
        what="the AAAA lookup fails, A is secure",
        why="measurement 6 and 8: address_family_failed beside a working one",
        zones={"@": Signing(servers=(Behaviour(action="servfail", types=("AAAA",)),))},
        hosts=(GOOD_HOST,),
        verdict=DANE,
        mx_host={"mx": {"aaaa_outcome": "servfail", "defects": has("address_family_failed")}},
        host_verdict={"mx": {"status": "pass"}},
    ),
    Scenario(
        name="ipv6-broken",
        what="the server at the IPv6 address has another key",
        why="measurement 6: F anywhere wins; 8: divergent",
        hosts=(GOOD_HOST, Host(addresses=("next6",), chain=Chain(key="ecdsa-other"))),
        verdict=BROKEN,
        host_verdict={"mx": {"status": "mismatch", "defects": has("divergent")}},
        needs=frozenset({"ipv6"}),
    ),
)

_RESERVED_ADDRESSES = {
    "private": "10.1.2.3",
    "private-192": "192.168.1.1",
    "loopback": "127.0.0.1",
    "link-local": "169.254.1.1",
    "metadata": "169.254.169.254",
    "shared": "100.64.1.1",
    "this-network": "0.0.0.0",
    "multicast": "224.0.0.25",
    "broadcast": "255.255.255.255",
    "documentation": "192.0.2.25",
    "ipv6-loopback": "::1",
    "ipv6-link-local": "fe80::25",
    "ipv6-unique-local": "fd12:3456::25",
    "4in6": "::ffff:10.1.2.3",
    "6to4": "2002:a01:203::25",
    "nat64": "64:ff9b::a01:203",
    "teredo": "2001:0:a01:203::25",
}
"""Addresses that are never connected to (design, section 8; IANA special-purpose registries)."""

_RESERVED = tuple(
    Scenario(
        name=f"address-{kind}",
        what=f"the MX host's address is {address}",
        why="design 8: never connected to; measurement 6: reserved_address, Q",
        hosts=(Host(tlsa=EE, addresses=(address,), port=Port.ELSEWHERE),),
        verdict=UNREACHABLE,
        host_verdict={
            "mx": {
                "status": "reserved_address",
                "class": "Q",
                "address_status": ["reserved_address"],
            }
        },
        needs=frozenset({"isolation"}),
    )
    for kind, address in _RESERVED_ADDRESSES.items()
)

SCENARIOS = (*_FAMILIES, *_RESERVED)
