"""Zones that are made to cost us work: it is bounded, it is ours to give up, others go on.

And an address family that is lost on the way: nobody's zone is to blame.
"""

import base64
import dataclasses
import socket
from collections.abc import Iterator
from time import time
from typing import Any

import pyarrow as pa
import pytest
import trio

from crawler.addresses import Addresses
from crawler.dns.authority import Authorities, Findings
from crawler.scan import hosts
from crawler.scan.context import LookupKind
from dane.names import bucket
from dane.outcomes import DnsCause
from lab import keys, records, signer
from lab.records import Rdata
from lab.signer import Line, Nsec3, Validity, Zone
from storage.schemas import MX_HOST
from tests.integration.dns_world import (
    CANARIES,
    CLIENT,
    TLD,
    TLSA_DATA,
    Extra,
    World,
    world,
    zone_of,
)
from tests.support.contexts import scan_context

COLLIDING = 200  # keys, and as many signatures: some 52 kB of each
SILENT_6 = "::1"  # bound by this test, and never read
BY_IPV6 = f"six.{TLD}"
TRAP, ITERATIONS = f"trap.{TLD}", f"iterations.{TLD}"


def _host_zone(origin: str) -> Zone:
    zone = zone_of(origin)
    zone.add(f"mx.{origin}", records.a("127.30.0.9"))
    zone.add(f"_25._tcp.mx.{origin}", records.tlsa(3, 1, 1, TLSA_DATA))
    return zone


def _of_same_tag(key: bytes) -> Iterator[bytes]:
    """Keys of RSA whose tag is the same: the tag is a sum, whatever its words' order."""
    for number in range(COLLIDING):
        one, other = 6 + 2 * (number % 60), 8 + 2 * ((number * 7 + 61) % 120)
        swapped = bytearray(key)
        swapped[one : one + 2], swapped[other : other + 2] = (
            key[other : other + 2],
            key[one : one + 2],
        )
        yield bytes(swapped)


def _key_trap() -> Extra:
    """KeyTrap (CVE-2023-50387): each signature may be of any of the keys, and is of none."""
    key = keys.zone_key(1, TRAP, keys.RSASHA256)
    zone, usual = _host_zone(TRAP), Validity.around(time())
    zone.add(TRAP, key.rdata)
    others = (records.dnskey(257, key.algorithm, one) for one in _of_same_tag(key.rdata.wire[4:]))
    zone.add(TRAP, *others)

    def lines() -> Iterator[Line]:
        for (owner, code), rdata in zone.rrsets.items():
            yield from (Line(owner, 300, one) for one in rdata)
            good = signer.rrsig(key, TRAP, usual, owner, 300, rdata)
            if code != records.TLSA:
                yield Line(owner, 300, good, code)
                continue
            head, _, _ = good.text.rpartition(" ")
            for number in range(COLLIDING):
                forged = good.wire[-256:-8] + number.to_bytes(8)
                text = f"{head} {base64.b64encode(forged).decode()}"
                yield Line(owner, 300, Rdata(records.RRSIG, text, good.wire), code)

    return Extra(lines(), key.ds(TRAP))


def _many_iterations() -> Extra:
    """NSEC3 with 3 000 iterations (RFC 9276 section 3.2)."""
    key = keys.zone_key(1, ITERATIONS)
    zone, usual = _host_zone(ITERATIONS), Validity.around(time())
    return Extra(signer.sign(zone, key, Nsec3(3000, b"saltsalt"), usual), key.ds(ITERATIONS))


def _by_ipv6() -> Extra:
    """A zone whose only server has only an IPv6 address."""
    key = keys.zone_key(1, BY_IPV6)
    zone = zone_of(BY_IPV6, SILENT_6)
    lines = signer.sign(zone, key, None, Validity.around(time()))
    return Extra(lines, key.ds(BY_IPV6), SILENT_6)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("world")
    directory.chmod(0o755)
    extra = {TRAP: _key_trap(), ITERATIONS: _many_iterations(), BY_IPV6: _by_ipv6()}
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as silent:
        try:
            silent.bind((SILENT_6, 53))
        except OSError as error:
            pytest.skip(f"[{SILENT_6}]:53: {error}")
        with world(directory, extra, root=SILENT_6) as up:
            yield up


def _rows(here: World, *names: str) -> dict[str, dict[str, Any]]:
    context = scan_context(
        MX_HOST.schema,
        client=dataclasses.replace(CLIENT),
        canaries=CANARIES,
        resolvers=here.resolvers,
        lookup=LookupKind.LAST,
    )
    shard = pa.RecordBatch.from_pydict({"bucket": [bucket(one) for one in names], "host": names})
    return {row["host"]: row for row in hosts.scan(shard, context).to_pylist()}


def _examined(here: World, name: str) -> Findings:
    async def examine() -> Findings:
        addresses = Addresses(("127.0.0.0/8", "::1/128"))
        return await Authorities(here.resolvers.first[0], addresses, CLIENT).examine(name, "TLSA")

    return trio.run(examine)


def test_colliding_keys_and_signatures_are_a_limit_of_ours(here: World) -> None:
    """Both resolvers give up; so do the direct questions, which prove nothing: class X."""
    found = _rows(here, f"mx.{TRAP}", f"mx10.good.{TLD}")
    assert found[f"mx.{TRAP}"]["tlsa_outcome"] in ("bogus", "servfail")
    assert found[f"mx.{TRAP}"]["second_look_outcome"] in ("bogus", "servfail")
    assert found[f"mx10.good.{TLD}"]["tlsa_usable"] == 1
    examined = _examined(here, f"_25._tcp.mx.{TRAP}")
    assert examined.cause is DnsCause.VALIDATOR_LIMIT


def test_3_000_iterations_are_not_followed(here: World) -> None:
    """Denials of such a zone are not secure; what is there is."""
    found = _rows(here, f"mx.{ITERATIONS}", f"nothing.{ITERATIONS}")
    assert found[f"mx.{ITERATIONS}"]["tlsa_usable"] == 1
    assert found[f"nothing.{ITERATIONS}"]["status"] == "no_address"
    assert found[f"nothing.{ITERATIONS}"]["a_secure"] is False
    examined = _examined(here, f"_25._tcp.nothing.{ITERATIONS}")
    assert (examined.cause, examined.all_good) == (DnsCause.UNKNOWN, True)


def test_where_ipv6_is_silent_everywhere_no_zone_is_to_blame(here: World) -> None:
    """The root's IPv6 address does not answer either: it is our own path that is broken."""
    examined = _examined(here, f"mx.{BY_IPV6}")
    assert (examined.cause, examined.all_good) == (DnsCause.UNKNOWN, False)
    assert list(examined.entries) == []
    assert "IPv6 is silent" in (examined.note or "")
