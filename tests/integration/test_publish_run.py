"""A run in a real PostgreSQL becomes a data set, the same bytes each time, or is refused."""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from dane.faults import LocalTrouble, Refused
from reports import manifest
from reports.columns import Access
from reports.dataset import PART_ROWS, Dataset, RunKey, month_of
from reports.derived_tables import STATISTICS
from reports.dictionary import (
    CERTIFICATES,
    DOMAINS,
    MX_HOSTS,
    SCHEMA_VERSION,
    SPLIT,
    TABLES,
    ZONES,
)
from reports.library import Library
from reports.publish import Published, objections, publish
from reports.run_files import bucket_ranges
from reports.settings import PublishSettings
from storage import copy, delegation
from storage import run as runs
from storage.database import Connection
from storage.delegation import Snapshot
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
from tests.storage_rows import ASKED, batch_of

pytestmark = pytest.mark.asyncio

SETTINGS = PublishSettings(vantage="here")
HOSTILE = "=1+1\x1b[2J\r\nBcc: x@y\u202e"
SECRET = "hunter2"


def self_signed(name: str) -> bytes:
    """A certificate of that name, DER; another key each time."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(ASKED)
        .not_valid_after(ASKED + timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, SHA256())
    )
    return certificate.public_bytes(Encoding.DER)


async def a_run(
    connection: Connection,
    url: str,
    *,
    kind: RunKind = RunKind.FULL,
    domains: int = 20,
    lost: int = 0,
    **record: Any,
) -> Run:
    """A finished run: one broken host, one failing domain, the rest DANE domains."""
    run = await runs.create(connection, kind, record)
    good, bad = "mx.good.example", "mx.bad.example"
    der = self_signed("mx.bad.example")
    sha256 = hashlib.sha256(der).hexdigest()
    names = [f"d{number}.example" for number in range(domains)]
    looked_up = [
        {
            "domain": name,
            "outcome": "secure",
            "secure": True,
            "mx_host": [good],
            "mx_total": 1,
            "mx_preference": [10],
            "passes": 1,
        }
        for name in names
    ]
    for row in looked_up[:lost]:
        row["outcome"] = "unanswered"
    verdicts: list[dict[str, Any]] = [
        {
            "domain": name,
            "status": "dane",
            "mx_secure": True,
            "dane_primary": True,
            "deliverable": True,
            "host": [good],
            "host_preference": [10],
            "host_status": ["pass"],
            "host_class": ["P"],
            "mx_operator": ["good.example"],
        }
        for name in names
    ]
    verdicts[0] |= {
        "status": "broken",
        "level": "primary",
        "dane_primary": False,
        "deliverable": False,
        "host": [bad],
        "host_status": ["mismatch"],
        "host_class": ["F"],
        "mx_operator": ["bad.example"],
    }
    verdicts[1] |= {
        "status": "lookup_failed",
        "stage": "mx",
        "mx_secure": False,
        "dane_primary": False,
        "deliverable": False,
        "host": [],
        "host_preference": [],
        "host_status": [],
        "host_class": [],
        "mx_operator": [],
        "dns_operator": ["dns.example"],
    }
    looked_up[1] |= {
        "outcome": "bogus", "secure": False, "mx_host": [], "mx_preference": [], "mx_total": 0,
        "passes": 4, "ede_code": 7, "ede_text": HOSTILE,
        "first_asked": ASKED - timedelta(hours=1),
    }  # fmt: skip
    implicit = names[2]
    looked_up[2] |= {"outcome": "nodata", "mx_host": [implicit], "mx_preference": [0]}
    verdicts[2] |= {"host": [implicit], "host_preference": [0], "mx_operator": [implicit]}
    session = {
        "address": "192.0.2.1", "tlsa_digest": "d1", "operator": "bad.example", "sni": bad,
        "host": bad, "status": "mismatch", "tlsa": ["3 1 1 00"], "record_result": ["unknown"],
        "chain": [sha256], "leaf_names": [HOSTILE], "connected": ASKED,
    }  # fmt: skip
    tables = (
        (DOMAIN_MX, looked_up),
        (DOMAIN_VERDICT, verdicts),
        (MX_HOST, [
            {"host": good, "tlsa": ["3 1 1 aa"], "tlsa_digest": "d0", "tlsa_outcome": "secure",
             "a_outcome": "secure", "a_secure": True, "addresses": ["192.0.2.2"]},
            {"host": bad, "tlsa": ["3 1 1 00"], "tlsa_digest": "d1", "tlsa_outcome": "secure",
             "tlsa_base": bad, "addresses": ["192.0.2.1"]},
            {"host": implicit, "tlsa": ["3 1 1 bb"], "tlsa_digest": "d2"},
        ]),
        (HOST_VERDICT, [
            {"host": good, "status": "pass", "class": "P", "usable": True,
             "operator": "good.example", "address": ["192.0.2.2"], "address_status": ["pass"],
             "address_leaf": [""]},
            {"host": bad, "status": "mismatch", "class": "F", "usable": True,
             "operator": "bad.example", "address": ["192.0.2.1"],
             "address_status": ["mismatch"], "address_leaf": [""], "causes": ["unknown"]},
            {"host": implicit, "status": "pass", "class": "P", "usable": True,
             "operator": implicit, "address": ["192.0.2.3"], "address_status": ["pass"],
             "address_leaf": [""]},
        ]),
        (SMTP_PROBE, [
            {**session, "attempt": 1, "connected": ASKED - timedelta(hours=1)},
            {**session, "attempt": 2},
            {"address": "192.0.2.3", "tlsa_digest": "d2", "operator": implicit, "sni": implicit,
             "host": implicit, "attempt": 1, "status": "pass"},
        ]),
        (AUTHORITY, [
            {"name": names[1], "rrtype": "MX", "server": ["ns1.dns.example"],
             "address": ["192.0.2.53"], "transport": ["udp"], "question": ["MX"],
             "result": ["no_rrsig"]},
        ]),
    )  # fmt: skip
    store = [(table, batch_of(table, run.run_id, *rows)) for table, rows in tables]
    certificate = [
        {"sha256": sha256, "der": der, "first_run": run.run_id},
    ]
    store.append((CERTIFICATE, batch_of(CERTIFICATE, run.run_id, *certificate)))
    async with copy.writer(url) as out:
        await out.store(store)
    await runs.finish(connection, run.run_id)
    return await runs.get(connection, run.run_id)


def tree(directory: Path) -> Mapping[str, str]:
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


async def published(
    connection: Connection, url: str, run: Run, directory: Path, **options: Any
) -> Published:
    return await publish(connection, run.run_id, SETTINGS, directory, url=url, **options)


async def test_every_table_is_there_and_listed(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    run = await a_run(connection, database_url, settings={"client": {"window": 7}})
    done = await published(connection, database_url, run, tmp_path)
    assert done.rows["restricted/domains"] == 20
    assert done.rows["public/mx_hosts"] == 1, "the one with enough domains"
    assert done.rows["restricted/mx_hosts"] == 2
    assert done.rows["public/addresses"] == 1
    assert done.rows["restricted/addresses"] == 2
    assert done.rows["public/probes"] == 0
    assert done.rows["restricted/probes"] == 3
    assert done.rows["restricted/certificates"] == 1
    assert done.rows["public/certificates"] == 0
    assert done.rows["public/domains"] == 0
    assert done.rows["restricted/breakages"] == 2
    assert done.rows["public/breakages"] == 0
    manifest = json.loads((tmp_path / "dataset/manifest.json").read_bytes())
    files = {file["path"]: file for one in manifest["resources"] for file in one["files"]}
    on_disk = tree(tmp_path / "dataset")
    assert {path: file["hash"] for path, file in files.items()} == {
        path: f"sha256:{digest}" for path, digest in on_disk.items() if path.endswith(".parquet")
    }
    for table in TABLES:
        path = f"{table.path}/{table.partition(done.key)}/part-0.parquet"
        assert pq.read_schema(tmp_path / "dataset" / path).equals(table.schema), path
        assert pq.read_metadata(tmp_path / "dataset" / path).num_rows == files[path]["rows"]
    assert manifest["version"] == SCHEMA_VERSION
    assert manifest["runs"][0]["settings"]["client"] == {"window": 7}


async def test_rows_carry_what_was_measured(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    run = await a_run(connection, database_url)
    await published(connection, database_url, run, tmp_path)
    library = Library.of(PublishSettings(directory=tmp_path), tmp_path)
    files = library.dataset.files(library.run(None).key)
    domains = {row["domain"]: row for row in files.read(DOMAINS).to_pylist()}
    assert domains["d1.example"]["authority"] == [
        {
            "server": "ns1.dns.example",
            "address": "192.0.2.53",
            "transport": "udp",
            "question": "MX",
            "result": "no_rrsig",
        }
    ]
    assert domains["d1.example"]["ede_text"] == HOSTILE
    assert domains["d3.example"]["mx_host"] == ["mx.good.example"]
    keys = [(row["bucket"], row["domain"]) for row in files.read(DOMAINS).to_pylist()]
    assert keys == sorted(keys)
    parts = (MX_HOSTS, SPLIT[MX_HOSTS])
    hosts = {row["host"]: row for part in parts for row in files.read(part).to_pylist()}
    assert hosts["mx.good.example"]["domains"] == 17
    assert hosts["mx.bad.example"]["primary_domains"] == 1
    certificate = files.read(CERTIFICATES).to_pylist()[0]
    assert certificate["names"] == ["mx.bad.example"]
    assert certificate["subject"] == certificate["issuer"] == "CN=mx.bad.example"
    assert x509.load_der_x509_certificate(certificate["der"])
    found = {one.domain: one for one in library.breakages(None)}
    assert found["d0.example"].operator == "bad.example"
    assert found["d1.example"].operator == "dns.example"


async def test_zones_are_those_that_the_run_began_with(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    async def take(zone: str, serial: int | None, **more: Any) -> None:
        snapshot = Snapshot(zone=zone, origin=SECRET, serial=serial, **more)
        if snapshot.reason is None:
            await delegation.replace(connection, snapshot, [])
        else:
            await delegation.refuse(connection, snapshot)

    await take("example", 1, source="file", delegations=9, signed=2)
    await take("example", 2, source="file", delegations=10, signed=3)
    await take("example", 3, source="file", reason="cut")
    await take("listed", None, source="list", delegations=5)
    run = await a_run(connection, database_url)
    await take("example", 4, source="file", delegations=11, signed=4)
    await published(connection, database_url, run, tmp_path)
    files = Library.of(SETTINGS, tmp_path).dataset.files(
        RunKey(month_of(run.started, run.kind), run.run_id)
    )
    zones = [
        (row["zone"], row["kind"], row["serial"])
        for part in (ZONES, SPLIT[ZONES])
        for row in files.read(part).to_pylist()
    ]
    assert zones == [("example", "file", 2), ("listed", "list", None)]
    numbers = {
        (row["metric"], row["dimension"], row["key"] or ""): row["value"]
        for row in files.read(STATISTICS).to_pylist()
    }
    assert numbers[("signed_delegations", "all", "")] == 3
    assert numbers[("delegations", "all", "")] == 15
    text = (tmp_path / "dataset/manifest.json").read_text()
    (entry,) = json.loads(text)["runs"]
    assert [(one["zone"], one["serial"]) for one in entry["sources"]] == [
        ("example", 2),
        ("listed", None),
    ]
    assert SECRET not in text


async def test_no_domain_is_in_a_public_file(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    run = await a_run(connection, database_url)
    await published(connection, database_url, run, tmp_path)
    names = {f"d{number}.example" for number in range(20)}
    for path in (tmp_path / "dataset/public").rglob("*.parquet"):
        text = pq.ParquetFile(path).read().to_pydict()
        assert not names & _words(text), path
    package = json.loads((tmp_path / "dataset/public/manifest.json").read_bytes())
    assert {one["access"] for one in package["resources"]} == {Access.PUBLIC}
    assert all(
        (tmp_path / "dataset/public" / path).is_file()
        for one in package["resources"]
        for path in one["path"]
    )


def _words(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set().union(*map(_words, value.values())) if value else set()
    if isinstance(value, list):
        return set().union(*map(_words, value)) if value else set()
    return set(value.split()) if isinstance(value, str) else set()


async def test_again_is_byte_identical(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    run = await a_run(connection, database_url)
    await published(connection, database_url, run, tmp_path)
    first = tree(tmp_path)
    await published(connection, database_url, run, tmp_path)
    assert tree(tmp_path) == first
    shutil.rmtree(tmp_path / "dataset")
    await published(connection, database_url, run, tmp_path)
    assert tree(tmp_path) == first


PUBLISH = """
import asyncio, sys
from pathlib import Path
from reports.publish import publish
from reports.settings import PublishSettings
from storage.database import connection

async def main(url, run_id, directory):
    settings = PublishSettings(vantage="here")
    async with connection(url) as opened:
        await publish(opened, int(run_id), settings, Path(directory), url=url)

asyncio.run(main(*sys.argv[1:]))
"""


def kill_at(command: list[str], directory: Path, files: int) -> bool:
    """Run the command; kill -9 it as soon as so many files are there."""
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            # os.walk passes over directories that are moved meanwhile
            if sum(len(names) for _, _, names in os.walk(directory)) >= files:
                process.kill()
                return True
    return False


async def test_killed_at_any_moment_and_published_again(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    run = await a_run(connection, database_url)
    await published(connection, database_url, run, tmp_path / "undisturbed")
    killed = tmp_path / "killed"
    command = [sys.executable, "-c", PUBLISH, database_url, str(run.run_id), str(killed)]
    moments = [await asyncio.to_thread(kill_at, command, killed, files) for files in (1, 7, 14)]
    assert any(moments)
    await published(connection, database_url, run, killed)
    assert tree(killed) == tree(tmp_path / "undisturbed")


async def test_runs_stand_beside_each_other(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    one = await a_run(connection, database_url)
    await published(connection, database_url, one, tmp_path)
    before = tree(tmp_path / "dataset/restricted")
    two = await a_run(connection, database_url, kind=RunKind.DANE)
    await published(connection, database_url, two, tmp_path)
    after = tree(tmp_path / "dataset/restricted")
    assert before.items() <= after.items()
    library = Library.of(SETTINGS, tmp_path)
    assert library.run(None).key.run_id == two.run_id
    assert library.run(None, full=True).key.run_id == one.run_id


async def test_our_own_faults_are_not_published(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    run = await a_run(connection, database_url, lost=1)
    with pytest.raises(Refused, match=r"5\.00 % of the outcomes of stage resolve"):
        await published(connection, database_url, run, tmp_path)
    assert not (tmp_path / "dataset").exists()
    done = await published(connection, database_url, run, tmp_path, force=True)
    assert done.rows["restricted/domains"] == 20


async def test_half_a_per_cent_is_allowed(connection: Connection, database_url: str) -> None:
    allowed = await a_run(connection, database_url, domains=200, lost=1)
    assert await objections(connection, allowed, SETTINGS, []) == []
    over = await a_run(connection, database_url, domains=199, lost=1)
    assert len(await objections(connection, over, SETTINGS, [])) == 1


async def test_a_small_run_is_not_held_up_by_two_hosts(
    connection: Connection, database_url: str
) -> None:
    ours = (
        "UPDATE host_verdict SET status = 'local_error_smtp', class = 'Q'"
        " WHERE run_id = $1 AND host = ANY($2::text[])"
    )
    run = await a_run(connection, database_url)
    hosts = ["mx.good.example", "mx.bad.example", "d2.example"]
    await connection.execute(ours, run.run_id, hosts[:2])
    assert await objections(connection, run, SETTINGS, []) == []
    await connection.execute(ours, run.run_id, hosts)
    (reason,) = await objections(connection, run, SETTINGS, [])
    assert "100.00 % of the outcomes of stage probe" in reason
    assert "3 of 3; most of them at bad.example (1), d2.example (1), good.example (1)" in reason


async def test_what_a_stranger_sends_is_not_our_fault(
    connection: Connection, database_url: str
) -> None:
    run = await a_run(connection, database_url)
    await connection.execute(
        "UPDATE host_verdict SET status = 'local_error_smtp', class = 'Q' WHERE run_id = $1",
        run.run_id,
    )
    strict = replace(SETTINGS, least_local_hosts=1)
    undecided = "UPDATE host_verdict SET undecided = 'over_budget' WHERE run_id = $1 AND host = $2"
    for host in ("mx.bad.example", "d2.example"):
        assert len(await objections(connection, run, strict, [])) == 1
        await connection.execute(undecided, run.run_id, host)
    (reason,) = await objections(connection, run, strict, [])
    assert "(1 of 3; most of them at good.example (1))" in reason
    await connection.execute(
        "UPDATE host_verdict SET status = 'pass', class = 'P' WHERE host = 'mx.good.example'"
    )
    assert await objections(connection, run, strict, []) == []


async def test_failed_canaries_are_not_published(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    run = await a_run(connection, database_url, canaries={"failed": True})
    with pytest.raises(Refused, match="canaries"):
        await published(connection, database_url, run, tmp_path)


async def test_a_run_that_lost_coverage_is_not_published(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    whole = await a_run(connection, database_url, domains=200)
    await published(connection, database_url, whole, tmp_path)
    enough = await a_run(connection, database_url, domains=198)
    await published(connection, database_url, enough, tmp_path)
    short = await a_run(connection, database_url, domains=195)
    with pytest.raises(Refused, match="covers 195 domains"):
        await published(connection, database_url, short, tmp_path)


async def test_a_blocked_port_25_is_not_published(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    unreachable = "UPDATE host_verdict SET status = 'unreachable', class = 'Q' WHERE run_id = $1"
    first = await a_run(connection, database_url)
    await connection.execute(f"{unreachable} AND host = 'mx.bad.example'", first.run_id)
    # what a first run finds cannot be compared with anything
    await published(connection, database_url, first, tmp_path)
    as_many = await a_run(connection, database_url)
    await connection.execute(f"{unreachable} AND host = 'mx.good.example'", as_many.run_id)
    await published(connection, database_url, as_many, tmp_path)
    good = await a_run(connection, database_url)
    await published(connection, database_url, good, tmp_path)
    blocked = await a_run(connection, database_url)
    await connection.execute(unreachable, blocked.run_id)
    with pytest.raises(Refused, match=r"100\.00 % of the MX hosts .* 0\.00 % in run 3: is port 25"):
        await published(connection, database_url, blocked, tmp_path)
    await connection.execute("DELETE FROM host_verdict WHERE run_id = $1", good.run_id)
    assert (
        await objections(
            connection, blocked, SETTINGS, manifest.runs(Dataset(tmp_path / "dataset"))
        )
        == []
    )


async def test_a_run_without_verdicts_is_never_published(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    run = await a_run(connection, database_url)
    await connection.execute("DELETE FROM domain_verdict WHERE domain = 'd3.example'")
    with pytest.raises(Refused, match="1 domains have no verdict"):
        await published(connection, database_url, run, tmp_path, force=True)


async def test_a_dropped_run_does_not_replace_its_files(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    run = await a_run(connection, database_url)
    await published(connection, database_url, run, tmp_path)
    first = tree(tmp_path)
    assert await runs.drop_old(connection, {RunKind.FULL: 0}) == [run.run_id]
    with pytest.raises(Refused, match="dropped"):
        await published(connection, database_url, run, tmp_path, force=True)
    assert tree(tmp_path) == first


async def test_what_fails_midway_changes_nothing(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    run = await a_run(connection, database_url)
    await published(connection, database_url, run, tmp_path)
    first = tree(tmp_path)
    with pytest.raises(LocalTrouble):
        await publish(
            connection, run.run_id, SETTINGS, tmp_path, url="postgresql:///none?host=/nowhere"
        )
    assert tree(tmp_path) == first
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(LocalTrouble):
        await published(connection, database_url, run, blocked)


async def test_no_secret_in_the_manifest(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    record = {
        "settings": {
            "database": {"url": f"postgresql://u:{SECRET}@h/d"},
            "zones": [{"zone": "com", "kind": "czds", "username": SECRET, "password_file": SECRET}],
            "probe": {"ehlo_name": "probe.example", "operator_merges": SECRET},
            "survey": {"tls_key": SECRET, "scheduler": SECRET},
            "intake": {"user_agent": f"see https://user:{SECRET}@survey.example/"},
            "unheard_of": SECRET,
        },
        "resolver": {"version": "1.17.1", "url": f"https://{SECRET}@h/"},
    }
    run = await a_run(connection, database_url, **record)
    await published(connection, database_url, run, tmp_path)
    for path in (tmp_path / "dataset").rglob("manifest.json"):
        text = path.read_text()
        assert SECRET not in text
        assert "probe.example" in text


@pytest.mark.parametrize("domains", [0, 1, 5_000_000, 25_000_000])
async def test_parts_hold_every_bucket_once(domains: int) -> None:
    ranges = list(bucket_ranges(domains))
    assert [bucket for one in ranges for bucket in one] == list(range(4096))
    assert domains / len(ranges) <= PART_ROWS


async def test_an_empty_run(connection: Connection, database_url: str, tmp_path: Path) -> None:
    run = await runs.create(connection, RunKind.FULL, {})
    done = await published(connection, database_url, run, tmp_path)
    assert (
        sum(rows for name, rows in done.rows.items() if not name.endswith(("statistics", "series")))
        == 0
    )
