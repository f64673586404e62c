"""All settings: each package's own frozen dataclass, composed and read in one place.

Order, the later wins: `danesurvey.toml` (`--config`, else $DANESURVEY_CONFIG, else
./danesurvey.toml, else /etc/danesurvey/danesurvey.toml), then the environment
(`DANESURVEY_<SECTION>_<KEY>`, so `database.url` is DANESURVEY_DATABASE_URL), then flags
(`--set database.url=…`). An unknown key is a usage fault that names it, wherever it stands.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from crawler.dns.settings import CanarySettings, ClientSettings, ResolverSettings
from crawler.smtp.settings import ProbeSettings
from crawler.survey.settings import SurveySettings
from crawler.zones.settings import IntakeSettings, ZoneSource
from dane.faults import UsageFault
from reports.settings import PublishSettings
from storage.settings import DatabaseSettings

_SEARCHED = (Path("danesurvey.toml"), Path("/etc/danesurvey/danesurvey.toml"))
_PREFIX = "DANESURVEY_"
# Read where they are needed, so that no secret and no path rests in a settings object.
_OUTSIDE = {
    "DANESURVEY_CONFIG",
    "DANESURVEY_NODE",
    "DANESURVEY_TSIG_SECRET",
    "DANESURVEY_CZDS_PASSWORD",
}

_SECTIONS: tuple[type, ...] = (
    ResolverSettings,
    ClientSettings,
    CanarySettings,
    ProbeSettings,
    ZoneSource,
    IntakeSettings,
    SurveySettings,
    DatabaseSettings,
    PublishSettings,
)
for _section in _SECTIONS:
    # pydantic reads this attribute; set here so that the packages need not know pydantic
    _section.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]


def default_state_directory() -> Path:
    """/var/lib/danesurvey as root, else $XDG_STATE_HOME/danesurvey."""
    if os.geteuid() == 0:
        return Path("/var/lib/danesurvey")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "danesurvey"


class Settings(BaseSettings):
    """Everything that a command may be told. Immutable."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="_",
        env_nested_max_split=1,
        extra="forbid",
        frozen=True,
    )

    state_dir: Path = Field(default_factory=default_state_directory)
    database: DatabaseSettings = DatabaseSettings()
    resolver: ResolverSettings = ResolverSettings()
    client: ClientSettings = ClientSettings()
    canaries: CanarySettings = CanarySettings()
    zones: tuple[ZoneSource, ...] = ()
    intake: IntakeSettings = IntakeSettings()
    probe: ProbeSettings = ProbeSettings()
    survey: SurveySettings = SurveySettings()
    publish: PublishSettings = PublishSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # `load` gives the sources itself: flags over environment over file
        return (init_settings,)


def load(config: Path | None = None, flags: Sequence[str] = ()) -> Settings:
    """Read all settings. `flags` are `section.key=value` or `key=value`.

    Raises UsageFault for a file that cannot be read or parsed, an unknown key, a bad value.
    """
    _refuse_unknown_environment()
    path = _config_file(config)
    sources = [
        InitSettingsSource(Settings, _flag_values(flags)),
        EnvSettingsSource(Settings),
        InitSettingsSource(Settings, _read(path) if path else {}),
    ]
    try:
        merged: dict[str, Any] = {}
        for source in reversed(sources):
            merged = _merge(merged, source())
        return Settings(**merged)
    except ValidationError as error:
        raise UsageFault(f"settings: {_first_line(error, path)}") from None
    except ValueError as error:  # a value in the environment that is no JSON where it must be
        raise UsageFault(f"settings: {error}") from None


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(low)
    for key, value in high.items():
        held = both.get(key)
        both[key] = (
            _merge(held, value)
            if isinstance(held, Mapping) and isinstance(value, Mapping)
            else value
        )
    return both


def _config_file(config: Path | None) -> Path | None:
    if config is None and (named := os.environ.get("DANESURVEY_CONFIG")):
        config = Path(named)
    if config is not None:
        return config
    return next((path for path in _SEARCHED if path.is_file()), None)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise UsageFault(f"settings file {path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageFault(f"settings file {path}: {error}") from None


def _flag_values(flags: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for flag in flags:
        name, equals, value = flag.partition("=")
        if not equals:
            raise UsageFault(f"--set {flag}: expected section.key=value")
        *sections, key = name.split(".")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = _list(flag, value) if value.startswith("[") else value
    return values


def _list(flag: str, value: str) -> Any:
    """A list as TOML has it, such as `[10, 90]`."""
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        raise UsageFault(f"--set {flag}: not a list such as [10, 90]") from None


def _refuse_unknown_environment() -> None:
    sections = {name.upper() for name in Settings.model_fields}
    for name in os.environ:
        if not name.startswith(_PREFIX) or name in _OUTSIDE:
            continue
        rest = name.removeprefix(_PREFIX)
        if rest not in sections and rest.partition("_")[0] not in sections:
            raise UsageFault(f"environment {name}: no such setting")


def _first_line(error: ValidationError, path: Path | None) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    reason = {
        "extra_forbidden": "no such setting",
        "unexpected_keyword_argument": "no such setting",
        "missing": "required",
    }.get(first["type"], first["msg"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {reason}{more}" + (f" in {path}" if path else "")
