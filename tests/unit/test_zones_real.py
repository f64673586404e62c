"""Real zone files: names, DS and NS sets as other software reads them from the same file."""

import gzip
import subprocess
from collections import defaultdict
from functools import partial
from pathlib import Path

import dns.rdatatype
import dns.zone
import pytest

from crawler.zones.assembly import Stage
from crawler.zones.files import zone_files
from crawler.zones.scanner import BLOCK, scan
from dane import names

ZONES = Path(__file__).parents[3] / "shared/data/zones"
pytestmark = pytest.mark.skipif(not ZONES.is_dir(), reason="../shared/data is not here")

Found = dict[str, tuple[frozenset[str], frozenset[str]]]

CASES = [
    ("gov-2024-02-14.czds.txt.gz", "gov", 1707877500, 9842),
    ("gov-2024-06-30.zone.gz", "gov", 1719714300, 10500),
    ("gov-2026-06-30.zone.gz", "gov", 1782807016, 16187),
    ("root-2018.zone.gz", ".", 2018031200, 1544),
]


def scanned(name: str) -> Found:
    (file,) = zone_files(ZONES / name)
    result = scan(partial(file.chunks, BLOCK), Stage)
    with result.stage:
        return {
            row["domain"]: (frozenset(row["ds"]), frozenset(row["ns"]))
            for batch in result.batches()
            for row in batch.to_pylist()
        }


def signed(records: list[tuple[str, str, str]], apex: str) -> Found:
    """Delegations with DS and NS of (owner, type, RDATA) in presentation form."""
    ds, ns = defaultdict(set), defaultdict(set)
    for owner, rrtype, rdata in records:
        key = names.canonical(owner)
        if key == apex:
            continue
        if rrtype == "NS":
            ns[key].add(names.canonical(rdata))
        elif rrtype == "DS":
            tag, algorithm, digest_type, *digest = rdata.split()
            ds[key].add(f"{tag} {algorithm} {digest_type} {''.join(digest).lower()}")
    return {key: (frozenset(ds[key]), frozenset(ns[key])) for key in ds.keys() & ns.keys()}


@pytest.mark.parametrize(("name", "apex", "serial", "delegations"), CASES)
def test_counts(name: str, apex: str, serial: int, delegations: int) -> None:
    (file,) = zone_files(ZONES / name)
    result = scan(partial(file.chunks, BLOCK), Stage)
    with result.stage:
        assert (result.zone, result.serial) == (apex, serial)
        assert result.delegations == delegations
        assert result.ends_with_soa == name.startswith("root")


@pytest.mark.parametrize("name", ["gov-2024-02-14.czds.txt.gz", "root-2018.zone.gz"])
def test_equal_to_dnspython(name: str) -> None:
    apex = "." if name.startswith("root") else "gov"
    text = gzip.decompress((ZONES / name).read_bytes()).decode()
    zone = dns.zone.from_text(text, apex, relativize=False, allow_directives=False)
    records = [
        (owner.to_text(), dns.rdatatype.to_text(rdata.rdtype), rdata.to_text())
        for owner, _, rdata in zone.iterate_rdatas()
    ]
    assert scanned(name) == signed(records, apex)


@pytest.mark.parametrize("name", [name for name, *_ in CASES])
def test_equal_to_ldns(name: str, tmp_path: Path) -> None:
    plain = tmp_path / "zone"
    plain.write_bytes(gzip.decompress((ZONES / name).read_bytes()))
    read = subprocess.run(
        ["ldns-read-zone", str(plain)], check=True, capture_output=True, text=True, timeout=60
    )
    records = []
    for line in read.stdout.splitlines():
        owner, _, _, rrtype, rdata = line.split("\t", 4)
        records.append((owner, rrtype, rdata))
    assert scanned(name) == signed(records, "." if name.startswith("root") else "gov")
