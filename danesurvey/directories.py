"""The directories that danesurvey keeps its files in."""

import os
import stat
from pathlib import Path

from dane.faults import LocalTrouble


def make_directory(path: Path, mode: int) -> None:
    """Make `path` and what is missing above it."""
    missing = [path, *path.parents]
    for directory in reversed(missing):
        if not directory.exists():
            try:
                directory.mkdir()
            except FileExistsError:
                continue  # another command was faster
            directory.chmod(mode)
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        raise LocalTrouble(f"{path} is not a directory")
