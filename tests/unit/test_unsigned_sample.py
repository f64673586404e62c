"""How many unsigned domains would be DANE: estimate and interval, by simulation and by hand."""

import random
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from dane.assess import DomainLookup, as_if_signed
from dane.outcomes import LookupOutcome
from dane.sample import is_sampled
from reports.dictionary import UNSIGNED_SAMPLE
from reports.statistics import statements
from tests.storage_rows import ASKED

POPULATIONS = 1000


Estimates = dict[tuple[str, str, str | None], int]


def estimates(rows: list[dict[str, Any]], floor: int = 1) -> Estimates:
    """(metric, dimension, key) to value, as the statistic has it."""
    blank: dict[str, Any] = {"bucket": 0, "mx_outcome": "insecure", "mx_host": []}
    blank["dns_operator"] = []
    with duckdb.connect() as connection:
        connection.register(
            "unsigned_sample",
            pa.Table.from_pylist([{**blank, **row} for row in rows], UNSIGNED_SAMPLE.schema),
        )
        connection.execute(f"CREATE MACRO public_floor() AS {floor}")
        connection.execute("CREATE MACRO few() AS '(few)'")
        connection.execute(
            "CREATE MACRO named(key, domains, rest, place) AS CASE WHEN domains < public_floor()"
            " OR (rest BETWEEN 1 AND public_floor() - 1 AND place = 1) THEN few() ELSE key END"
        )
        found = connection.execute(dict(statements())["unsigned_sample.sql"]).fetchall()
    return {(metric, dimension, key): value for metric, dimension, key, value, _ in found}


def row(name: str, zone: str, one_of: int, dane: bool, *operators: str) -> dict[str, Any]:
    return {
        "domain": name,
        "zone": zone,
        "sampled_one_of": one_of,
        "if_signed": "dane" if dane else "no_tlsa",
        "dns_operator": list(operators),
    }


def test_of_1000_made_up_populations_the_interval_holds_about_950() -> None:
    draw = random.Random(20)
    truth, rows = {}, []
    for number in range(POPULATIONS):
        zone, one_of = f"zone{number}", draw.choice([5, 20, 50])
        truth[zone] = dane = int(one_of * 2 ** draw.uniform(3, 8))
        names = [f"{draw.getrandbits(64):x}.{zone}" for _ in range(dane + one_of * 4)]
        rows += [
            row(name, zone, one_of, place < dane)
            for place, name in enumerate(names)
            if is_sampled(name.encode(), one_of)
        ]
    found = estimates(rows)
    inside = sum(
        found["dane_if_signed_low", "zone", zone]
        <= count
        <= found["dane_if_signed_high", "zone", zone]
        for zone, count in truth.items()
    )
    assert 930 <= inside <= 970
    assert found["dane_if_signed", "all", None] == pytest.approx(sum(truth.values()), rel=0.02)


def test_by_zone_and_operator_and_folded_where_few() -> None:
    rows = [row(f"a{n}.one", "one", 100, n < 25, "dns.example") for n in range(40)]
    rows += [row(f"b{n}.two", "two", 100, True, "dns.example", "small.example") for n in range(4)]
    rows += [row(f"c{n}.three", "three", 100, False, "dns.example", "b.example") for n in range(9)]
    found = estimates(rows, floor=10)
    assert found["unsigned_sampled", "all", None] == 53
    assert found["dane_if_signed", "all", None] == 2900
    assert found["dane_if_signed", "zone", "one"] == 2500
    assert found["dane_if_signed", "zone", "(few)"] == 400
    assert found["unsigned_sampled", "zone", "(few)"] == 13
    assert found["dane_if_signed", "dns_operator", "dns.example"] == 2900
    assert found["dane_if_signed", "dns_operator", "(few)"] == 400
    assert not {key for *_, key in found} & {"small.example", "b.example", "two", "three"}
    # Wilson's score interval of 25 with the variance of 1 in 100, by hand
    assert found["dane_if_signed_low", "zone", "one"] == 1697
    assert found["dane_if_signed_high", "zone", "one"] == 3684


def test_everything_sampled_is_a_count_and_nothing_sampled_is_nothing() -> None:
    found = estimates([row(f"a{n}.one", "one", 1, n < 3) for n in range(20)])
    assert {found[f"dane_if_signed{bound}", "zone", "one"] for bound in ("", "_low", "_high")} == {
        3
    }
    assert estimates([]) == {}
    none = estimates([row("a.one", "one", 10, False)])
    assert none["dane_if_signed_low", "all", None] == 0
    assert none["dane_if_signed_high", "all", None] == 35


@pytest.mark.parametrize(
    ("outcome", "secure", "expected"),
    [
        ("insecure", False, ("secure", True)),
        ("nodata", False, ("nodata", True)),
        ("nxdomain", False, ("nxdomain", True)),
        ("servfail", False, ("servfail", False)),
        ("unanswered", False, ("unanswered", False)),
    ],
)
def test_as_if_signed(outcome: str, secure: bool, expected: tuple[str, bool]) -> None:
    lookup = DomainLookup(
        domain="a.example",
        outcome=LookupOutcome(outcome),
        secure=secure,
        mx_preference=[10],
        mx_host=["mx.example"],
        mx_total=1,
        last_asked=ASKED,
    )
    found = as_if_signed(lookup)
    assert (found.outcome, found.secure) == expected
