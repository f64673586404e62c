"""A survey with a sample of unsigned delegations: what they would be, and in no other count."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from danesurvey.embedded import running
from lab.internet import Lab
from lab.scenarios import CATALOGUE
from tests.e2e.survey_run import command, finish, start
from tests.postgres_fixture import reachable_directory

NAMES = ("provider", "hosted", "unsigned-hosted", "unsigned-domain")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    scenarios = [one for one in CATALOGUE if one.name in NAMES]
    with Lab(tmp_path_factory.mktemp("sample-lab"), scenarios) as lab:
        text = lab.settings_file.read_text()
        lab.settings_file.write_text(text + "\n[intake]\nunsigned_sample = 1\n")
        yield lab


async def _verdicts(url: str) -> dict[str, tuple[Any, ...]]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "SELECT domain, status, sampled_one_of, if_signed FROM domain_verdict"
        )
        return {row[0]: tuple(row)[1:] for row in rows}
    finally:
        await connection.close()


def test_what_unsigned_domains_would_be(lab: Lab) -> None:
    with reachable_directory() as directory:
        state = Path(directory) / "state"
        finish(start(lab, state))
        with running(state) as url:
            found = asyncio.run(_verdicts(url))
        post = lab.exec(command(lab, state, "report", "post"), capture_output=True, text=True)
    assert found["provider.plain"] == ("dane", None, None)
    assert found["hosted.hashed"] == ("dane", None, None)
    assert found["unsigned-hosted.plain"] == ("insecure", 1, "dane")
    # its only host is its own, and no signed domain has it: not known
    assert found["unsigned-domain.plain"] == ("insecure", 1, "indeterminate")
    assert post.returncode == 0, post.stderr
    assert "unsigned-" not in post.stdout
