"""Scanning a registry's zone, and taking a million signed delegations into PostgreSQL.

    python -m bench.zones [--delegations 5000000] [--signed 1000000] [--directory DIR]
    python -m bench.zones --directory DIR --generate
    python -m bench.zones --directory DIR --share 0.05 --pairs 3

A zone as a large registry publishes it is generated (gzip; TTL, class and type in lower case,
a tab between the columns, sorted by owner; RRSIG, NSEC3 with opt-out, glue), at 5 % and at
60 % signed. The references, in the same run: `gunzip` alone, and
`zcat | awk '$4=="ds"{print $1}' | sort -u`. The bars (docs/design.md, section 7): at most 3
times gunzip, 2.5 times faster than awk, 500 MB/s on one core at 5 %, 800 on two, 200 MB.

Zones that lie in DIR already are used again, so that `--pairs` can measure awk and `zone signed`
alone, one after the other, in as little time as a quiet machine is to be had for.
"""

import argparse
import asyncio
import base64
import gzip
import json
import os
import random
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from isal import igzip

from crawler.coordinator.intake import intake
from crawler.zones.assembly import Stage
from crawler.zones.files import ZoneFile
from crawler.zones.scanner import BLOCK, scan
from crawler.zones.settings import IntakeSettings, ZoneSource
from danesurvey.embedded import running
from storage.database import connection, pool
from storage.migrate import upgrade

BARS = {"gunzip": 3.0, "awk": 2.5, "one core": 500, "two cores": 800, "memory": 200}
_AWK = "zcat {} | awk '$4==\"ds\"{{print $1}}' | sort -u"
_SOA = "com.\t900\tin\tsoa\ta.gtld.test. nstld.test. 1700000000 1800 900 604800 86400\n"
_RRSIG = "com.\t86400\tin\trrsig\t{} 13 2 86400 20260301000000 20260222000000 4534 com. {}\n"
_SYLLABLES = [
    "ba", "co", "di", "fu", "ge", "hi", "jo", "ka", "lu", "me", "ni", "po",
    "qu", "ra", "so", "ta", "ve", "wi", "xa", "zo", "tech", "shop", "web", "my",
]  # fmt: skip


def registry_lines(delegations: int, share: float, serial: int = 0) -> Iterator[str]:
    """The lines of a zone `com`, in groups of lines; deterministic."""
    draw = random.Random(1)
    providers = [
        f"ns{{}}.{''.join(draw.choices(_SYLLABLES, k=3))}{number}.{draw.choice(['net', 'com'])}."
        for number in range(2000)
    ]
    soa = _SOA.replace("1700000000", str(1_700_000_000 + serial))
    yield soa
    yield from (f"com.\t172800\tin\tns\t{letter}.gtld.test.\n" for letter in "abcdefghijklm")
    for number in range(delegations):
        name = f"{number:07d}-{_SYLLABLES[number % 24]}{_SYLLABLES[number // 24 % 24]}.com."
        provider = providers[min(int(draw.expovariate(1 / 150)), 1999)]
        lines = []
        is_signed = draw.random() < share
        if is_signed:
            lines.append(
                f"{name}\t86400\tin\tds\t{draw.randrange(65536)} 13 2 "
                f"{draw.getrandbits(256):064X}\n"
            )
        for server in range(1, draw.choice([2, 2, 2, 2, 3, 4]) + 1):
            lines.append(f"{name}\t172800\tin\tns\t{provider.format(server)}\n")
        if is_signed:
            signature = base64.b64encode(draw.randbytes(64)).decode()
            digest = base64.b32hexencode(draw.randbytes(20)).decode()
            lines.append(f"{name[:-4]}{_RRSIG.format('ds', signature)}")
            lines.append(f"{digest}.com.\t86400\tin\tnsec3\t1 1 0 - {digest[::-1]} NS DS RRSIG\n")
            lines.append(f"{digest}.{_RRSIG.format('nsec3', signature)}")
        if draw.random() < 0.03:
            lines.append(f"ns1.{name}\t172800\tin\ta\t192.0.2.{number % 256}\n")
        yield "".join(lines)
    yield soa


def generate(path: Path, delegations: int, share: float, serial: int = 0) -> None:
    """Write a zone, packed as registries do."""
    with igzip.open(path, "wb", compresslevel=2) as out:
        lines: list[str] = []
        for group in registry_lines(delegations, share, serial):
            lines.append(group)
            if len(lines) == 5000:
                out.write("".join(lines).encode())
                lines = []
        out.write("".join(lines).encode())


def measure(command: str, cores: int) -> tuple[float, int]:
    """Seconds and peak resident bytes of a shell command on some cores."""
    began = time.perf_counter()
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:cores]),
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command}: status {status}")
    return time.perf_counter() - began, usage.ru_maxrss * 1024


def scan_once(path: Path, threads: int) -> None:
    """In a process of its own: scan a file, print what was found and how long it took."""
    began, cpu = time.perf_counter(), time.process_time()
    result = scan(lambda: ZoneFile(path).chunks(BLOCK), Stage, threads=threads)
    found = {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
        "size": result.size,
        "delegations": result.delegations,
        "signed": result.signed,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    result.stage.close()
    print(json.dumps(found))


def scanned(path: Path, cores: int) -> dict[str, float]:
    """What `scan_once` says, on some cores."""
    run = subprocess.run(
        [sys.executable, "-m", "bench.zones", "--scan", str(path), "--threads", str(cores)],
        stdout=subprocess.PIPE,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:cores]),
    )
    found: dict[str, float] = json.loads(run.stdout)
    return found


def zone(directory: Path, delegations: int, share: float) -> Path:
    """The file of a zone, generated if it is not there."""
    path = directory / f"com-{delegations}-{share:.0%}.gz"
    if not path.exists():
        unfinished = path.with_suffix(".part")
        generate(unfinished, delegations, share)
        unfinished.rename(path)
    return path


def signed_command(path: Path) -> str:
    """`zone signed` of a file, to a file beside it."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "danesurvey",
        "zone",
        "signed",
        path,
        "-o",
        f"{path}.csv",
    ]
    return f"exec {shlex.join(map(str, command))}"


def pairs(path: Path, count: int) -> None:
    """awk and `zone signed`, one after the other."""
    for _ in range(count):
        awk, _ = measure(_AWK.format(shlex.quote(str(path))), 2)
        whole, _ = measure(signed_command(path), 2)
        print(
            f"{path.name}: awk {awk:.2f} s, `zone signed` to a file {whole:.2f} s: "
            f"{awk / whole:.2f} x faster (bar {BARS['awk']})",
            flush=True,
        )


def scans(path: Path) -> None:
    """A zone against both references."""
    quoted = shlex.quote(str(path))
    packed = path.stat().st_size
    gunzip, _ = measure(f"gunzip -c {quoted}", 2)
    awk, _ = measure(_AWK.format(quoted), 2)
    whole, peak = measure(signed_command(path), 2)
    one, two = scanned(path, 1), scanned(path, 2)
    size = one["size"] / 1e6
    print(
        f"{path.name}: {int(one['delegations']):,} delegations, {int(one['signed']):,} signed, "
        f"{size:,.0f} MB ({packed / 1e6:,.0f} packed)\n"
        f"  gunzip {gunzip:.2f} s, awk {awk:.2f} s, `zone signed` to a file {whole:.2f} s: "
        f"{whole / gunzip:.2f} x gunzip (bar {BARS['gunzip']}), "
        f"{awk / whole:.2f} x faster than awk (bar {BARS['awk']})\n"
        f"  scan on one core {size / one['seconds']:,.0f} MB/s "
        f"(bar {BARS['one core']} at 5 %), "
        f"on two {size / two['seconds']:,.0f} MB/s (bar {BARS['two cores']}), "
        f"CPU {two['cpu']:.2f} s\n"
        f"  peak memory {max(one['peak'], two['peak'], peak) / 1e6:,.0f} MB "
        f"(bar {BARS['memory']})",
        flush=True,
    )


async def database(url: str, directory: Path, count: int) -> None:
    """A zone of signed delegations, taken in, then again with 1 % of the names changed."""
    if count == 0:
        return
    async with connection(url) as opened:
        await upgrade(opened)
    path = directory / "com.gz"
    source = ZoneSource(zone="com", kind="file", path=path)
    async with pool(url, connections=2) as opened_pool:
        for serial in (0, 1):
            with gzip.open(path, "wb", 1) as out:
                out.writelines(changed_lines(count, serial))
            (row,) = await intake(
                opened_pool,
                [source],
                IntakeSettings(),
                state_dir=directory / "state",
                progress=lambda _: None,
            )
            print(
                f"intake of {count:,} signed: {row.verdict} in {row.seconds:.1f} s, added "
                f"{row.added:,}, removed {row.removed:,}, {row.written:,} rows written",
                flush=True,
            )


def changed_lines(count: int, serial: int) -> Iterator[bytes]:
    """Signed delegations; with a serial, every 200th has another name and another DS."""
    yield _SOA.replace("1700000000", str(1_700_000_000 + serial)).encode()
    for number in range(count):
        changed = serial and number % 200 == 0
        name = f"{number:07d}{'-new' if changed else ''}.com."
        key = number * 7 + (serial if number % 200 == 1 else 0)
        yield (
            f"{name}\t86400\tin\tds\t{key % 65536} 13 2 {key:064x}\n"
            f"{name}\t172800\tin\tns\tns1.provider{number % 100}.test.\n"
            f"{name}\t172800\tin\tns\tns2.provider{number % 100}.test.\n"
        ).encode()


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__, add_help=True)
    parser.add_argument("--delegations", type=int, default=5_000_000)
    parser.add_argument("--signed", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path, default=None)
    parser.add_argument("--share", type=float, action="append", help="default: 0.05 and 0.60")
    parser.add_argument("--generate", action="store_true", help="only generate the zones")
    parser.add_argument("--pairs", type=int, default=0, help="only so many, of awk and us")
    parser.add_argument("--scan", type=Path, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.scan is not None:
        scan_once(options.scan, options.threads)
        return
    with tempfile.TemporaryDirectory(prefix="bench-zones-") as temporary:
        os.chmod(temporary, 0o711)
        for share in options.share or (0.05, 0.60):
            path = zone(options.directory or Path(temporary), options.delegations, share)
            if options.pairs:
                pairs(path, options.pairs)
            elif not options.generate:
                scans(path)
        if not options.pairs and not options.generate:
            with running(Path(temporary) / "postgres") as url:
                asyncio.run(database(url, Path(temporary), options.signed))


if __name__ == "__main__":
    main()
