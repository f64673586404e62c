"""All settings: each package's own frozen dataclass, composed and read in one place.

Order: `danesurvey.toml` (`--config`, `DANESURVEY_CONFIG`, ./danesurvey.toml or
/etc/danesurvey/danesurvey.toml, the first that exists), then `DANESURVEY_<SECTION>__<KEY>`,
then flags. An unknown key is a usage fault that names it.
"""

import os
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass as checked
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from crawler.dns.settings import CanarySettings, ClientSettings, ResolverSettings
from crawler.smtp.settings import ProbeSettings
from crawler.survey.settings import SurveySettings
from crawler.zones.settings import IntakeSettings, ZoneSource
from dane.faults import UsageFault
from reports.settings import PublishSettings
from storage.settings import DatabaseSettings

_SEARCHED = (Path("danesurvey.toml"), Path("/etc/danesurvey/danesurvey.toml"))


def default_state_directory() -> Path:
    """/var/lib/danesurvey as root, else $XDG_STATE_HOME/danesurvey."""
    if os.geteuid() == 0:
        return Path("/var/lib/danesurvey")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "danesurvey"


def _strict(kind: type) -> Any:
    """The dataclass as a pydantic field type that refuses unknown keys."""
    return checked(kind, config=ConfigDict(extra="forbid"))
