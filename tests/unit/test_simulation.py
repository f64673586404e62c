"""`[lab] days_ahead` is refused wherever the Internet could be meant."""

from pathlib import Path

import pytest

from crawler.dns.configuration import IANA_ANCHORS
from dane.faults import UsageFault
from danesurvey.settings import Settings, load

_HINTS = ". 300 IN NS ns.\nns. 300 IN A 127.20.0.1\n"
_ANCHOR = ". 300 IN DS 4711 13 2 " + "ab" * 32 + "\n"


def _load(tmp_path: Path, *, hints: str, anchor: str, addresses: str) -> Settings:
    (tmp_path / "root.hints").write_text(hints)
    (tmp_path / "root.anchor").write_text(anchor)
    (tmp_path / "danesurvey.toml").write_text(
        f'[resolver]\nroot_hints = "{tmp_path}/root.hints"\ntrust_anchor = "{tmp_path}/root.anchor"'
        f"\n[probe]\nlab_addresses = {addresses}\n[lab]\ndays_ahead = 3\n"
    )
    return load(tmp_path / "danesurvey.toml")


def test_a_lab_may_run_ahead(tmp_path: Path) -> None:
    addresses = '["127.30.0.0/16", "fd00:30::/32"]'
    settings = _load(tmp_path, hints=_HINTS, anchor=_ANCHOR, addresses=addresses)
    assert settings.lab.days_ahead == 3


def test_without_settings_it_is_refused() -> None:
    with pytest.raises(UsageFault, match=r"lab\.days_ahead is for a lab only"):
        load(flags=["lab.days_ahead=1"])


@pytest.mark.parametrize(
    ("hints", "anchor", "addresses", "which"),
    [
        (". 300 IN NS ns.\nns. 300 IN A 198.41.0.4\n", _ANCHOR, '["127.30.0.0/16"]', "root_hints"),
        (_HINTS + "ns. 300 IN AAAA 2001:503:ba3e::2:30\n", _ANCHOR, '["127.30.0.0/16"]',
         "root_hints"),
        ("", _ANCHOR, '["127.30.0.0/16"]', "root_hints"),
        (_HINTS, "\n".join(IANA_ANCHORS), '["127.30.0.0/16"]', "trust_anchor"),
        (_HINTS, _ANCHOR + IANA_ANCHORS[0], '["127.30.0.0/16"]', "trust_anchor"),
        (_HINTS, "", '["127.30.0.0/16"]', "trust_anchor"),
        (_HINTS, _ANCHOR, "[]", "lab_addresses"),
        (_HINTS, _ANCHOR, '["127.30.0.0/16", "0.0.0.0/0"]', "lab_addresses"),
        (_HINTS, _ANCHOR, '["9.9.9.0/24"]', "lab_addresses"),
    ],
)  # fmt: skip
def test_what_is_no_lab_may_not(
    tmp_path: Path, hints: str, anchor: str, addresses: str, which: str
) -> None:
    with pytest.raises(UsageFault, match=rf"for a lab only: .*{which}"):
        _load(tmp_path, hints=hints, anchor=anchor, addresses=addresses)


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(UsageFault, match=r"lab\.days_ahead: -1\.0 is below 0"):
        load(flags=["lab.days_ahead=-1"])
