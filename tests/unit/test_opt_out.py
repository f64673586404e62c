"""What an opt-out list covers, and what becomes of it while a survey runs (docs/ethics.md)."""

import os
import pickle
from pathlib import Path

import pytest

from crawler import opt_out
from crawler.opt_out import NOBODY, OptOut, OptOutList
from dane.faults import UsageFault


def covers(line: str, **asked: str) -> bool:
    listed = OptOutList.parse("list", line)
    if "name" in asked:
        return listed.covers(names=(asked["name"],))
    return listed.covers(**asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("*.example.org", "example.org"),
        ("*.example.org", "mx.example.org"),
        (".example.org", "example.org"),
        ("@example.org", "example.org"),
        ("postmaster@example.org", "example.org"),
        ("<postmaster@example.org>", "example.org"),
        ("mailto:postmaster@example.org", "example.org"),
        ("a.org b.org", "a.org"),
        ("a.org b.org", "b.org"),
        ("a.org,b.org", "a.org"),
        ("a.org,b.org", "b.org"),
        ("example.org;", "example.org"),
        ('"example.org"', "example.org"),
        ("https://www.example.org/contact?a=b#c", "example.org"),
        ("example.org/contact", "example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("*.BÜCHER.example", "mx.xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("example。org", "example.org"),
        ("\ufeffexample.org", "example.org"),
        ("\u200bexample.org", "example.org"),
        ("example.org\u00a0other.example", "other.example"),
        ("MX.Example.Org:25", "mx.example.org"),
        ("_25._tcp.mx.example.org.", "mx.example.org"),
        ("org.", "example.org"),
        ("odd\\032bytes.example", "odd\\032bytes.example"),
    ],
)
def test_a_name_that_a_person_plainly_means(line: str, name: str) -> None:
    assert covers(line, name=name)
    assert not covers(line, name="notexample.net")


@pytest.mark.parametrize(
    ("line", "inside", "outside"),
    [
        ("192.0.2.*", "192.0.2.255", "192.0.3.0"),
        ("192.0.*.*", "192.0.255.1", "192.1.0.0"),
        ("192.0.2.0-192.0.2.255", "192.0.2.255", "192.0.3.0"),
        ("192.0.2.0 - 192.0.2.9", "192.0.2.9", "192.0.2.10"),
        ("192.0.2.7\u2013192.0.2.9", "192.0.2.8", "192.0.2.6"),
        ("192.0.2.0-9", "192.0.2.9", "192.0.2.10"),
        ("192.0.2.0/255.255.255.0", "192.0.2.255", "192.0.3.0"),
        ("192.0.2.77/24", "192.0.2.1", "192.0.3.0"),
        ("::ffff:192.0.2.0/120", "192.0.2.255", "192.0.3.0"),
        ("64:ff9b::192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("2002:c000:201::/48", "192.0.2.1", "192.0.2.2"),
        ("[192.0.2.1]:25", "192.0.2.1", "192.0.2.2"),
        ("192.0.2.1:25", "192.0.2.1", "192.0.2.2"),
        ("postmaster@[192.0.2.1]", "192.0.2.1", "192.0.2.2"),
        ("https://192.0.2.1/", "192.0.2.1", "192.0.2.2"),
        ("1.2.0.192.in-addr.arpa", "192.0.2.1", "192.0.2.2"),
        ("2.0.192.in-addr.arpa.", "192.0.2.200", "192.0.3.0"),
        ("[2001:db8::1]", "2001:db8::1", "2001:db8::2"),
        ("[IPv6:2001:db8::1]", "2001:db8::1", "2001:db8::2"),
        ("2001:db8:1:*", "2001:db8:1:ffff::1", "2001:db8:2::"),
        ("2001:db8::1-2001:db8::9", "2001:db8::9", "2001:db8::a"),
        ("8.b.d.0.1.0.0.2.ip6.arpa", "2001:db8:ffff::1", "2001:db9::"),
    ],
)
def test_a_network_that_a_person_plainly_means(line: str, inside: str, outside: str) -> None:
    assert covers(line, address=inside)
    assert not covers(line, address=outside)


# Of RFC 6052 section 2.4 (192.0.2.33), RFC 4380 section 4 (client 192.0.2.45), RFC 3056
# section 2, RFC 4291 section 2.5.5, RFC 2765 section 2.1, RFC 5214 section 6.1.
@pytest.mark.parametrize(
    ("ipv4", "ipv6"),
    [
        ("192.0.2.33", "2001:db8:c000:221::"),
        ("192.0.2.33", "2001:db8:1c0:2:21::"),
        ("192.0.2.33", "2001:db8:122:c000:2:2100::"),
        ("192.0.2.33", "2001:db8:122:3c0:0:221::"),
        ("192.0.2.33", "2001:db8:122:344:c0:2:2100::"),
        ("192.0.2.33", "2001:db8:122:344::192.0.2.33"),
        ("192.0.2.33", "64:ff9b::192.0.2.33"),
        ("192.0.2.33", "64:ff9b:1::192.0.2.33"),
        ("192.0.2.33", "64:ff9b:1:c000:2:2100::"),
        ("192.0.2.45", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
        ("65.54.227.120", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
        ("192.0.2.33", "2002:c000:221::1"),
        ("192.0.2.33", "::ffff:192.0.2.33"),
        ("192.0.2.33", "::ffff:0:192.0.2.33"),
        ("192.0.2.33", "::192.0.2.33"),
        ("192.0.2.33", "2001:db8::5efe:192.0.2.33"),
        ("192.0.2.33", "2001:db8::200:5efe:192.0.2.33"),
    ],
)
def test_an_ipv4_entry_covers_ipv6_addresses_that_carry_it(ipv4: str, ipv6: str) -> None:
    assert covers(ipv4, address=ipv6)
    assert covers(f"{ipv4}/32", address=ipv6)
    assert not covers("198.51.100.0/24", address=ipv6)


def test_an_ordinary_ipv6_address_carries_no_ipv4_address() -> None:
    assert not covers("0.0.0.0/8", address="2001:db8::25")


@pytest.mark.parametrize(
    "line",
    [
        "AS64500",
        "as-64500",
        "org",
        "localhost",
        "*",
        ".",
        "mx*.example.org",
        "example.org, please",
        "foo.example - bad",
        "192.0.2",
        "300.1.2.3",
        "1.2.3.4.5",
        "192.0.2.0 255.255.255.0",
        "192.0.2.9-192.0.2.1",
        "192.0.2.0-example",
        "192.0.2.0-2001:db8::",
        "example.org/24",
        "https:///contact",
        "fe80::1%eth0",
        "0/25.2.0.192.in-addr.arpa",
        "in-addr.arpa",
        "\u201cexample.org\u201d",
        "exa\x00mple.org",
        "a..b",
    ],
)
def test_what_is_not_understood_stops_with_line_and_number(line: str, tmp_path: Path) -> None:
    path = tmp_path / "opt-out"
    path.write_text(f"# by mail\nok.example\n{line}\n")
    with pytest.raises(UsageFault, match="opt-out, line 3: ") as raised:
        OptOut(path)
    assert "\n" not in str(raised.value)


def test_a_byte_order_mark_hides_no_entry(tmp_path: Path) -> None:
    path = tmp_path / "opt-out"
    path.write_bytes(b"\xef\xbb\xbfexample.org\r\n192.0.2.1\r\n")
    listed = OptOut(path)
    assert listed.covers(names=("example.org",))
    assert listed.covers(address="192.0.2.1")


def test_the_list_is_a_value() -> None:
    listed = OptOutList.parse("list", "b.example 192.0.2.0/24 2001:db8::/32 a.example")
    again = pickle.loads(pickle.dumps(listed))
    assert again == listed
    assert hash(again) == hash(listed)
    assert again.covers(address="192.0.2.1")
    assert list(listed) == ["a.example", "b.example", "192.0.2.0/24", "2001:db8::/32"]
    assert len(listed) == 4
    assert not NOBODY
    assert listed | NOBODY is listed
    assert listed != OptOutList.parse("list", "a.example")


class TestWhileItIsEdited:
    """The file changes under a reader; `SETTLE_S` is made short where its end matters."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "opt-out"
        path.write_text("example.org\n192.0.2.1\n")
        return path

    @pytest.fixture
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(opt_out, "SETTLE_S", 0.0)

    def test_a_new_entry_holds_at_once(self, path: Path) -> None:
        listed = OptOut(path)
        before = listed.current()
        assert listed.current() is before
        with path.open("a") as file:
            file.write("new.example\n")
        assert listed.covers(names=("new.example",))
        assert listed.current() != before

    def test_nobody_is_asked_while_an_editor_has_emptied_it(self, path: Path) -> None:
        listed = OptOut(path)
        path.write_text("")
        assert listed.covers(names=("example.org",))
        path.unlink()
        assert listed.covers(names=("example.org",))
        path.write_text("example.org\nnew.example\n")
        assert listed.covers(names=("example.org",))
        assert listed.covers(names=("new.example",))

    def test_a_removed_entry_is_given_up_once_the_file_rests(
        self, path: Path, impatient: None
    ) -> None:
        listed = OptOut(path)
        path.write_text("example.org\n")
        assert not listed.covers(address="192.0.2.1")
        assert listed.covers(names=("example.org",))

    @pytest.mark.parametrize("spoil", ["gone", "unreadable", "binary"])
    def test_nothing_goes_on_without_it(self, path: Path, impatient: None, spoil: str) -> None:
        listed = OptOut(path)
        if spoil == "gone":
            path.unlink()
        elif spoil == "unreadable":
            path.write_text("example.org\nAS64500\n")
        else:
            path.write_bytes(b"\xff\xfe")
        for _ in range(2):
            with pytest.raises(UsageFault, match="opt-out"):
                listed.covers(names=("other.example",))
        fresh = path.with_name("fresh")
        fresh.write_text("example.org\n")
        os.replace(fresh, path)
        assert listed.covers(names=("example.org",))
