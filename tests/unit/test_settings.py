"""Settings: which source wins, and what is refused in one line that names it."""

import re
from pathlib import Path

import pytest

from dane.faults import UsageFault
from danesurvey.settings import load


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_flags_over_environment_over_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("danesurvey.toml").write_text("[client]\nwindow = 1\nsockets = 1\ntry_s = 1.0\n")
    monkeypatch.setenv("DANESURVEY_CLIENT_SOCKETS", "2")
    monkeypatch.setenv("DANESURVEY_CLIENT_TRY_S", "2.0")
    client = load(flags=["client.try_s=3.0"]).client
    assert (client.window, client.sockets, client.try_s) == (1, 2, 3.0)


def test_the_defaults_that_the_page_tells() -> None:
    page = (Path(__file__).parents[2] / "docs/operations.md").read_text("utf-8")
    told = re.findall(r"^\| `(\w+)\.(\w+)` \| (\S+) \|", page, re.MULTILINE)
    assert len(told) > 10
    settings = load()
    for section, key, default in told:
        value = getattr(getattr(settings, section), key)
        assert default == ("none" if value in (None, "") else str(value)), (section, key)


def test_lists_come_from_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DANESURVEY_CLIENT_PASSES_S", "[1, 2.5]")
    assert load().client.passes_s == (1.0, 2.5)
    assert load(flags=["client.passes_s=[3]"]).client.passes_s == (3.0,)
    monkeypatch.setenv("DANESURVEY_CLIENT_PASSES_S", "[1")
    with pytest.raises(UsageFault, match="DANESURVEY_CLIENT_PASSES_S: not a list"):
        load()


def test_a_bad_value_is_told_with_where_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("danesurvey.toml").write_text('[client]\nwindow = 1\nsockets = "many"\n')
    with pytest.raises(UsageFault, match=r"client\.sockets: .* in danesurvey\.toml"):
        load()
    monkeypatch.setenv("DANESURVEY_CLIENT_SOCKETS", "few")
    with pytest.raises(UsageFault, match=r"client\.sockets: .* in the environment"):
        load()
    with pytest.raises(UsageFault, match=r"client\.window: .* in --set"):
        load(flags=["client.window=wide", "client.sockets=2"])


def test_of_two_flags_the_later_wins() -> None:
    assert load(flags=["probe=1", "probe.port=26", "probe.port=27"]).probe.port == 27


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ("nothing=1", "nothing: no such setting"),
        ("probe.nothing=1", "probe.nothing: no such setting"),
        ("probe.port=smtp", "probe.port: Input should be a valid integer"),
        ("probe.port=65536", "probe.port: 65536 is no port"),
        ("resolver.second_look_port=0", "resolver.second_look_port: 0 is not above 0"),
        ("client.window=0", "client.window: 0 is not above 0"),
        ("probe.new_per_s=0", "probe.new_per_s: 0.0 is not above 0"),
        ("probe.reply_s=-1", "probe.reply_s: -1.0 is not above 0"),
        ("probe.reply_s=nan", "probe.reply_s: nan is not above 0"),
        ("probe.address_interval_s=-1", "probe.address_interval_s: -1.0 is below 0"),
        ("database.connections=0", "database.connections: 0 is not above 0"),
        ("publish.confirmation.looks=0", "publish.confirmation.looks: 0 is not above 0"),
    ],
)
def test_a_bad_value_is_named(flag: str, reason: str) -> None:
    with pytest.raises(UsageFault, match=f"^settings: {reason}"):
        load(flags=[flag])


def test_waits_may_be_nothing_but_every_one_of_them_is_checked() -> None:
    Path("danesurvey.toml").write_text("[client]\npasses_s = [0.0, -1.0]\n")
    with pytest.raises(UsageFault, match=r"client.passes_s: -1.0 is below 0"):
        load()
    Path("danesurvey.toml").write_text("[client]\npasses_s = [0.0]\n")
    assert load().client.passes_s == (0.0,)


def test_no_canaries_is_no_choice() -> None:
    Path("danesurvey.toml").write_text("[canaries]\nzones = []\n")
    with pytest.raises(UsageFault, match=r"canaries\.zones"):
        load()
