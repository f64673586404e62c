"""constraints*.txt: every package that is installed has a version and the hashes of its files."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FILES = ("constraints.txt", "constraints-dev.txt")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def pinned(name: str) -> dict[str, list[str]]:
    """Package to its hashes."""
    text = (ROOT / name).read_text("utf-8").replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        requirement, *options = re.split(r"\s+(?=--)", line.strip())
        parsed = Requirement(requirement)
        assert re.fullmatch(r"==[^,*]+", str(parsed.specifier)), line
        found[canonicalize_name(parsed.name)] = options
    return found


@pytest.mark.parametrize("name", FILES)
def test_each_has_hashes_and_nothing_else(name: str) -> None:
    packages = pinned(name)
    assert len(packages) > 20
    for package, options in packages.items():
        assert options, package
        assert all(_HASH.fullmatch(option) for option in options), package


@pytest.mark.parametrize("name", FILES)
def test_no_file_says_where_packages_come_from(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    assert not re.search(r"://|--index|--extra|--find-links|--trusted", text)


def test_all_that_the_project_asks_for_is_pinned() -> None:
    """After a change of pyproject.toml: `./run pin`."""
    runs, develops = map(pinned, FILES)
    assert not runs.keys() & develops.keys()
    extras = PROJECT["optional-dependencies"]
    for requirement in (*PROJECT["dependencies"], *extras["build"]):
        assert canonicalize_name(Requirement(requirement).name) in runs
    for extra in extras.values():
        for requirement in extra:
            assert canonicalize_name(Requirement(requirement).name) in {**runs, **develops}


def test_setup_requires_them() -> None:
    script = (ROOT / "run").read_text("utf-8")
    assert "--require-hashes" in script
    for file in (ROOT / "run", ROOT / "docker/Dockerfile"):
        for install in re.findall(r"pip install (?:[^\n]|\\\n)*", file.read_text("utf-8")):
            assert "--constraint" not in install, file
