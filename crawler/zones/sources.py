"""Where zones come from: every kind of source, to files on this disk.

A source that fails says so in what it gives, so that the others go on.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import aiohttp

from crawler.zones import axfr, czds
from crawler.zones.files import ZoneFile, zone_files
from crawler.zones.output import replacing
from crawler.zones.settings import IntakeSettings, ZoneSource
from dane import names
from dane.faults import Fault, LocalTrouble, Refused, UsageFault

EVERY = "*"
"""The zone of a source that gives several: each file says whose it is."""

_MAX_LIST = 4 << 30
_CHUNK = 1 << 20
# What each kind cannot do without: at least one of these settings
_NEEDED = {
    "file": ("path",),
    "czds": ("username",),
    "axfr": ("server",),
    "list": ("path", "url"),
}

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Obtained:
    """A file that a source gave, or why it gave none."""

    source: ZoneSource
    zone: str  # a key, or EVERY
    origin: str  # where it came from, for people
    file: ZoneFile | None = None
    promises_final_soa: bool = False
    fault: Fault | None = None


def check(sources: Sequence[ZoneSource]) -> None:
    """Raises UsageFault for sources whose settings do not hold together."""
    seen = set()
    for source in sources:
        zone = zone_key(source)
        if not any(getattr(source, name) for name in _NEEDED[source.kind]):
            needed = " or ".join(_NEEDED[source.kind])
            raise UsageFault(f"[[zones]] {source.zone}: kind {source.kind} needs {needed}")
        if zone == EVERY and source.kind in ("axfr", "list"):
            raise UsageFault(f"[[zones]] *: kind {source.kind} needs the name of one zone")
        if zone in seen:
            raise UsageFault(f"[[zones]] {source.zone} is there twice: each would undo the other")
        if zone != EVERY:
            seen.add(zone)
        if source.kind == "axfr":
            axfr.primary(source)
        elif source.kind == "czds":
            czds.password(source)


def zone_key(source: ZoneSource) -> str:
    """The key of a source's zone, or EVERY. Raises UsageFault."""
    if source.zone == EVERY:
        return EVERY
    try:
        return names.canonical(source.zone)
    except names.NameFault as error:
        raise UsageFault(f"[[zones]] {source.zone}: {error}") from None


async def obtain(
    source: ZoneSource, settings: IntakeSettings, directory: Path, progress: Progress
) -> AsyncIterator[Obtained]:
    """The files of a source. What is fetched is kept in `directory`."""
    os.makedirs(directory, exist_ok=True)
    zone = zone_key(source)
    try:
        match source.kind:
            case "file":
                for one in await asyncio.to_thread(_files, source, zone, settings):
                    yield one
            case "czds":
                async for one in _czds(source, zone, settings, directory, progress):
                    yield one
            case "axfr":
                yield await asyncio.to_thread(_axfr, source, zone, settings, directory)
            case "list":
                yield await _list(source, zone, settings, directory)
    except Fault as fault:
        yield Obtained(source=source, zone=zone, origin=_origin(source), fault=fault)


def fetched(
    sources: Sequence[ZoneSource], settings: IntakeSettings, directory: Path, progress: Progress
) -> list[dict[str, str | None]]:
    """Obtain all sources: `zone`, `origin`, `path`, `reason` (why there is none) of each file.

    Raises UsageFault.
    """

    async def every() -> list[Obtained]:
        return [
            one for source in sources async for one in obtain(source, settings, directory, progress)
        ]

    check(sources)
    return [
        {
            "zone": one.zone,
            "origin": one.origin,
            "path": None if one.file is None else str(one.file.path),
            "reason": None if one.fault is None else str(one.fault),
        }
        for one in asyncio.run(every())
    ]


def _origin(source: ZoneSource) -> str:
    return str(source.path or source.url or source.server or source.download_url)


def _files(source: ZoneSource, zone: str, settings: IntakeSettings) -> list[Obtained]:
    assert source.path is not None
    return [
        Obtained(
            source=source,
            zone=zone,
            origin=str(file),
            file=file,
            promises_final_soa=source.promises_final_soa,
        )
        for file in zone_files(source.path, settings.max_ratio)
    ]


async def _czds(
    source: ZoneSource, zone: str, settings: IntakeSettings, directory: Path, progress: Progress
) -> AsyncIterator[Obtained]:
    async with czds.session(source, settings, directory / "czds") as session:
        links = await session.links()
        if zone != EVERY and zone not in links:
            raise Refused(f"CZDS: no approved access to {zone}")
        wanted = sorted(links) if zone == EVERY else [zone]

        async def one(name: str) -> Obtained:
            link = links[name]
            try:
                file = ZoneFile(
                    (await session.download(name, link, progress)).path, None, settings.max_ratio
                )
            except Fault as fault:
                return Obtained(source=source, zone=name, origin=link, fault=fault)
            return Obtained(
                source=source,
                zone=name,
                origin=link,
                file=file,
                promises_final_soa=source.promises_final_soa,
            )

        for done in asyncio.as_completed([one(name) for name in wanted]):
            yield await done


def _axfr(source: ZoneSource, zone: str, settings: IntakeSettings, directory: Path) -> Obtained:
    server = axfr.primary(source)
    path = directory / f"{_safe(zone)}.axfr"
    axfr.transfer(server, zone, path, settings.download_timeout_s)
    return Obtained(
        source=source,
        zone=zone,
        origin=str(server),
        file=ZoneFile(path, None, settings.max_ratio),
        promises_final_soa=True,
    )


async def _list(
    source: ZoneSource, zone: str, settings: IntakeSettings, directory: Path
) -> Obtained:
    path = source.path
    if path is None:
        assert source.url is not None
        path = directory / f"{_safe(zone)}.list"
        await _fetch(source.url, path, settings)
    return Obtained(
        source=source,
        zone=zone,
        origin=_origin(source),
        file=ZoneFile(path, None, settings.max_ratio),
    )


async def _fetch(url: str, path: Path, settings: IntakeSettings) -> None:
    """Fetch a file by HTTP. Raises Refused, LocalTrouble."""
    timeout = aiohttp.ClientTimeout(
        total=None, connect=settings.download_timeout_s, sock_read=settings.download_timeout_s
    )
    try:
        async with (
            aiohttp.ClientSession(
                timeout=timeout,
                headers={"User-Agent": settings.user_agent},
                auto_decompress=False,
            ) as http,
            http.get(url) as response,
        ):
            if response.status != HTTPStatus.OK:
                raise Refused(f"HTTP {response.status}")
            with replacing(path) as out:
                async for chunk in response.content.iter_chunked(_CHUNK):
                    out.write(chunk)
                    if out.tell() > _MAX_LIST:
                        raise Refused("over 4 GiB")
    except (aiohttp.ClientError, TimeoutError) as error:
        raise LocalTrouble(f"the list did not come: {str(error) or type(error).__name__}") from None


def _safe(zone: str) -> str:
    """A file name of a key: the root has a word, escapes have no backslash."""
    return "root" if zone == "." else zone.replace("\\", "_")
