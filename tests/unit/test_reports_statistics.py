"""Every published number, on small tables whose truth is known, and on past posts."""

import json
from pathlib import Path

import duckdb
import pytest

from reports import opportunities, post, statistics
from reports.columns import Access
from reports.dataset import Files, RunKey
from reports.derived_tables import STATISTICS
from reports.dictionary import (
    ADDRESSES,
    BREAKAGES,
    CERTIFICATES,
    DOMAINS,
    MX_HOSTS,
    PROBES,
    TABLES,
    ZONES,
)
from reports.views import open_views
from tests.published_rows import KEY, NOON, count, domain, table_of, write

POSTS = Path(__file__).parents[2] / ".." / "shared" / "data" / "mail" / "survey-posts.json"


def small_internet() -> dict:
    """Eight domains at two providers; every count below was made by hand."""
    one, two, plain = "mx.one.example", "mx.two.example", "mx.plain.example"
    good = {"mx_secure": True, "dane_primary": True, "deliverable": True}
    return {
        ZONES: [
            {"zone": "example", "kind": "file", "delegations": 100, "signed": 6},
            {"zone": "test-zone", "kind": "list", "delegations": 50, "signed": 2},
        ],
        DOMAINS: [
            domain("a.example", "dane", [(one, 10, "pass", "P")], mx_operator=["one.example"],
                   mx_outcome="secure", dnskey_algorithm=[13, 13], dnskey_bits=[256, 256],
                   nsec3param_iterations=0, questions=3, **good),
            domain("b.example", "dane", [(one, 10, "pass", "P"), (two, 10, "pass", "P")],
                   mx_operator=["one.example", "two.example"], mx_outcome="secure", **good),
            # the backup's operator does not carry the claim
            domain("c.example", "partial", [("none.example", 1, "no_address", "-"),
                   (one, 10, "pass", "P"), (plain, 20, "absent", "N")],
                   mx_operator=["none.example", "one.example", "plain.example"],
                   mx_outcome="secure", **good),
            domain("d.example", "no_tlsa", [(plain, 0, "absent", "N")], mx_secure=True,
                   mx_outcome="nodata", mx_answer_secure=True, mx_operator=["plain.example"]),
            domain("e.example", "insecure", mx_outcome="insecure"),
            domain("f.example", "lookup_failed", stage="mx", deliverable=False,
                   mx_outcome="bogus", ede_code=7, dns_operator=["dns.example"]),
            domain("g.example", "broken", [("mx.bad.example", 10, "no_starttls", "F")],
                   mx_secure=True, level="primary", deliverable=False, mx_outcome="secure",
                   mx_operator=["bad.example"]),
            domain("h.example", "no_mail", reason="null_mx", mx_secure=True, mx_outcome="secure"),
        ],
        MX_HOSTS: [
            {"host": one, "operator": "one.example", "status": "pass", "class": "P",
             "usable": True, "tlsa": ["2 1 1 aa", "3 1 1 bb", "3 1 1 cc"], "tlsa_digest": "1",
             "tlsa_outcome": "secure", "rrsig_signer": "one.example"},
            {"host": two, "operator": "two.example", "status": "pass", "class": "P",
             "usable": True, "tlsa": ["3 1 1 bb"], "tlsa_digest": "2",
             "tlsa_outcome": "secure", "rrsig_signer": "one.example"},
            {"host": "mx.bad.example", "operator": "bad.example", "status": "no_starttls",
             "class": "F", "tlsa": ["3 1 1 dd"], "tlsa_digest": "3", "tlsa_outcome": "secure",
             "rrsig_signer": "bad.example", "defects": ["single_key", "too_many"]},
            {"host": plain, "operator": "plain.example", "status": "absent", "class": "N",
             "tlsa_outcome": "nodata"},
            {"host": "none.example", "operator": "none.example", "status": "no_address",
             "class": "-"},
        ],
        ADDRESSES: [
            {"host": one, "address": "192.0.2.1", "status": "pass"},
            {"host": two, "address": "192.0.2.2", "status": "pass"},
        ],
        PROBES: [
            {"address": "192.0.2.1", "chain": ["aa", "ca"], "tls_version": "TLSv1.3"},
            {"address": "192.0.2.2", "chain": ["aa", "ca"], "tls_version": "TLSv1.2"},
        ],
        CERTIFICATES: [{"sha256": "aa", "key_type": "ecdsa", "key_bits": 256}, {"sha256": "ca"}],
        BREAKAGES: [
            {"operator_kind": "mx", "operator": "bad.example", "host": "mx.bad.example",
             "domain": "g.example", "status": "no_starttls", "state": "confirmed"},
            {"operator_kind": "dns", "operator": "dns.example", "domain": "f.example",
             "status": "bogus", "stage": "mx", "state": "suspected"},
        ],
    }  # fmt: skip


TRUTH = {
    ("signed_delegations", "all", ""): 8,
    ("delegations", "zone", "example"): 100,
    ("domains", "all", ""): 8,
    ("domains", "status", "dane"): 2,
    ("domains", "status", "partial"): 1,
    ("domains", "status", "broken"): 1,
    ("domains", "status", "unsettled"): 1,
    ("domains", "deliverable", "no"): 1,
    ("domains", "deliverable", "unsettled"): 1,
    ("domains", "deliverable", "unknown"): 3,
    ("secure_mx_domains", "all", ""): 6,
    ("dane_domains", "all", ""): 3,
    ("dane_percentage", "all", ""): 50.0,
    ("dane_domains", "mx_operator", "one.example"): 3,
    ("dane_domains", "mx_operator", "two.example"): 1,
    ("no_mail_domains", "reason", "null_mx"): 1,
    ("broken_domains", "level", "primary"): 1,
    ("broken_domains", "host_status", "no_starttls"): 1,
    ("affected_domains", "state", "confirmed"): 1,
    ("affected_domains", "state", "suspected"): 1,
    ("confirmed_broken_domains", "mx_operator", "bad.example"): 1,
    ("mx_lookups", "outcome", "nodata secure"): 1,
    ("failing_mx_lookups", "ede_code", "unsettled"): 1,
    ("tlsa_lookups", "outcome", "secure"): 3,
    ("questions", "table", "domains"): 3,
    ("mx_hosts", "all", ""): 5,
    ("mx_hosts", "status", "pass"): 2,
    ("tlsa_mx_hosts", "all", ""): 3,
    ("tlsa_mx_zones", "all", ""): 2,
    ("mx_host_defects", "defect", "too_many"): 1,
    ("addresses", "status", "pass"): 2,
    ("tlsa_records", "all", ""): 5,
    ("tlsa_records", "parameters", "3 1 1"): 4,
    ("tlsa_records", "parameters", "2 1 1"): 1,
    ("tlsa_mx_hosts", "parameters", "2 1 1 + 3 1 1"): 1,
    ("tlsa_mx_hosts", "parameters", "3 1 1"): 2,
    ("tlsa_rrsets", "all", ""): 3,
    ("leaf_certificates", "all", ""): 1,
    ("leaf_certificates", "key", "ecdsa 256"): 1,
    ("tls_addresses", "tls_version", "TLSv1.3"): 1,
    ("dnskey_domains", "algorithm and bits", "13 256"): 1,
    ("nsec3_domains", "iterations", "0"): 1,
}


def computed(tmp_path: Path, rows: dict, before: dict | None = None, floor: int = 1) -> dict:
    files = write(tmp_path / "now", rows)
    previous = write(tmp_path / "before", before, RunKey("2026-10", 1)) if before else None
    count(files, floor, previous)
    with open_views("500MB", files, previous_month=previous, floor=floor) as views:
        table = statistics.compute(views, "full")
    assert table.schema.equals(STATISTICS.schema)
    found = {
        (row["metric"], row["dimension"], row["key"] or ""): row["value"]
        for row in table.to_pylist()
    }
    assert len(found) == table.num_rows, "a key of the table is not unique"
    return found


def test_small_internet(tmp_path: Path) -> None:
    found = computed(tmp_path, small_internet())
    assert {key: found.get(key) for key in TRUTH} == TRUTH
    assert ("dane_domains", "mx_operator", "plain.example") not in found
    assert ("dane_domains", "mx_operator", "none.example") not in found


def test_suspected_operators_are_not_named(tmp_path: Path) -> None:
    keys = {key for _, _, key in computed(tmp_path, small_internet())}
    assert "dns.example" not in keys


def test_small_operators_are_counted_together(tmp_path: Path) -> None:
    """A rest that would be too small itself takes the smallest named operator with it."""
    sizes = {"a.example": 1, "b.example": 1, "c.example": 3, "p.example": 4, "q.example": 5}
    names = [f"{number}.{operator}" for operator, size in sizes.items() for number in range(size)]
    own = [
        domain(name, "dane", [(f"mx.{name[2:]}", 0, "pass", "P")], mx_operator=[name[2:]],
               dane_primary=True)
        for name in names
    ]  # fmt: skip
    broken = {"operator_kind": "mx", "state": "confirmed"}
    rows = [
        {**broken, "operator": "c.example", "host": "c.example", "domain": "c.example"},
        *({**broken, "operator": "p.example", "host": "mx.p.example", "domain": name}
          for name in names[:3]),
    ]  # fmt: skip
    found = computed(tmp_path, {DOMAINS: own, BREAKAGES: rows}, floor=3)
    keys = {key: value for key, value in found.items() if key[1] == "mx_operator"}
    few = "(fewer than 3 domains)"
    assert keys == {
        ("dane_domains", "mx_operator", few): 5,
        ("dane_domains", "mx_operator", "p.example"): 4,
        ("dane_domains", "mx_operator", "q.example"): 5,
        ("confirmed_broken_domains", "mx_operator", few): 4,
    }


def test_changes_since_last_month(tmp_path: Path) -> None:
    before = small_internet()
    before[DOMAINS][3] |= {"dane_primary": True, "status": "dane"}  # d was a DANE domain
    before[DOMAINS] += [domain("gone.example", "dane", dane_primary=True)]
    before[DOMAINS][1] |= {"dane_primary": False, "status": "broken"}  # b was not
    before[DOMAINS].pop(0)  # a was not surveyed
    found = computed(tmp_path, small_internet(), before)
    changes = {
        key: value
        for key, value in found.items()
        if key[0].startswith("dane_domains_") and key[1] != "reason and operator"
    }
    assert changes == {
        ("dane_domains_gained", "all", ""): 2,
        ("dane_domains_gained", "status_before", "broken or failing"): 1,
        ("dane_domains_gained", "status_before", "not surveyed"): 1,
        ("dane_domains_lost", "all", ""): 2,
        ("dane_domains_lost", "status_now", "no_tlsa"): 1,
        ("dane_domains_lost", "status_now", "not surveyed"): 1,
        # nothing but the verdict differs
        ("dane_domains_gained", "reason", "rules_changed"): 1,
        ("dane_domains_gained", "reason", "signed_new"): 1,
        ("dane_domains_lost", "reason", "domain_gone"): 1,
        ("dane_domains_lost", "reason", "rules_changed"): 1,
    }


def test_no_month_before_no_changes(tmp_path: Path) -> None:
    assert not [key for key in computed(tmp_path, small_internet()) if "gained" in key[0]]


def test_an_empty_run_has_no_percentage(tmp_path: Path) -> None:
    found = computed(tmp_path, {})
    assert found[("domains", "all", "")] == 0
    assert ("dane_percentage", "all", "") not in found


def test_opportunities_name_who_could_change_what(tmp_path: Path) -> None:
    rows = small_internet()
    rows[DOMAINS] += [
        domain("i.example", "insecure_mx_host", [("mx.unsigned.example", 5, "insecure", "N")],
               mx_secure=True),
        # two operators would have to act: nobody's alone
        domain("j.example", "no_tlsa", [("mx.plain.example", 5, "absent", "N"),
               ("mx.other.example", 5, "absent", "N")], mx_secure=True),
        domain("k.example", "partial", [("mx.one.example", 5, "pass", "P"),
               ("mx.plain.example", 5, "absent", "N")], mx_secure=True),
        domain("l.example", "unusable", [("mx.other.example", 5, "unusable", "P°")],
               mx_secure=True),
    ]  # fmt: skip
    rows[MX_HOSTS] += [
        {"host": "mx.unsigned.example", "operator": "unsigned.example"},
        {"host": "mx.other.example", "operator": "other.example"},
    ]
    with open_views("500MB", write(tmp_path, rows)) as views:
        found = opportunities.find(views)
    assert [(one.kind, one.operator, one.domains, one.hosts) for one in found] == [
        ("publish_tlsa", "plain.example", 2, 1),
        ("add_usable", "other.example", 1, 1),
        ("sign_zone", "unsigned.example", 1, 1),
    ]
    assert "plain.example" in opportunities.as_text(found, 20)


@pytest.mark.skipif(not POSTS.exists(), reason="needs the figures of past posts")
def test_past_posts_have_the_same_arithmetic() -> None:
    """The headline's SQL gives the percentages that were posted, from their counts: truncated,
    but for the one post that was rounded up."""
    rounded = []
    sql = dict(statistics.statements())["domains.sql"]
    with duckdb.connect() as connection:
        for one in (entry for entry in json.loads(POSTS.read_text()) if "pct" in entry):
            dane, secure = one["dane_domains"], one["dnssec_mx_domains"]
            connection.execute(
                "CREATE OR REPLACE VIEW domain_counts AS SELECT * FROM (VALUES"
                f" ('dane', NULL, true, true, false, 13, {dane}),"
                f" ('no_tlsa', NULL, false, true, false, 13, {secure - dane}))"
                " AS counts(status, detail, dane_primary, mx_secure, sha1_only, algorithm, domains)"
            )
            rows = {row[:3]: row[3] for row in connection.execute(sql).fetchall()}
            found = rows[("dane_percentage", "all", None)]
            if found != one["pct"]:
                rounded.append((one["post"], round(one["pct"] - found, 2)))
    assert rounded == [("2021-09-01", 0.01)]


@pytest.mark.skipif(not POSTS.exists(), reason="needs the figures of past posts")
def test_past_posts_can_be_printed_again() -> None:
    """Our post with their numbers says what theirs said, in 72 columns."""
    entries = [entry for entry in json.loads(POSTS.read_text()) if "pct" in entry]
    for one in entries:
        now = [("dane_domains", "all", "", one["dane_domains"]),
               ("secure_mx_domains", "all", "", one["dnssec_mx_domains"]),
               ("dane_percentage", "all", "", one["pct"]),
               *(("dane_domains", "mx_operator", name, count)
                 for name, count in one["top_mx"].items())]  # fmt: skip
        before = [("dane_domains", "all", "", one.get("dane_prev", 0))]
        text = post.write(post.Edition("2024-01", numbers(now), numbers(before), None, 20))
        flowing = " ".join(text.split())
        assert max(map(len, text.splitlines())) <= post.WIDTH
        assert f"DANE domain count is now {one['dane_domains']:,}" in flowing
        assert f"MX queries is {one['dnssec_mx_domains']:,}" in flowing
        assert f"deployed on {one['pct']:.2f}% of domains with DNSSEC" in flowing
        listed = [line.split()[:2] for line in text.splitlines() if line.startswith("  ")]
        top = sorted(one["top_mx"].items(), key=lambda row: -row[1])[:20]
        assert [[str(count), name] for name, count in top] == [
            row for row in listed if row[1:] and row[1] in one["top_mx"]
        ]


def numbers(rows: list[tuple[str, str, str, float]]) -> post.Numbers:
    keys = ("metric", "dimension", "key", "value")
    return post.Numbers(
        table_of(
            STATISTICS, [dict(zip(keys, (*row[:3], float(row[3])), strict=True)) for row in rows]
        )
    )


def test_post_without_anything_to_say() -> None:
    text = post.write(post.Edition("2026-11", numbers([]), None, None, 20))
    assert "DANE domain count is now 0." in text
    assert "%" not in text.replace("Percentages", "")


def test_post_says_last_month_and_last_year() -> None:
    this, last, year = (
        numbers([("dane_domains", "all", "", count), ("dane_domains", "mx_operator", name, count)])
        for count, name in ((3988988, "one.com"), (3987641, "two.com"), (3733547, "three.com"))
    )
    text = post.write(post.Edition("2024-01", this, last, year, 20))
    flowing = " ".join(text.split())
    assert "now 3,988,988 (3,987,641 last month, 3,733,547 a year ago)" in flowing
    assert "  3988988 one.com  3987641 two.com  3733547 three.com" in text


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "\x1b]0;x\x07", "a\r\nBcc: b@c", "x" * 255])
def test_hostile_operators_cannot_leave_their_line(name: str) -> None:
    rows = [
        ("dane_domains", "mx_operator", name, 7),
        ("dane_domains", "mx_operator", "o.example", 5),
    ]
    now = numbers(rows)
    text = post.write(post.Edition("2026-11", now, now, now, 20))
    assert text.isascii()
    assert all(one == "\n" or one.isprintable() for one in text)
    assert not [line for line in text.splitlines() if line.startswith("Bcc")]
    assert max(map(len, text.splitlines())) <= post.WIDTH


def test_statistics_sql_runs_bare(tmp_path: Path) -> None:
    """Anyone can run a file in DuckDB: no parameter, one SELECT with the declared columns."""
    with open_views("500MB", write(tmp_path, {ZONES: [{"taken": NOON}]})) as views:
        for name, sql in statistics.statements():
            columns = views.sql(sql).columns
            assert [*columns, "kind"] == STATISTICS.schema.names, name


PUBLIC_ALONE = ("domains.sql", "host_kinds.sql")


@pytest.mark.parametrize("name", PUBLIC_ALONE)
def test_public_alone_gives_the_same(tmp_path: Path, name: str) -> None:
    files = write(tmp_path, small_internet())
    count(files, floor=1)
    public = {table.path: files.parts(table) for table in TABLES if table.access is Access.PUBLIC}
    sql = dict(statistics.statements())[name]
    found = []
    for of in (files, Files(tmp_path, KEY, public)):
        with open_views("500MB", of, floor=1) as views:
            found.append(sorted(views.sql(sql).fetchall(), key=str))
    assert found[0] == found[1]
    assert len(found[0]) > 5
