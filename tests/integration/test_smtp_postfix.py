"""A real Postfix as the mail server that is probed: RSA and ECDSA, injection, a busy server."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trio
import trustme

from crawler.smtp.probe import Conversation, converse
from crawler.smtp.settings import ProbeSettings
from crawler.smtp.tls import Offer, key_type
from dane.outcomes import HostStatus
from tests.integration.dns_world import free_port
from tests.postgres_fixture import reachable_directory

MASTER = Path("/usr/lib/postfix/sbin/master")
ADDRESS = "127.77.90.1"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not MASTER.exists(), reason="needs root and Debian's postfix"
)

MAIN = """\
compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
myhostname = mx.postfix.example
inet_protocols = ipv4
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
maillog_file_prefixes = {directory}
maillog_file = {directory}/log
smtpd_tls_security_level = may
smtpd_tls_chain_files = {directory}/rsa.pem, {directory}/ecdsa.pem
"""
SERVICES = """\
{address}:{port} inet n - n - - smtpd
{address}:{plain} inet n - n - - smtpd
    -o smtpd_tls_security_level=none
{address}:{refusing} inet n - n - - smtpd
    -o smtpd_client_restrictions=reject
    -o smtpd_delay_reject=no
{address}:{stressed} inet n - n - - smtpd
    -o smtpd_client_connection_rate_limit=1
    -o smtpd_client_event_limit_exceptions=
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
postlog unix-dgram n - n - 1 postlogd
"""


@contextmanager
def _running(directory: Path, ports: dict[str, int]) -> Iterator[None]:
    for name in ("conf", "queue", "data"):
        (directory / name).mkdir(mode=0o755)
    shutil.chown(directory / "data", "postfix")
    ca = trustme.CA()
    for name, kind in (("rsa", trustme.KeyType.RSA), ("ecdsa", trustme.KeyType.ECDSA)):
        leaf = ca.issue_cert("mx.postfix.example", key_type=kind)
        leaf.private_key_and_cert_chain_pem.write_to_path(directory / f"{name}.pem")
    (directory / "conf/main.cf").write_text(MAIN.format(directory=directory))
    (directory / "conf/master.cf").write_text(SERVICES.format(address=ADDRESS, **ports))
    configured = ["-c", str(directory / "conf")]
    subprocess.run(["postfix", *configured, "check"], check=True, capture_output=True)
    command = ["setpriv", "--pdeathsig", "TERM", str(MASTER), *configured, "-d"]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        _await(process, ports["port"])
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def postfix() -> Iterator[dict[str, int]]:
    """The port of each kind of service of one Postfix."""
    ports = {name: free_port() for name in ("port", "plain", "refusing", "stressed")}
    with reachable_directory() as directory, _running(directory, ports):
        yield ports


def _await(master: subprocess.Popen[bytes], port: int) -> None:
    """Until it listens: connecting is refused before. It must not have ended meanwhile."""
    for _ in range(500):
        with socket.socket() as trial:
            if trial.connect_ex((ADDRESS, port)) == 0:
                return
        with suppress(subprocess.TimeoutExpired):
            master.wait(0.02)
            break
    raise AssertionError("Postfix does not listen")


def talk(port: int, offer: Offer = Offer.MODERN) -> Conversation:
    settings = ProbeSettings(port=port, reply_s=20, tls_s=20)
    return trio.run(converse, ADDRESS, "mx.postfix.example", offer, settings, "survey.example")


def test_a_handshake(postfix: dict[str, int]) -> None:
    seen = talk(postfix["port"])
    assert (seen.status, seen.error, seen.injected) == (None, None, False)
    assert (seen.smtp_code, seen.smtp_text) == (220, "2.0.0 Ready to start TLS")
    assert seen.tls_version == "TLSv1.3"


def test_both_kinds_of_key(postfix: dict[str, int]) -> None:
    kinds = [key_type(talk(postfix["port"], offer).chain[0]) for offer in (Offer.RSA, Offer.ECDSA)]
    assert kinds == [("rsa", "rsa-2048"), ("ecdsa", "ecdsa-secp256r1")]


def test_without_tls(postfix: dict[str, int]) -> None:
    assert talk(postfix["plain"]).status is HostStatus.NO_STARTTLS


def test_a_refusal(postfix: dict[str, int]) -> None:
    seen = talk(postfix["refusing"])
    assert (seen.status, seen.smtp_code) == (HostStatus.REFUSED, 554)


def test_too_many_connections(postfix: dict[str, int]) -> None:
    assert talk(postfix["stressed"]).status is None
    seen = talk(postfix["stressed"])
    assert (seen.status, seen.smtp_code) == (HostStatus.TEMPFAIL, 421)
