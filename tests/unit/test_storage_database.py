"""What is said of a database that cannot be had: where it is, never the password."""

import asyncio

import adbc_driver_manager
import asyncpg
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dane.faults import LocalTrouble, UsageFault
from storage.database import adbc_trouble, connection, trouble, whereabouts


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:secret@db.example:5433/survey", "survey at db.example port 5433"),
        ("postgresql://u@/survey?host=%2Frun%2Fpg", "survey at /run/pg"),
        ("postgresql://u:secret@/?host=/run/pg", "the default database at /run/pg"),
        ("postgresql:///survey", "survey at the local socket"),
        ("postgresql://u:secret@[::1", "the database of an unreadable URL"),
        ("postgresql://u:secret@h:port/x", "the database of an unreadable URL"),
    ],
)
def test_whereabouts_name_host_and_database(url: str, said: str) -> None:
    assert whereabouts(url) == said


@given(st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=8))
def test_whereabouts_never_have_the_password(password: str) -> None:
    assume(password not in whereabouts("postgresql://user@host/database"))  # such as "database"
    assert password not in whereabouts(f"postgresql://user:{password}@host/database")


def test_a_refused_connection_is_one_line_without_the_password() -> None:
    async def connect() -> None:
        async with connection("postgresql://u:secret@127.0.0.1:1/survey"):
            raise AssertionError("connected to a closed port")

    with pytest.raises(LocalTrouble) as caught:
        asyncio.run(connect())
    assert "survey at 127.0.0.1 port 1" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:secret@127.0.0.1/survey",
        "survey",
        "postgresql://u:secret@h:port/x",
        "postgresql://u:secret@[::1/x",
    ],
)
def test_what_is_no_url_is_a_usage_fault(url: str) -> None:
    async def connect() -> None:
        async with connection(url):
            raise AssertionError("connected")

    with pytest.raises(UsageFault, match="postgresql://") as caught:
        asyncio.run(connect())
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "fault",
    [
        asyncpg.DiskFullError("could not extend file"),
        asyncpg.InvalidPasswordError("password authentication failed"),
        asyncpg.AdminShutdownError("terminating connection"),
        ConnectionResetError(),
        FileNotFoundError(2, "no such socket"),
    ],
)
def test_the_worlds_faults_are_local_trouble(fault: Exception) -> None:
    with pytest.raises(LocalTrouble), trouble():
        raise fault


@pytest.mark.parametrize(
    "fault",
    [asyncpg.UniqueViolationError("twice"), asyncpg.PostgresSyntaxError("near"), KeyError()],
)
def test_our_own_faults_stay_what_they_are(fault: Exception) -> None:
    with pytest.raises(type(fault)), trouble():
        raise fault


def test_of_adbc_only_the_first_line_is_said() -> None:
    fault = adbc_driver_manager.OperationalError(
        "could not extend file\n\nQuery was: COPY secret",
        status_code=adbc_driver_manager.AdbcStatusCode.IO,
        sqlstate="53100",
    )
    said = adbc_trouble(fault, "postgresql://u:secret@h/d")
    assert isinstance(said, LocalTrouble)
    assert "could not extend file" in str(said)
    assert "secret" not in str(said)
