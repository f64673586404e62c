"""The lab itself: up, down, what it answers, and that it leaves nothing behind."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dane.faults import LocalTrouble, Refused
from lab import addresses
from lab.internet import Lab
from lab.namespace import Isolation
from lab.plan import CANARY, CANARY_BROKEN, CANARY_RSA, Builder
from lab.scenarios import CATALOGUE

FEW = [one for one in CATALOGUE if one.name in ("ee-spki", "null-mx")]


@pytest.fixture
def few(tmp_path: Path) -> Iterator[Lab]:
    try:
        internet = Lab(tmp_path / "lab", FEW)
    except LocalTrouble as trouble:
        pytest.skip(str(trouble))
    with internet:
        yield internet


def _dig(lab: Lab, *arguments: str) -> str:
    argv = ["dig", "+tries=1", "+time=60", "+dnssec", *arguments]
    return str(lab.exec(argv, capture_output=True, text=True, check=True).stdout)


def _descendants(pid: int) -> set[int]:
    found = {pid}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found |= _descendants(int(child))
    return found


def _gone(pids: set[int]) -> bool:
    """None of them runs any more (one that its parent has not yet waited for has ended too)."""
    return all(_state(pid) in (None, "Z") for pid in pids)


def _state(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def test_each_level_answers_for_itself_only(few: Lab) -> None:
    root = _dig(few, f"@{addresses.ROOT}", "+norec", "ee-spki.plain", "MX")
    assert "ns1.nic.plain." in root
    assert "ANSWER: 0" in root
    tld = _dig(few, f"@{addresses.TLD[0]}", "+norec", "ee-spki.plain", "MX")
    assert "\tDS\t" in tld
    assert "ANSWER: 0" in tld
    domain = _dig(few, f"@{addresses.DOMAINS[0]}", "+norec", "ee-spki.plain", "MX")
    assert "10 mx.ee-spki.plain." in domain


def test_down_ends_every_process_and_is_idempotent(tmp_path: Path) -> None:
    with Lab(tmp_path, FEW) as internet:
        pids = _descendants(int((tmp_path / "supervisor.pid").read_text()))
        assert len(pids) > 3  # three name servers at least
        internet.down()
        assert _gone(pids)
        assert not internet.is_up
        internet.down()


def test_a_second_up_is_refused(few: Lab) -> None:
    with pytest.raises(Refused, match="up already"):
        Lab(few.directory, FEW).up()
    assert few.is_up


def test_another_process_finds_and_ends_a_detached_lab(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from lab.internet import Lab;"
        "Lab(Path(sys.argv[1]), []).up(attached=False)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    found = Lab(tmp_path)
    pids = _descendants(int((tmp_path / "supervisor.pid").read_text()))
    try:
        assert found.is_up
        assert "status: NOERROR" in _dig(found, f"@{addresses.ROOT}", "plain.", "NS")
    finally:
        found.down()
    assert _gone(pids)


def test_an_attached_lab_ends_with_its_process_killed(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from lab.internet import Lab;"
        "Lab(Path(sys.argv[1]), []).up(); print(flush=True); sys.stdin.read()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert owner.stdout is not None
    assert owner.stdin is not None
    owner.stdout.readline()
    supervisor = os.pidfd_open(int((tmp_path / "supervisor.pid").read_text()))
    owner.kill()
    owner.wait()
    owner.stdin.close()
    owner.stdout.close()
    ended, _, _ = select.select([supervisor], [], [], 30)
    os.close(supervisor)
    assert ended
    assert not Lab(tmp_path, []).is_up


def test_zones_are_the_same_every_time() -> None:
    def lines(seed: int) -> list[str]:
        builder = Builder(seed, now=1_800_000_000)
        for scenario in FEW:
            builder.add(scenario)
        plan = builder.finish()
        return [str(line) for _, zone in plan.domains for line in zone]

    assert lines(1) == lines(1)
    assert lines(1) != lines(2)


@pytest.mark.parametrize("zone", [CANARY, CANARY_RSA, "."])
def test_canaries_deny_with_proof(
    lab: Lab,
    lab_resolver: tuple[str, int],
    zone: str,
) -> None:
    name = "nonce." if zone == "." else f"nonce.{zone}"
    said = _dig(lab, f"@{lab_resolver[0]}", "-p", str(lab_resolver[1]), name, "A")
    assert "status: NXDOMAIN" in said
    assert " ad;" in said


def test_the_broken_canary_is_broken(lab: Lab, lab_resolver: tuple[str, int]) -> None:
    server = (f"@{lab_resolver[0]}", "-p", str(lab_resolver[1]))
    assert "status: SERVFAIL" in _dig(lab, *server, CANARY_BROKEN, "TXT")
    assert "status: NOERROR" in _dig(lab, *server, "+cdflag", CANARY_BROKEN, "TXT")


def test_openssl_agrees_that_the_certificate_matches(few: Lab) -> None:
    tlsa = _dig(few, f"@{addresses.DOMAINS[0]}", "+short", "_25._tcp.mx.ee-spki.plain", "TLSA")
    usage, selector, matching_type, *digest = tlsa.splitlines()[0].split()
    address = _dig(few, f"@{addresses.DOMAINS[0]}", "+short", "mx.ee-spki.plain", "A").split()[0]
    argv = ["openssl", "s_client", "-connect", f"{address}:25", "-starttls", "smtp", "-quiet"]
    argv += ["-dane_tlsa_domain", "mx.ee-spki.plain", "-verify_return_error", "-dane_tlsa_rrdata"]
    argv += [f"{usage} {selector} {matching_type} {''.join(digest)}"]
    done = few.exec(argv, input="QUIT\r\n", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _survives(isolation: Isolation, directory: Path, before: Sequence[str]) -> str:
    """Brings a lab of that kind up in another process and asks it something."""
    program = (
        "import sys; from pathlib import Path; from lab.internet import Lab, Isolation\n"
        "with Lab(Path(sys.argv[2]), [], isolation=Isolation(sys.argv[1])) as lab:\n"
        "    lab.exec(['dig', '@127.20.0.1', '+norec', 'plain.', 'DS'])\n"
    )
    argv = [*before, sys.executable, "-c", program, isolation, str(directory)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_in_a_user_namespace(tmp_path: Path) -> None:
    if subprocess.run([*Isolation.USER.unshare, "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no user namespaces here")
    assert "status: NOERROR" in _survives(Isolation.USER, tmp_path, [])


def test_without_a_namespace_of_its_own(tmp_path: Path) -> None:
    # in a namespace all the same, so that the host's port 53 stays out of it
    apart = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if subprocess.run([*apart, "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no network namespaces here")
    assert "status: NOERROR" in _survives(Isolation.NONE, tmp_path, apart)


def test_what_needs_a_namespace_is_left_out_without_one(tmp_path: Path) -> None:
    left = {one.name for one in Lab(tmp_path, isolation=Isolation.NONE).scenarios}
    assert {one.name for one in CATALOGUE} - left == {one.name for one in CATALOGUE if one.needs}


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with Lab(tmp_path / "first", []) as first:
        program = (
            "import sys; from pathlib import Path; from lab.internet import Lab, Isolation\n"
            "Lab(Path(sys.argv[1]), [], isolation=Isolation.NONE).up()\n"
        )
        argv = [sys.executable, "-c", program, str(tmp_path / "second")]
        done = first.exec(argv, capture_output=True, text=True)
    assert done.returncode == 1
    assert "LocalTrouble" in done.stderr.splitlines()[-1]
    assert "Address already in use" in done.stderr.splitlines()[-1]
