"""Where zones come from: every kind of source, to files on this disk.

A source that fails says so in what it gives, so that the others go on.
"""

import asyncio
import fcntl
import os
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from crawler.zones import axfr, czds
from crawler.zones.files import ZoneFile, listed, shown, zone_files
from crawler.zones.output import replacing
from crawler.zones.progress import Meter, Progress
from crawler.zones.settings import IntakeSettings, ZoneSource
from dane import names
from dane.faults import Fault, LocalTrouble, Refused, UsageFault

EVERY = "*"
"""The zone of a source that gives several: each file says whose it is."""
SCRATCH = "scratch"
_MAX_LIST = 4 << 30
_CHUNK = 1 << 20
# What each kind cannot do without: at least one of these settings
_NEEDED = {
    "file": ("path",),
    "czds": ("username",),
    "axfr": ("server",),
    "list": ("path", "url"),
}
_URLS = ("url", "authenticate_url", "download_url")


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
        for name in _URLS:
            if _has_password(getattr(source, name)):
                raise UsageFault(
                    f"[[zones]] {source.zone}: {name} has a password in it, and settings are"
                    " printed and published"
                )
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


@contextmanager
def workplace(directory: Path) -> Iterator[None]:
    """Claims the directory of what is fetched, and clears it of what a killed process left.

    Inside it is SCRATCH, for temporary files. Raises LocalTrouble if another process is at work
    there.
    """
    scratch = directory / SCRATCH
    with ExitStack() as stack:
        try:
            os.makedirs(directory, exist_ok=True)
            lock = stack.enter_context((directory / "lock").open("ab"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for unfinished in directory.rglob(".*"):  # of `output.replacing`
                unfinished.unlink()
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        except BlockingIOError:
            raise LocalTrouble(f"{directory}: another command fetches zones; wait for it") from None
        except OSError as error:
            raise LocalTrouble(f"{directory}: {error.strerror}") from None
        yield


async def obtain(
    source: ZoneSource, settings: IntakeSettings, directory: Path, progress: Progress
) -> AsyncIterator[Obtained]:
    """The files of a source. What is fetched is kept in `directory`, a `workplace`."""
    zone = zone_key(source)
    try:
        match source.kind:
            case "file":
                files = _files(source, zone, settings, directory / SCRATCH)
                while (one := await asyncio.to_thread(next, files, None)) is not None:
                    yield one
            case "czds":
                async for one in _czds(source, zone, settings, directory, progress):
                    yield one
            case "axfr":
                yield await _axfr(source, zone, settings, directory, progress)
            case "list":
                yield await _list(source, zone, settings, directory, progress)
    except Fault as fault:
        yield Obtained(source=source, zone=zone, origin=_origin(source), fault=fault)


def fetched(
    sources: Sequence[ZoneSource], settings: IntakeSettings, directory: Path, progress: Progress
) -> list[dict[str, str | None]]:
    """Obtain all sources: `zone`, `origin`, `path`, `reason` (why there is none) of each file.

    Raises UsageFault, LocalTrouble.
    """

    async def every() -> list[Obtained]:
        return [
            one for source in sources async for one in obtain(source, settings, directory, progress)
        ]

    check(sources)
    with workplace(directory):
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
    return shown(source.path or source.url or source.server or source.download_url)


def _has_password(url: str | None) -> bool:
    try:
        return url is not None and urlsplit(url).password is not None
    except ValueError:  # no URL at all: nothing is fetched
        return False


def _files(
    source: ZoneSource, zone: str, settings: IntakeSettings, scratch: Path
) -> Iterator[Obtained]:
    """The zones at the source's path; a file that is damaged costs only itself."""
    assert source.path is not None
    found = False
    for path in listed(source.path):
        try:
            for file in zone_files(path, settings.max_ratio, scratch):
                found = True
                yield Obtained(
                    source=source,
                    zone=zone,
                    origin=str(file),
                    file=file,
                    promises_final_soa=source.promises_final_soa,
                )
        except Fault as fault:
            found = True
            yield Obtained(source=source, zone=zone, origin=str(ZoneFile(path)), fault=fault)
    if not found:
        raise Refused(f"{shown(source.path)}: no file in it")


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
                done = await session.download(name, link, progress)
            except Fault as fault:
                return Obtained(source=source, zone=name, origin=link, fault=fault)
            return Obtained(
                source=source,
                zone=name,
                origin=link,
                file=ZoneFile(done.path, settings.max_ratio),
                promises_final_soa=source.promises_final_soa,
            )

        for obtained in asyncio.as_completed([one(name) for name in wanted]):
            yield await obtained


async def _axfr(
    source: ZoneSource, zone: str, settings: IntakeSettings, directory: Path, progress: Progress
) -> Obtained:
    server = axfr.primary(source)
    path = directory / f"{_safe(zone)}.axfr"
    await axfr.transfer(server, zone, path, settings.download_timeout_s, progress)
    return Obtained(
        source=source,
        zone=zone,
        origin=str(server),
        file=ZoneFile(path, settings.max_ratio),
        promises_final_soa=True,
    )


async def _list(
    source: ZoneSource, zone: str, settings: IntakeSettings, directory: Path, progress: Progress
) -> Obtained:
    path = source.path
    if path is None:
        path = directory / f"{_safe(zone)}.list"
        await _fetch(source, path, settings, progress)
    return Obtained(
        source=source,
        zone=zone,
        origin=_origin(source),
        file=ZoneFile(path, settings.max_ratio),
    )


async def _fetch(
    source: ZoneSource, path: Path, settings: IntakeSettings, progress: Progress
) -> None:
    """Fetch a list by HTTP. Raises Refused, LocalTrouble."""
    assert source.url is not None
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
            http.get(source.url) as response,
        ):
            if response.status != HTTPStatus.OK:
                raise Refused(f"the list did not come: HTTP {response.status}")
            meter = Meter(progress, source.zone, "received", response.content_length or 0)
            with replacing(path) as out:
                async for chunk in response.content.iter_chunked(_CHUNK):
                    out.write(chunk)
                    meter.at(out.tell())
                    if out.tell() > _MAX_LIST:
                        raise Refused("a list over 4 GiB")
    except (aiohttp.ClientError, TimeoutError) as error:
        raise LocalTrouble(f"the list did not come: {str(error) or type(error).__name__}") from None


def _safe(zone: str) -> str:
    """A file name of a key: the root has a word, escapes have no backslash."""
    return "root" if zone == "." else zone.replace("\\", "_")
