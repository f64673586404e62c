"""A whole survey of a lab of made-up domains, cold, beside dnsperf with its MX stage's questions.

    python -m bench.survey [--domains 50000] [--workers 1,2]

From the first question to the last verdict: resolve, hosts, probe, authority, assess, with
every row committed; the time with start-up, intake and publication is printed beside it, and
what each stage's scans cost in CPU time. The bar is 1.35
times the bar of the resolve stage, which is 1.15 times dnsperf's wall time (docs/design.md,
section 7). The lab has its waits between passes shortened: they are not work.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.resolve import cold, dnsperf, names, same_questions
from crawler.dns.settings import ClientSettings
from lab.internet import Lab

RESOLVE_BAR = 1.15
BAR = 1.35
_SET = (
    "client.passes_s=[0.1, 0.1]",
    "client.flush_every_s=0.1",
    "client.last_try_s=5",
    "probe.attempts_after_s=[0.1, 0.1]",
    "probe.connect_s=2",
    "canaries.every_s=10",
)


def reference_s(directory: Path, window: int) -> float:
    """Runs inside the lab: dnsperf's wall time."""
    domains = names(directory)
    sockets = ClientSettings().sockets * (os.cpu_count() or 1)
    questions = same_questions(domains, window)
    return float(cold(directory, lambda one: dnsperf(one, questions, window, sockets)))


def survey(lab: Lab, workers: int) -> dict[str, Any]:
    """One survey with a new state directory: the last progress line of each pass, and times."""
    with tempfile.TemporaryDirectory(prefix="danesurvey-bench-", dir="/var/tmp") as directory:
        os.chmod(directory, 0o711)
        command = [sys.executable, "-P", "-m", "danesurvey", "--config", str(lab.settings_file)]
        command += ["--state-dir", f"{directory}/state", "--set", f"survey.workers={workers}"]
        for one in _SET:
            command += ["--set", one]
        began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = lab.exec([*command, "survey"], capture_output=True, text=True)
        wall_s = time.monotonic() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        status = lab.exec([*command, "status", "--json"], capture_output=True, text=True)
    stages: dict[str, dict[str, Any]] = {}
    memory: dict[str, int] = {}
    for line in done.stderr.splitlines():
        if line.startswith('{"stage"'):
            one = json.loads(line)
            stages[one["stage"]] = one
            sizes = {"coordinator": one["memory"]["coordinator"], **one["memory"]["workers"]}
            for name, size in sizes.items():
                memory[name] = max(size, memory.get(name, 0))
    return {
        "stages": stages,
        "memory": memory,
        "wall_s": wall_s,
        # of the coordinator, its workers and its resolvers; PostgreSQL is its keeper's child
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "questions": json.loads(status.stdout)["questions"],
    }


def _print(workers: int, found: dict[str, Any], reference: float) -> None:
    stages = found["stages"]
    ends = {stage: one["began"] + one["seconds"] for stage, one in stages.items()}
    began = min(one["began"] for one in stages.values())
    crawl_s = max(ends.values()) - began
    print(f"{workers} workers: {crawl_s:.1f} s, {found['wall_s']:.1f} s with all around it")
    print(f"  ratio to the resolve bar ({RESOLVE_BAR * reference:.1f} s): ", end="")
    print(f"{crawl_s / (RESOLVE_BAR * reference):.2f}   bar {BAR}")
    domains = stages["assess domains"]["stored"]
    for stage, one in stages.items():
        rows, cpu_s = one["stored"], one["cpu_seconds"]
        print(
            f"  {stage:15} {rows:>8,} rows, {one['began'] - began:6.1f} to"
            f" {ends[stage] - began:6.1f} s; CPU {cpu_s:6.1f} s, {1000 * cpu_s / domains:.3f} ms"
            " a domain"
        )
    last = max(stages.values(), key=lambda one: one["began"])
    print(f"  coordinator     CPU {last['cpu_seconds_of_coordinator']:.1f} s")
    print(f"  questions a domain {found['questions']['a_domain']}")
    print(f"  CPU {1000 * found['cpu_s'] / domains:.2f} ms a domain, Unbound's included")
    sizes = ", ".join(f"{name} {size / 1e6:.0f}" for name, size in sorted(found["memory"].items()))
    print(f"  MB at most: {sizes}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--domains", type=int, default=50_000)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--window", type=int, default=500)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(reference_s(options.inside, options.window))
        return
    with (
        tempfile.TemporaryDirectory(prefix="danesurvey-bench-", dir="/var/tmp") as directory,
        Lab(Path(directory), domains=options.domains) as lab,
    ):
        inside = [sys.executable, "-m", "bench.survey", "--inside", directory]
        inside += ["--window", str(options.window)]
        told = lab.exec(inside, capture_output=True, text=True)
        if told.returncode:
            raise SystemExit(told.stderr)
        reference = float(told.stdout)
        print(f"{options.domains:,} domains; dnsperf {reference:.1f} s")
        for workers in map(int, options.workers.split(",")):
            _print(workers, survey(lab, workers), reference)


if __name__ == "__main__":
    main()
