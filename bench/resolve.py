"""The resolve stage before a cold Unbound, beside dnsperf with the same questions.

    python -m bench.resolve [--domains 50000] [--rounds 3] [--window 500]
    python -m bench.resolve --latency 200 --dead 0.03 [--domains 20000]
    python -m bench.resolve --lab DIRECTORY [--rounds 1]

A lab of made-up signed domains; each measurement starts a new Unbound, so that nothing is
cached but the lab's keys. The resolver is the limit, for everybody: the bar is 1.15 times
the wall time of dnsperf with as many questions in flight, as many sockets and the very same
questions in the same order (docs/design.md, section 7). massdns and zdns are measured
beside, if they are on the PATH, with the MX questions alone.

With --dead (that share of the domains at name servers of their own that never answer) the
reference is our own scan without the dead: the names on live servers must be answered at 0.9
times its rate, until the last of them. --latency: at most so many milliseconds to each server.

--lab: one that `danesurvey lab up --domains N [--dead SHARE] [--latency MS]` has made before,
so that making it is no part of what has to have the machine for itself.
"""

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.dns.client import Resolvers
from crawler.dns.settings import ClientSettings
from crawler.dns.unbound import Unbound
from crawler.scan import resolve
from crawler.scan.context import ScanContext
from dane.names import bucket
from danesurvey.settings import Settings, load
from lab.internet import Lab
from lab.supervisor import Distance
from storage.schemas import DOMAIN_MX

BAR = 1.15
_SHARD_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Cold:
    """A new Unbound in the lab."""

    settings: Settings
    resolvers: Resolvers
    unbound: Unbound


def cold(directory: Path, measure: Callable[[Cold], Any]) -> Any:
    """What `measure` finds with an Unbound that was just started."""
    settings = load(directory / "danesurvey.toml")
    with tempfile.TemporaryDirectory(prefix="danesurvey-bench-", dir="/var/tmp") as state:
        os.chmod(state, 0o755)
        with Unbound(settings.resolver, Path(state)) as unbound:
            resolvers = Resolvers((unbound.address,), control=(unbound.control.path,))
            return measure(Cold(settings, resolvers, unbound))


def names(directory: Path) -> list[str]:
    """All made-up domains of the lab, in the order of their buckets, as a survey takes them."""
    found = pq.read_table(directory / "truth.parquet", columns=["domain"])["domain"].to_pylist()
    return sorted(found, key=bucket)


def client_settings(settings: Settings, window: int) -> ClientSettings:
    """The lab's, with this window, and unspaced: the names stand for thousands of operators."""
    values = {name: getattr(settings.client, name) for name in ClientSettings.__dataclass_fields__}
    values |= {"window": window, "questions_per_s_per_name_server_set": 0.0, "try_s": 5.0}
    return ClientSettings(**values)


def scan(cold: Cold, domains: list[str], window: int) -> dict[str, float]:
    """The scan of all domains: shards of a survey's size, two at a time, as a worker does."""
    client = client_settings(cold.settings, window // 2)

    def one(start: int) -> pa.RecordBatch:
        shard = domains[start : start + _SHARD_ROWS]
        return resolve.scan(
            pa.RecordBatch.from_pydict({"bucket": list(map(bucket, shard)), "domain": shard}),
            ScanContext(
                run_id=1,
                schemas=(DOMAIN_MX.schema,),
                resolvers=cold.resolvers,
                client=client,
                canaries=cold.settings.canaries,
                probe=cold.settings.probe,
            ),
        )

    began, wall, before = time.time(), time.monotonic(), time.process_time()
    with ThreadPoolExecutor(2) as threads:
        batches = list(threads.map(one, range(0, len(domains), _SHARD_ROWS)))
    wall = time.monotonic() - wall
    table = pa.Table.from_batches([batch.replace_schema_metadata(None) for batch in batches])
    questions = pc.sum(table["questions"]).as_py()
    ours = pc.is_in(table["outcome"], pa.array(["unanswered", "local_resolver"]))
    answered = table.filter(pc.invert(ours))
    return {
        "wall_s": wall,
        "answered_s": pc.max(answered["last_asked"]).as_py().timestamp() - began,
        "answered": answered.num_rows,
        "cpu_us": (time.process_time() - before) / questions * 1e6,
        "questions": questions,
        "rows": table.num_rows,
        "ours": table.num_rows - answered.num_rows,
        "resident_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "exceeded": cold.unbound.statistics().get("requestlist_exceeded", 0.0),
    }


def dnsperf(cold: Cold, lines: list[str], window: int, sockets: int) -> float:
    """Wall seconds of dnsperf for the questions."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(f"{line}\n" for line in lines)
        file.flush()
        host, port = cold.resolvers.first[0]
        argv = ["dnsperf", "-D", "-t", "60", "-q", str(window), "-c", str(sockets)]
        argv += ["-s", host, "-p", str(port), "-d", file.name, "-n", "1"]
        report = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Run time \(s\):\s+([\d.]+)", report)
    assert found is not None
    return float(found[1])


def same_questions(domains: list[str], window: int) -> list[str]:
    """What the scan asks, in its order: the keys of a zone once its MX answer is there."""
    lines: list[str] = []
    for number in range(len(domains) + window):
        if number < len(domains):
            lines.append(f"{domains[number]} MX")
        if number >= window:
            lines += [f"{domains[number - window]} {kind}" for kind in ("DNSKEY", "NSEC3PARAM")]
    return lines


def _peer(cold: Cold, domains: list[str], window: int, program: str) -> float:
    """Wall seconds of another program for the MX questions."""
    host, port = cold.resolvers.first[0]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as resolvers:
        resolvers.write(f"{host}:{port}\n")
        resolvers.flush()
        argv = {
            "massdns": ["massdns", "-r", resolvers.name, "-t", "MX", "-s", str(window), "-q"],
            "zdns": ["zdns", "MX", "--name-servers", f"{host}:{port}", "--threads", str(window)],
        }[program]
        start = time.monotonic()
        subprocess.run(argv, input="\n".join(domains), text=True, capture_output=True, check=True)
        return time.monotonic() - start


def dead_names(directory: Path) -> set[str]:
    """The domains of the lab whose name servers never answer."""
    truth = pq.read_table(directory / "truth.parquet", columns=["domain", "recipe"])
    return set(truth.filter(pc.equal(truth["recipe"], "dead"))["domain"].to_pylist())


def _measure_dead(directory: Path, dead: set[str], options: argparse.Namespace) -> None:
    """The live names, with and without the dead among them."""
    every = names(directory)
    live = [name for name in every if name not in dead]
    rates: dict[str, list[float]] = {"with": [], "without": []}
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
        for label, domains in (("without", live), ("with", every)):
            found = cold(directory, lambda one, d=domains: scan(one, d, options.window))
            rates[label].append(found["answered"] / found["answered_s"])
            print(f"{label:8} {found['answered']:.0f} in {found['answered_s']:.1f} s", flush=True)
    without, beside = (statistics.median(rates[label]) for label in ("without", "with"))
    print(f"domains                      {len(every)}, {len(dead)} of them dead")
    ratio = beside / without
    print(f"live names alone             {without:8.0f} domains/s")
    print(f"live names beside dead ones  {beside:8.0f} domains/s  ratio {ratio:.2f}, bar 0.9")


def _measure(options: argparse.Namespace) -> int:
    directory = Path(options.inside)
    if dead := dead_names(directory):
        _measure_dead(directory, dead, options)
        return 0
    domains = names(directory)
    sockets = min(ClientSettings().sockets * (os.cpu_count() or 1), 128)
    questions = same_questions(domains, options.window)
    ours: list[dict[str, float]] = []
    theirs: list[float] = []
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
        theirs.append(cold(directory, lambda one: dnsperf(one, questions, options.window, sockets)))
        ours.append(cold(directory, lambda one: scan(one, domains, options.window)))
    wall = statistics.median(one["wall_s"] for one in ours)
    reference = statistics.median(theirs)
    last = ours[-1]
    print(
        f"domains                      {len(domains)}, window {options.window}, {sockets} sockets"
    )
    print(f"resolve scan                 {wall:8.2f} s  {len(domains) / wall:8.0f} domains/s")
    print(
        f"dnsperf, the same questions  {reference:8.2f} s  ratio {wall / reference:.2f}, bar {BAR}"
    )
    for program in filter(shutil.which, ("massdns", "zdns")):
        seconds = cold(directory, lambda one, p=program: _peer(one, domains, options.window, p))
        print(f"{program + ', MX alone':29}{seconds:8.2f} s")
    print(f"questions a domain           {last['questions'] / len(domains):8.2f}")
    print(f"CPU of the scan, a question  {last['cpu_us']:8.1f} µs")
    print(f"resident                     {last['resident_mib']:8.0f} MiB")
    print(f"not answered, through us     {last['ours']:8.0f}")
    print(f"missing rows                 {len(domains) - last['rows']:8.0f}")
    print(f"requestlist.exceeded         {last['exceeded']:8.0f}")
    print(json.dumps({"wall_s": [one["wall_s"] for one in ours], "dnsperf_s": theirs}))
    return 0


def in_lab(
    module: str, parser: argparse.ArgumentParser, measure: Callable[[argparse.Namespace], int]
) -> int:
    """Parse the arguments, make the lab, and call `measure` in a process inside of it."""
    parser.add_argument("--window", type=int, default=ClientSettings().window)
    parser.add_argument("--latency", type=int, default=0, help="ms to the name servers, at most")
    parser.add_argument("--dead", type=float, default=0.0, help="share of dead domains")
    parser.add_argument("--lab", type=Path, help="directory of a lab of such domains that is up")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        return measure(options)

    def inside(lab: Lab) -> int:
        argv = [sys.executable, "-m", module, *sys.argv[1:], "--inside", str(lab.directory)]
        return lab.exec(argv).returncode

    if options.lab:
        return inside(Lab(options.lab))
    with (
        tempfile.TemporaryDirectory(prefix="danesurvey-bench-", dir="/var/tmp") as directory,
        Lab(
            Path(directory) / "lab",
            domains=options.domains,
            dead=options.dead,
            distance=Distance(latency_ms=options.latency),
        ) as lab,
    ):
        return inside(lab)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="bench.resolve")
    parser.add_argument("--domains", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    return in_lab("bench.resolve", parser, _measure)


if __name__ == "__main__":
    sys.exit(main())
