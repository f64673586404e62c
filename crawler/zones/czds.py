"""Client of ICANN's Centralized Zone Data Service (CZDS technical documentation, v1.1).

Terms of the service: one download of a zone in 24 hours, a User-Agent, few log-ins (8 in 5
minutes). So: one token for all, a new one when it is refused, a few in all; when a zone was last
downloaded is remembered beside it; what has not changed since is not fetched; a download that
broke off goes on where it stopped, if the server allows ranges. A good answer with something else
in it than a whole gzip file (a page of HTML, a file that ends early) is no download: it is tried
again, at most three times in 24 hours. The token goes to the
download host only, never after a redirect to another host. File names are made here, of
the zone's name, never taken from an answer.
"""

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import aiohttp

from crawler.zones.acceptance import foreign
from crawler.zones.files import gzip_fault, is_gzip
from crawler.zones.output import replacing
from crawler.zones.progress import Meter, Progress
from crawler.zones.settings import IntakeSettings, ZoneSource
from dane import clock, names
from dane.faults import LocalTrouble, Refused, UsageFault

T = TypeVar("T")

_PASSWORD = "DANESURVEY_CZDS_PASSWORD"
_A_DAY_S = 24 * 3600.0
_FREE = 1 << 30  # bytes that stay free on the disk
_CHUNK = 1 << 20
_REDIRECTS = 5
_TRIES = 4
_MOST_DOWNLOADS = 4  # of a zone in a day, those that were none included
_LOG_INS = 6  # of a session: so many days, or fewer if tokens are refused before they expire
_LINK = re.compile(r"/([A-Za-z0-9.-]+)\.zone$")
_REASONS: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "CZDS: the token is refused",
    HTTPStatus.FORBIDDEN: "CZDS: no permission for this zone; ask for it in the portal",
    HTTPStatus.NOT_FOUND: "CZDS: no such zone",
    HTTPStatus.CONFLICT: "CZDS: new terms and conditions; accept them in the portal",
}


@dataclass(frozen=True, slots=True)
class Download:
    """A zone's file, and what is remembered about it."""

    zone: str
    path: Path
    fetched: bool  # now; else it was there already


@dataclass(frozen=True, slots=True)
class _Memory:
    """Beside each file: of what version it is, and when it was downloaded (seconds, UNIX)."""

    downloaded: float
    last_modified: str | None
    length: int


class _Again(Exception):
    """The same request may do better later."""


class _NoDownload(_Again):
    """A good answer without a whole file. What came of it is of no use."""


def password(source: ZoneSource) -> str:
    """The password of a source, from its file or the environment. Raises UsageFault."""
    if source.password_file is not None:
        try:
            return source.password_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise UsageFault(f"{source.password_file}: no password to read") from None
    if found := os.environ.get(_PASSWORD):
        return found
    raise UsageFault(f"[[zones]] {source.zone}: password_file or {_PASSWORD} needed")


class Czds:
    """A session with the service. Made by `session`."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        source: ZoneSource,
        settings: IntakeSettings,
        directory: Path,
    ) -> None:
        self._http = http
        self._source = source
        self._settings = settings
        self._directory = directory
        self._secret = password(source)
        self._token: str | None = None
        self._log_ins = 0
        self._log_in = asyncio.Lock()
        self._slots = asyncio.Semaphore(settings.downloads)

    async def links(self) -> dict[str, str]:
        """Zone (a key) to URL, of every approved zone. Raises Refused, LocalTrouble."""
        found = await self._retried("the list of links", self._links)
        if not isinstance(found, list):
            raise Refused("CZDS: no list of links")
        return {zone: link for link in found if (zone := _zone_of(link)) is not None}

    async def _links(self) -> object:
        url = f"{self._source.download_url.rstrip('/')}/czds/downloads/links"
        async with self._request("GET", url) as response:
            return _json(await response.read())

    async def download(self, zone: str, url: str, progress: Progress) -> Download:
        """The zone's newest file that may be had now. Raises Refused, LocalTrouble."""
        path = self._directory / f"{zone}.zone"
        memory = _remembered(path)
        if memory is not None and clock.seconds() - memory.downloaded < _A_DAY_S:
            return Download(zone, path, fetched=False)
        async with self._slots:
            return await self._retried(
                zone, lambda: self._counted_download(zone, url, path, memory, progress)
            )

    async def _counted_download(
        self, zone: str, url: str, path: Path, memory: _Memory | None, progress: Progress
    ) -> Download:
        """As `_download`; the times of answers that were no download are remembered."""
        failures = _failures(path)
        if len(failures) >= _MOST_DOWNLOADS:
            raise Refused(
                f"CZDS: {zone}: {len(failures)} answers in a day without a whole file;"
                f" tried again after {_at(min(failures) + _A_DAY_S)}"
            )
        try:
            found = await self._download(zone, url, path, memory, progress)
        except _NoDownload:
            path.with_suffix(".part").unlink(missing_ok=True)
            _write_json(path.with_suffix(".failures"), [*failures, clock.seconds()])
            raise
        path.with_suffix(".failures").unlink(missing_ok=True)
        return found

    async def _retried(self, what: str, operation: Callable[[], Awaitable[T]]) -> T:
        """The result of an operation that may be tried again. Raises Refused in the end."""
        for attempt in range(_TRIES):
            try:
                return await operation()
            except (_Again, aiohttp.ClientError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
            except OSError as error:  # of the disk
                raise LocalTrouble(f"{self._directory}: {error.strerror}") from None
            if attempt + 1 < _TRIES:
                await asyncio.sleep(self._settings.retry_wait_s * 2**attempt)
        raise Refused(f"CZDS: {what}: given up after {_TRIES} tries: {reason}")

    async def _download(
        self,
        zone: str,
        url: str,
        path: Path,
        memory: _Memory | None,
        progress: Progress,
    ) -> Download:
        async with self._request("HEAD", url) as head:
            modified = head.headers.get("Last-Modified")
            length = int(head.headers.get("Content-Length", 0))
        if memory is not None and modified is not None and memory.last_modified == modified:
            return Download(zone, path, fetched=False)
        if length + _FREE > shutil.disk_usage(self._directory).free:
            raise LocalTrouble(f"no room for {zone} ({length >> 20} MiB) in {self._directory}")
        part = path.with_suffix(".part")
        version = path.with_suffix(".version")
        have = part.stat().st_size if part.exists() else 0
        # Nothing is left to ask for of a whole part (RFC 9110 section 15.5.17): begin anew
        if not (0 < have < length and modified is not None and _text(version) == modified):
            part.unlink(missing_ok=True)
            version.write_text(modified or "", "utf-8")
            have = 0
        headers = {}
        if have and modified is not None:
            headers = {"Range": f"bytes={have}-", "If-Range": modified}
        async with self._request("GET", url, headers) as response:
            continued = response.status == HTTPStatus.PARTIAL_CONTENT
            begins = response.headers.get("Content-Range", "")
            if continued and not begins.startswith(f"bytes {have}-"):
                raise _Again("another part than the one that is missing")
            total = int(response.headers.get("Content-Length", 0)) + (have if continued else 0)
            meter = Meter(progress, zone, "downloaded", total)
            with part.open("ab" if continued else "wb") as file:
                async for chunk in response.content.iter_chunked(_CHUNK):
                    if file.tell() == 0 and not is_gzip(chunk):
                        raise _NoDownload(foreign(chunk) or "not a gzip file")
                    file.write(chunk)
                    meter.at(file.tell())
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
        if total and size != total:
            raise _Again(f"{size} of {total} bytes came")
        if fault := await asyncio.to_thread(gzip_fault, part):
            raise _NoDownload(fault)
        os.replace(part, path)
        version.unlink()
        _remember(path, _Memory(clock.seconds(), modified, size))
        return Download(zone, path, fetched=True)

    @asynccontextmanager
    async def _request(
        self, method: str, url: str, headers: dict[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A good answer. Raises Refused, LocalTrouble, _Again."""
        refused = None
        while True:
            token = await self._token_after(refused)
            async with self._following(method, url, token, headers or {}) as response:
                status = response.status
                if status == HTTPStatus.UNAUTHORIZED and refused is None:
                    refused = token
                    continue
                if status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
                    yield response
                    return
                if status == HTTPStatus.TOO_MANY_REQUESTS or status >= 500:
                    raise _Again(f"HTTP {status}")
                raise Refused(_REASONS.get(status, f"CZDS: HTTP {status}"))

    @asynccontextmanager
    async def _following(
        self, method: str, url: str, token: str, headers: dict[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer after redirects; the token stays with the host that it was meant for."""
        host = _host(url)
        for _ in range(_REDIRECTS):
            sent = dict(headers)
            if _host(url) == host:
                sent["Authorization"] = f"Bearer {token}"
            async with self._http.request(
                method, url, headers=sent, allow_redirects=False
            ) as response:
                place = response.headers.get("Location")
                if response.status not in (301, 302, 303, 307, 308) or place is None:
                    yield response
                    return
            url = _target(url, place)
        raise Refused("CZDS: too many redirects")

    async def _token_after(self, refused: str | None) -> str:
        """The token, which is a new one if the service has refused the last."""
        async with self._log_in:
            if self._token == refused:
                self._token = await self._new_token()
            assert self._token is not None
            return self._token

    async def _new_token(self) -> str:
        url = f"{self._source.authenticate_url.rstrip('/')}/api/authenticate"
        body = {"username": self._source.username, "password": self._secret}
        if self._log_ins == _LOG_INS:
            raise Refused("CZDS: the tokens are refused")
        self._log_ins += 1
        try:
            async with self._http.post(url, json=body, allow_redirects=False) as response:
                if response.status == HTTPStatus.TOO_MANY_REQUESTS:
                    raise Refused("CZDS: too many log-ins; try again in 5 minutes")
                if response.status != HTTPStatus.OK:
                    raise Refused(
                        f"CZDS: log-in refused (HTTP {response.status}): see username and password"
                    )
                found = _json(await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise LocalTrouble(f"CZDS cannot be reached: {type(error).__name__}") from None
        token = found.get("accessToken") if isinstance(found, dict) else None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise Refused("CZDS: a log-in without a token")
        return token


@asynccontextmanager
async def session(
    source: ZoneSource, settings: IntakeSettings, directory: Path
) -> AsyncIterator[Czds]:
    """A session with the service; files go to `directory`. Raises UsageFault, LocalTrouble."""
    os.makedirs(directory, exist_ok=True)
    timeout = aiohttp.ClientTimeout(
        total=None, connect=settings.download_timeout_s, sock_read=settings.download_timeout_s
    )
    async with aiohttp.ClientSession(
        timeout=timeout, headers={"User-Agent": settings.user_agent}, auto_decompress=False
    ) as http:
        yield Czds(http, source, settings, directory)


def _target(url: str, place: str) -> str:
    """Where a redirect leads. Raises Refused."""
    try:
        return urljoin(url, place)
    except ValueError:
        raise Refused("CZDS: a redirect to no URL") from None


def _host(url: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port
    except ValueError:
        raise Refused("CZDS: a link to no URL") from None


def _json(text: bytes) -> object:
    """What an answer holds. Raises Refused."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Refused("CZDS: an answer that is no JSON") from None


def _zone_of(link: object) -> str | None:
    """The zone of a link, a key that is also a safe file name; None for anything else."""
    if not isinstance(link, str) or not link.isascii() or not link.isprintable():
        return None
    try:
        found = _LINK.search(urlsplit(link).path)
        return None if found is None else names.canonical(found[1])
    except ValueError:  # no URL, or no name
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except OSError:
        return None


def _remembered(path: Path) -> _Memory | None:
    """What is remembered of a file, if the file is still the one that was downloaded."""
    try:
        memory = _Memory(**json.loads(path.with_suffix(".json").read_text("utf-8")))
        return memory if path.stat().st_size == memory.length else None
    except (OSError, ValueError, TypeError):
        return None


def _remember(path: Path, memory: _Memory) -> None:
    _write_json(path.with_suffix(".json"), asdict(memory))


def _failures(path: Path) -> list[float]:
    """When, in the last day, answers came that were no download (seconds, UNIX)."""
    try:
        times = json.loads(path.with_suffix(".failures").read_text("utf-8"))
        return [one for one in map(float, times) if clock.seconds() - one < _A_DAY_S]
    except (OSError, ValueError, TypeError):
        return []


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _write_json(path: Path, value: object) -> None:
    with replacing(path) as out:
        out.write(json.dumps(value).encode())
