"""One module tells the time."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dane import clock

_ROOT = Path(__file__).parents[2]
_PACKAGES = ("dane", "crawler", "storage", "reports", "danesurvey", "migrations", "lab")
_TELLS_THE_TIME = re.compile(
    r"\btime\.(time|time_ns|localtime|ctime|asctime)\b(?!\w)"
    r"|\btime\.(gmtime|strftime)\(\s*\)"
    r"|from time import"
    r"|\b(datetime|date)\.(now|utcnow|today)\b"
    r"|\b(now|clock_timestamp|transaction_timestamp|statement_timestamp|get_current_timestamp)\(\)"
    r"|(?<!trio\.)\b(current_timestamp|current_date|current_time|localtimestamp)\b",
    re.IGNORECASE,
)
_REAL_TIME = {
    "dane/clock.py": "the one",
    "danesurvey/cluster.py": "TLS of the cluster: certificates that OpenSSL checks",
}
_OURS = re.compile(r"\b(clock|watch)\.now\(\)")


@pytest.fixture(autouse=True)
def _right_again() -> Iterator[None]:
    yield
    clock.run_ahead(0)


def test_no_other_module_tells_the_time() -> None:
    telling = {}
    for package in _PACKAGES:
        for path in sorted((_ROOT / package).rglob("*")):
            if path.suffix in {".py", ".sql", ".j2"}:
                text = _OURS.sub("", path.read_text("utf-8"))
                text = re.sub(r"def now\(self\)", "", text)
                if found := _TELLS_THE_TIME.search(text):
                    telling[path.relative_to(_ROOT).as_posix()] = found[0]
    assert telling.keys() - _REAL_TIME.keys() == set(), telling


def test_the_clock_is_real_and_runs_ahead_where_it_is_told_to() -> None:
    before = datetime.now(UTC)
    assert before <= clock.now() <= datetime.now(UTC)

    clock.run_ahead(30)
    assert clock.days_ahead() == 30
    ahead = clock.now() - before
    assert timedelta(days=30) <= ahead < timedelta(days=30, minutes=5)
    assert clock.now().tzinfo is UTC
    assert abs(clock.seconds() - clock.now().timestamp()) < 5
    assert abs(clock.microseconds() / 1e6 - clock.seconds()) < 5


def test_every_kind_of_telling_is_seen() -> None:
    for text in (
        "time.time()",
        "field(default_factory=time.time)",
        "datetime.now(UTC)",
        "date.today()",
        "DEFAULT now()",
        "SELECT CURRENT_TIME",
    ):
        assert _TELLS_THE_TIME.search(text), text
    for text in ("time.monotonic()", "time.strftime(x, time.gmtime(at))", "datetime.fromisoformat"):
        assert not _TELLS_THE_TIME.search(text), text
