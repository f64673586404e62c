"""The shape of docker-compose.yml: what must be true of it before any Docker reads it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from crawler.dns.configuration import CONTROL
from crawler.dns.unbound import loopback
from danesurvey.settings import load

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LASTING = [name for name in SERVICES if name != "resolver-config"]


def test_what_there_is() -> None:
    assert set(SERVICES) == {
        "postgres",
        "resolver-config",
        "resolver",
        "resolver-second",
        "survey",
    }


@pytest.mark.parametrize("name", LASTING)
def test_health_is_checked(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout"} <= check.keys()


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned_or_built_here(name: str) -> None:
    service = SERVICES[name]
    if "build" in service:
        build = service["build"]
        assert (ROOT / build["context"] / build["dockerfile"]).is_file()
    else:
        assert re.fullmatch(r"[a-z]+:\d+", service["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_volumes_are_declared_or_files_of_ours(name: str) -> None:
    for volume in SERVICES[name].get("volumes", ()):
        source, target, *mode = volume.split(":")
        assert target.startswith("/")
        if source.startswith("."):
            assert (ROOT / source).is_file()
            assert mode == ["ro"]
        else:
            assert source in COMPOSE["volumes"]


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_is_published_or_privileged(name: str) -> None:
    assert not {"ports", "privileged", "cap_add", "devices"} & SERVICES[name].keys()


def test_dependencies_exist_and_wait_for_health() -> None:
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            once = other == "resolver-config"
            assert how["condition"] == (
                "service_completed_successfully" if once else "service_healthy"
            )
            assert once or "healthcheck" in SERVICES[other]


def test_the_resolvers_read_what_resolver_config_prints() -> None:
    (script,) = SERVICES["resolver-config"]["command"]
    base = Path(SERVICES["resolver-config"]["working_dir"])
    printed = dict(re.findall(r"danesurvey (resolver config.*?) > (\S+)", script))
    assert printed == {
        "resolver config": "first/unbound.conf",
        "resolver config --second-look": "second/unbound.conf",
    }
    for name, file in zip(("resolver", "resolver-second"), printed.values(), strict=True):
        service = SERVICES[name]
        assert base / file == Path(service["working_dir"]) / service["entrypoint"][-1]
        # the directory of the control socket, below the one where Unbound starts
        assert str(Path(file).parent / Path(CONTROL).parent) in script


def test_the_survey_reaches_its_resolvers_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    survey = SERVICES["survey"]
    for key, value in survey["environment"].items():
        monkeypatch.setenv(key, value)
    settings = load(ROOT / "docker" / "danesurvey.toml")
    resolver = settings.resolver
    assert survey["network_mode"] == "service:resolver"
    assert SERVICES["resolver-second"]["network_mode"] == "service:resolver"
    assert resolver.address
    assert resolver.second_look_address
    assert loopback(resolver.address)[1] == resolver.port
    assert loopback(resolver.second_look_address)[1] == resolver.second_look_port
    for name, control in (
        ("resolver", resolver.control),
        ("resolver-second", resolver.second_look_control),
    ):
        assert control == Path(SERVICES[name]["working_dir"]) / CONTROL


def test_the_database_has_no_network_and_no_password() -> None:
    url = SERVICES["survey"]["environment"]["DANESURVEY_DATABASE_URL"]
    socket_directory = url.partition("host=")[2]
    for name in ("postgres", "survey"):
        assert f"database-socket:{socket_directory}" in SERVICES[name]["volumes"]
    assert "listen_addresses=" in SERVICES["postgres"]["command"]


def test_the_image_holds_what_the_package_is_made_of() -> None:
    taken = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")
    }
    found = re.search(r"include = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL)
    assert found
    packages = set(re.findall(r'"(\w+)\*"', found[1]))
    assert packages <= taken
    assert {"pyproject.toml", "constraints.txt"} <= taken
