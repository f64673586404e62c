"""The lab and a validating resolver in it, as fixtures that last a session.

A conftest offers them with `from tests.lab_fixture import lab, lab_resolver`.
"""

import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crawler.dns import installation
from crawler.dns.settings import ResolverSettings
from dane.faults import LocalTrouble
from lab.internet import Lab

RESOLVER = ("127.0.0.1", 5391)  # not the port of a survey, which tests start beside it


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The whole catalogue, up. It ends with the session, and with the process at the latest."""
    try:
        internet = Lab(tmp_path_factory.mktemp("lab"))
    except LocalTrouble as trouble:
        pytest.skip(str(trouble))
    with internet:
        yield internet


@pytest.fixture(scope="session")
def lab_resolver(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """The address, inside the lab, of an Unbound with the survey's configuration."""
    with unbound(lab, tmp_path_factory.mktemp("resolver"), RESOLVER[1]):
        yield RESOLVER


@contextmanager
def unbound(lab: Lab, directory: Path, port: int) -> Iterator[None]:
    """An Unbound of the survey's configuration on 127.0.0.1 inside the lab."""
    settings = tomllib.loads(lab.settings_file.read_text())["resolver"]
    for key in ("root_hints", "trust_anchor"):
        settings[key] = Path(settings[key])
    installation.prepare(ResolverSettings(**settings, port=port), directory)
    process = lab.popen(
        [*map(str, installation.command())],
        cwd=directory,
        env=installation.environment(),
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    with process:
        try:
            said = process.stderr.readline()  # "start of service", or why not
            assert b"start of service" in said, said
            yield
        finally:
            process.terminate()
