"""Metrics of a running survey for Prometheus, on 127.0.0.1 at `survey.metrics_port`.

The text format, version 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats/
One page and no routes: whatever is asked for, the answer is the metrics.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

from dane.faults import LocalTrouble
from danesurvey.progress import Watch

_ADDRESS = "127.0.0.1"
_REQUEST_S = 5.0
Labels = Mapping[str, object]


@asynccontextmanager
async def served(watch: Watch, port: int | None) -> AsyncIterator[None]:
    """Answers for as long as the block lasts, if there is a port. Raises LocalTrouble."""
    if port is None:
        yield
        return

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_S):
                await reader.readuntil(b"\r\n\r\n")
                body = page(watch).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
                    b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)
                )
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked does not want to know any more
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(answer, _ADDRESS, port)
    except OSError as error:
        raise LocalTrouble(f"survey.metrics_port {port}: {error.strerror or error}") from None
    async with server:
        yield


def page(watch: Watch) -> str:
    """All metrics."""
    now = watch.now()
    stages = watch.stages()

    def of_stages(figure: str) -> list[tuple[Labels, float]]:
        return [({"stage": one["stage"]}, one[figure]) for one in stages]

    run = {"run": now["run"]}
    memory = [({"process": "coordinator"}, now["memory"]["coordinator"])]
    memory += [
        ({"process": "worker", "worker": name}, size)
        for name, size in now["memory"]["workers"].items()
    ]
    canaries = watch.engine.canaries
    families: list[tuple[str, str, str, Iterable[tuple[Labels, float]]]] = [
        ("run_info", "gauge", "The run that is under way.", [(run, 1)]),
        ("rows_stored_total", "counter", "Rows stored by each stage.", of_stages("stored")),
        ("questions_total", "counter", "Questions asked by each stage.", of_stages("questions")),
        ("shards_resubmitted_total", "counter", "Shards sent out again.", of_stages("resubmitted")),
        (
            "rows_quarantined_total",
            "counter",
            "Rows that no scan could take.",
            of_stages("quarantined"),
        ),
        (
            "stage_running",
            "gauge",
            "1 while a stage is not over.",
            [({"stage": one["stage"]}, int(one["state"] != "done")) for one in stages],
        ),
        (
            "outcomes_total",
            "counter",
            "Rows of each outcome.",
            [
                ({"stage": one["stage"], "outcome": word}, count)
                for one in stages
                for word, count in one["outcomes"].items()
            ],
        ),
        (
            "canary_rounds_total",
            "counter",
            "Rounds of canaries by what they showed.",
            [({"health": word}, count) for word, count in sorted(canaries.rounds.items())],
        ),
        (
            "canaries_good",
            "gauge",
            "1 if the latest round was good.",
            [({}, int(canaries.health in (None, "good")))],
        ),
        ("resident_memory_bytes", "gauge", "Memory of each process.", memory),
    ]
    lines = []
    for name, kind, help_text, samples in families:
        lines += [f"# HELP danesurvey_{name} {help_text}", f"# TYPE danesurvey_{name} {kind}"]
        lines += [f"danesurvey_{name}{_labels(labels)} {value}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}"


def _escaped(value: object) -> str:
    return str(value).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
