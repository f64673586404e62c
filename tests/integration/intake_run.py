"""Taking zone files of `example` into a database, for tests."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from crawler.coordinator.intake import ZoneRow, intake
from crawler.zones.settings import IntakeSettings, ZoneSource
from storage.database import Pool
from storage.database import pool as opened_pool


def zone_text(
    names: Iterable[str], serial: int = 1, *, unsigned: int = 0, final_soa: bool = True
) -> bytes:
    """A registry's file of `example`: signed delegations, then as many unsigned ones."""
    soa = f"example.\t900\tin\tsoa\tns.example. host.example. {serial} 1800 900 604800 86400\n"
    lines = [soa, "example.\t900\tin\tns\tns.example.\n"]
    for name in sorted(names):
        lines.append(f"{name}.example.\t900\tin\tds\t{len(name)} 13 2 {name.encode().hex():0>64}\n")
        lines.append(f"{name}.example.\t900\tin\tns\tns1.host.test.\n")
    lines += [f"zz{n:06}.example.\t900\tin\tns\tns1.host.test.\n" for n in range(unsigned)]
    return "".join([*lines, soa] if final_soa else lines).encode()


class Intake:
    """Takes in files of the zone `example`."""

    def __init__(self, pool: Pool, directory: Path) -> None:
        self.pool = pool
        self.directory = directory
        self.said: list[str] = []

    async def source(
        self, source: ZoneSource, *, accept_shrink: bool = False, unsigned_sample: int = 0
    ) -> list[ZoneRow]:
        return await intake(
            self.pool,
            [source],
            IntakeSettings(unsigned_sample=unsigned_sample),
            state_dir=self.directory / "state",
            progress=self.said.append,
            accept_shrink=accept_shrink,
        )

    async def data(
        self,
        data: bytes,
        *,
        zone: str = "example",
        accept_shrink: bool = False,
        unsigned_sample: int = 0,
        **settings: Any,
    ) -> ZoneRow:
        path = self.directory / "zone"
        path.write_bytes(data)
        source = ZoneSource(zone=zone, kind="file", path=path, **settings)
        (row,) = await self.source(
            source, accept_shrink=accept_shrink, unsigned_sample=unsigned_sample
        )
        return row

    async def names(self) -> set[str]:
        """The names of the latest accepted snapshots."""
        rows = await self.pool.fetch("SELECT domain FROM delegation WHERE missing_since IS NULL")
        return {row["domain"] for row in rows}


@asynccontextmanager
async def intake_into(database_url: str, directory: Path) -> AsyncIterator[Intake]:
    """Takes in files of `directory`."""
    async with opened_pool(database_url, connections=2) as pool:
        yield Intake(pool, directory)
