"""Zones that the lab signs, verified by ldns-verify-zone and by dnspython."""

import shutil
import subprocess
import time
from pathlib import Path

import dns.dnssec
import dns.name
import dns.rdatatype
import dns.zone
import pytest

from lab import keys, records, spoil
from lab.contents import Contents
from lab.signer import DAY_S, Nsec3, Validity, Zone, sign

NOW = int(time.time())
DENIALS = {
    "nsec": None,
    "nsec3": Nsec3(),
    "nsec3-salt": Nsec3(iterations=3, salt=b"\xaa\xbb"),
    "nsec3-opt-out": Nsec3(opt_out=True),
}


def _zone() -> Zone:
    """All that a zone may have: empty non-terminals, cuts with and without DS, glue, wildcards."""
    zone = Zone("example")
    zone.add("example", records.soa("ns1.example", "hostmaster.example", 7, 300))
    zone.add("example", records.ns("ns1.example"), records.ns("ns.secure.example"))
    zone.add("ns1.example", records.a("192.0.2.1"), records.aaaa("2001:db8::1"))
    zone.add("example", records.mx(20, "mx2.example"), records.mx(10, "mx1.example"))
    zone.add("_25._tcp.mx1.example", records.tlsa(3, 1, 1, bytes(32)))
    zone.add("\\042._tcp.mx2.example", records.tlsa(3, 1, 1, bytes(32)))
    zone.add("a.very.deep.name.example", records.txt("text"))
    zone.add("odd\\000byte\\046.example", records.cname("mx1.example"))
    zone.add("secure.example", records.ns("ns.secure.example"))
    zone.add("secure.example", records.ds(1, 13, 2, bytes(32)))
    zone.add("ns.secure.example", records.a("192.0.2.2"))
    zone.add("insecure.example", records.ns("ns.insecure.example"))
    zone.add("ns.insecure.example", records.a("192.0.2.3"))
    return zone


def _written(zone: Zone, denial: Nsec3 | None, algorithm: int, path: Path) -> Path:
    key = keys.zone_key(1, zone.origin, algorithm)
    signed = sign(zone, key, denial, Validity.around(NOW))
    path.write_text("".join(f"{line}\n" for line in signed))
    return path


@pytest.mark.skipif(shutil.which("ldns-verify-zone") is None, reason="no ldns-verify-zone")
@pytest.mark.parametrize("algorithm", [8, 13])
@pytest.mark.parametrize("denial", DENIALS)
def test_ldns_verifies(denial: str, algorithm: int, tmp_path: Path) -> None:
    path = _written(_zone(), DENIALS[denial], algorithm, tmp_path / "zone")
    done = subprocess.run(["ldns-verify-zone", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("denial", DENIALS)
def test_dnspython_validates_every_rrset(denial: str, tmp_path: Path) -> None:
    path = _written(_zone(), DENIALS[denial], 13, tmp_path / "zone")
    zone = dns.zone.from_file(str(path), "example.", relativize=False)
    origin = dns.name.from_text("example.")
    trusted = {origin: zone.find_rdataset(origin, dns.rdatatype.DNSKEY)}
    validated = 0
    for name, node in zone.items():
        for rdataset in node:
            if rdataset.rdtype != dns.rdatatype.RRSIG:
                continue
            covered = zone.find_rrset(name, rdataset.covers)
            signatures = zone.find_rrset(name, dns.rdatatype.RRSIG, rdataset.covers)
            dns.dnssec.validate(covered, signatures, trusted)
            validated += 1
    assert validated >= 15


@pytest.mark.skipif(shutil.which("ldns-verify-zone") is None, reason="no ldns-verify-zone")
@pytest.mark.parametrize("fault", sorted(spoil.FAULTS))
def test_each_fault_is_one(fault: str, tmp_path: Path) -> None:
    zone = _zone()
    signed = sign(zone, keys.zone_key(1, zone.origin), None, Validity.around(NOW))
    path = tmp_path / "zone"
    path.write_text("".join(f"{line}\n" for line in spoil.FAULTS[fault](list(signed))))
    done = subprocess.run(["ldns-verify-zone", path], capture_output=True, text=True)
    assert done.returncode != 0


@pytest.mark.skipif(shutil.which("ldns-verify-zone") is None, reason="no ldns-verify-zone")
def test_ldns_verifies_root_and_top_level_domains(tmp_path: Path) -> None:
    plan, _ = Contents(domains=200, dead=0.1).plan(tmp_path / "truth", NOW)
    for origin, lines in [*plan.root, *plan.tlds]:
        path = tmp_path / f"{origin}.zone"
        path.write_text("".join(f"{line}\n" for line in lines))
        done = subprocess.run(["ldns-verify-zone", path], capture_output=True, text=True)
        assert done.returncode == 0, (origin, done.stdout + done.stderr)


def test_signing_is_the_same_every_time() -> None:
    def once(seed: int, at: int) -> list[str]:
        key = keys.zone_key(seed, "example")
        return [str(line) for line in sign(_zone(), key, Nsec3(), Validity.around(at))]

    assert once(1, NOW) == once(1, NOW)
    assert once(1, NOW) != once(2, NOW)
    assert once(1, NOW) != once(1, NOW + DAY_S)
