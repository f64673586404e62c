"""What the roll-ups read: rows without a verdict, with what they look up, of this run only."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from dane.names import BUCKETS, bucket
from storage import assessment, census, run
from storage.copy import Writer, writer
from storage.database import Connection
from storage.run import Run, RunKind
from storage.schemas import (
    AUTHORITY,
    CERTIFICATE,
    DOMAIN_MX,
    DOMAIN_VERDICT,
    HOST_VERDICT,
    MX_HOST,
    SMTP_PROBE,
)
from tests.storage_rows import batch_of

pytestmark = pytest.mark.asyncio

ALL = range(BUCKETS)


@pytest_asyncio.fixture
async def current(connection: Connection) -> Run:
    return await run.create(connection, RunKind.FULL, {})


@pytest_asyncio.fixture
async def store(database_url: str) -> AsyncIterator[Writer]:
    async with writer(database_url) as opened:
        yield opened


async def test_hosts_come_with_the_probes_of_their_addresses(
    connection: Connection, store: Writer, current: Run
) -> None:
    def probe(address: str, attempt: int) -> dict[str, object]:
        return {"address": address, "tlsa_digest": "d", "sni": "mx.net", "attempt": attempt}

    await store.store(
        [
            (
                MX_HOST,
                batch_of(
                    MX_HOST,
                    current.run_id,
                    {"host": "mx.net", "addresses": ["192.0.2.1", "192.0.2.2"]},
                    {"host": "done.net", "addresses": ["192.0.2.3"]},
                    {"host": "nowhere.net"},
                ),
            ),
            (HOST_VERDICT, batch_of(HOST_VERDICT, current.run_id, {"host": "done.net"})),
            (
                SMTP_PROBE,
                batch_of(
                    SMTP_PROBE,
                    current.run_id,
                    probe("192.0.2.1", 1),
                    probe("192.0.2.1", 2),
                    probe("192.0.2.3", 1),
                ),
            ),
        ]
    )
    hosts, probes = await assessment.hosts(connection, current, ALL)
    assert hosts.schema == assessment.HOST
    assert sorted(map(str, hosts.column("host").to_pylist())) == ["mx.net", "nowhere.net"]
    assert probes.schema == assessment.RELATED_PROBE
    assert probes.select(["address", "attempt"]).to_pylist() == [
        {"address": "192.0.2.1", "attempt": 1},
        {"address": "192.0.2.1", "attempt": 2},
    ]
    here = bucket("mx.net")
    hosts, _ = await assessment.hosts(connection, current, range(here, here + 1))
    assert hosts.column("host").to_pylist() == ["mx.net"]


async def test_records_that_matched_before_come_with_when_they_were_first_seen_not_to(
    connection: Connection, store: Writer, current: Run
) -> None:
    old, now, never = "3 1 1 aa", "3 1 1 bb", "3 1 1 cc"
    day = [datetime(2026, month, 1, tzinfo=UTC) for month in range(1, 6)]

    async def probed(run_id: int, *changes: dict[str, object]) -> None:
        here = {"address": "192.0.2.1", "tlsa_digest": "d", "sni": "mx.net", "chain": ["x"]}
        rows = [{**here, "attempt": n, **one} for n, one in enumerate(changes)]
        await store.store([(SMTP_PROBE, batch_of(SMTP_PROBE, run_id, *rows))])

    def seen(
        when: datetime, tlsa: list[str], result: list[str], **more: object
    ) -> dict[str, object]:
        return {"connected": when, "tlsa": tlsa, "record_result": result, **more}

    matched = seen(day[0], [old, now], ["match", "unknown"])
    changed = seen(day[1], [old, now], ["stale_certificate", "match"])
    other = seen(day[1] - timedelta(days=9), [old], ["unknown"], sni="mx2.net")
    silent = seen(day[1] - timedelta(days=9), [], [], chain=[])
    run_id = current.run_id
    for rows in ([matched], [other, silent, changed], [seen(day[2], [now], ["match"])]):
        await probed(run_id, *rows)
        await run.finish(connection, run_id)
        run_id = (await run.create(connection, RunKind.FULL, {})).run_id
    await probed(
        run_id,
        seen(day[3], [old, now, never], ["unknown", "match", "unknown"], status="pass"),
        seen(day[3], [old, now], ["superseded", "match"], status="pass"),
        seen(day[3], [old, now], ["stale_certificate", "unknown"], status="mismatch"),
    )
    last = await run.unfinished(connection)
    assert last is not None
    await store.store(
        [(MX_HOST, batch_of(MX_HOST, run_id, {"host": "mx.net", "addresses": ["192.0.2.1"]}))]
    )
    _, probes = await assessment.hosts(connection, last, ALL)
    assert probes.column("unmatched_since").to_pylist() == [[day[1], None, None], [], []]


async def test_what_the_servers_did_comes_with_what_failed(
    connection: Connection, store: Writer, current: Run
) -> None:
    """And where only our first resolver fails, that is counted for the run's record."""
    failed = {"failed_names": ["mx.net", "_25._tcp.mx.net"], "failed_types": ["A", "TLSA"]}
    overruled = {"outcome": "secure", "first_look_outcome": "servfail"}
    cause = {"zone": "net", "failed_name": "mx.net", "dns_cause": "lame", "server": ["ns.net"]}
    authority = [
        {"name": "mx.net", "rrtype": "A", "all_good": True},
        {"name": "_25._tcp.mx.net", "rrtype": "TLSA", "all_good": False, **cause},
        {"name": "ours.example", "rrtype": "MX", "all_good": True},
        {"name": "theirs.example", "rrtype": "MX", "all_good": False},
    ]
    # a host's questions are in the host's bucket
    parts = [{**row, "bucket": bucket("mx.net")} for row in authority[:2]] + authority[2:]
    domains = [{"domain": name, **overruled} for name in ("ours.example", "theirs.example")]
    await store.store(
        [
            (MX_HOST, batch_of(MX_HOST, current.run_id, {"host": "mx.net", **failed})),
            (DOMAIN_MX, batch_of(DOMAIN_MX, current.run_id, *domains)),
            (AUTHORITY, batch_of(AUTHORITY, current.run_id, *parts)),
        ]
    )
    hosts, _ = await assessment.hosts(connection, current, ALL)
    (row,) = hosts.to_pylist()
    evidence = json.loads(row["evidence"])
    assert [(one["name"], one["dns_cause"], one["server"]) for one in evidence] == [
        ("_25._tcp.mx.net", "lame", ["ns.net"]),
        ("mx.net", None, []),
    ]
    rows, _ = await assessment.domains(connection, current, ALL)
    told = {one["domain"]: json.loads(one["evidence"])[0]["all_good"] for one in rows.to_pylist()}
    assert told == {"ours.example": True, "theirs.example": False}
    assert await census.local_disagreement(connection, current) == 1


async def test_domains_come_with_their_name_servers_and_the_verdicts_of_their_hosts(
    connection: Connection, store: Writer, current: Run
) -> None:
    await connection.execute(
        "INSERT INTO delegation (bucket, domain, zone, ns)"
        " VALUES ($1, 'a.example', 'example', '{ns.example}')",
        bucket("a.example"),
    )
    await store.store(
        [
            (
                DOMAIN_MX,
                batch_of(
                    DOMAIN_MX,
                    current.run_id,
                    {"domain": "a.example", "mx_host": ["mx1.net", "mx2.net"]},
                    {"domain": "b.example", "mx_host": ["mx2.net"]},
                    {"domain": "done.example", "mx_host": ["mx3.net"]},
                ),
            ),
            (DOMAIN_VERDICT, batch_of(DOMAIN_VERDICT, current.run_id, {"domain": "done.example"})),
            (
                HOST_VERDICT,
                batch_of(
                    HOST_VERDICT,
                    current.run_id,
                    *(
                        {"host": host, "status": "absent"}
                        for host in ("mx1.net", "mx2.net", "mx3.net")
                    ),
                ),
            ),
        ]
    )
    domains, verdicts = await assessment.domains(connection, current, ALL)
    assert domains.schema == assessment.DOMAIN
    assert {row["domain"]: row["ns"] for row in domains.to_pylist()} == {
        "a.example": ["ns.example"],
        "b.example": [],
    }
    assert verdicts.schema == assessment.RELATED_VERDICT
    assert sorted(map(str, verdicts.column("host").to_pylist())) == ["mx1.net", "mx2.net"]


async def test_names_of_certificates_are_looked_up_once_and_only_those_in_question(
    connection: Connection, store: Writer, current: Run
) -> None:
    """A certificate of 10 000 names on 300 hosts: what comes is what can cover a name here."""
    names = [f"n{i}.other.example" for i in range(10_000)]
    names += ["a.example", "*.customers.example", "h7.net"]
    certificates = [
        {"sha256": "big", "der": b"x" * 200_000, "first_run": 1, "names": "\n".join(names)},
        {"sha256": "small", "der": b"leaf", "first_run": 1, "names": "mx.net"},
        {"sha256": "old", "der": b"old leaf", "first_run": 1, "names": "mx.net"},
    ]
    hosts = [f"h{i}.net" for i in range(300)]
    wrong = [
        {
            "address": f"192.0.2.{i % 250}",
            "tlsa_digest": f"d{i}",
            "sni": host,
            "attempt": 1,
            "host": host,
            "status": "name_mismatch",
            "chain": ["big"],
        }
        for i, host in enumerate(hosts)
    ]
    right = {
        "address": "198.51.100.1",
        "tlsa_digest": "d",
        "sni": "mx.net",
        "attempt": 1,
        "host": "mx.net",
        "status": "pass",
        "chain": ["small"],
    }
    await store.store([(CERTIFICATE, batch_of(CERTIFICATE, 0, *certificates))])
    mx_hosts = [
        {"host": host, "addresses": [row["address"]]}
        for host, row in zip(hosts, wrong, strict=True)
    ]
    verdicts = [
        {
            "host": host,
            "status": "name_mismatch",
            "address": ["192.0.2.1"],
            "address_status": ["name_mismatch"],
            "address_leaf": ["big"],
        }
        for host in hosts
    ]
    lookups = [
        {"domain": "a.example", "mx_host": hosts},
        {"domain": "one.customers.example", "mx_host": hosts[:1]},
    ]
    run_id = current.run_id
    await store.store(
        [
            (MX_HOST, batch_of(MX_HOST, run_id, *mx_hosts, {"host": "mx.net",
                               "addresses": ["198.51.100.1"]})),
            (SMTP_PROBE, batch_of(SMTP_PROBE, run_id, *wrong, right)),
        ]
    )  # fmt: skip
    _, probes = await assessment.hosts(connection, current, ALL)
    covering = {row["host"]: row["covering_names"] for row in probes.to_pylist()}
    assert covering["h7.net"] == ["h7.net"]
    assert set(map(tuple, covering.values())) == {("h7.net",), ()}
    shown = {one["sha256"]: one["der"] for row in probes.to_pylist() for one in row["certificates"]}
    assert shown == {"small": b"leaf"}, "each once, and none of the huge ones"
    await store.store(
        [
            (HOST_VERDICT, batch_of(HOST_VERDICT, run_id, *verdicts)),
            (DOMAIN_MX, batch_of(DOMAIN_MX, run_id, *lookups)),
        ]
    )
    _, related = await assessment.domains(connection, current, ALL)
    assert {tuple(row["covering_names"]) for row in related.to_pylist()} == {
        ("a.example *.customers.example",)
    }
    assert probes.nbytes + related.nbytes < 1_000_000
