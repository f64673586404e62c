"""The stages of a run, each a value: what is asked, of whom, when, and who reads the answers.

    resolve ──▶ hosts ──▶ probe          as rows come; what fails rests and is asked again
       └──────────┴─────▶ authority      what the last lookups leave failing
                  └─────▶ servers        all servers of a host with TLSA, in full runs
    ── end of the run ──▶ assess hosts ──▶ assess domains ──▶ policies

`lines` binds them to a run.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial

from crawler.coordinator import failures, lookups, policies, servers, targets
from crawler.coordinator.budget import Budget
from crawler.coordinator.dispatcher import Line, Time
from crawler.coordinator.engine import Engine
from crawler.coordinator.flushes import Flushes
from crawler.coordinator.line import StageLine
from crawler.coordinator.stage import Stage
from crawler.coordinator.state import StageState
from crawler.coordinator.verdicts import VerdictLine
from crawler.scan import assess as assess_scan
from crawler.scan import authority as authority_scan
from crawler.scan import hosts as hosts_scan
from crawler.scan import policies as policies_scan
from crawler.scan import probe as probe_scan
from crawler.scan import resolve as resolve_scan
from crawler.scan import servers as servers_scan
from storage import assessment, due
from storage.schemas import (
    AUTHORITY,
    CERTIFICATE,
    DOMAIN_MX,
    DOMAIN_POLICY,
    DOMAIN_VERDICT,
    HOST_VERDICT,
    MX_HOST,
    SMTP_PROBE,
    TLSA_SERVER,
)

RESOLVE = Stage(  # every signed domain of the run gets its row of MX and DNSSEC facts
    name="resolve",
    tables=(DOMAIN_MX,),
    due=lookups.DOMAINS,
    scan=resolve_scan.scan,
    counted="outcome",
    share=0.45,
    later_share=0.1,
    longest_s=lookups.longest_s,
)
HOSTS = Stage(  # every MX host of a domain with secure MX: addresses and TLSA, once a run
    name="hosts",
    tables=(MX_HOST,),
    due=lookups.HOSTS,
    scan=hosts_scan.scan,
    counted="status",
    reads=("resolve",),
    share=0.2,
    later_share=0.1,
    longest_s=lookups.longest_s,
)
PROBE = Stage(  # every address of a host with TLSA is connected to
    name="probe",
    tables=(SMTP_PROBE, CERTIFICATE),
    due=targets,
    scan=probe_scan.scan,
    counted="status",
    reads=("hosts",),
    share=0.05,
    longest_s=targets.longest_s,
)
AUTHORITIES = Stage(  # every server of a name that fails is asked itself
    name="authority",
    tables=(AUTHORITY,),
    due=failures,
    scan=authority_scan.scan,
    counted="rrtype",
    reads=("resolve", "hosts"),
    time=Time.FAILED,
    share=0.05,
    longest_s=failures.longest_s,
)
SERVERS = Stage(  # every server of a DANE host's zone is asked for its TLSA RRset
    name="servers",
    tables=(TLSA_SERVER,),
    due=servers,
    scan=servers_scan.scan,
    counted="round",
    reads=("hosts",),
    time=Time.FAILED,
    share=0.05,
    longest_s=failures.longest_s,
)
ASSESS_HOSTS = Stage(
    name="assess hosts",
    tables=(HOST_VERDICT,),
    due=assessment.hosts,
    scan=assess_scan.hosts,
    counted="status",
    reads=("hosts", "probe"),
    time=Time.OVER,
)
ASSESS_DOMAINS = Stage(  # a domain's verdict reads those of its hosts
    name="assess domains",
    tables=(DOMAIN_VERDICT,),
    due=assessment.domains,
    scan=assess_scan.domains,
    counted="status",
    reads=("resolve", "assess hosts"),
    waits_for=("assess hosts",),
    time=Time.OVER,
)
POLICIES = Stage(  # MTA-STS and TLSRPT of each domain with a TLSA host
    name="policies",
    tables=(DOMAIN_POLICY,),
    due=due.policies,
    scan=policies_scan.scan,
    counted="mta_sts_outcome",
    reads=("assess domains",),
    waits_for=("assess domains",),
    time=Time.OVER,
    share=0.5,
    longest_s=policies.longest_s,
)
STAGES = (RESOLVE, HOSTS, PROBE, AUTHORITIES, SERVERS, ASSESS_HOSTS, ASSESS_DOMAINS, POLICIES)


def lines(
    engine: Engine, stages: Collection[Stage], flushes: Flushes, visited_until: datetime | None
) -> list[Line]:
    """The lines of these stages; each is told of the rows that make its own due.

    `visited_until`: when the last connection of an earlier process may have ended.
    """
    made: list[StageLine] = []
    waiting = []
    firsts: dict[str, lookups.FirstLine] = {}
    for stage in stages:
        state = StageState(stage.name)
        engine.stages.append(state)

        before = partial(_at_work, made, stage.reads)
        if isinstance(stage.due, lookups.DueLookups):
            shared = lookups.Lookups(engine, stage.due, flushes)
            firsts[stage.name] = first = lookups.FirstLine(shared, stage, state, before)
            made += [first, lookups.LaterLine(shared, stage, state)]
            waiting.append(shared.unflushed)
        elif stage is PROBE:
            budget = Budget(engine.settings.probe)
            made.append(targets.ProbeLine(engine, stage, state, before, visited_until, budget))
        elif stage is AUTHORITIES:
            made.append(failures.AuthorityLine(engine, stage, state))
        elif stage is SERVERS:
            made.append(servers.ServersLine(engine, stage, state))
        elif stage is POLICIES:
            made.append(policies.PolicyLine(engine, stage, state))
        else:
            made.append(VerdictLine(engine, stage, state))
    for line in made:
        if line.stage == RESOLVE.name and (hosts := firsts.get(HOSTS.name)) is not None:
            line.listeners.append(hosts.wanted)
        if line.stage == HOSTS.name:
            line.listeners += [one.open for one in made if isinstance(one, targets.ProbeLine)]
    flushes.serve(
        waiting,
        partial(_wake, made),
        lambda: any(first.last_under_way for first in firsts.values()),
    )
    return list(made)


def _at_work(lines: Sequence[Line], stages: Collection[str]) -> bool:
    return any(line.at_work for line in lines if line.stage in stages)


def _wake(lines: Sequence[Line]) -> None:
    for line in lines:
        line.wake()
