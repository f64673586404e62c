"""The catalogue as data: complete, consistent, and only the project's own words."""

import json

import pyarrow as pa
import pytest

from dane import outcomes
from lab import catalogue, population
from lab.nameserver import ACTIONS
from lab.scenarios import CATALOGUE
from lab.scenarios.scenario import Expected, Has, Lacks, OneOf
from lab.spoil import FAULTS
from storage import schemas

TABLES: dict[str, pa.Schema] = {
    "domain_mx": schemas.DOMAIN_MX.schema,
    "domain_verdict": schemas.DOMAIN_VERDICT.schema,
    "domain_policy": schemas.DOMAIN_POLICY.schema,
    "mx_host": schemas.MX_HOST.schema,
    "host_verdict": schemas.HOST_VERDICT.schema,
}
WORDS: dict[tuple[str, str], type] = {
    ("domain_verdict", "status"): outcomes.DomainStatus,
    ("domain_verdict", "stage"): outcomes.LookupStage,
    ("domain_verdict", "reason"): outcomes.NoMailReason,
    ("domain_verdict", "level"): outcomes.BrokenLevel,
    ("domain_verdict", "defects"): outcomes.Defect,
    ("domain_mx", "outcome"): outcomes.LookupOutcome,
    ("domain_policy", "mta_sts_outcome"): outcomes.LookupOutcome,
    ("domain_policy", "tlsrpt_outcome"): outcomes.LookupOutcome,
    ("mx_host", "status"): outcomes.HostStatus,
    ("mx_host", "a_outcome"): outcomes.LookupOutcome,
    ("mx_host", "aaaa_outcome"): outcomes.LookupOutcome,
    ("mx_host", "tlsa_outcome"): outcomes.LookupOutcome,
    ("mx_host", "defects"): outcomes.Defect,
    ("host_verdict", "status"): outcomes.HostStatus,
    ("host_verdict", "class"): outcomes.HostClass,
    ("host_verdict", "defects"): outcomes.Defect,
    ("host_verdict", "causes"): outcomes.MismatchCause,
}
CELLS = [cell for one in CATALOGUE for cell in one.expected()]


def _values(cell: Expected) -> set[object]:
    match cell.value:
        case OneOf(values) | Has(values) | Lacks(values):
            return set(values) - {None}
        case list() as values:
            return set(values)
        case value:
            return {value} - {None}


def test_at_least_110_of_different_names() -> None:
    assert len(CATALOGUE) >= 110
    assert len({one.name for one in CATALOGUE}) == len(CATALOGUE)
    assert all(one.what and one.why for one in CATALOGUE)


def test_every_declared_cell_exists_and_says_known_words() -> None:
    for cell in CELLS:
        assert cell.column in TABLES[cell.table].names, cell
        if words := WORDS.get((cell.table, cell.column)):
            assert _values(cell) <= set(words), cell  # type: ignore[arg-type]


def test_every_host_status_from_absent_down_is_expected_somewhere() -> None:
    expected = {
        value
        for cell in CELLS
        if cell.table == "host_verdict" and cell.column == "status"
        for value in _values(cell)
    }
    local = {"local_error", "excess", "opted_out", "unprobed", "local_error_smtp"}
    assert {*outcomes.HostStatus} - expected <= local | {"address_failed", "no_address"}


def test_every_domain_status_is_expected_somewhere() -> None:
    assert {one.verdict["status"] for one in CATALOGUE} >= set(outcomes.DomainStatus)


def test_every_fault_and_action_is_used() -> None:
    signings = [signing for one in CATALOGUE for signing in one.zones.values()]
    assert {fault for one in signings for fault in one.faults} <= FAULTS.keys()
    used = {behaviour.action for one in signings for behaviour in one.servers}
    assert used == ACTIONS.keys()


@pytest.mark.parametrize("name", [*population.BROKEN_WAYS, *population.OWN_HOSTS])
def test_made_up_domains_come_from_scenarios_that_fit_any_name(name: str) -> None:
    (scenario,) = [one for one in CATALOGUE if one.name == name]
    built = repr((scenario.records, scenario.hosts, scenario.zones, scenario.verdict))
    assert f"{name}." not in built


def test_shown_as_a_table_and_as_json() -> None:
    header, *rows = catalogue.as_table()
    assert header.split() == ["DOMAIN", "STATUS", "WHAT", "WHY"]
    assert len(rows) == len(CATALOGUE)
    for line, one in zip(catalogue.as_json(), CATALOGUE, strict=True):
        said = json.loads(line)
        assert said["domain"] == one.domain
        assert len(said["expect"]) == len(list(one.expected()))


def test_expectations_hold_values_sets_and_lists() -> None:
    def cell(value: object) -> Expected:
        return Expected("one", "mx_host", "mx", "defects", value)

    assert cell(["a"]).met_by(["a"])
    assert not cell(["a"]).met_by(["a", "b"])
    assert cell(Has(frozenset({"a"}))).met_by(["a", "b"])
    assert not cell(Has(frozenset({"a"}))).met_by(["b"])
    assert not cell(Lacks(frozenset({"a"}))).met_by(["a", "b"])
    assert cell(OneOf(frozenset({"a", None}))).met_by(None)
