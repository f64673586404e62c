"""Zone transfer from a real NSD: with and without TSIG, over IPv4 and IPv6, cut midway."""

import asyncio
import base64
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.query
import pytest

from crawler.zones.assembly import Stage
from crawler.zones.axfr import primary, transfer
from crawler.zones.files import ZoneFile
from crawler.zones.scanner import BLOCK, scan
from crawler.zones.settings import ZoneSource
from dane.faults import LocalTrouble, Refused, UsageFault
from tests.integration.dns_world import free_port

SECRET = base64.b64encode(b"a secret of thirty-two bytes....").decode()
WAIT_S = 10.0
SIGNED = 2000
ODD, ODD_DIGEST = 1000, "ab" * 31  # a name whose DS has a digest of 31 bytes, not of SHA-256's 32


@dataclass(frozen=True)
class Server:
    port: int

    def source(self, **settings: object) -> ZoneSource:
        values = {"zone": "example", "kind": "axfr", "server": f"127.0.0.1#{self.port}"}
        return ZoneSource(**(values | settings))  # type: ignore[arg-type]


def zone_file() -> str:
    lines = ["$ORIGIN example.", "$TTL 900", "@ IN SOA ns host 7 1800 900 604800 86400", "@ NS ns"]
    lines += ["ns A 192.0.2.1", "ns AAAA 2001:db8::1"]
    for number in range(SIGNED):
        digest = f"{number:064x}" if number != ODD else ODD_DIGEST
        lines.append(f"n{number} NS ns1.host.test.\nn{number} DS {number} 13 2 {digest}")
    return "\n".join(lines) + "\n"


CONFIGURATION = """
server:
  ip-address: 127.0.0.1@{port}
  ip-address: ::1@{port}
  port: {port}
  username: ""
  chroot: ""
  zonesdir: "{directory}"
  pidfile: "{directory}/nsd.pid"
  xfrdfile: "{directory}/xfrd.state"
  xfrdir: "{directory}"
  zonelistfile: "{directory}/zone.list"
  database: ""
  logfile: "{directory}/log"
  server-count: 1
remote-control:
  control-enable: no
key:
  name: "transfer.key"
  algorithm: hmac-sha256
  secret: "{secret}"
zone:
  name: example
  zonefile: "example.zone"
  provide-xfr: 127.0.0.1 {key}
  provide-xfr: ::1 {key}
"""


def answers(query: dns.message.Message, port: int) -> bool:
    try:
        dns.query.tcp(query, "127.0.0.1", port=port, timeout=WAIT_S)
    except OSError:
        return False
    return True


@contextmanager
def nsd(directory: Path, key: str) -> Iterator[Server]:
    port = free_port()
    (directory / "example.zone").write_text(zone_file())
    configuration = directory / "nsd.conf"
    configuration.write_text(
        CONFIGURATION.format(port=port, directory=directory, secret=SECRET, key=key)
    )
    process = subprocess.Popen(["nsd", "-d", "-c", str(configuration)])
    try:
        query = dns.message.make_query("example", "SOA")
        while not answers(query, port):
            with suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"nsd ended: {process.wait(0.05)}")
        yield Server(port)
    finally:
        process.terminate()
        process.wait(WAIT_S)


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with nsd(tmp_path_factory.mktemp("open"), "NOKEY") as server:
        yield server


@pytest.fixture(scope="module")
def keyed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with nsd(tmp_path_factory.mktemp("keyed"), "transfer.key") as server:
        yield server


def transferred(source: ZoneSource, path: Path) -> None:
    told: list[str] = []
    asyncio.run(transfer(primary(source), "example", path, WAIT_S, told.append))
    assert told


def assert_whole(path: Path) -> None:
    result = scan(lambda: ZoneFile(path).chunks(BLOCK), Stage, origin="example")
    with result.stage:
        assert (result.serial, result.delegations, result.signed) == (7, SIGNED, SIGNED)
        assert result.ends_with_soa


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_transfer(open_server: Server, tmp_path: Path, address: str) -> None:
    path = tmp_path / "zone"
    transferred(open_server.source(server=f"{address}#{open_server.port}"), path)
    assert_whole(path)


def test_signed_transfer(keyed_server: Server, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    path = tmp_path / "zone"
    transferred(keyed_server.source(tsig_name="transfer.key", tsig_secret_file=secret), path)
    assert_whole(path)


@pytest.mark.parametrize("keyed", [False, True])
def test_a_ds_of_odd_length_is_transferred_as_it_is(
    open_server: Server, keyed_server: Server, tmp_path: Path, keyed: bool
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    key = {"tsig_name": "transfer.key", "tsig_secret_file": tmp_path / "secret"}
    source = keyed_server.source(**key) if keyed else open_server.source()
    transferred(source, tmp_path / "zone")
    result = scan(lambda: ZoneFile(tmp_path / "zone").chunks(BLOCK), Stage, origin="example")
    with result.stage:
        found = {
            row["domain"]: row["ds"]
            for batch in result.stage.batches()
            for row in batch.to_pylist()
        }
    assert found[f"n{ODD}.example"] == [f"{ODD} 13 2 {ODD_DIGEST}"]


def test_secret_from_the_environment(
    keyed_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DANESURVEY_TSIG_SECRET", SECRET)
    path = tmp_path / "zone"
    transferred(keyed_server.source(tsig_name="transfer.key"), path)
    assert_whole(path)


def test_the_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DANESURVEY_TSIG_SECRET", SECRET)
    server = primary(Server(53).source(tsig_name="transfer.key"))
    assert SECRET not in f"{server} {server!r}"


def test_wrong_secret(
    keyed_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DANESURVEY_TSIG_SECRET", base64.b64encode(b"another").decode())
    with pytest.raises(Refused, match=r"NOTAUTH|bad answer"):
        transferred(keyed_server.source(tsig_name="transfer.key"), tmp_path / "zone")
    assert list(tmp_path.iterdir()) == []


def test_without_the_key(keyed_server: Server, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"REFUSED|NOTAUTH"):
        transferred(keyed_server.source(), tmp_path / "zone")


def test_no_such_zone(open_server: Server, tmp_path: Path) -> None:
    server = primary(open_server.source())
    with pytest.raises(Refused, match=r"NOTAUTH|REFUSED"):
        asyncio.run(transfer(server, "other", tmp_path / "zone", WAIT_S, str))


def test_no_server(tmp_path: Path) -> None:
    source = Server(free_port()).source()
    with pytest.raises(LocalTrouble, match="cannot be reached"):
        transferred(source, tmp_path / "zone")


def test_the_same_zone_is_the_same_file(open_server: Server, tmp_path: Path) -> None:
    for name in ("one", "two"):
        transferred(open_server.source(), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"server": "ns.example"}, "no address"),
        ({"server": "127.0.0.1#x"}, "no address"),
        ({"server": "127.0.0.1#0"}, "no address"),
        ({"server": "127.0.0.1#65536"}, "no address"),
        ({"tsig_name": "a..b"}, "the TSIG key's name"),
        ({"tsig_name": "key", "tsig_algorithm": "hmac-none"}, "none of .*hmac-sha256"),
        ({"tsig_name": "key", "tsig_secret_file": Path("none")}, "no TSIG secret"),
        ({"tsig_secret_file": Path("none")}, "needs tsig_name"),
    ],
)
def test_bad_settings(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], reason: str
) -> None:
    monkeypatch.setenv("DANESURVEY_TSIG_SECRET", SECRET)
    with pytest.raises(UsageFault, match=reason):
        primary(Server(53).source(**settings))


@contextmanager
def cutting(port: int, after: int) -> Iterator[int]:
    """A relay to a server that closes the connection after some bytes of the answer."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = listener.accept()
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            server.sendall(client.recv(4096))
            left = after
            while left and (data := server.recv(min(left, 4096))):
                client.sendall(data)
                left -= len(data)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        thread.join(WAIT_S)
        listener.close()


@pytest.mark.parametrize("after", [0, 1, 1000, 30_001, 100_000])
def test_cut(open_server: Server, tmp_path: Path, after: int) -> None:
    path = tmp_path / "zone"
    with (
        cutting(open_server.port, after) as port,
        pytest.raises(Refused, match="was cut"),
    ):
        transferred(open_server.source(server=f"127.0.0.1#{port}"), path)
    assert list(tmp_path.iterdir()) == []
