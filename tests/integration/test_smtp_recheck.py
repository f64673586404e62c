"""DNS asked again around a connection: real zones, a real Unbound, a real mail server."""

import dataclasses
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
import trio
import trustme

from crawler.dns.client import Client, Resolvers
from crawler.dns.settings import CanarySettings
from crawler.scan import probe
from crawler.scan.recheck import Fresh, Recheck
from crawler.smtp.settings import ProbeSettings
from dane import tlsa
from storage.schemas import CERTIFICATE, SMTP_PROBE
from tests.integration.dns_world import CANARIES, CLIENT, TLSA_DATA, World, world
from tests.smtp_servers import SMTP, Server, Town, tls_context
from tests.support.contexts import scan_context

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


def scan(dns: World, server: Server, **options: Any) -> dict[str, Any]:
    (row,) = rows(dns, server, **options)
    return row


def rows(
    dns: World,
    server: Server,
    *,
    age: timedelta = timedelta(0),
    address: str = ADDRESS,
    canaries: CanarySettings | None = None,
) -> list[dict[str, Any]]:
    """One probe whose TLSA records were asked for so long ago, and have changed since."""
    town = Town()
    town.add(server, ADDRESS)
    names = ("bucket", "address", "tlsa_digest", "operator", "sni", "attempt", "host", "tlsa")
    key = {
        "bucket": 1,
        "address": address,
        "tlsa_digest": tlsa.rrset_digest([tlsa.parse_text(STALE)]),
        "operator": "good.world",
        "sni": HOST,
        "attempt": 1,
        "host": HOST,
        "tlsa": [STALE],
        "dns_asked": datetime.now(UTC) - age,
    }
    settings = ProbeSettings(
        lab_addresses=("127.30.0.0/16",),
        address_interval_s=0,
        new_per_s=1000,
        reply_s=5,
        both_key_types=False,
    )
    with town:
        found, _ = probe.scan(
            pa.RecordBatch.from_pylist(
                [key],
                schema=pa.schema([SMTP_PROBE.schema.field(name) for name in (*names, "dns_asked")]),
            ),
            scan_context(
                SMTP_PROBE.schema,
                CERTIFICATE.schema,
                probe=dataclasses.replace(settings, port=town.port),
                resolvers=dns.resolvers,
                client=CLIENT,
                canaries=canaries,
            ),
        )
    for row in found.to_pylist():
        assert row["tlsa_digest"] == key["tlsa_digest"], "the key stays that of the target"
    return list(found.to_pylist())


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


class AwayAtFirst:
    """A server whose first visitor is cut off, by what also cuts off our name servers."""

    def __init__(self, dns: World, server: Server, back_after_s: float) -> None:
        self.visits = 0
        self._dns = dns
        self._server = server
        self.back = threading.Timer(back_after_s, dns.signal_server, (signal.SIGCONT,))

    async def __call__(self, stream: trio.SocketStream) -> None:
        self.visits += 1
        if self.visits > 1:
            await self._server(stream)
        else:
            self._dns.signal_server(signal.SIGSTOP)
            self.back.start()


def test_a_visit_during_our_own_outage_is_made_again(dns: World, good: SMTP) -> None:
    away = AwayAtFirst(dns, good, back_after_s=3.0)
    row = scan(dns, away, canaries=CANARIES)
    away.back.join()
    assert (row["status"], away.visits) == ("mismatch", 2)


def test_an_outage_that_lasts_leaves_targets_missing(dns: World, good: SMTP) -> None:
    away = AwayAtFirst(dns, good, back_after_s=6.0)
    impatient = dataclasses.replace(CANARIES, recovery_s=1.0)
    assert rows(dns, away, canaries=impatient) == []
    away.back.join()
    assert away.visits == 1


def test_no_reply_of_our_own_resolver_is_our_fault(dns: World, good: SMTP) -> None:
    silent = dataclasses.replace(dns, resolvers=Resolvers((("127.0.0.1", 9),)))
    row = scan(silent, good, age=timedelta(minutes=30))
    assert (row["status"], good.connections) == ("local_error_smtp", 0)
    assert "unanswered" in row["error"]
