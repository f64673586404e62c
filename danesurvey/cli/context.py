"""What the global options said, and the settings that come of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dane import clock
from dane.faults import UsageFault

if TYPE_CHECKING:  # half of the time in which the command starts
    from danesurvey.settings import Settings


@dataclass(frozen=True, slots=True)
class GlobalOptions:
    config: Path | None
    flags: tuple[str, ...]


def settings_of(context: typer.Context, *flags: str) -> "Settings":
    """The settings for this command; `flags` (`section.key=value`) are the verb's own.

    Sets the clock of this process by `lab.days_ahead`. Raises UsageFault.
    """
    from danesurvey.settings import load

    options: GlobalOptions = context.obj
    settings = load(options.config, (*options.flags, *flags))
    clock.run_ahead(settings.lab.days_ahead)
    return settings


def settings_with_zones(context: typer.Context) -> "Settings":
    """The settings for a command that has nothing to do without zones. Raises UsageFault."""
    settings = settings_of(context)
    if not settings.zones:
        raise UsageFault("no zones: name them in [[zones]] (docs/zones.md)")
    return settings
