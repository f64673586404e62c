"""Who operates a mail or name server: the registrable domain of its name, merged by a table.

Some operators run servers under several registrable domains. `probe.operator_merges` names
a TOML file of lines `registrable domain = "operator"`; without it nothing is merged.
"""

import tomllib
from functools import cache
from pathlib import Path

from dane import names
from dane.faults import UsageFault


@cache
def merges(path: Path | None) -> dict[str, str]:
    """The table of merges, its names as keys. Raises UsageFault for a file that is none."""
    if path is None:
        return {}
    try:
        with path.open("rb") as file:
            read = tomllib.load(file)
        return {names.canonical(one): str(operator) for one, operator in read.items()}
    except OSError as error:
        raise UsageFault(f"probe.operator_merges {path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, names.NameFault) as error:
        raise UsageFault(f"probe.operator_merges {path}: {error}") from None
