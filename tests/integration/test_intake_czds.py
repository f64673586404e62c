"""The CZDS client against a real HTTP server on loopback."""

import asyncio
import gzip
import json
import shutil
from collections import namedtuple
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from crawler.zones.settings import IntakeSettings, ZoneSource
from crawler.zones.sources import EVERY, Obtained, check, obtain
from dane import clock
from dane.faults import LocalTrouble, Refused, UsageFault
from tests.integration.czds_service import PASSWORD, USER, Service, Zone, serving

pytestmark = pytest.mark.asyncio

SETTINGS = IntakeSettings(
    retry_wait_s=0.001, download_timeout_s=10, downloads=2, user_agent="test/1"
)
DATA = gzip.compress(b"example. 900 IN SOA a. b. 1 2 3 4 5\n" * 5000, 1)
A_DAY_S = 24 * 3600


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n")
    return path


class Client:
    """Obtains zones of a service, in one state directory."""

    def __init__(self, service: Service, directory: Path, password_file: Path) -> None:
        self.service = service
        self.directory = directory
        self.password_file = password_file
        self.said: list[str] = []

    async def obtain(self, zone: str = EVERY, **settings: Any) -> list[Obtained]:
        source = ZoneSource(
            **{
                "zone": zone,
                "kind": "czds",
                "username": USER,
                "password_file": self.password_file,
                "authenticate_url": self.service.url,
                "download_url": self.service.url,
                **settings,
            }
        )
        found = obtain(source, SETTINGS, self.directory / "zones", self.said.append)
        return sorted([one async for one in found], key=lambda one: one.zone)

    async def one(self, zone: str = "example") -> Obtained:
        (found,) = await self.obtain(zone)
        return found

    def a_day_later(self) -> None:
        """What is remembered is a day older."""
        for path in (self.directory / "zones/czds").glob("*.json"):
            memory = json.loads(path.read_text())
            memory["downloaded"] -= A_DAY_S + 1
            path.write_text(json.dumps(memory))


def content(obtained: Obtained) -> bytes:
    assert obtained.fault is None, obtained.fault
    assert obtained.file is not None
    return obtained.file.path.read_bytes()


async def test_every_zone(tmp_path: Path, password_file: Path) -> None:
    zones = {name: Zone(DATA + name.encode()) for name in ("one", "two", "xn--3", "four")}
    async with serving(zones) as service:
        found = await Client(service, tmp_path, password_file).obtain()
    assert {one.zone: content(one) for one in found} == {
        name: zone.data for name, zone in zones.items()
    }
    assert service.log["authenticate"] == 1
    assert service.agents == {"test/1"}
    names = {path.name for path in (tmp_path / "zones/czds").iterdir()}
    assert names == {f"{name}.{kind}" for name in zones for kind in ("zone", "json")}


async def test_once_in_a_day_and_only_if_changed(tmp_path: Path, password_file: Path) -> None:
    async with serving({"example": Zone(DATA)}) as service:
        client = Client(service, tmp_path, password_file)
        await client.one()
        assert content(await client.one()) == DATA
        assert service.log["GET example"] == 1
        assert service.log["HEAD example"] == 1
        client.a_day_later()
        await client.one()
        assert service.log["GET example"] == 1  # not modified
        assert service.log["HEAD example"] == 2
        service.zones["example"] = Zone(DATA * 2, "Tue, 06 Jan 2026 00:00:00 GMT")
        assert content(await client.one()) == DATA * 2
        assert service.log["GET example"] == 2


async def test_a_damaged_file_is_fetched_again(tmp_path: Path, password_file: Path) -> None:
    async with serving({"example": Zone(DATA)}) as service:
        client = Client(service, tmp_path, password_file)
        first = await client.one()
        assert first.file is not None
        first.file.path.write_bytes(b"short")
        assert content(await client.one()) == DATA


@pytest.mark.parametrize("ranges", [True, False])
async def test_goes_on_where_it_broke_off(
    tmp_path: Path, password_file: Path, ranges: bool
) -> None:
    async with serving({"example": Zone(DATA, ranges=ranges, cut_after=500)}) as service:
        assert content(await Client(service, tmp_path, password_file).one()) == DATA
    assert service.ranges == (["bytes=500-"] if ranges else [])
    assert service.log["GET example"] == 2


def killed_with(state_dir: Path, *, part: bytes, version: str) -> None:
    """What a kill leaves of a download that has written `part`."""
    directory = state_dir / "zones/czds"
    directory.mkdir(parents=True)
    (directory / "example.part").write_bytes(part)
    (directory / "example.version").write_text(version)


async def test_killed_between_the_last_byte_and_the_renaming(
    tmp_path: Path, password_file: Path
) -> None:
    zone = Zone(DATA)
    async with serving({"example": zone}) as service:
        client = Client(service, tmp_path, password_file)
        killed_with(tmp_path, part=DATA, version=zone.modified)
        assert content(await client.one()) == DATA


async def test_a_new_version_is_not_glued_to_an_old_part(
    tmp_path: Path, password_file: Path
) -> None:
    zone = Zone(DATA)
    async with serving({"example": zone}) as service:
        client = Client(service, tmp_path, password_file)
        killed_with(tmp_path, part=b"of an older version", version="Sun, 04 Jan 2026 00:00:00 GMT")
        assert content(await client.one()) == DATA
    assert service.ranges == []


async def test_an_expired_token_is_renewed_once(tmp_path: Path, password_file: Path) -> None:
    async with serving({"example": Zone(DATA)}) as service:
        service.expired = {"token-1"}
        client = Client(service, tmp_path, password_file)
        assert content(await client.one()) == DATA
        assert client.said == ["example: 0 of 0 MiB downloaded"]
        assert service.log["authenticate"] == 2


async def test_a_token_that_is_never_good(tmp_path: Path, password_file: Path) -> None:
    async with serving({"example": Zone(DATA)}) as service:
        service.expired = {"token-1", "token-2"}
        found = await Client(service, tmp_path, password_file).one()
        assert "the token is refused" in str(found.fault)
        assert service.log["authenticate"] == 2


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (HTTPStatus.FORBIDDEN, "no permission"),
        (HTTPStatus.NOT_FOUND, "no such zone"),
        (HTTPStatus.CONFLICT, "terms and conditions"),
        (HTTPStatus.IM_A_TEAPOT, "HTTP 418"),
        (HTTPStatus.BAD_GATEWAY, "given up after 4 tries: HTTP 502"),
    ],
)
async def test_a_zone_that_is_refused_costs_only_itself(
    tmp_path: Path, password_file: Path, status: int, reason: str
) -> None:
    zones = {"bad": Zone(status=status), "good": Zone(DATA)}
    async with serving(zones) as service:
        bad, good = await Client(service, tmp_path, password_file).obtain()
    assert isinstance(bad.fault, Refused)
    assert reason in str(bad.fault)
    assert content(good) == DATA


async def test_too_many_requests(tmp_path: Path, password_file: Path) -> None:
    async with serving({"example": Zone(DATA, limited=2)}) as service:
        assert content(await Client(service, tmp_path, password_file).one()) == DATA


@pytest.mark.parametrize(
    ("status", "reason"),
    [(HTTPStatus.TOO_MANY_REQUESTS, "too many log-ins"), (HTTPStatus.UNAUTHORIZED, "refused")],
)
async def test_log_in_refused(
    tmp_path: Path, password_file: Path, status: int, reason: str
) -> None:
    async with serving({"example": Zone(DATA)}) as service:
        service.login_status = status
        found = await Client(service, tmp_path, password_file).one()
    assert reason in str(found.fault)
    assert PASSWORD not in str(found.fault)
    assert service.log["authenticate"] == 1


async def test_tokens_that_are_refused_for_every_zone(tmp_path: Path, password_file: Path) -> None:
    """The service counts log-ins: a new one for each refusal would end in its 429."""
    zones = {f"zone-{number}": Zone(status=HTTPStatus.UNAUTHORIZED) for number in range(20)}
    async with serving(zones) as service:
        found = await Client(service, tmp_path, password_file).obtain()
    assert all("refused" in str(one.fault) for one in found)
    assert service.log["authenticate"] <= 7


async def test_several_at_a_time(tmp_path: Path, password_file: Path) -> None:
    together = asyncio.Barrier(SETTINGS.downloads)
    zones = {f"zone-{number}": Zone(DATA, together=together) for number in range(6)}
    async with serving(zones) as service:
        found = await Client(service, tmp_path, password_file).obtain()
    assert [content(one) for one in found] == [DATA] * len(zones)
    assert service.most_downloading == SETTINGS.downloads


@pytest.mark.parametrize(
    "body", [b"<html>", b"\xff", b"[" * 100_000, b"null", b'{"accessToken": "a\\n"}']
)
async def test_answers_that_are_none(tmp_path: Path, password_file: Path, body: bytes) -> None:
    async with serving({"example": Zone(DATA)}) as service:
        service.links_body = body
        (found,) = await Client(service, tmp_path, password_file).obtain()
        assert isinstance(found.fault, Refused)
        service.login_body = body
        (found,) = await Client(service, tmp_path, password_file).obtain()
        assert isinstance(found.fault, Refused)


async def test_links_that_are_none(tmp_path: Path, password_file: Path) -> None:
    async with serving({"example": Zone(DATA)}) as service:
        service.other_links = [
            1,
            None,
            "http://[/a.zone",
            "http://h/\0/a.zone",
            "http://h/\udc80.zone",
        ]
        assert content(await Client(service, tmp_path, password_file).one()) == DATA
        (found,) = await Client(service, tmp_path, password_file).obtain()
    assert found.zone == "example"


@pytest.mark.parametrize("place", ["http://[/", "http://h:99999/", "http://h:x/"])
async def test_a_redirect_to_nowhere(tmp_path: Path, password_file: Path, place: str) -> None:
    async with serving({"example": Zone(DATA, redirect=place)}) as service:
        found = await Client(service, tmp_path, password_file).one()
    assert "to no URL" in str(found.fault)


async def test_a_password_in_a_url(password_file: Path) -> None:
    source = ZoneSource(
        zone="*",
        kind="czds",
        username=USER,
        password_file=password_file,
        download_url="https://me:secret@czds.example",
    )
    with pytest.raises(UsageFault, match="download_url has a password") as caught:
        check([source])
    assert "secret" not in str(caught.value)


async def test_a_redirect_does_not_take_the_token_along(
    tmp_path: Path, password_file: Path
) -> None:
    async with serving({"example": Zone(DATA)}) as service:
        service.zones["example"].redirect = f"{service.other_url}/elsewhere/example"
        assert content(await Client(service, tmp_path, password_file).one()) == DATA
    assert service.foreign_authorization == [None, None]


async def test_no_access(tmp_path: Path, password_file: Path) -> None:
    async with serving({"example": Zone(DATA)}) as service:
        found = await Client(service, tmp_path, password_file).one("other")
    assert "no approved access to other" in str(found.fault)


HTML = b"<!DOCTYPE html><html><body>Maintenance</body></html>" * 100
DAMAGED = DATA[:-6] + bytes(6)


@pytest.mark.parametrize("with_length", [True, False])
@pytest.mark.parametrize(
    "wrong",
    [[HTML], [DATA[: len(DATA) // 2]], [DAMAGED], [b"\x1f"], [HTML, DATA[:20], DAMAGED]],
    ids=["HTML", "half", "checksum", "one byte", "one after the other"],
)
async def test_a_good_answer_without_a_whole_file_is_no_download(
    tmp_path: Path, password_file: Path, wrong: list[bytes], with_length: bool
) -> None:
    zone = Zone(DATA, wrong=list(wrong), with_length=with_length)
    async with serving({"example": zone}) as service:
        client = Client(service, tmp_path, password_file)
        assert content(await client.one()) == DATA
        assert service.log["GET example"] == len(wrong) + 1
        assert content(await client.one()) == DATA
        assert service.log["GET example"] == len(wrong) + 1  # now the day's download is there


async def test_answers_without_a_whole_file_are_tried_again_four_times_a_day(
    tmp_path: Path, password_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = Zone(DATA)
    async with serving({"example": zone}) as service:
        client = Client(service, tmp_path, password_file)
        assert content(await client.one()) == DATA
        client.a_day_later()
        zone.modified = "Tue, 06 Jan 2026 00:00:00 GMT"
        zone.wrong = [HTML] * 5
        found = await client.one()
        assert isinstance(found.fault, Refused)
        assert "HTML" in str(found.fault)
        assert service.log["GET example"] == 5
        found = await client.one()
        assert "4 answers in a day without a whole file; tried again after" in str(found.fault)
        assert service.log["GET example"] == 5
        now = clock.seconds()
        monkeypatch.setattr(clock, "seconds", lambda: now + A_DAY_S + 1)
        assert content(await client.one()) == DATA
        assert service.log["GET example"] == 7  # one was still wrong
    names = {path.name for path in (tmp_path / "zones/czds").iterdir()}
    assert names == {"example.zone", "example.json"}


async def test_no_room(
    tmp_path: Path, password_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = namedtuple("full", "total used free")(10**12, 10**12, 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    async with serving({"example": Zone(DATA)}) as service:
        found = await Client(service, tmp_path, password_file).one()
    assert isinstance(found.fault, LocalTrouble)
    assert service.log["GET example"] == 0


async def test_no_service(tmp_path: Path, password_file: Path) -> None:
    async with serving({}) as service:
        pass
    found = await Client(service, tmp_path, password_file).one()
    assert isinstance(found.fault, LocalTrouble)


async def test_no_password(tmp_path: Path) -> None:
    async with serving({}) as service:
        (found,) = await Client(service, tmp_path, tmp_path / "none").obtain()
    assert isinstance(found.fault, UsageFault)
