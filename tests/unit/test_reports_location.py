"""Country and autonomous system of each address, once, from MMDB files."""

from pathlib import Path

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from dane.faults import UsageFault
from reports import location, statistics
from reports.dictionary import ADDRESSES, MX_HOSTS
from reports.views import open_views
from tests.published_rows import write


def mmdb(path: Path, rows: dict[str, dict[str, object]]) -> Path:
    writer = MMDBWriter(6, "test", ipv4_compatible=True)
    for network, value in rows.items():
        writer.insert_network(IPSet([network]), value)
    writer.to_db_file(str(path))
    return path


def test_each_address_counts_once(tmp_path: Path) -> None:
    geoip = mmdb(
        tmp_path / "country.mmdb",
        {
            "192.0.2.0/24": {"country": {"iso_code": "CH"}},
            "2001:db8::/32": {"country": {"iso_code": "SE"}},
        },
    )
    asn = mmdb(
        tmp_path / "asn.mmdb",
        {
            "192.0.2.0/25": {"autonomous_system_number": 64500},
            "192.0.2.128/25": {"autonomous_system_number": 64501},
        },
    )
    places = {"192.0.2.1": ["a", "b"], "192.0.2.200": ["c"], "2001:db8::1": ["a"]}
    rows = {
        ADDRESSES: [
            {"host": host, "address": address}
            for address, hosts in places.items()
            for host in hosts
        ],
        MX_HOSTS: [{"host": host, "domains": 20 if host != "c" else 2} for host in "abc"],
    }
    sql = dict(statistics.statements())["locations.sql"]
    with open_views("500MB", write(tmp_path / "run", rows)) as views:
        assert views.sql(sql).fetchall() == []
        views.register("location", location.locate(places, geoip, asn))
        found = {row[1:3]: row[3] for row in views.sql(sql).fetchall()}
    assert found == {
        ("country ipv4", "CH"): 2,
        ("country ipv6", "SE"): 1,
        ("as ipv4", "AS64500"): 1,
        ("as ipv4", "(fewer than 10 domains)"): 1,
    }


def test_a_file_that_is_no_mmdb(tmp_path: Path) -> None:
    for path in (tmp_path / "none", Path(__file__)):
        with pytest.raises(UsageFault, match=r"publish\.geoip"):
            location.locate([], path, None)
