"""What a run counted, for its record: zones with serials, outcomes by stage, questions."""

from typing import Any

from storage import due
from storage.database import Connection
from storage.run import Run

# Stage to its table and the column whose words are counted.
_COUNTED = {
    "resolve": ("domain_mx", "outcome"),
    "hosts": ("mx_host", "coalesce(status, 'probe')"),
    "probe": ("smtp_probe", "status"),
    "authority": ("authority", "rrtype"),
    "servers": ("tlsa_server", "CASE WHEN settled THEN 'settled' ELSE 'unsettled' END"),
    "assess hosts": ("host_verdict", "status"),
    "assess domains": ("domain_verdict", "status"),
    "policies": ("domain_policy", "mta_sts_outcome"),
}


async def zones(connection: Connection) -> list[dict[str, Any]]:
    """The last accepted snapshot of each zone, as the data set publishes it."""
    rows = await connection.fetch(
        "SELECT DISTINCT ON (zone) zone, source AS kind, serial, sha256, taken, received,"
        " size AS bytes, records, delegations, signed"
        " FROM zone_snapshot WHERE accepted ORDER BY zone, snapshot_id DESC"
    )
    return [{**row, "taken": row["taken"].isoformat()} for row in map(dict, rows)]


async def left(connection: Connection, run: Run) -> int:
    """About how many domains of the run have no row yet."""
    if run.base is None:
        names = "SELECT count(*) FROM delegation WHERE missing_since IS NULL"
        arguments: tuple[Any, ...] = (run.run_id,)
    else:
        names = "SELECT count(*) FROM domain_verdict WHERE run_id = $2 AND status = ANY ($3)"
        arguments = (run.run_id, run.base, due.chosen_statuses(run.kind))
    rows = "SELECT count(*) FROM domain_mx WHERE run_id = $1"
    return max(0, int(await connection.fetchval(f"SELECT ({names}) - ({rows})", *arguments)))


async def outcomes(connection: Connection, run: Run) -> dict[str, dict[str, int]]:
    """How many rows each stage has of each word."""
    counts = {}
    for stage, (table, word) in _COUNTED.items():
        rows = await connection.fetch(
            f"SELECT {word} AS word, count(*) AS rows FROM {table}"
            " WHERE run_id = $1 GROUP BY 1 ORDER BY 1",
            run.run_id,
        )
        counts[stage] = {row["word"]: row["rows"] for row in rows}
    return counts


async def questions(connection: Connection, run: Run) -> int:
    """Questions asked of the resolver for the rows of the run, those of earlier passes too."""
    return int(
        await connection.fetchval(
            "SELECT (SELECT coalesce(sum(questions), 0) FROM domain_mx WHERE run_id = $1)"
            " + (SELECT coalesce(sum(questions), 0) FROM mx_host WHERE run_id = $1)",
            run.run_id,
        )
    )


async def quarantined(connection: Connection, run: Run) -> int:
    """Rows that no scan could take."""
    return int(
        await connection.fetchval("SELECT count(*) FROM quarantine WHERE run_id = $1", run.run_id)
    )


_LOCAL_DISAGREEMENT = """
SELECT (
    SELECT count(*) FROM domain_mx m
    JOIN authority a ON a.run_id = m.run_id AND a.bucket = m.bucket
        AND a.name = m.domain AND a.rrtype = 'MX'
    WHERE m.run_id = $1 AND m.first_look_outcome IS NOT NULL AND a.all_good
) + (
    SELECT count(*) FROM mx_host h,
        LATERAL (
            SELECT bool_and(a.all_good) AS all_good
            FROM authority a
            WHERE a.run_id = h.run_id AND a.bucket = h.bucket AND a.name = ANY (h.failed_names)
                AND a.rrtype <> 'MX'
        ) AS servers
    WHERE h.run_id = $1 AND h.first_look_outcome IS NOT NULL AND servers.all_good
)
"""


async def local_disagreement(connection: Connection, run: Run) -> int:
    """Domains and hosts of which a lookup fails at our first resolver alone: the second one

    validates an answer, and so do all authoritative servers (measurement, section 2).
    """
    return int(await connection.fetchval(_LOCAL_DISAGREEMENT, run.run_id))
