"""A lab's survey and the survey of the Internet never share a directory or a database."""

import dataclasses
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dane.faults import Refused
from danesurvey import owner
from danesurvey.settings import Settings, load
from lab import settings_file
from storage.database import Connection
from storage.owner import SURVEY, claim, lab

LAB_A, LAB_B = lab("a"), lab("b")


def of_lab(directory: Path, *flags: str) -> Settings:
    directory.mkdir(exist_ok=True)
    digest = hashlib.sha256(directory.name.encode()).hexdigest()  # stands for the root's key
    (directory / "root.anchor").write_text(f". 300 IN DS 1 13 2 {digest}\n")
    settings_file.write(directory / "danesurvey.toml", directory, {})
    return load(directory / "danesurvey.toml", flags)


def files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


# --- directories ------------------------------------------------------------------------------


def test_a_lab_is_the_same_lab_each_time_it_is_brought_up(tmp_path: Path) -> None:
    """Whatever it holds: it is what lies below one root, whose key the lab's seed decides."""
    settings = of_lab(tmp_path / "lab")
    owner.claim(settings)
    assert owner.owner_of(of_lab(tmp_path / "lab")) == owner.owner_of(settings)
    assert owner.owner_of(of_lab(tmp_path / "other")) != owner.owner_of(settings)
    owner.claim(of_lab(tmp_path / "lab"))


def test_a_directory_has_one_owner(tmp_path: Path) -> None:
    real = load(flags=[f"state_dir={tmp_path / 'real'}"])
    owner.claim(real)
    owner.claim(real)
    before = files(tmp_path / "real")
    with pytest.raises(Refused, match="belongs to the survey of the Internet, not to lab"):
        owner.claim(of_lab(tmp_path / "lab", f"state_dir={tmp_path / 'real'}"))
    assert files(tmp_path / "real") == before

    owner.claim(of_lab(tmp_path / "lab"))
    with pytest.raises(Refused, match=r"belongs to lab .*, not to the survey of the Internet"):
        owner.claim(load(flags=[f"state_dir={tmp_path / 'lab/state'}"]))
    with pytest.raises(Refused, match="belongs to lab"):
        owner.claim(of_lab(tmp_path / "other", f"state_dir={tmp_path / 'lab/state'}"))


def test_the_directory_of_the_data_set_likewise(tmp_path: Path) -> None:
    public = tmp_path / "public"
    owner.claim(load(flags=[f"state_dir={tmp_path / 'real'}", f"publish.directory={public}"]))
    with pytest.raises(Refused, match="public belongs to the survey"):
        owner.claim(of_lab(tmp_path / "lab", f"publish.directory={public}"))


@pytest.mark.parametrize("kept", ["dataset", "postgres/data", "zones"])
def test_what_nobody_marked_is_not_a_labs(tmp_path: Path, kept: str) -> None:
    (tmp_path / "state" / kept).mkdir(parents=True)
    flag = f"state_dir={tmp_path / 'state'}"
    with pytest.raises(Refused, match="belongs to the survey"):
        owner.claim(of_lab(tmp_path / "lab", flag))
    owner.claim(load(flags=[flag]))


@pytest.mark.parametrize(
    "section", [{"resolver": "query_localhost"}, {"probe": "lab_addresses"}], ids=str
)
def test_settings_with_any_part_of_a_lab_are_a_labs(section: dict[str, str]) -> None:
    ((name, key),) = section.items()
    settings = load()
    value = True if key == "query_localhost" else ("127.20.0.0/16",)
    part = dataclasses.replace(getattr(settings, name), **{key: value})
    assert owner.owner_of(settings) == SURVEY
    assert owner.owner_of(settings.model_copy(update={name: part})) != SURVEY


def test_the_environment_does_not_move_a_lab(tmp_path: Path) -> None:
    """As it was seen: two real domains became a lab's, and an unfinished real run went on."""
    settings = of_lab(tmp_path / "lab")
    real = tmp_path / "real"
    owner.claim(load(flags=[f"state_dir={real}"]))
    before = files(real)
    moved = os.environ | {
        "DANESURVEY_STATE_DIR": str(real),
        "DANESURVEY_DATABASE_URL": "postgresql:///production",
        "DANESURVEY_PUBLISH_DIRECTORY": str(real),
        "DANESURVEY_RESOLVER_QUERY_LOCALHOST": "false",
    }
    command = "from pathlib import Path; from lab import settings_file; import sys"
    command += "; d = Path(sys.argv[1]); settings_file.write(d / 'danesurvey.toml', d, {})"
    command += "; from danesurvey.settings import load; print(repr(load(d / 'danesurvey.toml')))"
    done = subprocess.run(
        [sys.executable, "-c", command, tmp_path / "lab"],
        env=moved,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{settings!r}\n"
    assert files(real) == before


@pytest.mark.parametrize("words", [["survey"], ["status"], ["doctor"], ["db", "upgrade"]], ids=str)
def test_no_command_of_a_lab_works_in_a_real_surveys_directory(
    tmp_path: Path, words: list[str]
) -> None:
    of_lab(tmp_path / "lab")
    real = tmp_path / "real"
    owner.claim(load(flags=[f"state_dir={real}"]))
    before = files(real)
    command = ["-P", "-m", "danesurvey", "--config", tmp_path / "lab/danesurvey.toml"]
    done = subprocess.run(
        [sys.executable, *command, "--state-dir", real, *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "belongs to the survey of the Internet" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert files(real) == before


# --- databases --------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_database_has_one_owner(connection: Connection) -> None:
    await claim(connection, LAB_A)
    await claim(connection, LAB_A)
    for other in (LAB_B, SURVEY):
        with pytest.raises(Refused, match="belongs to lab a"):
            await claim(connection, other)
    assert await connection.fetch("SELECT * FROM owner") == [(LAB_A,)]


@pytest.mark.asyncio
async def test_a_real_surveys_database_is_refused_to_a_lab(connection: Connection) -> None:
    await claim(connection, SURVEY)
    with pytest.raises(Refused, match="belongs to the survey of the Internet"):
        await claim(connection, LAB_A)


@pytest.mark.asyncio
async def test_a_run_that_nobody_marked_is_not_a_labs(connection: Connection) -> None:
    await connection.execute("INSERT INTO run (kind, started) VALUES ('full', '2026-01-01Z')")
    with pytest.raises(Refused, match="belongs to the survey of the Internet"):
        await claim(connection, LAB_A)
    await claim(connection, SURVEY)


@pytest.mark.asyncio
async def test_a_database_of_something_else_is_left_as_it_is(connection: Connection) -> None:
    await connection.execute("DROP SCHEMA public CASCADE")
    await connection.execute("CREATE SCHEMA public")
    await connection.execute("CREATE TABLE customers (id integer)")
    with pytest.raises(Refused, match="'customers'"):
        await claim(connection, LAB_A)
    assert await connection.fetchval("SELECT to_regclass('schema_migration')") is None
