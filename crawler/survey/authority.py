"""Stage authority: what each authoritative server does with a name whose lookup fails.

Only this makes a DNS operator's list something that they can act on (measurement,
section 2): our resolver hides the cause behind SERVFAIL.
"""

from crawler.dns.client import Resolvers
from crawler.scan import authority as authority_scan
from crawler.survey.engine import Engine, Work
from storage import missing
from storage.schemas import AUTHORITY


async def authority(engine: Engine, resolvers: Resolvers) -> None:
    """One pass over the names that fail after all passes. Raises Stopped, LocalTrouble."""
    run = engine.run
    settings = engine.settings
    lab = (
        ("127.0.0.0/8", *settings.probe.lab_addresses) if settings.resolver.query_localhost else ()
    )
    work = Work(
        stage="authority",
        scan=authority_scan.scan,
        options={
            "schema": AUTHORITY.schema,
            "client": engine.client,
            "canaries": settings.canaries,
            "resolver": resolvers,
            "run_id": run.run_id,
            "lab_addresses": lab,
        },
        tables=(AUTHORITY,),
        counted="rrtype",
    )
    await engine.finish_pass(
        work,
        1,
        lambda: engine.by_bucket(
            lambda buckets, connection: missing.unexplained(connection, run, buckets)
        ),
        replace=False,
    )
