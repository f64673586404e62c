"""The examples in docs/check.md: `python -m tests.e2e.check_page` writes them anew.

Each is the output of one command in a lab that has only the scenarios of the page, so that
addresses do not depend on the rest of the catalogue. Times are replaced by their form.
"""

import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.internet import Lab
from lab.scenarios import CATALOGUE

PAGE = Path(__file__).parents[2] / "docs" / "check.md"
_EXAMPLE = re.compile(
    r"(?<=<!-- check )(?P<arguments>[^\n]*)( -->\n```text\n)(?P<text>.*?)(?=```)", re.DOTALL
)
_TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_DOMAIN = re.compile(r"^(\S+): .*\n(?: .*\n)*", re.MULTILINE)
_BESIDE = ("provider", "unsigned-provider-host")  # whose hosts other scenarios point at


def domains(page: str) -> list[str]:
    """Every domain that an example asks for."""
    words = [word for one in _EXAMPLE.finditer(page) for word in one["arguments"].split()]
    return list(dict.fromkeys(word for word in words if not word.startswith("-")))


@contextmanager
def lab_of(page: str) -> Iterator[Lab]:
    wanted = set(domains(page))
    scenarios = [one for one in CATALOGUE if one.domain in wanted or one.name in _BESIDE]
    with tempfile.TemporaryDirectory() as directory, Lab(Path(directory), scenarios) as lab:
        yield lab


def written(page: str, lab: Lab) -> str:
    """The page with every example as the command prints it now."""
    plain = " ".join(
        one["arguments"] for one in _EXAMPLE.finditer(page) if one["arguments"][0] != "-"
    )
    # One command for all that have no options: its output is cut where a domain begins.
    outputs = {one[1]: one[0] for one in _DOMAIN.finditer(_check(lab, plain))}

    def example(found: re.Match[str]) -> str:
        arguments = found["arguments"]
        text = outputs.get(arguments) or _check(lab, arguments)
        return arguments + found[2] + _TIME.sub("YYYY-MM-DDThh:mm:ssZ", text)

    return _EXAMPLE.sub(example, page)


def _check(lab: Lab, arguments: str) -> str:
    command = [sys.executable, "-m", "danesurvey", "--config", str(lab.settings_file), "check"]
    done = lab.exec([*command, *arguments.split()], capture_output=True, text=True)
    assert done.returncode in (0, 1, 2), done.stderr
    return str(done.stdout)


def main() -> None:
    page = PAGE.read_text("utf-8")
    with lab_of(page) as lab:
        PAGE.write_text(written(page, lab), "utf-8")


if __name__ == "__main__":
    main()
