"""A real Unbound: its start, its end, its crash, its port, its control socket."""

import ctypes
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import pytest

from crawler.dns.configuration import CONTROL, Machine, accepted, configuration
from crawler.dns.installation import find, usable_configuration
from crawler.dns.ports import holder
from crawler.dns.settings import ResolverSettings
from crawler.dns.unbound import Unbound, home
from dane.faults import LocalTrouble
from tests.integration.dns_world import free_port

pytestmark = pytest.mark.skipif(
    not shutil.which("unbound", path=os.defpath + ":/usr/sbin"), reason="unbound not installed"
)


@pytest.fixture
def settings() -> ResolverSettings:
    return ResolverSettings(
        port=free_port(), second_look_port=free_port(), cache_mib=64, threads=2, ipv6=False
    )


@pytest.fixture
def resolver(settings: ResolverSettings, tmp_path: Path) -> Iterator[Unbound]:
    with Unbound(settings, tmp_path) as running:
        yield running


def version(address: tuple[str, int]) -> str:
    question = dns.message.make_query("version.bind.", "TXT", "CH")
    reply = dns.query.udp(question, address[0], port=address[1], timeout=5)
    return reply.answer[0][0].to_text()


def ended(pid: int, timeout_s: float = 10) -> bool:
    """Wait for the end of a process that need not be a child of ours."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], timeout_s)[0])
    finally:
        os.close(descriptor)


def test_serves_both_looks_and_is_gone_afterwards(
    settings: ResolverSettings, tmp_path: Path
) -> None:
    with (
        Unbound(settings, tmp_path) as first,
        Unbound(settings, tmp_path, second_look=True) as second,
    ):
        pids = (first.pid, second.pid)
        assert version(first.address).startswith('"unbound')
        assert version(second.address).startswith('"unbound')
        assert first.control.option("qname-minimisation") == "no"
        assert second.control.option("qname-minimisation") == "yes"
        # unknown to an Unbound, or zero: never its lossy default
        assert first.control.option("discard-timeout") in (None, "0")
        assert first.control.option("wait-limit") in (None, "0")
        assert first.control.option("no-such-option") is None
    for pid in pids:
        assert pid
        assert ended(pid)
    assert holder(settings.port) is None


def test_validates_and_knows_the_root_keys(resolver: Unbound) -> None:
    question = dns.message.make_query("trustanchor.unbound.", "TXT", "CH")
    host, port = resolver.address
    reply = dns.query.udp(question, host, port=port, timeout=5)
    assert "20326" in str(reply.answer)
    assert "38696" in str(reply.answer)


def test_runs_unprivileged_even_below_a_private_directory(
    settings: ResolverSettings, tmp_path: Path
) -> None:
    private = tmp_path / ("d" * 120)  # a socket below is past the 108 bytes of sun_path, too
    private.mkdir(mode=0o700)
    with Unbound(settings, private) as resolver:
        status = Path(f"/proc/{resolver.pid}/status").read_text()
        uid = int(next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1])
        assert uid != 0
        assert os.readlink(f"/proc/{resolver.pid}/exe").startswith(str(private))
        resolver.flush()


def test_statistics_count(resolver: Unbound) -> None:
    version(resolver.address)
    found = resolver.statistics()
    assert found["requestlist_exceeded"] == found["requestlist_overwritten"] == 0
    assert found["queries"] >= 1
    assert found["rrset_cache_bytes"] > 0
    assert found["restarts"] == 0


def test_forgets_one_name(resolver: Unbound) -> None:
    resolver.control.ask("local_zone example.lab. static")
    resolver.forget("_25._tcp.mx\\032a.example.lab", "TLSA")


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_crash_is_noticed_and_mended(resolver: Unbound, sign: signal.Signals) -> None:
    first = resolver.pid
    assert first
    os.kill(first, sign)
    assert ended(first)
    with ThreadPoolExecutor(4) as threads:  # several callers wait for the same restart
        list(threads.map(lambda _: resolver.flush(), range(4)))
    assert version(resolver.address)
    assert resolver.pid != first
    assert resolver.statistics()["restarts"] == 1


def test_it_may_be_killed_again_and_again(
    resolver: Unbound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crawler.dns.unbound.RESTART_S", 0.0)
    for _ in range(10):
        pid = resolver.pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        assert ended(pid)
        resolver.flush()
    assert resolver.restarts == 10


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crawler.dns.liveness.EVERY_S", 0.1)
    monkeypatch.setattr("crawler.dns.liveness.PATIENCE_S", 0.5)
    monkeypatch.setattr("crawler.dns.liveness._REPLY_S", 0.4)


def restarted(resolver: Unbound, first: int) -> bool:
    """Whether the process ends, and another one serves and can be flushed."""
    if not ended(first):
        return False
    resolver.flush()
    return resolver.pid != first and version(resolver.address).startswith('"unbound')


def stop_one_thread(pid: int) -> threading.Thread:
    """Have a thread other than the main one stand still until its process is killed.

    By ptrace(2), from a thread that takes note of the end: else the process would stay a zombie.
    """
    seize, interrupt, wall = 0x4206, 0x4207, 0x40000000  # <linux/ptrace.h>, __WALL of wait(2)
    others = (int(path.name) for path in Path(f"/proc/{pid}/task").iterdir())
    thread = next(one for one in others if one != pid)
    stopped = threading.Event()

    def trace() -> None:
        ptrace = ctypes.CDLL(None, use_errno=True).ptrace
        for request in (seize, interrupt):
            if ptrace(request, thread, None, None) != 0:
                raise OSError(ctypes.get_errno(), "ptrace")
        os.waitpid(thread, wall)
        stopped.set()
        os.waitpid(thread, wall)

    tracer = threading.Thread(target=trace, daemon=True)
    tracer.start()
    assert stopped.wait(10)
    return tracer


@pytest.mark.usefixtures("impatient")
def test_a_thread_that_stands_still_has_it_restarted(resolver: Unbound) -> None:
    pid = resolver.pid
    assert pid
    tracer = stop_one_thread(pid)
    assert restarted(resolver, pid)
    tracer.join(10)
    assert resolver.restarts == 1


@pytest.mark.usefixtures("impatient")
def test_a_deleted_control_socket_has_it_restarted(resolver: Unbound, tmp_path: Path) -> None:
    pid = resolver.pid
    assert pid
    (home(tmp_path, second_look=False) / CONTROL).unlink()
    assert restarted(resolver, pid)


@pytest.mark.usefixtures("impatient")
def test_one_that_serves_is_left_alone(resolver: Unbound) -> None:
    pid = resolver.pid
    end = time.monotonic() + 3.0
    while time.monotonic() < end:
        assert version(resolver.address)
    assert (resolver.pid, resolver.restarts) == (pid, 0)


def test_one_that_canaries_blame_is_restarted(resolver: Unbound) -> None:
    pid = resolver.pid
    assert pid
    resolver.restart("validates wrongly")
    assert restarted(resolver, pid)


def test_the_port_of_another_is_refused_with_its_name(
    settings: ResolverSettings, resolver: Unbound, tmp_path: Path
) -> None:
    with (
        pytest.raises(LocalTrouble, match=rf"port {settings.port}.*unbound, pid {resolver.pid}"),
        Unbound(settings, tmp_path / "other"),
    ):
        pass
    assert version(resolver.address)


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_port_shared_by_reuseport_is_taken_too(
    settings: ResolverSettings, tmp_path: Path, kind: socket.SocketKind
) -> None:
    with socket.socket(socket.AF_INET, kind) as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        squatter.bind(("127.0.0.1", settings.port))
        if kind == socket.SOCK_STREAM:
            squatter.listen()
        with pytest.raises(LocalTrouble, match="in use"), Unbound(settings, tmp_path):
            pass


def test_is_killed_with_its_parent(settings: ResolverSettings, tmp_path: Path) -> None:
    """`kill -9` of the process that started it leaves no Unbound behind."""
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from crawler.dns.settings import ResolverSettings\n"
        "from crawler.dns.unbound import Unbound\n"
        f"settings = ResolverSettings(port={settings.port}, threads=1, cache_mib=64)\n"
        f"with Unbound(settings, Path({str(tmp_path)!r})) as running:\n"
        "    print(running.pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        parent.kill()
    assert ended(pid)
    assert holder(settings.port) is None


def test_a_stopped_one_still_ends(
    settings: ResolverSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM does not reach a stopped process: it is killed."""
    monkeypatch.setattr("crawler.dns.unbound.STOP_S", 0.2)
    with Unbound(settings, tmp_path) as resolver:
        pid = resolver.pid
        assert pid
        os.kill(pid, signal.SIGSTOP)
    assert ended(pid)


def test_what_cannot_start_says_why(settings: ResolverSettings, tmp_path: Path) -> None:
    program = tmp_path / "sbin" / "unbound"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'the moon is in the wrong phase' >&2\nexit 3\n")
    program.chmod(0o755)
    broken = ResolverSettings(port=settings.port, unbound=program)
    with (
        pytest.raises(LocalTrouble, match="wrong phase; exit code 3"),
        Unbound(broken, tmp_path / "state"),
    ):
        pass


def test_unknown_options_are_left_out_and_nothing_else(tmp_path: Path) -> None:
    text = configuration(
        ResolverSettings(),
        Machine(cores=2, memory_bytes=1 << 30, open_files=1 << 16, ipv6=False),
    )
    future = text.replace("server:\n", "server:\n    teleport-answers: 7\n    moon-phase: full\n")
    checkconf = find("unbound-checkconf")
    assert accepted(future, checkconf, tmp_path) == accepted(text, checkconf, tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(LocalTrouble, match="refuses"):
        accepted(text.replace("num-threads: 2", "num-threads: many"), checkconf, tmp_path)


def test_the_printed_configuration_passes_checkconf(tmp_path: Path) -> None:
    file = tmp_path / "unbound.conf"
    file.write_text(usable_configuration(ResolverSettings(), Machine.here(), second_look=True))
    subprocess.run([find("unbound-checkconf"), file], check=True, capture_output=True)


def test_a_resolver_that_runs_already(
    settings: ResolverSettings, resolver: Unbound, tmp_path: Path
) -> None:
    host, port = resolver.address
    given = ResolverSettings(address=f"{host}:{port}", control=resolver.control.path)
    with Unbound(given, tmp_path / "none") as other:
        assert other.address == resolver.address
        assert other.pid is None
        other.flush()
    assert not (tmp_path / "none").exists()
    assert version(resolver.address)
