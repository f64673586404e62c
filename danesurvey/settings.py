"""All settings: each package's own frozen dataclass, composed and read in one place.

Order, the later wins: `danesurvey.toml` (`--config`, else $DANESURVEY_CONFIG, else
./danesurvey.toml, else /etc/danesurvey/danesurvey.toml), then the environment
(`DANESURVEY_<SECTION>_<KEY>`, so `database.url` is DANESURVEY_DATABASE_URL), then flags
(`--set database.url=…`). A lab's file (it has a section `[lab]`) is not changed by the
environment, which is meant for the survey of the Internet. An unknown key is a usage fault that
names it, wherever it stands, and so is a number with which nothing could work: no sockets, a
deadline that has passed. A file that another user could change is refused, and so is an Unbound.
"""

import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
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

from crawler.coordinator.settings import SurveySettings
from crawler.dns.settings import CanarySettings, ClientSettings, ResolverSettings
from crawler.smtp.settings import ProbeSettings
from crawler.zones.settings import IntakeSettings, ZoneSource
from dane.faults import UsageFault
from danesurvey.directories import objection
from danesurvey.simulation import LabSettings, objections
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

# Numbers that may be 0: no wait, no pause, no limit, none of them. All others are above.
_MAY_BE_ZERO = frozenset(
    {
        "intake.unsigned_sample",
        "client.passes_s",
        "client.questions_per_s_per_name_server_set",
        "canaries.recovery_s",
        "intake.max_lost_delegations",
        "intake.max_lost_signed",
        "intake.retry_wait_s",
        "probe.address_interval_s",
        "probe.attempts_after_s",
        "probe.dns_max_age_s",
        "survey.shard_deadline_s",
        "survey.worker_lost_wait_s",
        "survey.most_quarantined",
        "survey.patience_s",
        "survey.keep_full_runs",
        "survey.keep_daily_runs",
        "publish.max_local_share",
        "publish.min_coverage",
        "publish.max_exception_days",
        "publish.confirmation.span_s",
        "publish.confirmation.attempts_apart_s",
        "publish.confirmation.least_gap_s",
        "lab.days_ahead",
    }
)
_LAST_PORT = 65535

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
    LabSettings,
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
    lab: LabSettings = LabSettings()

    @property
    def is_lab(self) -> bool:
        """Whether these settings are for a survey of a lab: its answers are made up."""
        return bool(self.lab.identity or self.resolver.query_localhost or self.probe.lab_addresses)

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
    path = _config_file(config)
    if path:
        _refuse_strangers("settings file", path)
    written = _read(path) if path else {}
    is_lab = bool(written.get("lab"))
    if not is_lab:
        _refuse_unknown_environment()
    sources: dict[str, Mapping[str, Any]] = {}  # the strongest first
    try:
        sources["--set"] = InitSettingsSource(Settings, _flag_values(flags))()
        if not is_lab:
            sources["the environment"] = InitSettingsSource(Settings, _environment_values())()
        if path:
            sources[str(path)] = InitSettingsSource(Settings, written)()
        merged: dict[str, Any] = {}
        for values in reversed(sources.values()):
            merged = _merge(merged, values)
        settings = Settings(**merged)
    except ValidationError as error:
        raise UsageFault(f"settings: {_first_line(error, sources)}") from None
    except ValueError as error:  # a value in the environment that is no JSON where it must be
        raise UsageFault(f"settings: {error}") from None
    for fault in _unworkable(settings):
        raise UsageFault(f"settings: {fault}")
    if settings.resolver.unbound:
        _refuse_strangers("[resolver] unbound", settings.resolver.unbound)
    return settings


def _refuse_strangers(what: str, path: Path) -> None:
    """Raise UsageFault for a file that another user could change: it says what we run."""
    try:
        reason = objection(path)
    except OSError as error:
        reason = error.strerror
    if reason is not None:
        raise UsageFault(f"{what} {path}: {reason}")


def _unworkable(settings: Settings) -> Iterator[str]:
    """What no command could work with, though it is of the right type."""
    for name, number in _numbers(settings, Settings.model_fields):
        if name.endswith("port") and number > _LAST_PORT:
            yield f"{name}: {number} is no port"
        elif name in _MAY_BE_ZERO:
            if not number >= 0:  # nan neither
                yield f"{name}: {number} is below 0"
        elif not number > 0:
            yield f"{name}: {number} is not above 0"
    yield from objections(settings.lab, settings.resolver, settings.probe)
    if not settings.canaries.zones:
        yield "canaries.zones: without any, an outage of ours would pass for everybody else's"


def _numbers(
    section: object, names: Iterable[str], prefix: str = ""
) -> Iterator[tuple[str, int | float]]:
    """The numbers of the settings, with their names."""
    for name in names:
        value = getattr(section, name)
        if is_dataclass(value):
            yield from _numbers(value, [one.name for one in fields(value)], f"{prefix}{name}.")
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and not isinstance(number, bool):
                yield prefix + name, number


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
        given: Any = _value(f"--set {flag}", value)
        for section in reversed(name.split(".")):
            given = {section: given}
        values = _merge(values, given)
    return values


def _environment_values() -> dict[str, Any]:
    """Of the environment; a whole section or `zones` is JSON there, which pydantic has read."""
    found = EnvSettingsSource(Settings)()
    for section, values in found.items():
        if isinstance(values, dict):
            for key, value in values.items():
                if isinstance(value, str):
                    name = f"{_PREFIX}{section}_{key}".upper()
                    values[key] = _value(f"environment {name}", value)
    return found


def _value(source: str, text: str) -> Any:
    """A list as TOML has it, such as `[10, 90]`; else the text."""
    if not text.startswith("["):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        raise UsageFault(f"{source}: not a list such as [10, 90]") from None


def _refuse_unknown_environment() -> None:
    sections = {name.upper() for name in Settings.model_fields}
    for name in os.environ:
        if not name.startswith(_PREFIX) or name in _OUTSIDE:
            continue
        rest = name.removeprefix(_PREFIX)
        if rest not in sections and rest.partition("_")[0] not in sections:
            raise UsageFault(f"environment {name}: no such setting")


def _first_line(error: ValidationError, sources: Mapping[str, Mapping[str, Any]]) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    reason = {
        "extra_forbidden": "no such setting",
        "unexpected_keyword_argument": "no such setting",
        "missing": "required",
    }.get(first["type"], first["msg"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    # What is missing is in no source: then the weakest one, the file, is where it should be.
    given = (name for name, values in sources.items() if _holds(values, first["loc"]))
    return f"{where}: {reason}{more} in {next(given, list(sources)[-1])}"


def _holds(values: Any, location: Sequence[int | str]) -> bool:
    """Whether a source sets this, or something in whose place it would be."""
    for part in location:
        if not isinstance(values, Mapping):
            return True
        if part not in values:
            return False
        values = values[part]
    return True
