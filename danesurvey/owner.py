"""A lab's survey and the survey of the Internet never share a directory or a database.

A lab's answers are made up. One that came among a real survey's would be published, and a real
unfinished run that a lab's survey went on with would be lost. So each directory that is written
to says whose it is, in a file `.danesurvey`; a database says it in a table (storage.owner).
"""

import os
from pathlib import Path

from dane.faults import LocalTrouble, Refused
from danesurvey.directories import make_directory, refuse_unsafe
from danesurvey.settings import Settings
from storage.owner import SURVEY, lab

_MARK = ".danesurvey"
_KEPT = ("dataset", "postgres/data", "zones")  # what a survey would be sorry to lose
_MOST_READ = 200  # bytes of a mark


def owner_of(settings: Settings) -> str:
    """Whose survey these settings are for."""
    return lab(settings.lab.identity or "without a name") if settings.is_lab else SURVEY


def claim(settings: Settings) -> None:
    """Mark the directories that a survey writes to; make those that are missing.

    Raises Refused for a directory of another owner, or that another user could change,
    LocalTrouble for one that cannot be had.
    """
    owner = owner_of(settings)
    for directory in filter(None, (settings.state_dir, settings.publish.directory)):
        refuse_unsafe(directory)
        try:
            _claim(directory, owner)
        except OSError as error:
            raise LocalTrouble(f"{error.filename or directory}: {error.strerror}") from None


def _claim(directory: Path, owner: str) -> None:
    make_directory(directory, 0o755)
    mark = directory / _MARK
    try:
        with mark.open("rb") as file:
            held = file.read(_MOST_READ).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        held = ""
    if not held and owner != SURVEY and any((directory / kept).exists() for kept in _KEPT):
        held = SURVEY
    if held and held != owner:
        raise Refused(f"{directory} belongs to {held}, not to {owner}: set another state_dir")
    if not held:
        new = directory / f"{_MARK}.{os.getpid()}"
        new.write_text(f"{owner}\n", "utf-8")
        new.replace(mark)
