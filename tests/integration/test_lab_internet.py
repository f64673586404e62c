"""The lab itself: up, down, what it answers, and that it leaves nothing behind."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dane.faults import LocalTrouble, Refused
from lab import addresses, nsd
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
    without = Lab(tmp_path, isolation=Isolation.NONE)
    assert without.left_out == [one for one in CATALOGUE if one.needs]
    assert without.scenarios == [one for one in CATALOGUE if not one.needs]


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


def _danesurvey(*words: str, before: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    argv = [*before, sys.executable, "-m", "danesurvey", *words]
    return subprocess.run(argv, capture_output=True, text=True)


def test_the_command_from_up_to_down(tmp_path: Path) -> None:
    """Everything is found from the state directory; or from the lab's own settings file."""
    state = ("--state-dir", str(tmp_path))
    up = _danesurvey(*state, "lab", "up", "--domains", "20")
    assert up.returncode == 0, up.stderr
    settings = up.stdout.strip()
    assert settings == str(tmp_path / "lab/danesurvey.toml")
    ask = ("lab", "exec", "--", "dig", f"@{addresses.ROOT}", "plain.", "NS")
    for options in (state, ("--config", settings)):
        asked = _danesurvey(*options, *ask)
        assert "status: NOERROR" in asked.stdout, asked.stderr
    again = _danesurvey(*state, "lab", "up")
    assert again.returncode == 1
    assert again.stderr == f"danesurvey: the lab in {tmp_path / 'lab'} is up already\n"
    pids = _descendants(Lab(tmp_path / "lab").supervisor_pid())
    down = _danesurvey("--config", settings, "lab", "down")
    assert (down.returncode, down.stderr) == (0, "")
    assert _gone(pids)
    asked = _danesurvey(*state, *ask)
    assert asked.returncode == 1
    assert "no lab is up in" in asked.stderr


def test_after_its_first_process_is_killed_all_is_gone(tmp_path: Path) -> None:
    internet = Lab(tmp_path, [])
    internet.up(attached=False)
    supervisor = internet.supervisor_pid()
    pids = _descendants(supervisor)
    ended = os.pidfd_open(supervisor)
    os.kill(supervisor, signal.SIGKILL)
    select.select([ended], [], [])
    os.close(ended)
    internet.down()
    assert not internet.is_up
    assert _gone(pids)
    with internet:
        assert internet.is_up


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--zone", "a.zone", "--domains", "9"], "a lab has either"),
        (["--dead", "0.1"], "it goes with --domains"),
        (["--zone", "a.zone"], "No such file"),
    ],
)
def test_what_cannot_be_brought_up(options: Sequence[str], said: str, tmp_path: Path) -> None:
    done = _danesurvey("--state-dir", str(tmp_path), "lab", "up", *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_nsd(tmp_path: Path) -> None:
    hidden = ["unshare", "--mount", "sh", "-c", f'mount --bind /dev/null {nsd.program()} && "$@"']
    hidden.append("sh")
    if subprocess.run([*hidden, "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no mount namespaces here")
    done = _danesurvey("--state-dir", str(tmp_path), "lab", "up", before=hidden)
    assert done.returncode == 3
    assert done.stderr == "danesurvey: nsd is not installed; the lab needs it (Debian: nsd)\n"


def test_too_few_open_files_is_one_clear_line(tmp_path: Path) -> None:
    up = ("--state-dir", str(tmp_path), "lab", "up")
    done = _danesurvey(*up, before=("prlimit", "--nofile=600:600"))
    assert done.returncode == LocalTrouble.exit_code
    assert "open files, 600 are allowed (ulimit -Hn)" in done.stderr.splitlines()[-1]
