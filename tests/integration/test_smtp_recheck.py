"""DNS asked again around a connection: real zones, a real Unbound, a real mail server."""

import dataclasses
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
import trio
import trustme

from crawler.dns.client import Client
from crawler.scan import probe
from crawler.scan.recheck import Fresh, Recheck
from crawler.smtp.settings import ProbeSettings
from dane import tlsa
from storage.schemas import CERTIFICATE, SMTP_PROBE
from tests.integration.dns_world import CLIENT, TLSA_DATA, World, world
from tests.smtp_servers import SMTP, Town, tls_context

HOST, ADDRESS = "mx10.good.world", "127.30.0.1"
PUBLISHED = f"3 1 1 {TLSA_DATA.hex()}"
STALE = "3 1 1 " + "00" * 32


@pytest.fixture(scope="module")
def dns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world")) as up:
        yield up


@pytest.fixture
def good() -> SMTP:
    return SMTP(tls_context(trustme.CA().issue_cert("mx.example")))


def recheck(dns: World, ask: Callable[[Recheck], Any]) -> Any:
    async def main() -> Any:
        client = Client(dns.resolvers, CLIENT, try_s=CLIENT.last_try_s)
        async with client.serving():
            return await ask(Recheck(client, dns.resolvers))

    return trio.run(main)


def test_what_is_published_now(dns: World) -> None:
    fresh: Fresh = recheck(dns, lambda one: one.before(HOST, ADDRESS, HOST))
    assert fresh.tlsa == (PUBLISHED,)
    assert fresh.withdrawn is None
    assert datetime.now(UTC) - fresh.asked < timedelta(minutes=1)
    assert recheck(dns, lambda one: one.before(HOST, "fd00:30::1", HOST)).withdrawn is None
    assert recheck(dns, lambda one: one.after_mismatch(HOST)).tlsa == (PUBLISHED,)


@pytest.mark.parametrize(
    ("host", "address", "base", "why"),
    [
        (HOST, "127.30.0.99", HOST, "no longer an address of"),
        ("gone.good.world", ADDRESS, HOST, "nxdomain"),
        ("plain.good.world", "127.30.0.2", "plain.good.world", "no longer there"),
        ("mx.unsigned.world", "127.30.0.6", "mx.unsigned.world", "no longer there"),
        (HOST, ADDRESS, "mx.refused.world", "servfail"),
    ],
)
def test_nothing_to_connect_for(dns: World, host: str, address: str, base: str, why: str) -> None:
    fresh: Fresh = recheck(dns, lambda one: one.before(host, address, base))
    assert fresh.tlsa == ()
    assert why in str(fresh.withdrawn)


def scan(dns: World, server: SMTP, *, age: timedelta, address: str = ADDRESS) -> dict[str, Any]:
    """One probe whose TLSA records were asked for so long ago, and have changed since."""
    town = Town()
    town.add(server, ADDRESS)
    names = ("bucket", "address", "tlsa_digest", "operator", "sni", "host", "tlsa", "dns_asked")
    key = {
        "bucket": 1,
        "address": address,
        "tlsa_digest": tlsa.rrset_digest([tlsa.parse_text(STALE)]),
        "operator": "good.world",
        "sni": HOST,
        "host": HOST,
        "tlsa": [STALE],
        "dns_asked": datetime.now(UTC) - age,
    }
    settings = ProbeSettings(
        lab_addresses=("127.30.0.0/16",), address_interval_s=0, new_per_s=1000, reply_s=5
    )
    with town:
        rows, _ = probe.scan(
            pa.RecordBatch.from_pylist(
                [key], schema=pa.schema([SMTP_PROBE.schema.field(name) for name in names])
            ),
            schema=SMTP_PROBE.schema,
            certificate_schema=CERTIFICATE.schema,
            probe=dataclasses.replace(settings, port=town.port),
            run_id=1,
            attempt=1,
            resolver=dns.resolvers,
            client=CLIENT,
        )
    (row,) = rows.to_pylist()
    assert row["tlsa_digest"] == key["tlsa_digest"], "the key stays that of the target"
    return dict(row)


def test_old_answers_are_asked_again_before_connecting(dns: World, good: SMTP) -> None:
    row = scan(dns, good, age=timedelta(minutes=30))
    assert (row["status"], row["tlsa"]) == ("mismatch", [PUBLISHED])
    assert datetime.now(UTC) - row["dns_asked"] < timedelta(minutes=1)


def test_a_mismatch_counts_with_fresh_records_only(dns: World, good: SMTP) -> None:
    """Young enough not to be asked before, but the mismatch with the old record is not told."""
    row = scan(dns, good, age=timedelta(minutes=1))
    assert (row["status"], row["tlsa"]) == ("mismatch", [PUBLISHED])
    assert good.connections == 1


def test_a_withdrawn_address_is_not_connected_to(dns: World, good: SMTP) -> None:
    row = scan(dns, good, age=timedelta(minutes=30), address="127.30.0.99")
    assert (row["status"], good.connections) == ("unprobed", 0)
    assert "no longer an address" in row["error"]
