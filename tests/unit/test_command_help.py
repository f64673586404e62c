"""Every verb and every group of verbs explains itself with an example."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from danesurvey.cli import app


def _commands(command: Any, name: str = "danesurvey") -> Iterator[tuple[str, Any]]:
    yield name, command
    for verb, one in getattr(command, "commands", {}).items():
        yield from _commands(one, f"{name} {verb}")


_ALL = dict(_commands(typer.main.get_command(app)))


@pytest.mark.parametrize("name", _ALL)
def test_there_is_an_example_of_this_very_verb(name: str) -> None:
    epilog = _ALL[name].epilog or ""
    assert epilog.startswith(f"Example: {name}")
    assert _ALL[name].help


def test_the_version_of_the_package() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.output == f"danesurvey {version('danesurvey')}\n"


def test_help_does_without_rich() -> None:
    """It takes a third of the time in which the command starts."""
    program = "import sys; from danesurvey.cli import app; app(['--help'], standalone_mode=False)"
    program += "; print(*(name for name in sys.modules if name.startswith('rich.')))"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "rich.markdown" not in done.stdout
