"""The publish stage: one run out of PostgreSQL into the data set, or the reason why not.

What a run has to be to be published is asked here; its files are written by
`reports.run_files` in a process of its own, which takes its memory and the blocking away
from the coordinator and can be stopped at any moment.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from dane.faults import Refused
from reports import manifest, run_files
from reports.aside import call
from reports.dataset import Dataset
from reports.dictionary import DOMAINS, MX_HOSTS, PROBES, UNSIGNED_SAMPLE
from reports.run_files import Published, statement
from reports.settings import PublishSettings
from storage import run as runs
from storage.database import Connection
from storage.run import Run, RunKind
from storage.schemas import OBSERVATIONS

__all__ = ["Published", "objections", "publish"]

_COUNTED = {
    DOMAINS: "domain_verdict WHERE sampled_one_of IS NULL AND",
    UNSIGNED_SAMPLE: "domain_verdict WHERE sampled_one_of IS NOT NULL AND",
    MX_HOSTS: "host_verdict WHERE",
    PROBES: "smtp_probe WHERE",
}
"""Published tables that have these rows of a run table, no more and no fewer."""


async def publish(
    connection: Connection,
    run_id: int,
    settings: PublishSettings,
    directory: Path,
    *,
    url: str,
    open_zones: Mapping[str, str] = MappingProxyType({}),
    force: bool = False,
) -> Published:
    """Publish a run whose verdicts are complete into `directory`/dataset.

    `open_zones` is the licence of each zone whose names may be passed on; nobody else's
    domain is named in public. Publishing a run again gives the same bytes. `url` is the
    connection's database, which is told when the files are there and have as many rows as it.

    Raises Refused, with every reason, for a run that should not be published; `force`
    overrules all reasons but missing verdicts. Raises LocalTrouble for a database, disk or
    memory that does not suffice. Then, and when it is cancelled, the data set is as it was.
    """
    run = await runs.get(connection, run_id)
    if run.dropped:
        raise Refused(f"run {run_id}: its rows were dropped on {run.dropped:%Y-%m-%d}")
    dataset = Dataset(directory / "dataset")
    if missing := await unassessed(connection, run):
        raise Refused(f"run {run_id} is not assessed: {missing} domains have no verdict")
    reasons = await objections(connection, run, settings, manifest.runs(dataset))
    if reasons and not force:
        raise Refused(f"run {run_id} is not published: {'; '.join(reasons)}")
    for table in OBSERVATIONS:
        # nobody has analysed the partitions of a run that has just ended: without figures,
        # the joins of an export are quadratic
        await connection.execute(f"ANALYZE {table.name}_{run_id}")
    await connection.execute("ANALYZE delegation")
    expected = {
        table: await connection.fetchval(f"SELECT count(*) FROM {source} run_id = $1", run_id)
        for table, source in _COUNTED.items()
    }
    published = await call(run_files.write, dataset, run, settings, dict(open_zones), url, expected)
    await runs.publish(connection, run_id)
    return published


async def objections(
    connection: Connection,
    run: Run,
    settings: PublishSettings,
    published: Sequence[manifest.RunEntry],
) -> list[str]:
    """Why this run should not be published (docs/measurement.md, section 9); empty: publish."""
    reasons = []
    for row in await connection.fetch(statement("local_share"), run.run_id):
        stage, targets, ours, operators = row
        least = 1 if stage == "resolve" else settings.least_local_hosts
        if ours >= least and ours > settings.max_local_share * targets:
            share = 100 * ours / targets
            reasons.append(
                f"{share:.2f} % of the outcomes of stage {stage} are our own faults "
                f"({ours} of {targets}; most of them at {', '.join(operators)})"
            )
    if run.record.get("canaries", {}).get("failed"):
        reasons.append("canaries failed: the resolver or the network was not to be believed")
    last = manifest.last_before(run.started, published, run.kind)
    if last and run.kind is not RunKind.SUSPECTS:
        looked_up = await connection.fetchval(
            "SELECT count(*) FROM domain_verdict WHERE run_id = $1 AND sampled_one_of IS NULL",
            run.run_id,
        )
        expected = last.rows[DOMAINS.path]
        if looked_up < settings.min_coverage * expected:
            reasons.append(
                f"it covers {looked_up} domains, run {last.key.run_id} covered {expected}"
            )
        reasons += await _port_25_objection(connection, run, last.key.run_id, settings)
    elif last is None:
        reasons += await _first_port_25_objections(connection, run, settings)
    return reasons


async def _first_port_25_objections(
    connection: Connection, run: Run, settings: PublishSettings
) -> list[str]:
    """Without a run before to compare with: servers fail one by one, but a network that loses
    port 25 loses whole operators and address blocks. Of few of them nothing follows."""
    return [
        f"nothing answered on port 25 at {row['silent']} of {row['groups']} {row['kind']}, and "
        "there is no earlier run to compare with: is port 25 open from here?"
        for row in await connection.fetch(statement("silent_groups"), run.run_id)
        if row["groups"] >= settings.least_first_groups
        and row["silent"] > settings.max_first_silent_share * row["groups"]
    ]


async def _port_25_objection(
    connection: Connection, run: Run, last_id: int, settings: PublishSettings
) -> list[str]:
    """Canaries watch DNS; that port 25 is blocked at our side shows in the whole alone."""
    shares = []
    for run_id in (run.run_id, last_id):
        targets, unreachable = await connection.fetchrow(statement("unreachable"), run_id) or (0, 0)
        if not targets:  # the last run's rows may have been dropped
            return []
        shares.append(unreachable / targets)
    share, before = shares
    if share <= max(settings.usual_unreachable_share, settings.max_unreachable_rise * before):
        return []
    return [
        f"{100 * share:.2f} % of the MX hosts could not be connected to, {100 * before:.2f} % in "
        f"run {last_id}: is port 25 open from here?"
    ]


async def unassessed(connection: Connection, run: Run) -> int:
    """How many domains of the run have no verdict."""
    found = await connection.fetchrow(
        "SELECT (SELECT count(*) FROM domain_mx WHERE run_id = $1)"
        " - (SELECT count(*) FROM domain_verdict WHERE run_id = $1) AS missing",
        run.run_id,
    )
    return int(found["missing"]) if found else 0
