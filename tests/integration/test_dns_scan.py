"""The scans with a real Unbound before a real NSD, undisturbed and disturbed."""

import dataclasses
import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import trio

import crawler.scan
from crawler.dns.canaries import Canaries, Health
from crawler.dns.client import Client, Resolvers
from crawler.scan import hosts, resolve
from crawler.scan.context import LookupKind
from dane.names import bucket
from storage.schemas import DOMAIN_MX, MX_HOST
from tests.integration.dns_world import CANARIES, CLIENT, TLD, World, world
from tests.integration.scripted_resolver import echo, scripted
from tests.support.contexts import scan_context

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="name servers listen on port 53: root")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory: Path = tmp_path_factory.mktemp("world")
    for parent in (directory, *directory.parents[:2]):
        parent.chmod(0o755)  # Unbound runs as another user
    with world(directory) as running:
        yield running


def scan(
    module: Any,
    names: list[str],
    resolvers: Resolvers,
    *,
    lookup: LookupKind = LookupKind.FIRST,
    passes: int = 0,
    **changes: Any,
) -> dict[str, dict[str, Any]]:
    column, schema = {
        resolve: ("domain", DOMAIN_MX.schema),
        hosts: ("host", MX_HOST.schema),
    }[module]
    found = module.scan(
        pa.RecordBatch.from_pydict(
            {
                "bucket": [bucket(name) for name in names],
                column: names,
                "passes": [passes] * len(names),
            }
        ),
        scan_context(
            schema,
            run_id=7,
            client=CLIENT,
            canaries=dataclasses.replace(CANARIES, **changes),
            resolvers=resolvers,
            lookup=lookup,
        ),
    )
    assert found.schema == schema
    rows = {row[column]: row for row in found.to_pylist()}
    assert len(rows) == found.num_rows
    return rows


DOMAINS: dict[str, dict[str, Any]] = {
    f"good.{TLD}": {
        "outcome": "secure",
        "mx_host": [f"mx10.good.{TLD}", f"mx20.good.{TLD}"],
        "rrsig_signer": f"good.{TLD}",
        "dnskey_bits": [256],
    },
    f"implicit.{TLD}": {
        "outcome": "nodata",
        "secure": True,
        "mx_host": [f"implicit.{TLD}"],
        "nsec3_iterations": 5,
        "nsec3param_salt_length": 4,
    },
    f"aliased.good.{TLD}": {"cname_target": f"implicit.{TLD}", "mx_host": [f"implicit.{TLD}"]},
    f"mail.to-unsigned.good.{TLD}": {"outcome": "insecure", "cname_target": f"mail.unsigned.{TLD}"},
    f"mail.to-implicit.good.{TLD}": {"outcome": "nxdomain", "secure": True},
    f"null.{TLD}": {"mx_host": ["."], "mx_preference": [0]},
    f"unsigned.{TLD}": {"outcome": "insecure", "dnskey_outcome": None},
    f"bogus.{TLD}": {"outcome": "bogus"},
    f"refused.{TLD}": {"outcome": "servfail"},
    f"dead.{TLD}": {"outcome": "unanswered"},
    f"nothing.{TLD}": {"outcome": "nxdomain", "secure": True},
    f"many.{TLD}": {"outcome": "secure", "mx_total": 300},  # truncated, hence by TCP
}

HOSTS: dict[str, dict[str, Any]] = {
    f"mx10.good.{TLD}": {
        "status": None,
        "addresses": ["127.30.0.1", "fd00:30::1"],
        "tlsa_usable": 1,
        "second_look_outcome": "secure",
        "rrsig_labels": 5,
    },
    f"alias.good.{TLD}": {"tlsa_base": f"mx10.good.{TLD}", "cname_secure": True},
    f"half.good.{TLD}": {"tlsa_base": f"half.good.{TLD}", "first_cname_secure": True},
    f"plain.good.{TLD}": {"status": "absent"},
    f"wild.good.{TLD}": {"defects": ["wildcard_tlsa"]},
    f"many.good.{TLD}": {"status": "excess", "address_total": 40},
    f"big.good.{TLD}": {"tlsa_usable": 80, "defects": ["too_many"]},
    f"most.good.{TLD}": {
        "status": None,
        "tlsa_usable": 1380,
        "second_look_outcome": "secure",
        "defects": ["too_many"],
    },
    f"mx.unsigned.{TLD}": {"status": "insecure"},
    f"x.bogus.{TLD}": {"status": "address_failed", "a_outcome": "bogus"},
    f"x.dead.{TLD}": {"status": "local_error"},
    f"nothing.good.{TLD}": {"status": "no_address"},
    "192.0.2.1": {"status": "no_address"},
    ".": {"status": "no_address"},
}


def differences(
    rows: dict[str, dict[str, Any]], expected: dict[str, dict[str, Any]]
) -> dict[tuple[str, str], tuple[Any, Any]]:
    return {
        (name, column): (rows[name][column], value)
        for name, columns in expected.items()
        for column, value in columns.items()
        if rows[name][column] != value
    }


def test_domains(here: World) -> None:
    rows = scan(resolve, list(DOMAINS), here.resolvers)
    assert differences(rows, DOMAINS) == {}
    # MX, DNSKEY, NSEC3PARAM; and the DS set of the zone above, by the first names that need it
    assert rows[f"good.{TLD}"]["questions"] in (3, 4)


def test_hosts(here: World) -> None:
    assert differences(scan(hosts, list(HOSTS), here.resolvers), HOSTS) == {}


def test_a_later_pass_comes_to_the_same(here: World) -> None:
    for path in here.resolvers.control:
        assert path.exists()
    here.unbound.flush()
    failing = {name: DOMAINS[name] for name in (f"bogus.{TLD}", f"refused.{TLD}", f"dead.{TLD}")}
    rows = scan(resolve, list(failing), here.resolvers, lookup=LookupKind.LAST, passes=3)
    assert differences(rows, failing) == {}
    assert rows[f"bogus.{TLD}"]["second_look_outcome"] == "bogus"
    assert {row["passes"] for row in rows.values()} == {4}


# --- canaries ---------------------------------------------------------------------------------


def look(resolvers: Resolvers) -> Health:
    async def main() -> Health:
        client = Client(resolvers, CLIENT, try_s=2.0)
        async with client.serving():
            return await Canaries(client, CANARIES).round()

    return trio.run(main)


def test_canaries_are_good_when_all_is_well(here: World) -> None:
    assert look(here.resolvers) is Health.GOOD


def test_canaries_notice_the_network_although_signed_names_are_cached(here: World) -> None:
    look(here.resolvers)
    here.signal_server(signal.SIGSTOP)
    try:
        assert look(here.resolvers) is Health.NETWORK_DOWN
    finally:
        here.signal_server(signal.SIGCONT)
    here.unbound.flush()


@pytest.mark.parametrize("flags", [0x81A0, 0x8180], ids=["answers all", "never AD"])
def test_canaries_notice_a_resolver_that_does_not_validate(flags: int) -> None:
    def script(wire: bytes, _: int) -> list[bytes]:
        return [echo(wire, flags=flags)]

    with scripted(script) as resolver:
        health = look(Resolvers((resolver.address,)))
        rows = scan(resolve, ["a.example"], Resolvers((resolver.address,)), recovery_s=0.5)
    assert health is (Health.VALIDATION_WRONG if flags & 0x20 else Health.NETWORK_DOWN)
    assert rows == {}


def test_canaries_notice_a_second_resolver_on_the_port_that_gets_some_sockets(here: World) -> None:
    """It answers all, as validated, on every other of our sockets."""
    with scripted(lambda wire, _: [echo(wire)]) as other:
        assert look(Resolvers((*here.resolvers.first, other.address))) is Health.VALIDATION_WRONG


# --- faults of ours: nothing changes but the time -----------------------------------------------

MANY = [f"n{n}.good.{TLD}" for n in range(4000)]


def outcomes(rows: dict[str, dict[str, Any]]) -> set[tuple[str, bool]]:
    return {(row["outcome"], row["secure"]) for row in rows.values()}


def paused(send: Callable[[int], None], *, after_s: float, for_s: float) -> list[threading.Timer]:
    timers = [
        threading.Timer(after_s, send, (signal.SIGSTOP,)),
        threading.Timer(after_s + for_s, send, (signal.SIGCONT,)),
    ]
    for timer in timers:
        timer.start()
    return timers


@pytest.mark.parametrize("who", ["name servers", "resolver"])
@pytest.mark.parametrize("after_s", [0.0, 0.4])
def test_an_outage_during_a_scan_changes_no_outcome(here: World, who: str, after_s: float) -> None:
    here.unbound.control.ask(f"flush_zone good.{TLD}")
    pid = here.unbound.pid
    assert pid is not None
    send = here.signal_server if who == "name servers" else partial(os.kill, pid)
    timers = paused(send, after_s=after_s, for_s=3.0)
    rows = scan(resolve, MANY, here.resolvers)
    for timer in timers:
        timer.join()
    assert len(rows) == len(MANY)
    assert outcomes(rows) == {("nxdomain", True)}


def test_a_killed_resolver_starts_again_and_the_scan_goes_on(here: World) -> None:
    pid = here.unbound.pid
    assert pid is not None
    timer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
    timer.start()
    rows = scan(resolve, MANY, here.resolvers)
    timer.join()
    assert len(rows) == len(MANY)
    assert outcomes(rows) == {("nxdomain", True)}


def test_an_outage_that_lasts_leaves_names_missing_not_failed(here: World) -> None:
    here.signal_server(signal.SIGSTOP)
    try:
        assert scan(resolve, [f"x.good.{TLD}"], here.resolvers, recovery_s=1.0) == {}
    finally:
        here.signal_server(signal.SIGCONT)


def test_stop_returns_what_is_confirmed(here: World) -> None:
    """Of names that are answered at once and one whose servers are dead."""
    timer = threading.Timer(1.5, crawler.scan.stop)
    timer.start()
    names = [*MANY[:200], f"stopped.dead.{TLD}"]
    rows = scan(resolve, names, here.resolvers, lookup=LookupKind.LAST)
    timer.join()
    assert set(rows) == set(MANY[:200])
