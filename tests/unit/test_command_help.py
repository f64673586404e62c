"""Every verb and every group of verbs explains itself with an example."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

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
