"""The closed loop: what a notice says to publish makes the domain a DANE domain again.

Every broken scenario that a change of records repairs: its breakage is confirmed by two daily
surveys, the records are read from the draft as it is printed, published in the lab, and the
domain surveyed once more.
"""

import asyncio
import email
import mailbox
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from email import policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from dane import clock
from dane.outcomes import FAULT_KIND, FaultKind, HostStatus
from danesurvey.embedded import running
from lab.internet import Lab
from lab.scenarios import CATALOGUE
from lab.scenarios.scenario import Host, Scenario
from storage.database import connection
from tests.e2e.survey_run import command, finish, start
from tests.postgres_fixture import reachable_directory

NOT_REPAIRED = {
    "broken-and-failed": "the TLSA lookup of another MX host fails: its servers' to repair",
    "primary-broken": "the backup MX host has no TLSA records: the domain is `partial`",
}
"""Scenarios that the records of the notice do not make `dane`, with the reason."""

TWO_DAYS = (
    "--set=client.passes_s=[0.2]",
    "--set=probe.attempts_after_s=[0.2]",
    "--set=canaries.every_s=1.0",
    "--set=publish.confirmation.looks=2",
    "--set=publish.confirmation.span_s=3600",
    "--set=publish.confirmation.attempts_apart_s=0.1",
    "--set=publish.min_coverage=0.5",
)


def by_records(scenario: Scenario) -> bool:
    """Whether it is broken by what its certificates are, and nothing else."""
    statuses = {row.get("status") for row in scenario.host_verdict.values()}
    kinds = {FAULT_KIND.get(HostStatus(status)) for status in statuses if status in {*HostStatus}}
    return (
        scenario.verdict.get("status") == "broken"
        and not scenario.needs
        and scenario.surveyed
        and kinds - {None} == {FaultKind.CERTIFICATE}
    )


CERTIFIED = clock.seconds()
BROKEN = [one for one in CATALOGUE if by_records(one)]


def on_day(day: int, directory: Path, scenarios: Sequence[Scenario], state: Path) -> Iterator[Lab]:
    """A lab of that day, with the certificates of the first one, surveyed and published."""
    clock.run_ahead(day)
    try:
        with Lab(directory, scenarios, certified=CERTIFIED) as lab:
            finish(start(lab, state, *TWO_DAYS, "survey"))
            yield lab
    finally:
        clock.run_ahead(0)


def records_in(mbox: Path) -> dict[str, list[str]]:
    """TLSA owner (without the final dot) to the records that the drafts say to publish."""
    found: dict[str, list[str]] = {}
    with closing(mailbox.mbox(mbox)) as box:
        for raw in box:
            message = email.message_from_bytes(raw.as_bytes(), policy=policy.SMTP)
            assert message.defects == []
            assert isinstance(message, EmailMessage)
            part = message.get_body(("plain",))
            assert part is not None
            for line in part.get_content().splitlines():
                owner, _, record = line.strip().partition(". IN TLSA ")
                if record:
                    found.setdefault(owner, []).append(record)
    return found


def repaired(scenario: Scenario, records: dict[str, list[str]]) -> Scenario:
    """The scenario with the TLSA RRsets that the notices give."""

    def with_records(host: Host) -> Host:
        owner = host.tlsa_at or f"_25._tcp.{host.name}"
        given = records.get(scenario.absolute(owner))
        if given is None:
            return host
        fields = (record.split() for record in given)
        return replace(host, tlsa=tuple(f"{u} {s} {m} hex:{data}" for u, s, m, data in fields))

    return replace(scenario, hosts=tuple(map(with_records, scenario.hosts)))


async def statuses(url: str) -> dict[str, str]:
    """Domain to its status in the last run."""
    async with connection(url) as held:
        rows = await held.fetch(
            "SELECT domain, status FROM domain_verdict WHERE run_id = (SELECT max(run_id) FROM run)"
        )
        return {row["domain"]: row["status"] for row in rows}


@pytest.mark.timeout(580)
def test_the_record_of_a_notice_repairs_the_domain(tmp_path: Path) -> None:
    with reachable_directory() as directory:
        state = directory / "state"
        for _ in on_day(0, tmp_path / "lab", BROKEN, state):
            pass
        for lab in on_day(1, tmp_path / "lab", BROKEN, state):
            drafts = subprocess.run(
                command(lab, state, *TWO_DAYS, "report", "notices"), capture_output=True, check=True
            )
        mbox = tmp_path / "drafts.mbox"
        mbox.write_bytes(drafts.stdout)
        records = records_in(mbox)
        assert records, drafts.stderr.decode()
        after = [repaired(scenario, records) for scenario in BROKEN]
        for _ in on_day(2, tmp_path / "lab", after, state):
            pass
        with running(state) as url:
            found = asyncio.run(statuses(url))
    table = {one.name: found[one.domain] for one in BROKEN}
    assert {name for name, status in table.items() if status != "dane"} == set(NOT_REPAIRED), table
