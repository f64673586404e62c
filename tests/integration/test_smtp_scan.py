"""The probe scan on real servers: status, evidence and defects of every row, and manners."""

import dataclasses
import hashlib
import os
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import trio
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import crawler.scan
from crawler.scan import probe
from crawler.smtp.settings import ProbeSettings
from dane import tlsa
from dane.faults import UsageFault
from dane.names import bucket
from storage.due import ASK_PROBE
from storage.schemas import CERTIFICATE, SMTP_PROBE
from tests.smtp_servers import EHLO, SMTP, Town, hangs_up, never_answers, tls_context
from tests.support.contexts import scan_context

SETTINGS = ProbeSettings(
    ehlo_name="survey.example",
    contact="survey@survey.example",
    information_page="https://survey.example/",
    lab_addresses=("127.77.0.0/16", "::1/128"),
    connect_s=5,
    reply_s=5,
    tls_s=5,
    new_per_s=10_000,
    address_interval_s=0.01,
    both_key_types=False,
)
ASKED = datetime(2024, 5, 1, tzinfo=UTC)
ROOT = trustme.CA()
LEAF = ROOT.issue_cert("mx.example")
RSA = ROOT.issue_cert("mx.example", key_type=trustme.KeyType.RSA)
SHARD = pa.schema(
    [
        *[SMTP_PROBE.schema.field(name) for name in ("bucket", "address", "tlsa_digest")],
        *[SMTP_PROBE.schema.field(name) for name in ("operator", "sni", "attempt", "host", "tlsa")],
        SMTP_PROBE.schema.field("dns_asked"),
    ]
)


def der(pem: trustme.Blob) -> bytes:
    return x509.load_pem_x509_certificate(pem.bytes()).public_bytes(Encoding.DER)


def record(pem: trustme.Blob, usage: int = 3, selector: int = 1, kind: int = 1) -> str:
    certificate = x509.load_pem_x509_certificate(pem.bytes())
    data = certificate.public_bytes(Encoding.DER)
    if selector == 1:
        key = certificate.public_key()
        data = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    data = {0: bytes, 1: lambda d: hashlib.sha256(d).digest()}[kind](data)
    return f"{usage} {selector} {kind} {data.hex()}"


LEAF_RECORD = record(LEAF.cert_chain_pems[0])
WRONG = "3 1 1 " + "00" * 32


def target(address: str, *records: str, **changed: Any) -> dict[str, Any]:
    texts = sorted(records or (LEAF_RECORD,))
    return {
        "bucket": bucket("mx.example"),
        "address": address,
        "tlsa_digest": tlsa.rrset_digest([tlsa.parse_text(text) for text in texts]),
        "operator": f"{address}.operator.example",
        "sni": "mx.example",
        "attempt": 1,
        "host": "mx.example",
        "tlsa": texts,
        "dns_asked": ASKED,
        **changed,
    }


def scan(
    town: Town, targets: Sequence[dict[str, Any]], settings: ProbeSettings = SETTINGS, **more: Any
) -> list[dict[str, Any]]:
    """The rows, in the order of the targets."""
    return scan_with_certificates(town, targets, settings, **more)[0]


def scan_with_certificates(
    town: Town,
    targets: Sequence[dict[str, Any]],
    settings: ProbeSettings = SETTINGS,
    asked: pa.Schema = SHARD,
    on_row: probe.OnRow | None = None,
    **more: Any,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    with town:
        rows, certificates = probe.scan(
            pa.RecordBatch.from_pylist(list(targets), schema=asked),
            scan_context(
                SMTP_PROBE.schema,
                CERTIFICATE.schema,
                run_id=7,
                probe=dataclasses.replace(settings, port=town.port or 25),
                **more,
            ),
            on_row=on_row,
        )
    assert rows.schema == SMTP_PROBE.schema
    rows.validate(full=True)
    return rows.to_pylist(), certificates.to_pylist()


@pytest.fixture
def town() -> Town:
    return Town()


def test_a_match_with_all_its_evidence(town: Town) -> None:
    address = town.add(SMTP(tls_context(LEAF)))
    (row,), certificates = scan_with_certificates(town, [target(address, LEAF_RECORD, WRONG)])
    leaf = der(LEAF.cert_chain_pems[0])
    digest = hashlib.sha256(leaf).hexdigest()
    assert row["connected"] > ASKED
    assert row["duration_ms"] >= 0
    assert {k: row[k] for k in row if k not in ("connected", "duration_ms", "cipher")} == {
        "run_id": 7,
        "bucket": bucket("mx.example"),
        "address": address,
        "tlsa_digest": target(address, LEAF_RECORD, WRONG)["tlsa_digest"],
        "operator": f"{address}.operator.example",
        "sni": "mx.example",
        "attempt": 1,
        "host": "mx.example",
        "status": "pass",
        "tlsa": [WRONG, LEAF_RECORD],
        "record_result": ["unknown", "match"],
        "record_cause": ["unknown", ""],
        "matched_record": 1,
        "matched_depth": 0,
        "name_decides": False,
        "leaf_names": ["mx.example"],
        "leaf_names_excess": 0,
        "chain": [digest],
        "tls_version": "TLSv1.3",
        "tls_group": "x25519",
        "undecided": None,
        "after_tls": None,
        "other_chain": [],
        "other_key_type": None,
        "key_type": "ecdsa-secp256r1",
        "smtp_code": 220,
        "smtp_text": "2.0.0 Ready",
        "error": None,
        "defects": [],
        "dns_asked": ASKED,
    }
    assert certificates == [{"sha256": digest, "der": leaf, "first_run": 7, "names": "mx.example"}]


def test_every_status_that_one_attempt_can_have(town: Town) -> None:
    good = tls_context(LEAF)
    root = record(ROOT.cert_pem, usage=2)
    middle = ROOT.create_child_ca()
    under_middle = middle.issue_cert("mx.example")
    in_middle = record(under_middle.cert_chain_pems[1], usage=2)
    cases = [
        ("pass", SMTP(good), (LEAF_RECORD,)),
        ("pass", SMTP(good), (record(ROOT.cert_pem, usage=2, selector=0, kind=0),)),
        ("pass", SMTP(tls_context(under_middle)), (in_middle,)),
        ("mismatch", SMTP(good), (WRONG,)),
        ("mismatch", SMTP(good), (root,)),
        ("unusable", SMTP(good), ("1 1 1 " + "00" * 32,)),
        ("no_starttls", SMTP(ehlo=b"250 mx.example\r\n"), (LEAF_RECORD,)),
        ("no_starttls", SMTP(ehlo=b"250 mx.example\r\n"), ("1 1 1 " + "00" * 32,)),
        ("starttls_rejected", SMTP(starttls=b"454 4.7.0 no\r\n"), (LEAF_RECORD,)),
        ("tls_failed", SMTP(instead_of_tls=hangs_up), (LEAF_RECORD,)),
        ("tempfail", SMTP(greeting=b"421 4.3.2 later\r\n"), (LEAF_RECORD,)),
        ("tempfail", hangs_up, (LEAF_RECORD,)),
        ("refused", SMTP(greeting=b"554 5.7.1 no\r\n"), (LEAF_RECORD,)),
    ]
    targets = [target(town.add(server), *records) for _, server, records in cases]
    targets.append(target("127.77.250.1"))  # nobody listens
    rows = scan(town, targets)
    assert [row["status"] for row in rows] == [case[0] for case in cases] + ["unreachable"]
    for row in rows:
        made = row["status"] in ("pass", "mismatch", "unusable")
        assert len(row["record_result"]) == (len(row["tlsa"]) if made else 0)
        assert bool(row["chain"]) == made
        assert bool(row["error"]) == (row["status"] in ("tls_failed", "unreachable")) or (
            row["status"] == "tempfail"
        )


def test_certificates_of_earlier_runs_come_with_the_shard(town: Town) -> None:
    stale = record(RSA.cert_chain_pems[0])
    targets = [target(town.add(SMTP(tls_context(LEAF))), stale) for _ in range(2)]
    rows, _ = scan_with_certificates(
        town,
        [{**targets[0], "earlier": [der(RSA.cert_chain_pems[0])]}, {**targets[1], "earlier": []}],
        asked=SHARD.append(ASK_PROBE.field("earlier")),
    )
    assert [row["status"] for row in rows] == ["mismatch", "mismatch"]
    assert [row["record_cause"] for row in rows] == [["stale_certificate"], ["unknown"]]


def test_over_ipv6_too(town: Town) -> None:
    town.add(SMTP(tls_context(LEAF)), "::1")
    assert [row["status"] for row in scan(town, [target("::1")])] == ["pass"]
    (row,) = scan(Town(), [target("::1")], families=(4,))
    assert (row["status"], row["error"]) == ("unprobed", "no IPv6 here")


def test_a_name_decides_only_below_a_trust_anchor(town: Town) -> None:
    anchor = record(ROOT.cert_pem, usage=2, selector=0, kind=0)
    address = town.add(SMTP(tls_context(LEAF)))
    other = town.add(SMTP(tls_context(LEAF)))
    misnamed = town.add(SMTP(tls_context(LEAF)))
    rows = scan(
        town,
        [
            target(address, anchor),
            target(other, anchor, LEAF_RECORD),
            target(misnamed, anchor, sni="other.example"),
        ],
    )
    assert [row["status"] for row in rows] == ["pass", "pass", "name_mismatch"]
    assert [row["name_decides"] for row in rows] == [True, False, True]
    assert {tuple(row["record_result"]) for row in rows} == {("match",), ("match", "match")}


def test_old_tls_is_a_defect_and_costs_a_second_connection(town: Town) -> None:
    server = SMTP(tls_context(LEAF, newest=ssl.TLSVersion.TLSv1_1))
    (row,) = scan(town, [target(town.add(server))])
    assert (row["status"], row["tls_version"], row["defects"]) == (
        "pass",
        "TLSv1.1",
        ["legacy_tls"],
    )
    assert (server.connections, server.most_at_once) == (2, 1)


def test_what_the_second_connection_shows_counts(town: Town) -> None:
    """A failed handshake, then a stalled one: a time-out is no verdict."""
    turns = iter([hangs_up, never_answers])

    async def different(stream: trio.SocketStream) -> None:
        await next(turns)(stream)

    settings = dataclasses.replace(SETTINGS, tls_s=0.2)
    (row,) = scan(town, [target(town.add(SMTP(instead_of_tls=different)))], settings)
    assert row["status"] == "tempfail"
    assert "then, with legacy TLS: time-out" in row["error"]


def test_injected_plaintext_is_a_defect(town: Town) -> None:
    server = SMTP(tls_context(LEAF), starttls=b"220 go\r\n250 injected\r\n")
    (row,) = scan(town, [target(town.add(server))])
    assert (row["status"], row["defects"]) == ("pass", ["starttls_injection"])


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_kinds_of_key(town: Town, newest: ssl.TLSVersion) -> None:
    """What a sender sees decides; the second handshake tells whether the other key is right."""
    settings = dataclasses.replace(SETTINGS, both_key_types=True)
    both, one = tls_context(LEAF, RSA, newest=newest), tls_context(LEAF, newest=newest)
    rsa_record = record(RSA.cert_chain_pems[0])
    servers = [SMTP(both), SMTP(both), SMTP(both), SMTP(one), SMTP(both)]
    addresses = [town.add(server) for server in servers]
    rows = scan(
        town,
        [
            target(addresses[0], LEAF_RECORD, rsa_record),
            target(addresses[1], LEAF_RECORD),
            target(addresses[2], rsa_record),
            target(addresses[3], LEAF_RECORD),
            target(addresses[4], LEAF_RECORD, attempt=2),
        ],
        settings,
    )
    ecdsa, rsa = "ecdsa-secp256r1", "rsa-2048"
    assert [row["status"] for row in rows] == ["pass", "pass", "mismatch", "pass", "pass"]
    assert {row["key_type"] for row in rows} == {ecdsa}
    assert [row["other_key_type"] for row in rows] == [rsa, rsa, rsa, "none", None]
    divergent = ["key_type_divergence"]
    assert [row["defects"] for row in rows] == [[], divergent, divergent, [], []]
    leafs = [hashlib.sha256(der(one.cert_chain_pems[0])).hexdigest() for one in (LEAF, RSA)]
    assert [rows[0]["chain"][0], rows[0]["other_chain"][0]] == leafs
    assert rows[3]["other_chain"] == []
    assert [server.connections for server in servers] == [2, 2, 2, 2, 1], "once, in attempt 1"


def test_reserved_addresses_get_no_syn(town: Town) -> None:
    """The rule itself is tested with crawler.addresses; here: nothing passes it by."""
    server = SMTP(tls_context(LEAF))
    address = town.add(server)
    settings = dataclasses.replace(SETTINGS, lab_addresses=())
    edge = ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fe80::1"]
    edge += ["64:ff9b::7f00:1", "2002:7f00:1::", "::", "0.0.0.0", "224.0.0.1", "255.255.255.255"]
    rows = scan(town, [target(one) for one in [address, *edge]], settings)
    assert {row["status"] for row in rows} == {"reserved_address"}
    assert all(row["error"] and row["chain"] == [] for row in rows)
    assert server.connections == 0


def test_opted_out(town: Town, tmp_path: Path) -> None:
    listed = tmp_path / "opt-out"
    servers = [SMTP(tls_context(LEAF)) for _ in range(4)]
    addresses = [town.add(server) for server in servers]
    listed.write_text(f"mx.leave.example\nus.example\n{addresses[2]}\n")
    rows = scan(
        town,
        [
            target(addresses[0], sni="mx.leave.example", host="alias.example"),
            target(addresses[1], operator="us.example"),
            target(addresses[2]),
            target(addresses[3]),
        ],
        dataclasses.replace(SETTINGS, opt_out=listed),
    )
    assert [row["status"] for row in rows] == ["opted_out", "opted_out", "opted_out", "pass"]
    assert [server.connections for server in servers] == [0, 0, 0, 1]


def test_opting_out_holds_for_the_next_connection(town: Town, tmp_path: Path) -> None:
    """Two names at one address: the second is due after the first wrote the list."""
    listed = tmp_path / "opt-out"
    listed.write_text("")
    fresh = tmp_path / "fresh"
    address = ""

    async def opts_out(stream: trio.SocketStream) -> None:
        fresh.write_text(f"{address}\n")
        os.replace(fresh, listed)
        await stream.send_all(b"554 5.7.1 never call again\r\n")

    address = town.add(opts_out)
    rows = scan(
        town,
        [target(address, sni="a.example"), target(address, sni="b.example")],
        dataclasses.replace(SETTINGS, opt_out=listed),
    )
    assert [row["status"] for row in rows] == ["refused", "opted_out"]


def test_a_list_that_breaks_while_scanning_stops_the_scan(town: Town, tmp_path: Path) -> None:
    listed = tmp_path / "opt-out"
    listed.write_text("")

    async def breaks_the_list(stream: trio.SocketStream) -> None:
        listed.write_text("not..a..name\n")
        await stream.send_all(b"554 5.7.1 no\r\n")

    address = town.add(breaks_the_list)
    settings = dataclasses.replace(SETTINGS, opt_out=listed)
    targets = [target(address, sni=f"{n}.example") for n in range(3)]
    with pytest.raises(UsageFault, match="line 1"):
        scan(town, targets, settings)


def test_manners_at_one_address_and_one_operator(town: Town) -> None:
    server = SMTP(tls_context(LEAF))
    address = town.add(server)
    shared = SMTP(tls_context(LEAF))
    many = [town.add(shared) for _ in range(6)]
    targets = [target(address, sni=f"{n}.example") for n in range(5)]
    targets += [target(one, operator="one.example") for one in many]
    rows = scan(town, targets)
    assert {row["status"] for row in rows} == {"pass"}
    assert (server.connections, server.most_at_once) == (5, 1)
    assert shared.connections == 6
    assert shared.most_at_once <= SETTINGS.per_operator
    assert sorted(str(name) for name in server.names) == [f"{n}.example" for n in range(5)]


def test_nobody_is_called_without_an_identity(town: Town) -> None:
    nameless = ProbeSettings(new_per_s=10_000)
    with pytest.raises(UsageFault, match=r"probe\.ehlo_name"):
        scan(Town(), [], nameless)
    server = SMTP(tls_context(LEAF))
    address = town.add(server)
    lab = dataclasses.replace(nameless, lab_addresses=(f"{address}/32",))
    rows = scan(town, [target(address), target("198.41.0.4")], lab)
    assert [row["status"] for row in rows] == ["pass", "unprobed"]
    assert server.heard[0] == b"EHLO lab.invalid\r\n"


def test_a_server_is_never_greeted_with_its_own_name(town: Town) -> None:
    server = SMTP(tls_context(LEAF))
    (row,) = scan(town, [target(town.add(server), host="survey.example")])
    assert row["status"] == "unprobed"
    assert server.connections == 0


def test_a_bug_in_one_session_is_that_row(town: Town) -> None:
    """A record that no resolver can have delivered: the session's own code trips over it."""
    broken = target(town.add(SMTP(tls_context(LEAF))))
    broken["tlsa"] = ["not a record"]
    fine = target(town.add(SMTP(tls_context(LEAF))))
    rows = scan(town, [broken, fine])
    assert [row["status"] for row in rows] == ["local_error_smtp", "pass"]
    assert "TLSAFault" in rows[0]["error"]


def test_an_empty_shard(town: Town) -> None:
    assert scan_with_certificates(town, []) == ([], [])


def test_stopping_keeps_the_finished_rows(town: Town) -> None:
    served = trio.Event()
    fast = SMTP(tls_context(LEAF))

    async def fast_and_telling(stream: trio.SocketStream) -> None:
        await fast(stream)
        while await stream.receive_some(4096):  # until the client has closed
            pass
        served.set()

    async def stops_us(stream: trio.SocketStream) -> None:
        await served.wait()
        crawler.scan.stop()
        await never_answers(stream)

    targets = [target(town.add(fast_and_telling)), target(town.add(stops_us))]
    rows = scan(town, targets)
    assert [row["status"] for row in rows] == ["pass"]


def test_a_hundred_tarpits_hold_up_nobody(town: Town) -> None:
    """Each waits for its own time-out, at its own operator; the good rows are all good."""
    tarpits = [target(town.add(never_answers)) for _ in range(100)]
    good = [target(town.add(SMTP(tls_context(LEAF), ehlo=EHLO))) for _ in range(20)]
    settings = dataclasses.replace(SETTINGS, reply_s=0.5, sessions=200)
    rows = scan(town, tarpits + good, settings)
    assert [row["status"] for row in rows] == ["tempfail"] * 100 + ["pass"] * 20
