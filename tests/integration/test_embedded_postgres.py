"""The embedded PostgreSQL: one server for all commands, gone with the last, whatever is killed."""

import asyncio
import contextlib
import fcntl
import os
import pwd
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from dane.faults import LocalTrouble
from danesurvey.embedded import running
from storage.database import patiently, pool
from tests.postgres_fixture import reachable_directory

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

# A command: it says `ready`, then uses the server until its standard input ends.
COMMAND = """
import sys
from pathlib import Path
from danesurvey.embedded import running
with running(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def used() -> Iterator[Path]:
    """A state directory for the tests that leave it whole."""
    with reachable_directory() as directory:
        yield directory / "state"


def start(state_dir: Path, *before: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*before, sys.executable, "-c", COMMAND, str(state_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@contextlib.contextmanager
def command(state_dir: Path, *before: str) -> Iterator[subprocess.Popen[str]]:
    """A command that has the server."""
    with start(state_dir, *before) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("postgresql://")
        yield process
        assert process.stdin is not None
        if process.poll() is None:
            process.stdin.close()
            assert process.wait() == 0


def ask(url: str, sql: str = "SELECT 1") -> object:
    async def once() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(once())


def home_of(url: str) -> Path:
    """The directory of the server's locks."""
    return Path(str(ask(url, "SHOW data_directory"))).parent


def postmaster(home: Path) -> int:
    return int((home / "data" / "postmaster.pid").read_text().split()[0])


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def is_gone(home: Path) -> bool:
    """Is no process of the server and no keeper left?"""
    with (home / "alive.lock").open("r+b") as alive:
        try:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def wait_until_gone(home: Path) -> None:
    """Sleep in the kernel until nothing of the server is left (pytest-timeout bounds it)."""
    with (home / "alive.lock").open("r+b") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)


def test_a_server_for_as_long_as_it_is_used(used: Path) -> None:
    with running(used) as url:
        assert ask(url, "SHOW server_encoding") == "UTF8"
        assert ask(url, "SELECT datcollate FROM pg_database WHERE datname = 'danesurvey'") == "C"
        assert ask(url, "SHOW fsync") == "on"
        assert ask(url, "SHOW listen_addresses") == ""
        ask(url, "CREATE TABLE kept_1 AS SELECT 7 AS n")
        home = home_of(url)
        assert not is_gone(home)
    assert is_gone(home)
    with running(used) as url:
        assert ask(url, "SELECT n FROM kept_1") == 7
    assert is_gone(home)


def test_commands_share_a_server_and_the_last_one_ends_it(used: Path) -> None:
    with running(used) as url:
        home, pid = home_of(url), postmaster(home_of(url))
        with command(used), running(used) as again:
            assert again == url
        with command(used):
            pass
        assert postmaster(home) == pid
        assert ask(url) == 1
    assert is_gone(home)


def test_the_first_command_may_go_before_the_others(used: Path) -> None:
    with command(used) as first, running(used) as url:
        home = home_of(url)
        assert first.stdin is not None
        first.stdin.close()
        assert first.wait() == 0
        assert ask(url) == 1
    assert is_gone(home)


def test_commands_that_come_and_go_at_once(used: Path) -> None:
    commands = [start(used) for _ in range(6)]
    urls = set()
    for process in commands:
        assert process.stdout is not None
        urls.add(process.stdout.readline())
    assert len(urls) == 1
    home = home_of(urls.pop().strip())
    for process in commands:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait() for process in commands] == [0] * 6
    assert is_gone(home)
    for process in commands:
        assert process.stdout is not None
        process.stdout.close()


def test_a_killed_command_leaves_no_server(used: Path) -> None:
    with command(used) as process:
        with running(used) as url:
            home = home_of(url)
        process.kill()
        process.wait()
        wait_until_gone(home)
    with running(used) as url:
        assert ask(url) == 1


def test_an_interrupt_of_the_terminal_does_not_reach_the_server(used: Path) -> None:
    with running(used) as url, command(used) as process:
        pid = postmaster(home_of(url))
        os.killpg(process.pid, signal.SIGINT)
        process.wait()
        assert ask(url) == 1
        assert postmaster(home_of(url)) == pid


def test_a_killed_server_is_started_again_while_it_is_used(used: Path) -> None:
    async def survive(url: str, home: Path) -> None:
        async with pool(url, connections=1) as connections:
            await connections.execute("CREATE TABLE kept_2 AS SELECT 7 AS n")
            os.kill(postmaster(home), signal.SIGKILL)
            assert await patiently(connections, lambda c: c.fetchval("SELECT n FROM kept_2")) == 7

    with command(used) as other, running(used) as url:
        home = home_of(url)
        asyncio.run(survive(url, home))
        assert other.poll() is None
    assert is_gone(home)


def test_a_killed_keeper_takes_the_server_along(used: Path) -> None:
    with running(used) as url:
        home = home_of(url)
        os.kill(parent(postmaster(home)), signal.SIGKILL)
        wait_until_gone(home)
        with running(used) as again:
            assert ask(again) == 1
    assert is_gone(home)


def test_keeper_and_server_and_command_killed_at_once(used: Path) -> None:
    with command(used) as process:
        with running(used) as url:
            home = home_of(url)
            ask(url, "CREATE TABLE kept_3 AS SELECT 7 AS n")
        server = postmaster(home)
        for pid in (process.pid, parent(server), server):
            os.kill(pid, signal.SIGKILL)
        process.wait()
    with running(used) as url:
        assert ask(url, "SELECT n FROM kept_3") == 7
    assert is_gone(home)


@pytest.mark.parametrize("seed", range(3))
def test_a_command_killed_at_any_moment_of_its_start(seed: int, state_dir: Path) -> None:
    """Copying, initdb, start, ready: whatever was half done is done again, whole."""
    chance = random.Random(seed)
    for _ in range(3):
        with start(state_dir) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0.1, 1.5))
            process.kill()
    with running(state_dir) as url:
        home = home_of(url)
        assert ask(url) == 1
        assert {path.name for path in home.iterdir()} <= {
            "alive.lock",
            "data",
            "door.lock",
            "log",
            "socket",
            "state_dir",
            "users.lock",
        }
    assert is_gone(home)


def test_a_pid_file_that_names_another_process_is_ignored(used: Path) -> None:
    with running(used) as url:
        data = home_of(url) / "data"
        pid_file = data / "postmaster.pid"
        left_behind = pid_file.read_text()
    owner = data.stat().st_uid
    with subprocess.Popen(["sleep", "60"], user=owner) as other:
        lines = left_behind.splitlines(keepends=True)
        pid_file.write_text(f"{other.pid}\n{''.join(lines[1:])}")
        os.chown(pid_file, owner, -1)
        with running(used) as url:
            assert ask(url) == 1
        other.kill()


def test_a_server_that_somebody_else_runs_on_the_data_is_left_alone(state_dir: Path) -> None:
    with running(state_dir) as url:
        home = home_of(url)
        binary = Path(f"/proc/{postmaster(home)}/exe").resolve()
    owner = pwd.getpwuid((home / "data").stat().st_uid)
    sockets = state_dir / "theirs"
    sockets.mkdir()
    os.chown(sockets, owner.pw_uid, owner.pw_gid)
    with subprocess.Popen(
        [binary, "-D", home / "data", "-c", "listen_addresses=", "-k", sockets],
        user=owner.pw_uid,
        group=owner.pw_gid,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stderr is not None
        assert any("ready to accept" in line for line in server.stderr)
        with pytest.raises(LocalTrouble, match=f"pid {server.pid}"), running(state_dir):
            raise AssertionError("started on used data")
        assert server.poll() is None
        server.terminate()
    with running(state_dir) as url:
        assert ask(url) == 1


def test_data_of_another_version_are_refused(used: Path) -> None:
    with running(used) as url:
        home = home_of(url)
    version = home / "data" / "PG_VERSION"
    ours = version.read_text()
    version.write_text("9\n")
    with pytest.raises(LocalTrouble, match="made by PostgreSQL 9"), running(used):
        raise AssertionError("started on old data")
    assert is_gone(home)
    version.write_text(ours)


def test_a_server_that_does_not_start_says_why(used: Path) -> None:
    with running(used) as url:
        home = home_of(url)
    control = home / "data" / "global" / "pg_control"
    good = control.read_bytes()
    control.write_bytes(b"\0" * len(good))
    with pytest.raises(LocalTrouble, match="did not start") as caught, running(used):
        raise AssertionError("started without its control file")
    assert "\n" not in str(caught.value)
    assert is_gone(home)
    control.write_bytes(good)


def test_a_path_longer_than_a_socket_address(state_dir: Path) -> None:
    deep = state_dir.joinpath(*["a-directory-with-a-long-name"] * 5)
    with running(deep) as url, command(deep):
        sockets = Path(str(ask(url, "SHOW unix_socket_directories")))
        assert not sockets.is_relative_to(deep)
        assert sockets.stat().st_mode & 0o777 == 0o700
    assert not sockets.exists()


def test_a_state_directory_that_is_a_file(state_dir: Path) -> None:
    state_dir.write_text("")
    with pytest.raises(LocalTrouble), running(state_dir):
        raise AssertionError("started in a file")


@AS_ROOT
def test_a_state_directory_that_only_root_may_enter(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with running(private / "state") as url:
        home = home_of(url)
        assert not home.is_relative_to(private)
        ask(url, "CREATE TABLE kept_4 AS SELECT 7 AS n")
    assert private.stat().st_mode & 0o777 == 0o700
    with running(private / "state") as url:
        assert ask(url, "SELECT n FROM kept_4") == 7
    # The data of a state directory that is gone go with the next start elsewhere.
    shutil.rmtree(private)
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    with running(other) as url:
        assert not home.exists()
        second = home_of(url)
    shutil.rmtree(other)
    shutil.rmtree(second)


@AS_ROOT
def test_the_server_does_not_run_as_root(used: Path) -> None:
    with running(used) as url:
        pid = postmaster(home_of(url))
        entry = pwd.getpwnam("danesurvey")
        assert Path(f"/proc/{pid}").stat().st_uid == entry.pw_uid
        assert entry.pw_shell.endswith("nologin")


def interpreter_for(user: list[str]) -> list[str]:
    """A Python that this user may run, with what this one can import; skips if there is none."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    path = ["env", f"PYTHONPATH={os.pathsep.join(filter(None, sys.path))}{os.pathsep}{os.getcwd()}"]
    for python in (sys.executable, f"/usr/bin/{version}"):
        tried = subprocess.run(
            [*user, *path, python, "-c", "import danesurvey.embedded"],
            capture_output=True,
            check=False,
        )
        if tried.returncode == 0:
            return [*user, *path, python]
    pytest.skip("an ordinary user cannot reach this Python and its packages")


@AS_ROOT
@pytest.mark.parametrize(
    ("uid", "inside"),
    [
        pytest.param(65534, (), id="ordinary user"),
        pytest.param(12345, (), id="user without a name"),
        pytest.param(65534, ("unshare", "--map-root-user", "--net"), id="root of a namespace"),
    ],
)
def test_without_being_root(uid: int, inside: tuple[str, ...], state_dir: Path) -> None:
    user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    interpreter = interpreter_for(user)
    state_dir.mkdir()
    os.chown(state_dir, uid, uid)
    for namespace in (inside, ()):  # what was made in a namespace is used outside of it too
        done = subprocess.run(
            [*user, *namespace, *interpreter[len(user) :], "-c", COMMAND, state_dir],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("postgresql://")
        assert is_gone(state_dir / "postgres")


@AS_ROOT
def test_commands_in_another_network_namespace(used: Path) -> None:
    with running(used) as url, command(used, "unshare", "--net"):
        home = home_of(url)
        assert ask(url) == 1
    assert is_gone(home)


# In a mount namespace of its own, on a small disk: set up, fill, empty, go on.
FULL_DISK = """
import asyncio, subprocess, sys
from pathlib import Path
from dane.faults import LocalTrouble
from danesurvey.embedded import running
from storage.database import connection, trouble

disk = Path(sys.argv[1])

def mount(size):
    options = f"size={size},mode=0755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", disk], check=True)

async def execute(url, sql):
    async with connection(url) as opened:
        with trouble(url):
            await opened.execute(sql)

mount("20m")
try:
    with running(disk):
        raise AssertionError("set up on a disk that is too small")
except LocalTrouble as fault:
    print(fault)
assert not (disk / "postgres" / "data").exists()
subprocess.run(["umount", disk], check=True)

mount("120m")
with running(disk) as url:
    asyncio.run(execute(url, "CREATE TABLE kept AS SELECT 7 AS n"))
    asyncio.run(execute(url, "CREATE TABLE t (x text)"))
    try:
        while True:
            fill = "INSERT INTO t SELECT repeat(md5(i::text), 30) FROM generate_series(1, 5000) i"
            asyncio.run(execute(url, fill))
    except LocalTrouble as fault:
        print(fault)
    ballast = disk / "ballast"
subprocess.run(["mount", "-o", "remount,size=300m", disk], check=True)
with running(disk) as url:
    asyncio.run(execute(url, "SELECT 1 / n FROM kept"))
    asyncio.run(execute(url, "TRUNCATE t"))
subprocess.run(["umount", disk], check=True)
"""


@AS_ROOT
def test_a_full_disk_is_said_and_survived() -> None:
    with reachable_directory() as disk:
        done = subprocess.run(
            ["unshare", "--mount", sys.executable, "-c", FULL_DISK, disk],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    too_small, full = done.stdout.splitlines()
    assert "No space left on device" in too_small
    assert "No space left on device" in full


# In a mount namespace of its own, where nothing was copied yet: killed while it copies.
FIRST_COPY = f"""
import contextlib, random, subprocess, sys
from pathlib import Path
from danesurvey.embedded import running

system = Path("/var/lib/danesurvey")
system.mkdir(exist_ok=True)
subprocess.run(["mount", "-t", "tmpfs", "none", system], check=True)
system.chmod(0o755)
chance = random.Random(1)
for _ in range(6):
    with subprocess.Popen(
        [sys.executable, "-c", {COMMAND!r}, sys.argv[1]],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
    ) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0.1, 0.8))
        process.kill()
with running(Path(sys.argv[1])):
    print(*sorted(path.name for path in system.iterdir()))
subprocess.run(["umount", system], check=True)
"""


@AS_ROOT
def test_a_command_killed_while_it_copies_the_binaries(state_dir: Path) -> None:
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", FIRST_COPY, state_dir],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    copy, lock = done.stdout.split()
    assert copy.startswith("postgresql-")
    assert lock == "postgresql.lock"


# Writes 1, 2, 3, …, one number a line of input, and says each once it is committed.
WRITER = """
import asyncio, sys
from pathlib import Path
from danesurvey.embedded import running
from storage.database import patiently, pool

async def write(url):
    async with pool(url, connections=1) as connections:
        async def execute(sql, *arguments):
            return await patiently(connections, lambda c: c.fetchval(sql, *arguments))

        await execute("CREATE TABLE IF NOT EXISTS t (n integer PRIMARY KEY)")
        n = await execute("SELECT coalesce(max(n), 0) FROM t")
        for _ in sys.stdin:
            n += 1
            await execute("INSERT INTO t VALUES ($1) ON CONFLICT DO NOTHING", n)
            print(n, flush=True)

with running(Path(sys.argv[1])) as url:
    asyncio.run(write(url))
"""


@pytest.mark.parametrize("kills", [10, pytest.param(200, marks=pytest.mark.soak)])
@pytest.mark.timeout(1800)
def test_nothing_committed_is_lost_whatever_is_killed(state_dir: Path, kills: int) -> None:
    chance = random.Random(kills)
    with running(state_dir) as url:
        home = home_of(url)
    said = killed = 0
    while killed < kills:
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, state_dir],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            victim = "server"
            while victim in ("server", "backend"):
                for _ in range(chance.randint(1, 5)):
                    process.stdin.write("\n")
                    said = int(process.stdout.readline())
                victim = chance.choice(("command", "keeper", "server", "backend"))
                # A backend may serve on for a moment after its postmaster was killed.
                with running(state_dir):
                    server = postmaster(home)
                process.stdin.write("\n")
                victims = {
                    "command": process.pid,
                    "keeper": parent(server),
                    "server": server,
                    "backend": chance.choice(children(server)),
                }
                os.kill(victims[victim], signal.SIGKILL)
                killed += 1
                if victim in ("server", "backend"):
                    said = int(process.stdout.readline())
            process.kill()
            process.wait()
            for line in process.stdout:
                said = int(line)
    with running(state_dir) as url:
        kept = ask(url, "SELECT array_agg(n ORDER BY n) FROM t")
    assert kept in (list(range(1, said + 1)), list(range(1, said + 2)))
    assert is_gone(home)


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
