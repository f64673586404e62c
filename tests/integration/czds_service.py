"""A service on loopback that behaves as ICANN documents its CZDS, faults included."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from aiohttp import web

PASSWORD = "a pass word"
USER = "user@example.org"


@dataclass
class Zone:
    """A zone that the service has, and how it answers for it."""

    data: bytes = b""
    modified: str = "Mon, 05 Jan 2026 00:00:00 GMT"
    status: int = HTTPStatus.OK  # of GET and HEAD
    ranges: bool = True
    cut_after: int | None = None  # bytes; the first download breaks off
    limited: int = 0  # so many requests answered 429 first
    wrong: list[bytes] = field(
        default_factory=list
    )  # what the first downloads get instead, with 200
    with_length: bool = True  # else the answer is in chunks
    redirect: str | None = None
    together: asyncio.Barrier | None = None  # downloads wait for each other here


@dataclass
class Service:
    """What the service has, what it was asked, and what it was told."""

    zones: dict[str, Zone]
    url: str = ""
    other_url: str = ""  # the same server under another name, as another host
    token: str = "token-1"
    expired: set[str] = field(default_factory=set)
    log: Counter[str] = field(default_factory=Counter)
    ranges: list[str] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    foreign_authorization: list[str | None] = field(default_factory=list)
    login_status: int = HTTPStatus.OK
    login_body: bytes | None = None
    other_links: list[object] = field(default_factory=list)
    links_body: bytes | None = None
    downloading: int = 0
    most_downloading: int = 0

    async def authenticate(self, request: web.Request) -> web.Response:
        self.log["authenticate"] += 1
        if self.login_status != HTTPStatus.OK:
            return web.json_response({}, status=self.login_status)
        if self.login_body is not None:
            return web.Response(body=self.login_body)
        if await request.json() != {"username": USER, "password": PASSWORD}:
            return web.json_response({"message": "wrong"}, status=HTTPStatus.UNAUTHORIZED)
        return web.json_response(
            {"accessToken": self.token, "message": "Authentication Successful"}
        )

    def refused(self, request: web.Request) -> web.Response | None:
        self.agents.add(request.headers.get("User-Agent", ""))
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if given != self.token or given in self.expired:
            self.token = "token-2"
            return web.json_response({}, status=HTTPStatus.UNAUTHORIZED)
        return None

    async def links(self, request: web.Request) -> web.Response:
        if answer := self.refused(request):
            return answer
        if self.links_body is not None:
            return web.Response(body=self.links_body)
        return web.json_response(
            [f"{self.url}/czds/downloads/{name}.zone" for name in self.zones]
            + [f"{self.url}/czds/downloads/..%2F..%2Fetc.zone", f"{self.url}/elsewhere"]
            + self.other_links
        )

    async def zone(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        self.log[f"{request.method} {name}"] += 1
        if answer := self.refused(request):
            return answer
        return await self.send(request, self.zones[name])

    async def elsewhere(self, request: web.Request) -> web.StreamResponse:
        self.foreign_authorization.append(request.headers.get("Authorization"))
        return await self.send(request, self.zones[request.match_info["name"]], redirected=True)

    async def send(
        self, request: web.Request, zone: Zone, *, redirected: bool = False
    ) -> web.StreamResponse:
        if zone.limited:
            zone.limited -= 1
            return web.Response(status=HTTPStatus.TOO_MANY_REQUESTS)
        if zone.status != HTTPStatus.OK:
            return web.Response(status=zone.status)
        if zone.redirect is not None and not redirected:
            return web.Response(status=HTTPStatus.FOUND, headers={"Location": zone.redirect})
        start = 0
        status = HTTPStatus.OK
        headers = {
            "Last-Modified": zone.modified,
            "Content-Disposition": 'attachment; filename="../../../etc/passwd"',
        }
        wanted = request.headers.get("Range")
        if wanted and zone.ranges and request.headers.get("If-Range") == zone.modified:
            self.ranges.append(wanted)
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            status = HTTPStatus.PARTIAL_CONTENT
            if start >= len(zone.data):
                return web.Response(status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            headers["Content-Range"] = f"bytes {start}-{len(zone.data) - 1}/{len(zone.data)}"
        data = zone.data
        if request.method == "GET" and zone.wrong:
            start, data, status = 0, zone.wrong.pop(0), HTTPStatus.OK
        if zone.with_length:
            headers["Content-Length"] = str(len(data) - start)
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        if request.method == "GET":
            self.downloading += 1
            self.most_downloading = max(self.downloading, self.most_downloading)
            if zone.together is not None:
                await zone.together.wait()
            self.downloading -= 1
            cut, zone.cut_after = zone.cut_after, None
            await response.write(data[start:cut])
            if cut is not None:
                assert request.transport is not None
                request.transport.close()
        return response


@asynccontextmanager
async def serving(zones: dict[str, Zone]) -> AsyncIterator[Service]:
    """The service, on a free port."""
    service = Service(zones)
    app = web.Application()
    app.router.add_post("/api/authenticate", service.authenticate)
    app.router.add_get("/czds/downloads/links", service.links)
    app.router.add_route("*", "/czds/downloads/{name}.zone", service.zone)
    app.router.add_route("*", "/elsewhere/{name}", service.elsewhere)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        service.url = f"http://127.0.0.1:{port}"
        service.other_url = f"http://localhost:{port}"
        yield service
    finally:
        await runner.cleanup()
