"""`manifest.json`: what the data set holds, as a Frictionless data package.

One resource a table with its schema and files (bytes, SHA-256, rows), and one entry a run
with what it was made of: zones with serials, software, resolver, canaries, settings. It
is the list of what is published: files that it does not name are not part of the data
set. `public/manifest.json` is the same without anything restricted, so that `public/`
can be handed on as it is. No secret and no time of publication is in it.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from types import MappingProxyType
from typing import Any

import pyarrow.parquet as pq

from dane.faults import Refused
from reports.columns import Access, PublishedTable
from reports.dataset import NAME, Dataset, Files, RunKey, make_directory, replace_file, sha256
from reports.dictionary import SCHEMA_VERSION, TABLES
from storage.run import RunKind

_SOFTWARE = ("danesurvey", "duckdb", "pyarrow", "publicsuffixlist", "cryptography")

# Settings are published by this list, so that a new setting is private until it is named.
# True: the whole section; else its keys.
_SETTINGS: Mapping[str, bool | tuple[str, ...]] = {
    "resolver": ("threads", "cache_mib", "query_localhost", "ipv6"),
    "client": True,
    "canaries": True,
    "probe": (
        "ehlo_name",
        "contact",
        "information_page",
        "port",
        "connect_s",
        "reply_s",
        "tls_s",
        "session_s",
        "new_per_s",
        "per_operator",
        "address_interval_s",
        "names_per_key",
        "attempts_after_s",
        "dns_max_age_s",
        "both_key_types",
    ),
    "intake": True,
    "survey": ("workers", "shard_rows", "shard_deadline_s"),
    "publish": (
        "vantage",
        "public_floor",
        "licence",
        "max_local_share",
        "least_local_hosts",
        "min_coverage",
        "max_unreachable_rise",
        "usual_unreachable_share",
        "confirmation",
    ),
}
_USERINFO = re.compile(r"(?<=://)[^/@\s]*@")


@dataclass(frozen=True, slots=True)
class RunEntry:
    """One run of the data set, as its manifest says."""

    key: RunKey
    kind: str
    started: datetime
    rows: Mapping[str, int]  # by "access/table"


def file_entries(dataset: Dataset, paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Files of the data set with bytes, SHA-256 and rows; paths relative to it."""
    return [
        {
            "path": path.relative_to(dataset.directory).as_posix(),
            "bytes": path.stat().st_size,
            "hash": f"sha256:{sha256(path)}",
            "rows": pq.read_metadata(path).num_rows,
        }
        for path in paths
    ]


def run_entry(
    key: RunKey,
    *,
    kind: str,
    started: datetime,
    vantage: str,
    record: Mapping[str, Any],
    sources: Sequence[Mapping[str, Any]],
    rows: Mapping[str, int],
    publish: Mapping[str, Any] = MappingProxyType({}),
    named: Collection[str] = (),
) -> dict[str, Any]:
    """What a run was made of. `record` is the run's own, as the coordinator kept it; `publish`
    the settings of this publication, `named` the operators that may be named."""
    return {
        "run": key.run_id,
        "month": key.month,
        "kind": kind,
        "started": started.isoformat(),
        "vantage": vantage,
        "simulated": bool(record.get("settings", {}).get("lab", {}).get("days_ahead")),
        "rows": dict(rows),
        "sources": [dict(one) for one in sources],
        "software": {
            "python": python_version(),
            **{name: version(name) for name in _SOFTWARE},
            **_without_secrets(record.get("software", {})),
        },
        "resolver": _without_secrets(record.get("resolver", {})),
        "canaries": _without_secrets(record.get("canaries", {})),
        "sessions": [
            _without_secrets(record[name]) for name in sorted(record) if name.startswith("session ")
        ],
        "operator_merges": [
            {"name": name, "operator": operator, "public": operator in named}
            for name, operator in sorted(record.get("operator_merges", {}).items())
        ],
        "settings": public_settings(_with_publish(record, publish)),
    }


def _with_publish(record: Mapping[str, Any], publish: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the run, with those of its publication, which came later."""
    settings = dict(record.get("settings", {}))
    return settings | {"publish": {**settings.get("publish", {}), **publish}}


def public_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are named in this module; of a zone its name and kind."""
    shown: dict[str, Any] = {}
    for section, keys in _SETTINGS.items():
        given = settings.get(section)
        if isinstance(given, Mapping):
            wanted = given if keys is True else [key for key in keys or () if key in given]
            shown[section] = _without_secrets({key: given[key] for key in wanted})
    zones = settings.get("zones") or ()
    shown["zones"] = [{key: zone[key] for key in ("zone", "kind") if key in zone} for zone in zones]
    return shown


def runs(dataset: Dataset) -> list[RunEntry]:
    """The published runs by start. Raises Refused for a manifest that is not one of ours."""
    entries = [
        RunEntry(
            RunKey(one["month"], one["run"]),
            one["kind"],
            datetime.fromisoformat(one["started"]),
            one["rows"],
        )
        for one in dataset.manifest()["runs"]
    ]
    return sorted(entries, key=lambda entry: (entry.started, entry.key))


def last_run(
    dataset: Dataset, month: str | None = None, kinds: Sequence[str] = tuple(RunKind)
) -> RunEntry:
    """The last published run of these kinds, of the month if one is given. Raises Refused."""
    found = [one for one in runs(dataset) if one.kind in kinds and month in (None, one.key.month)]
    if not found:
        which = "" if set(kinds) == set(RunKind) else f"{' or '.join(kinds)} "
        of_month = f" of {month}" if month else ""
        raise Refused(
            f"{dataset.directory} has no {which}run{of_month}; `danesurvey publish` publishes one"
        )
    return found[-1]


def last_before(started: datetime, published: Iterable[RunEntry], *kinds: str) -> RunEntry | None:
    """The last of these runs, of these kinds if any is given, that began before `started`."""
    earlier = [
        one for one in published if one.started < started and (not kinds or one.kind in kinds)
    ]
    return earlier[-1] if earlier else None


def vantage(dataset: Dataset, key: RunKey) -> str:
    """The name of the network that a run looked from; empty if the survey gave none."""
    return next(
        str(one.get("vantage", ""))
        for one in dataset.manifest()["runs"]
        if (one["month"], one["run"]) == (key.month, key.run_id)
    )


def settings_of(dataset: Dataset, key: RunKey) -> Mapping[str, Any]:
    """The settings that the manifest says of a run, by section."""
    for one in dataset.manifest()["runs"]:
        if (one["month"], one["run"]) == (key.month, key.run_id):
            settings: Mapping[str, Any] = one.get("settings", {})
            return settings
    return {}


def begin(dataset: Dataset) -> None:
    """A manifest without runs where there is none yet: from now on, a file that no manifest
    names is one that a killed publication left."""
    if not (dataset.directory / NAME).exists():
        _write(dataset, [], {})


def take(dataset: Dataset, staged: Files, entry: Mapping[str, Any]) -> None:
    """Publish a staged run: its files move to where they stay, then the manifest names them."""
    begin(dataset)
    placed = {table: dataset.place(staged, table) for table in TABLES}
    add(dataset, entry, {table: file_entries(dataset, placed[table]) for table in TABLES})


def add(
    dataset: Dataset,
    entry: Mapping[str, Any],
    files: Mapping[PublishedTable, Sequence[Mapping[str, Any]]],
) -> None:
    """Put a run into both manifests, in place of what they said of it before.

    Each is renamed into place, the public one first. Files of either stay until neither
    names them, so a reader of one sees the whole old publication or the whole new one.
    """
    found = dataset.manifest()
    key = RunKey(entry["month"], entry["run"])
    others = [one for one in found["runs"] if one["run"] != key.run_id]
    entries = sorted([*others, entry], key=lambda one: (one["started"], one["run"]))
    run = f"/run={key.run_id}/"
    known: dict[str, list[Mapping[str, Any]]] = {
        one["name"]: [file for file in one["files"] if run not in file["path"]]
        for one in found["resources"]
    }
    for table in TABLES:
        year = f"/{table.partition(key)}/"
        known[_resource_name(table)] = [
            *(one for one in known.get(_resource_name(table), ()) if year not in one["path"]),
            *files[table],
        ]
    _write(dataset, entries, known)


def _write(
    dataset: Dataset,
    entries: Sequence[Mapping[str, Any]],
    known: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    public = dataset.directory / Access.PUBLIC
    make_directory(public, dataset.directory, Access.PUBLIC)
    replace_file(public / NAME, _encode(entries, known, (Access.PUBLIC,)))
    replace_file(dataset.directory / NAME, _encode(entries, known, tuple(Access)))


def _encode(
    entries: Sequence[Mapping[str, Any]],
    files: Mapping[str, Sequence[Mapping[str, Any]]],
    access: tuple[Access, ...],
) -> bytes:
    everything = len(access) == len(Access)
    package = {
        "profile": "data-package",
        "name": "danesurvey",
        "title": "Survey of DANE for SMTP",
        "version": SCHEMA_VERSION,
        **_licences(entries),
        "resources": [
            _resource(
                table,
                files.get(_resource_name(table), ()),
                relative_to="" if everything else "public/",
            )
            for table in TABLES
            if table.access in access
        ],
        "runs": [
            {
                **entry,
                "sources": [
                    source for source in entry["sources"] if everything or source["public"]
                ],
                "operator_merges": [
                    merge for merge in entry["operator_merges"] if everything or merge["public"]
                ],
                "rows": {
                    name: rows
                    for name, rows in entry["rows"].items()
                    if everything or name.startswith("public/")
                },
            }
            for entry in entries
        ],
    }
    return (json.dumps(package, indent=1, ensure_ascii=True) + "\n").encode("ascii")


def _licences(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The licence of the public part, as the last publication has it."""
    said = [one["settings"].get("publish", {}).get("licence") for one in entries]
    return {"licenses": [{"name": said[-1]}]} if said and said[-1] else {}


def _resource(
    table: PublishedTable, files: Sequence[Mapping[str, Any]], *, relative_to: str
) -> dict[str, Any]:
    shown = sorted(
        ({**file, "path": file["path"].removeprefix(relative_to)} for file in files),
        key=lambda file: file["path"],
    )
    return {
        "name": _resource_name(table),
        "title": table.name,
        "description": table.description,
        "access": table.access,
        "profile": "tabular-data-resource",
        "format": "parquet",
        "mediatype": "application/vnd.apache.parquet",
        "path": [file["path"] for file in shown],
        "files": shown,
        "schema": table.frictionless(),
    }


def _resource_name(table: PublishedTable) -> str:
    return f"{table.access}-{table.name}"


def _without_secrets(value: Any) -> Any:
    """The value, with user and password taken out of every URL."""
    if isinstance(value, Mapping):
        return {key: _without_secrets(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(one) for one in value]
    return _USERINFO.sub("", value) if isinstance(value, str) else value
