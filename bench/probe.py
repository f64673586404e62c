"""The SMTP probe: sessions a second, CPU a session, memory at 500 at once, and tarpits.

Everything is on loopback: servers in a process of their own, each at its own address, and
the scan in another, so that its CPU time and memory are its own. The reference for the CPU
of a session is `openssl s_client -starttls smtp` against the same servers.

The good servers have AT_ONCE places, with tarpits or without, so that connections come in no
burst that loopback drops packets of: a lost SYN is a second. Tarpits are opened first and held
while the good ones are visited. A second time new connections have a rate, as they have in a
survey, and half the servers of a shuffled list are tarpits, against a list of good ones alone.
"""

import json
import random
import resource
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pyarrow as pa
import trio
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crawler.dns.client import Resolvers
from crawler.dns.settings import ClientSettings
from crawler.scan import probe
from crawler.scan.context import ScanContext
from crawler.smtp.settings import ProbeSettings
from dane import tlsa
from storage.schemas import CERTIFICATE, SMTP_PROBE
from tests.smtp_servers import SMTP, Town, never_answers, tls_context

GOOD = 3000
TARPITS = 1000
AT_ONCE = 500
ROUNDS = 5
PACE_PER_S = 400.0  # where connections have a rate: twenty times a survey's
SETTINGS = ProbeSettings(
    ehlo_name="bench.example",
    contact="bench@bench.example",
    information_page="https://bench.example/",
    lab_addresses=("127.0.0.0/8",),
    new_per_s=1e6,
    reply_s=8.0,
)


def address(number: int) -> str:
    """Each in a /24 of its own, as strangers' servers mostly are."""
    return f"127.{100 + number // 250}.{number % 250 + 1}.1"


def serve(good: int, tarpits: int, hold: int) -> None:
    """Servers until standard input ends. The first `hold` wait for each other inside TLS."""
    leaf = trustme.CA().issue_cert("mx.example")
    key = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    context = tls_context(leaf)
    _allow_files()
    town = Town()
    together = Together(context, hold)
    for number in range(good + tarpits):
        server = together if hold else SMTP(context) if number < good else never_answers
        town.add(server, address(number))
    with town:
        print(json.dumps({"port": town.port, "record": f"3 1 1 {sha256(spki).hexdigest()}"}))
        sys.stdout.flush()
        sys.stdin.read()


class Together(SMTP):
    """Answers the EHLO inside TLS only when so many sessions are there."""

    def __init__(self, context: ssl.SSLContext, count: int) -> None:
        super().__init__(context)
        self._missing = count
        self._all_here = trio.Event()

    async def inside(self, stream: trio.abc.Stream) -> None:
        self._missing -= 1
        if self._missing <= 0:
            self._all_here.set()
        await self._all_here.wait()


def client(port: int, record: str, good: int, tarpits: int, new_per_s: float) -> None:
    """One scan; prints what it took as JSON."""
    digest = tlsa.rrset_digest([tlsa.parse_text(record)])
    numbers = [*range(GOOD, GOOD + tarpits), *range(good)]
    if new_per_s < SETTINGS.new_per_s:
        random.Random(1).shuffle(numbers)
    names = (
        *("bucket", "address", "tlsa_digest", "operator", "sni", "attempt"),
        *("host", "tlsa", "dns_asked"),
    )
    shard = pa.RecordBatch.from_pylist(
        [
            {
                "bucket": 1,
                "address": address(number),
                "tlsa_digest": digest,
                "operator": f"{number}.example",
                "sni": "mx.example",
                "attempt": 1,
                "host": "mx.example",
                "tlsa": [record],
                "dns_asked": datetime.now(UTC),
            }
            for number in numbers
        ],
        schema=pa.schema([SMTP_PROBE.schema.field(name) for name in names]),
    )
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    settings = replace(SETTINGS, port=port, sessions=AT_ONCE + tarpits, new_per_s=new_per_s)
    cpu = time.process_time()
    rows, _ = probe.scan(
        shard,
        ScanContext(
            run_id=1,
            schemas=(SMTP_PROBE.schema, CERTIFICATE.schema),
            resolvers=Resolvers(first=()),
            client=ClientSettings(),
            canaries=None,
            probe=settings,
        ),
    )
    cpu = time.process_time() - cpu
    passed = [row for row in rows.to_pylist() if row["status"] == "pass"]
    assert len(passed) == good, f"{len(passed)} of {good} good sessions"
    first = min(row["connected"] for row in passed)
    last = max(row["connected"] + timedelta(milliseconds=row["duration_ms"]) for row in passed)
    after_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {
                "good_s": (last - first).total_seconds(),
                "session_ms": statistics.mean(row["duration_ms"] for row in passed),
                "cpu_s": cpu,
                "mib": after_kib / 1024,
                "mib_before": before_kib / 1024,
            }
        )
    )


def _allow_files() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def servers(good: int, tarpits: int, hold: int = 0) -> Iterator[tuple[int, str]]:
    command = [sys.executable, "-m", "bench.probe", "serve", *map(str, (good, tarpits, hold))]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        ready = json.loads(process.stdout.readline())
        yield ready["port"], ready["record"]
        process.stdin.close()


def scan(
    port: int, record: str, good: int, tarpits: int = 0, new_per_s: float = SETTINGS.new_per_s
) -> dict[str, float]:
    arguments = map(str, (port, record, good, tarpits, new_per_s))
    done = subprocess.run(
        [sys.executable, "-m", "bench.probe", "client", *arguments],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def median(figures: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in figures) for name in figures[0]}


def openssl_cpu_ms(port: int, count: int = 20) -> float:
    """CPU of one session of `openssl s_client`, process start included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for number in range(count):
        command = ["openssl", "s_client", "-starttls", "smtp", "-brief", "-connect"]
        subprocess.run(
            [*command, f"{address(number)}:{port}"],
            input=b"QUIT\r\n",
            capture_output=True,
            check=True,
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return 1e3 * used / count


def main() -> None:
    with servers(GOOD, TARPITS) as (port, record):
        # in turns, since other work on the machine comes and goes
        runs = [[scan(port, record, GOOD, n) for n in (0, TARPITS)] for _ in range(ROUNDS)]
        alone, beside = (median(part) for part in zip(*runs, strict=True))
        paced = scan(port, record, 2 * TARPITS, 0, PACE_PER_S)
        among = scan(port, record, TARPITS, TARPITS, PACE_PER_S)
        reference_ms = openssl_cpu_ms(port)
    with servers(AT_ONCE, 0, AT_ONCE) as (port, record):
        together = scan(port, record, AT_ONCE)
    cpu_ms = 1e3 * alone["cpu_s"] / GOOD
    tarpit_ms = 1e3 * (beside["cpu_s"] - alone["cpu_s"]) / TARPITS
    added = together["mib"] - together["mib_before"]
    print(f"good servers            {GOOD / alone['good_s']:8.0f} sessions/s, one process")
    slower = beside["good_s"] / alone["good_s"]
    print(
        f"beside {TARPITS} tarpits    {GOOD / beside['good_s']:8.0f} sessions/s  ratio {slower:.2f}"
    )
    slower = among["good_s"] / paced["good_s"]
    longer_ms = among["session_ms"] - paced["session_ms"]
    print(
        f"at {PACE_PER_S:.0f} connections/s   {paced['good_s']:8.2f} s for {2 * TARPITS}; half of "
        f"them tarpits {among['good_s']:.2f} s  ratio {slower:.2f}; a session {longer_ms:+.1f} ms"
    )
    print(f"CPU a session           {cpu_ms:8.2f} ms, a tarpit {tarpit_ms:.2f} ms")
    print(f"openssl s_client        {reference_ms:8.2f} ms  ratio {cpu_ms / reference_ms:.2f}")
    print(
        f"{AT_ONCE} sessions at once    {together['mib']:8.0f} MiB resident, {added:.0f} for them"
    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", *numbers]:
            serve(*map(int, numbers))
        case ["client", port, record, good, tarpits, new_per_s]:
            client(int(port), record, int(good), int(tarpits), float(new_per_s))
        case _:
            main()
