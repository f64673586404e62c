"""`danesurvey check` in the lab: the verdict of every scenario is what the scenario declares.

Left to the survey's own comparison: lookups that fail (each takes Unbound a minute to give
up; two stand for them) and servers whose behaviour changes from one connection to the next.
"""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from dane.outcomes import DomainStatus
from lab.internet import Lab
from lab.scenarios.scenario import Expected, Scenario, has
from tests.e2e.check_page import PAGE

LOOKUPS = frozenset({"expired"})
"""Failing lookups that end at once."""

# Columns of domain_verdict that the document has under the same name.
VERDICT = ("status", "stage", "reason", "level", "mx_secure", "dane_primary", "deliverable")
DNS = ("a_outcome", "a_secure", "aaaa_outcome", "aaaa_secure", "tlsa_outcome")
HOSTS = {"host": "host", "host_status": "status", "host_class": "class"}


FICKLE = "starttls-every-other-time"
HASTY = ("canaries.recovery_s=0.5", "client.try_s=0.5", "client.last_try_s=0.5")


def check(
    lab: Lab, *arguments: str, text: str = "", settings: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "danesurvey", "--config", str(lab.settings_file)]
    for one in settings:
        command += ["--set", one]
    return lab.exec([*command, "check", *arguments], input=text, capture_output=True, text=True)


def quick(scenario: Scenario) -> bool:
    status = scenario.verdict.get("status")
    lookup = status in (DomainStatus.LOOKUP_FAILED, DomainStatus.INDETERMINATE)
    fickle = any("every-other-starttls" in host.session.faults for host in scenario.hosts)
    return (not lookup or scenario.name in LOOKUPS) and not fickle


@pytest.fixture(scope="module")
def documents(lab: Lab) -> dict[str, dict[str, Any]]:
    """Every quick scenario's document, by domain; the domains given on standard input."""
    names = [one.domain for one in lab.scenarios if quick(one)]
    done = check(lab, "--json", text="\n".join(names))
    assert done.returncode == 1, done.stderr[-4000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(one["domain"] for one in found) == sorted(names), "each once"
    return {one["domain"]: one for one in found}


def cells(document: dict[str, Any]) -> Iterator[tuple[tuple[str, str, str], Any]]:
    """(table, key, column) as the scenarios name them, and what the document says there."""
    domain = document["domain"]
    for column in VERDICT:
        yield ("domain_verdict", domain, column), document["verdict"][column]
    for column, key in HOSTS.items():
        yield ("domain_verdict", domain, column), [host[key] for host in document["hosts"]]
    yield ("domain_verdict", domain, "defects"), words(document["verdict"])
    yield ("domain_mx", domain, "outcome"), document["dnssec"]["mx_outcome"]
    yield ("domain_mx", domain, "secure"), document["dnssec"]["mx_secure"]
    for host in document["hosts"]:
        yield ("host_verdict", host["host"], "usable"), host["usable"]
        yield ("host_verdict", host["host"], "defects"), words(host)
        yield ("mx_host", host["host"], "tlsa_base"), host["tlsa_base"]
        for column in DNS if host["dns"] else ():
            yield ("mx_host", host["host"], column), host["dns"][column]


def words(part: dict[str, Any]) -> list[str]:
    return [one["defect"] for one in part["defects"]]


def of_the_full_survey(cell: Expected) -> bool:
    """Whether a cell needs the stage that asks every name server of a good host's zone: `check`
    asks them only where a lookup fails."""
    return cell.value in (has("some_servers_fail"), has("servers_disagree"))


def test_verdicts_are_those_of_the_survey(lab: Lab, documents: dict[str, dict[str, Any]]) -> None:
    differences, compared = [], 0
    for scenario in filter(quick, lab.scenarios):
        found = dict(cells(documents[scenario.domain]))
        for cell in scenario.expected():
            place = (cell.table, cell.key, cell.column)
            if place in found and not of_the_full_survey(cell):
                compared += 1
                if not cell.met_by(found[place]):
                    differences.append((scenario.name, place, cell.value, found[place]))
    assert differences == []
    assert compared > 1000


PRACTICES = {
    "tlsa-at-domain": ("at_domain", "_25._tcp.tlsa-at-domain.plain"),
    "tlsa-at-port-465": ("other_port", "_465._tcp.mx.tlsa-at-port-465.plain"),
    "tlsa-at-port-587": ("other_port", "_587._tcp.mx.tlsa-at-port-587.plain"),
    "tlsa-at-port-443": ("other_port", "_443._tcp.mx.tlsa-at-port-443.plain"),
    "tlsa-without-underscores": (
        "without_underscore",
        "25.tcp.mx.tlsa-without-underscores.plain",
    ),
    "tlsa-port-without-underscore": (
        "without_underscore",
        "25._tcp.mx.tlsa-port-without-underscore.plain",
    ),
    "tlsa-protocol-without-underscore": (
        "without_underscore",
        "_25.tcp.mx.tlsa-protocol-without-underscore.plain",
    ),
    "tlsa-hides-wildcard": ("hides_wildcard", "_25._tcp.mx.tlsa-hides-wildcard.plain"),
}


def test_what_people_get_wrong_is_told_with_its_repair(
    documents: dict[str, dict[str, Any]],
) -> None:
    found = {
        domain.partition(".")[0]: [(one["practice"], one["name"]) for one in document["misplaced"]]
        for domain, document in documents.items()
        if document["misplaced"]
    }
    assert found == {name: [expected] for name, expected in PRACTICES.items()}
    for name in PRACTICES:
        document = documents[f"{name}.plain"]
        (one,) = document["misplaced"]
        assert one["meaning"] in document["causes"]
        assert document["repairs"][0]["host"] == f"mx.{name}.plain"
        assert document["verdict"]["severity"] == "warning"
    hidden = documents["tlsa-hides-wildcard.plain"]
    assert hidden["misplaced"][0]["wildcard"] == "*.tlsa-hides-wildcard.plain"
    assert "at mx.tlsa-hides-wildcard.plain itself" in hidden["repairs"][0]["text"]


def keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from keys(one)


def test_the_page_has_every_key_of_a_document(documents: dict[str, dict[str, Any]]) -> None:
    _, _, page = PAGE.read_text("utf-8").partition("## `--json`")
    assert set(keys(list(documents.values()))) - set(re.findall(r"`(\w+)`", page)) == set()


def test_every_broken_domain_is_told_a_cause_and_a_repair(
    documents: dict[str, dict[str, Any]],
) -> None:
    for domain, one in documents.items():
        if one["verdict"]["status"] in (DomainStatus.BROKEN, DomainStatus.LOOKUP_FAILED):
            assert one["causes"], domain
            assert one["repairs"], domain


def test_the_record_to_publish_is_the_right_one(
    lab: Lab, documents: dict[str, dict[str, Any]]
) -> None:
    """What `check` proposes for a wrong key is what the same key matches elsewhere."""
    one = documents["ee-stranger.plain"]
    (repair,) = one["repairs"]
    (address,) = one["hosts"][0]["addresses"]
    leaf = address["chain"][0]
    assert repair["records"] == [
        f"_25._tcp.mx.ee-stranger.plain. IN TLSA 3 1 1 {leaf['spki_sha256']}"
    ]
    good = documents["ee-spki.plain"]["hosts"][0]
    assert good["tlsa"][0]["record"] == "3 1 1 " + good["addresses"][0]["chain"][0]["spki_sha256"]


def test_a_certificate_for_the_domain_passes_at_its_host(
    documents: dict[str, dict[str, Any]],
) -> None:
    (host,) = documents["name-of-the-domain.plain"]["hosts"]
    assert host["status"] == "pass"
    assert [one["status"] for one in host["addresses"]] == ["pass"]


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("ee-spki.plain",), 0, "ee-spki.plain: DANE works"),
        (("no-tlsa.plain",), 0, "no-tlsa.plain: No DANE"),
        (("no-tlsa.plain", "ee-stranger.plain"), 1, "no-tlsa.plain: No DANE"),
        (("--nagios", "ee-spki.plain"), 0, "DANE OK - ee-spki.plain: "),
        (("--nagios", "no-tlsa.plain"), 1, "DANE WARNING - no-tlsa.plain: "),
        (("--nagios", "ee-stranger.plain"), 2, "DANE CRITICAL - ee-stranger.plain: "),
        (
            ("--nagios", "no-such-domain.plain"),
            1,
            "DANE WARNING - no-such-domain.plain: There is no",
        ),
        (("--quiet", "ee-stranger.plain"), 1, ""),
        (
            ("--6", "ee-spki.plain"),
            3,
            "ee-spki.plain: Not known: no MX host has an address of the kind",
        ),
        (("--mx", "mx1.provider.plain", "no-tlsa.plain"), 0, "no-tlsa.plain: DANE works"),
        (("--at", "2099-01-01", "ta-spki.hashed"), 1, "ta-spki.hashed: DANE is broken"),
        (("--4", "EE-SPKI.plain."), 0, "ee-spki.plain: DANE works"),
    ],
)
def test_exit_codes_and_first_lines(
    lab: Lab, arguments: Sequence[str], code: int, line: str
) -> None:
    done = check(lab, *arguments)
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.startswith(line)
    assert bool(done.stdout) == bool(line)
    assert "\x1b" not in done.stdout, "no colour where there is no terminal"


def test_a_failure_is_believed_after_attempts_that_agree(
    lab: Lab, documents: dict[str, dict[str, Any]]
) -> None:
    """Three where STARTTLS is missing, two for the others, one where nothing fails."""
    seen: dict[str, set[int]] = {}
    for one in documents.values():
        for host in one["hosts"]:
            for address in host["addresses"]:
                attempts = address.get("attempts")
                if attempts and len(set(attempts)) == 1:
                    seen.setdefault(attempts[0], set()).add(len(attempts))
    assert seen["pass"] == {1}
    assert seen["mismatch"] == seen["name_mismatch"] == {2}
    assert seen["no_starttls"] == {3}
    (fickle,) = (one for one in lab.scenarios if one.name == FICKLE)
    done = check(lab, "--json", fickle.domain)
    assert json.loads(done.stdout)["verdict"]["status"] == DomainStatus.DANE, "never broken"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_what_is_good_is_told_before_what_is_broken_and_a_signal_ends_it(
    lab: Lab, number: int, code: int
) -> None:
    """The broken server would be visited again in an hour."""
    command = [sys.executable, "-m", "danesurvey", "--config", str(lab.settings_file)]
    command += ["--set", "probe.address_interval_s=3600"]
    with lab.popen(
        [*command, "check", "--nagios", "ee-stranger.plain", "ee-spki.plain"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as checking:
        assert checking.stdout is not None
        assert checking.stdout.readline().startswith("DANE OK - ee-spki.plain: ")
        checking.send_signal(number)
        rest, said = checking.communicate()
    assert (checking.returncode, rest, said) == (code, "", "")
    assert list((lab.directory / "state" / "check").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("a..b",), 2, "not a domain name"),
        (("me@ee-spki.plain",), 2, "a mail address"),
        (("x" * 64 + ".plain",), 2, "over 63"),
        (("--4", "--6", "ee-spki.plain"), 2, "exclude each other"),
        (("--at", "yesterday", "ee-spki.plain"), 2, "--at yesterday"),
        (("--resolver", "192.0.2.1", "ee-spki.plain"), 2, "only on loopback"),
        (("--resolver", "127.0.0.1@9", "ee-spki.plain"), 3, "canaries"),
        ((), 2, "no domain"),
    ],
)
def test_wrong_usage_is_one_line(lab: Lab, arguments: Sequence[str], code: int, error: str) -> None:
    done = check(lab, *arguments, settings=HASTY)
    assert done.returncode == code, done.stderr
    assert error in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_trouble_on_this_side_is_unknown_to_nagios(lab: Lab) -> None:
    done = check(lab, "--nagios", "a..b")
    assert done.returncode == 3
    assert done.stdout.startswith("DANE UNKNOWN - ")


def test_nothing_is_left_behind(lab: Lab) -> None:
    check(lab, "--quiet", "ee-spki.plain")
    assert list((lab.directory / "state" / "check").iterdir()) == []


def test_without_an_identity_dns_alone_is_checked(quick_lab: Lab) -> None:
    anonymous = ("ehlo_name=", "contact=", "information_page=", "lab_addresses=[]")
    done = check(
        quick_lab, "ee-spki.plain", "no-tlsa.plain", settings=[f"probe.{one}" for one in anonymous]
    )
    assert "probe.ehlo_name, probe.contact, probe.information_page" in done.stderr
    assert "no-tlsa.plain: No DANE" in done.stdout
    assert "MX 10 mx.ee-spki.plain: unprobed" in done.stdout
    assert "TLSA 3 1 1" in done.stdout
    assert "no identity is set" in done.stdout
    assert done.returncode == 3, "one of them is not known"
