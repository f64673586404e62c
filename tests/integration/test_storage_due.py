"""What a run has no row of: asked by the stages, empty when the run is complete."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
import pytest_asyncio

from crawler.coordinator.wanted import wanted_hosts
from dane.names import BUCKETS, bucket
from storage import due, run
from storage.copy import Writer, writer
from storage.database import Connection
from storage.run import Run, RunKind
from storage.schemas import (
    AUTHORITY,
    CERTIFICATE,
    DOMAIN_MX,
    DOMAIN_VERDICT,
    MX_HOST,
    SMTP_PROBE,
    WANTED_HOST,
)
from tests.storage_rows import ASKED, batch_of

pytestmark = pytest.mark.asyncio

ALL = range(BUCKETS)


@pytest_asyncio.fixture
async def current(connection: Connection) -> Run:
    return await run.create(connection, RunKind.FULL, {})


@pytest_asyncio.fixture
async def store(database_url: str) -> AsyncIterator[Writer]:
    async with writer(database_url) as opened:
        yield opened


async def delegate(connection: Connection, *domains: str) -> None:
    await connection.executemany(
        "INSERT INTO delegation (bucket, domain, zone, ds, ns)"
        " VALUES ($1, $2, 'example', '{}', '{ns1.example,ns2.example}')",
        [(bucket(domain), domain) for domain in domains],
    )


def names(batch: pa.RecordBatch, column: str) -> list[str]:
    return sorted(str(name) for name in batch.column(column).to_pylist())


async def all_of(portions: AsyncIterator[Any]) -> list[dict[str, object]]:
    return [
        row
        async for portion in portions
        for row in (portion.to_pylist() if isinstance(portion, pa.RecordBatch) else portion)
    ]


async def test_domains_without_a_row(connection: Connection, store: Writer, current: Run) -> None:
    await delegate(connection, "a.example", "b.example", "gone.example")
    await connection.execute(
        "WITH later AS (INSERT INTO zone_snapshot (zone, source, origin, taken, accepted, seconds)"
        "  VALUES ('example', 'file', 'example.zone', now(), true, 0) RETURNING snapshot_id)"
        " UPDATE delegation SET missing_since = later.snapshot_id FROM later"
        " WHERE domain = 'gone.example'"
    )
    asked = await due.domains(connection, current, ALL)
    assert asked.schema == due.ASK_DOMAIN
    assert names(asked, "domain") == ["a.example", "b.example"]
    assert asked.column("ns").to_pylist() == [["ns1.example", "ns2.example"]] * 2
    assert asked.column("passes").null_count == 2

    await store.store([(DOMAIN_MX, batch_of(DOMAIN_MX, current.run_id, {"domain": "a.example"}))])
    one = bucket("b.example")
    assert names(await due.domains(connection, current, ALL), "domain") == ["b.example"]
    assert names(await due.domains(connection, current, range(one, one + 1)), "domain") == [
        "b.example"
    ]
    assert not names(await due.domains(connection, current, range(one)), "domain")
    assert not names(await due.domains(connection, current, range(one + 1, BUCKETS)), "domain")


async def test_rows_of_another_run_do_not_count(
    connection: Connection, store: Writer, current: Run
) -> None:
    await delegate(connection, "a.example")
    await store.store([(DOMAIN_MX, batch_of(DOMAIN_MX, current.run_id, {"domain": "a.example"}))])
    await run.finish(connection, current.run_id)
    following = await run.create(connection, RunKind.FULL, {})
    assert names(await due.domains(connection, following, ALL), "domain") == ["a.example"]


async def test_a_chosen_run_asks_what_the_base_found(
    connection: Connection, store: Writer, current: Run
) -> None:
    found = {
        "dane.example": "dane",
        "broken.example": "broken",
        "failed.example": "lookup_failed",
        "plain.example": "no_tlsa",
        "gone.example": "dane",
    }
    await delegate(connection, *(set(found) - {"gone.example"}))
    verdicts = [{"domain": domain, "status": status} for domain, status in found.items()]
    await store.store([(DOMAIN_VERDICT, batch_of(DOMAIN_VERDICT, current.run_id, *verdicts))])
    await run.finish(connection, current.run_id)

    daily = await run.create(connection, RunKind.DANE, {})
    wanted = ["broken.example", "dane.example", "failed.example"]
    assert names(await due.domains(connection, daily, ALL), "domain") == wanted
    row = batch_of(DOMAIN_MX, daily.run_id, {"domain": "dane.example"})
    await store.store([(DOMAIN_MX, row)])
    assert names(await due.domains(connection, daily, ALL), "domain") == [
        "broken.example",
        "failed.example",
    ]
    await run.finish(connection, daily.run_id)

    await store.store([(DOMAIN_VERDICT, batch_of(DOMAIN_VERDICT, daily.run_id, *verdicts[:2]))])
    suspects = await run.create(connection, RunKind.SUSPECTS, {})
    assert names(await due.domains(connection, suspects, ALL), "domain") == ["broken.example"]


async def test_failing_domains_come_with_what_the_first_pass_saw(
    connection: Connection, store: Writer, current: Run
) -> None:
    await delegate(connection, "bogus.example", "twice.example")
    rows = [
        {"domain": f"{outcome.replace('_', '-')}.example", "outcome": outcome, "passes": 1}
        for outcome in ("secure", "insecure", "nodata", "nxdomain", "unanswered", "local_resolver")
    ]
    rows += [
        {
            "domain": "bogus.example",
            "outcome": "bogus",
            "passes": 1,
            "ede_code": 7,
            "ede_text": "signature expired",
        },
        {"domain": "twice.example", "outcome": "servfail", "passes": 2},
    ]
    await store.store([(DOMAIN_MX, batch_of(DOMAIN_MX, current.run_id, *rows))])
    asked = await due.failing_domains(connection, current, 1, ASKED, 10)
    assert asked.schema == due.ASK_DOMAIN
    assert names(asked, "domain") == [
        "bogus.example",
        "local-resolver.example",
        "unanswered.example",
    ]
    assert {row["domain"]: row for row in asked.to_pylist()}["bogus.example"] == {
        "bucket": bucket("bogus.example"),
        "domain": "bogus.example",
        "ns": ["ns1.example", "ns2.example"],
        "passes": 1,
        "first_asked": ASKED,
        "ede_code": 7,
        "ede_text": "signature expired",
        "last_asked": ASKED,
    }
    twice = await due.failing_domains(connection, current, 2, ASKED, 10)
    assert names(twice, "domain") == ["twice.example"]


async def test_what_rests_is_not_due_and_says_until_when(
    connection: Connection, store: Writer, current: Run
) -> None:
    moments = [ASKED + timedelta(seconds=10 * number) for number in range(4)]
    rows = [
        {"domain": f"d{number}.example", "outcome": "bogus", "passes": 1, "last_asked": moment}
        for number, moment in enumerate(moments)
    ]
    hosts = [
        {"host": f"mx{number}.net", "status": "local_error", "passes": 1, "last_asked": moment}
        for number, moment in enumerate(moments)
    ]
    await store.store(
        [
            (DOMAIN_MX, batch_of(DOMAIN_MX, current.run_id, *rows)),
            (MX_HOST, batch_of(MX_HOST, current.run_id, *hosts)),
        ]
    )
    asked = await due.failing_domains(connection, current, 1, moments[1], 10)
    assert asked.column("domain").to_pylist() == ["d0.example", "d1.example"]
    asked = await due.failing_domains(connection, current, 1, moments[3], 3)
    assert asked.column("domain").to_pylist() == ["d0.example", "d1.example", "d2.example"]
    assert await due.next_domain(connection, current, 1, moments[1]) == moments[2]
    assert await due.next_domain(connection, current, 1, moments[3]) is None
    assert await due.next_domain(connection, current, 2, ASKED - timedelta(days=1)) is None
    asked = await due.failing_hosts(connection, current, 1, moments[0], 10)
    assert asked.column("host").to_pylist() == ["mx0.net"]
    assert await due.next_host(connection, current, 1, moments[0]) == moments[1]


async def test_hosts_of_secure_mx_each_once(
    connection: Connection, store: Writer, current: Run
) -> None:
    domains = batch_of(
        DOMAIN_MX,
        current.run_id,
        {"domain": "a.example", "secure": True, "mx_host": ["mx1.net", "mx2.net"]},
        {"domain": "b.example", "secure": True, "mx_host": ["mx2.net", "seen.net"]},
        {"domain": "null.example", "secure": True, "mx_host": ["."]},
        {"domain": "mixed.example", "secure": True, "mx_host": [".", "mx3.net"]},
        {"domain": "sole.example", "secure": True, "mx_host": ["mx3.net"]},
        {"domain": "plain.example", "secure": False, "mx_host": ["insecure.net"]},
    )
    await store.store(
        [(DOMAIN_MX, domains), (MX_HOST, batch_of(MX_HOST, current.run_id, {"host": "seen.net"}))]
    )
    lacking = [batch async for batch in due.unwanted_hosts(connection, current, 2)]
    assert [batch.num_rows for batch in lacking] == [2, 2, 1]
    wanted = wanted_hosts(domains)
    assert wanted is not None
    told = {row["host"]: row["hosts"] for row in wanted.to_pylist()}
    assert told == {".": 2, "mx1.net": 2, "mx2.net": 2, "mx3.net": 1, "seen.net": 2}
    assert sorted(wanted.to_pylist(), key=str) == sorted(
        (row for batch in lacking for row in batch.to_pylist()), key=str
    )
    await store.store([(WANTED_HOST, wanted)])
    assert not [batch async for batch in due.unwanted_hosts(connection, current, 2)]
    asked = await due.hosts(connection, current, ALL)
    assert asked.schema == due.ASK_HOST
    assert sorted(row["host"] for row in asked.to_pylist()) == [
        ".",
        "mx1.net",
        "mx2.net",
        "mx3.net",
    ]
    assert all(row["bucket"] == bucket(row["host"]) for row in asked.to_pylist())


async def test_a_question_left_early_does_not_hinder_the_next(
    connection: Connection, store: Writer, current: Run
) -> None:
    rows = [
        {"domain": f"d{i}.example", "secure": True, "mx_host": [f"mx{i}.net"]} for i in range(4)
    ]
    await store.store([(DOMAIN_MX, batch_of(DOMAIN_MX, current.run_id, *rows))])
    async for batch in due.unwanted_hosts(connection, current, 1):
        assert batch.num_rows == 1
        break
    assert len(await all_of(due.unwanted_hosts(connection, current, 3))) == 4


@pytest.mark.parametrize(
    ("row", "again"),
    [
        ({"a_outcome": "secure", "aaaa_outcome": "nodata", "status": "absent"}, False),
        ({"a_outcome": "servfail", "aaaa_outcome": "secure"}, True),
        ({"a_outcome": "secure", "aaaa_outcome": "unanswered"}, True),
        ({"tlsa_outcome": "bogus", "status": "tlsa_failed"}, True),
        ({"status": "local_error"}, True),
        ({"status": "local_error", "passes": 2}, False),
        ({"status": "excess"}, False),
    ],
)
async def test_hosts_are_asked_again_while_a_lookup_fails(
    connection: Connection, store: Writer, current: Run, row: dict[str, object], again: bool
) -> None:
    host = {"host": "mx.net", "passes": 1, **row}
    await store.store([(MX_HOST, batch_of(MX_HOST, current.run_id, host))])
    asked = await due.failing_hosts(connection, current, 1, ASKED, 10)
    assert names(asked, "host") == (["mx.net"] if again else [])


def _host(host: str, *addresses: str, digest: str = "d1", **columns: object) -> dict[str, object]:
    return {
        "host": host,
        "addresses": list(addresses),
        "tlsa": ["3 1 1 aa"],
        "tlsa_digest": digest,
        **columns,
    }


async def _again(connection: Connection, current: Run, attempt: int) -> list[dict[str, object]]:
    rows = await due.targets_again(connection, current, attempt, ASKED, 10)
    assert all(row["attempt"] == attempt for row in rows)
    assert all(row["bucket"] == bucket(str(row["address"])) for row in rows)
    return rows


async def test_hosts_whose_addresses_are_connected_to(
    connection: Connection, store: Writer, current: Run
) -> None:
    hosts = [
        _host("mx1.net", "192.0.2.1", "2001:db8::1", operator="net"),
        _host("mx2.net", "192.0.2.1", tlsa_base="mx1.net", operator="other"),
        _host("decided.net", "192.0.2.9", status="tlsa_failed"),
        {"host": "plain.net", "addresses": ["192.0.2.8"], "status": "absent"},
    ]
    wanted = [{"host": "mx2.net", "hosts": 3}]
    await store.store(
        [
            (MX_HOST, batch_of(MX_HOST, current.run_id, *hosts)),
            (WANTED_HOST, batch_of(WANTED_HOST, current.run_id, *wanted)),
        ]
    )
    rows = await due.hosts_to_probe(connection, current, ALL)
    assert sorted((row["host"], row["sni"], row["operator"], row["hosts"]) for row in rows) == [
        ("mx1.net", "mx1.net", "net", 1),
        ("mx2.net", "mx1.net", "other", 3),
    ]
    one = bucket("mx1.net")
    (row,) = await due.hosts_to_probe(connection, current, range(one, one + 1))
    assert row["addresses"] == ["192.0.2.1", "2001:db8::1"]

    probe = {"address": "192.0.2.1", "tlsa_digest": "d1", "operator": "net", "sni": "mx1.net"}
    both = [{**probe, "attempt": attempt, "status": "tempfail"} for attempt in (1, 2)]
    await store.store([(SMTP_PROBE, batch_of(SMTP_PROBE, current.run_id, *both))])
    assert await due.probed(connection, current, ["192.0.2.1", "2001:db8::1"]) == [probe]
    assert await all_of(due.probed_by(connection, current, 10)) == [
        {"operator": "net", "address": "192.0.2.1", "targets": 1}
    ]


async def test_a_later_attempt_is_for_what_the_one_before_left_open(
    connection: Connection, store: Writer, current: Run
) -> None:
    statuses = ("pass", "mismatch", "tempfail", "unusable", "reserved_address", "opted_out")
    probes = [
        {
            "address": f"192.0.2.{i}",
            "tlsa_digest": "d",
            "operator": "net",
            "sni": status.replace("_", "-"),
            "attempt": 1,
            "host": "mx.net",
            "status": status,
        }
        for i, status in enumerate(statuses)
    ]
    await store.store([(SMTP_PROBE, batch_of(SMTP_PROBE, current.run_id, *probes))])
    again = await _again(connection, current, 2)
    assert {row["sni"] for row in again} == {"mismatch", "tempfail"}
    assert not await _again(connection, current, 3)
    assert await due.next_target(connection, current, 2, ASKED) is None
    assert await due.next_target(connection, current, 2, ASKED - timedelta(days=1)) == ASKED

    second = [
        {**probes[1], "attempt": 2, "status": "mismatch"},
        {**probes[2], "attempt": 2, "status": "pass"},
    ]
    await store.store([(SMTP_PROBE, batch_of(SMTP_PROBE, current.run_id, *second))])
    assert not await _again(connection, current, 2)
    assert {row["sni"] for row in await _again(connection, current, 3)} == {"mismatch"}


async def test_a_mismatch_is_asked_again_with_the_certificates_of_earlier_runs(
    connection: Connection, store: Writer, current: Run
) -> None:
    here: dict[str, object] = {
        "address": "192.0.2.1",
        "tlsa_digest": "d",
        "operator": "net",
        "sni": "mx.net",
        "attempt": 1,
        "host": "mx.net",
    }
    ders = {"a": b"first", "b": b"second", "ca": b"authority", "big": b"x" * 10_000, "c": b"other"}
    certificates = [
        {"sha256": key, "der": der, "first_run": 1, "names": ""} for key, der in ders.items()
    ]

    async def probed(run_id: int, *changes: dict[str, object]) -> None:
        rows = [{**here, **one} for one in changes]
        await store.store([(SMTP_PROBE, batch_of(SMTP_PROBE, run_id, *rows))])

    await store.store([(CERTIFICATE, batch_of(CERTIFICATE, current.run_id, *certificates))])
    await probed(current.run_id, {"chain": ["a", "ca"]}, {"address": "192.0.2.2", "chain": ["c"]})
    await run.finish(connection, current.run_id)
    second = await run.create(connection, RunKind.FULL, {})
    # with another TLSA RRset and server name: it is the server that counts, and whose it is
    await probed(
        second.run_id,
        {"chain": ["b", "big", "ca"], "tlsa_digest": "e", "sni": "mx2.net"},
        {"operator": "elsewhere", "chain": ["c"]},
    )
    await run.finish(connection, second.run_id)
    third = await run.create(connection, RunKind.FULL, {})
    await probed(
        third.run_id,
        {"status": "mismatch", "chain": ["new", "ca"]},
        {"status": "tempfail", "sni": "mx3.net"},
    )
    rows = await _again(connection, third, 2)
    assert {row["sni"]: row["earlier"] for row in rows} == {
        "mx.net": [b"second", b"first"],
        "mx3.net": [],
    }


async def test_leaves_do_not_crowd_out_the_authorities_of_earlier_runs(
    connection: Connection, store: Writer, current: Run
) -> None:
    here = {"address": "192.0.2.1", "tlsa_digest": "d", "operator": "net", "sni": "mx.net"}
    leaves = [f"leaf{number}" for number in range(6)]
    certificates = [
        {"sha256": one, "der": one.encode(), "first_run": 1} for one in [*leaves, "ca", "root"]
    ]
    await store.store([(CERTIFICATE, batch_of(CERTIFICATE, current.run_id, *certificates))])
    rows: list[dict[str, object]] = [
        {**here, "attempt": number, "chain": [leaf, "ca", "root"]}
        for number, leaf in enumerate(leaves)
    ]
    await store.store([(SMTP_PROBE, batch_of(SMTP_PROBE, current.run_id, *rows))])
    await run.finish(connection, current.run_id)
    now = await run.create(connection, RunKind.FULL, {})
    seen: dict[str, object] = {**here, "attempt": 1, "status": "mismatch", "chain": ["new"]}
    await store.store([(SMTP_PROBE, batch_of(SMTP_PROBE, now.run_id, seen))])
    (row,) = await _again(connection, now, 2)
    assert row["earlier"] == [b"leaf0", b"leaf1", b"leaf2", b"leaf3", b"ca", b"root"]


async def test_servers_that_the_last_runs_reached(
    connection: Connection, store: Writer, current: Run
) -> None:
    """By their address alone: their names and records may have changed since."""
    here: dict[str, object] = {"tlsa_digest": "d", "operator": "net", "sni": "mx.net"}
    shown = [{**here, "address": "192.0.2.1", "attempt": n, "chain": ["a"]} for n in (1, 2)]
    silent = {**here, "address": "192.0.2.2", "attempt": 1, "status": "unreachable"}
    await store.store([(SMTP_PROBE, batch_of(SMTP_PROBE, current.run_id, *shown, silent))])
    asked = ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3"]
    assert await due.reached(connection, current, asked) == set()
    await run.finish(connection, current.run_id)
    following = await run.create(connection, RunKind.FULL, {})
    assert await due.reached(connection, following, asked) == {"192.0.2.1"}


async def test_failures_whose_authorities_were_not_asked(
    connection: Connection, store: Writer, current: Run
) -> None:
    await delegate(connection, "bogus.example")
    two = {
        "failed_names": ["mx.net", "_25._tcp.mx.net"],
        "failed_types": ["A", "TLSA"],
        "passes": 5,
    }
    alias = {"failed_names": ["_25._tcp.target.net"], "failed_types": ["TLSA"], "passes": 5}
    await store.store(
        [
            (
                DOMAIN_MX,
                batch_of(
                    DOMAIN_MX,
                    current.run_id,
                    {"domain": "bogus.example", "outcome": "bogus", "passes": 5},
                    {"domain": "not-yet.example", "outcome": "bogus", "passes": 4},
                    {"domain": "ours.example", "outcome": "unanswered", "passes": 5},
                    {
                        "domain": "disputed.example",
                        "outcome": "secure",
                        "first_look_outcome": "servfail",
                        "passes": 5,
                    },
                ),
            ),
            (
                MX_HOST,
                batch_of(
                    MX_HOST,
                    current.run_id,
                    two | {"host": "mx.net", "a_outcome": "servfail"},
                    {"host": "fine.net", "a_outcome": "secure", "passes": 5},
                    alias | {"host": "alias.net", "tlsa_outcome": "servfail"},
                ),
            ),
        ]
    )
    asked = await due.failures(connection, current, 5, 100)
    assert asked.schema == due.ASK_AUTHORITY
    assert {(row["name"], row["rrtype"], *row["ns"]) for row in asked.to_pylist()} == {
        ("bogus.example", "MX", "ns1.example", "ns2.example"),
        ("disputed.example", "MX"),
        ("mx.net", "A"),
        ("_25._tcp.mx.net", "TLSA"),
        ("_25._tcp.target.net", "TLSA"),
    }
    done = [
        {"name": "bogus.example", "rrtype": "MX"},
        {"name": "disputed.example", "rrtype": "MX"},
        {"name": "mx.net", "rrtype": "A"},
    ]
    await store.store([(AUTHORITY, batch_of(AUTHORITY, current.run_id, *done))])
    left = await due.failures(connection, current, 5, 100)
    assert set(left["rrtype"].to_pylist()) == {"TLSA"}
