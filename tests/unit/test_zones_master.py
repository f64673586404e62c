"""What the general reader does beyond plain records: directives, RFC 3597, bounds."""

from pathlib import Path

import pytest

from crawler.zones.master import Kind, MasterFile, Record, kind_of
from crawler.zones.rdata import ds_text
from dane.faults import Refused


def read(text: str, origin: str | None = "example", directory: Path | None = None) -> list[Record]:
    reader = MasterFile(origin, directory=directory)
    found = list(reader.read(text.encode().split(b"\n")))
    reader.finish()
    return found


def targets(records: list[Record]) -> list[tuple[str, str]]:
    return [(one.owner, one.value) for one in records if one.kind is Kind.NS]


def test_generate(tmp_path: Path) -> None:
    text = "$GENERATE 1-5/2 a$ 900 IN NS ns${1,3,d}.$$x.test.\n$GENERATE 10-11 b${0,0,x} NS c"
    assert targets(read(text, directory=tmp_path)) == [
        ("a1.example", "ns002.\\036x.test"),
        ("a3.example", "ns004.\\036x.test"),
        ("a5.example", "ns006.\\036x.test"),
        ("ba.example", "c.example"),
        ("bb.example", "c.example"),
    ]


def test_include(tmp_path: Path) -> None:
    (tmp_path / "inner").write_text(" NS of-the-owner-before\n@ NS b\n$ORIGIN elsewhere.\nx NS y\n")
    text = 'first NS a\n$INCLUDE "inner" sub\n NS still-first\nlast NS c\n'
    assert targets(read(text, directory=tmp_path)) == [
        ("first.example", "a.example"),
        ("first.example", "of-the-owner-before.sub.example"),
        ("sub.example", "b.sub.example"),
        ("x.elsewhere", "y.elsewhere"),
        ("first.example", "still-first.example"),
        ("last.example", "c.example"),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("$INCLUDE loop\n", "files deep"),
        ("$INCLUDE none\n", "No such file"),
        ("$GENERATE 1-2/0 a$ NS b\n", "start-stop"),
        ("$GENERATE 1-99999999 a$ NS b\n", "over 1000000 records"),
        ("$ORIGIN\n", "not understood"),
        ("$TTL x\n", "not understood"),
        ("$FOO x\n", "not understood"),
        (" NS b\n", "blank owner"),
        ("a NS (\n" + "b\n" * 3, "inside parentheses"),
        ("a NS (\n" + "b" * 1000 + ("\n" + "b" * 60_000) * 80, "over 4 MiB"),
        ("a DS \\# 4 00010802\n", "under 5 bytes"),
        ("a DS \\# 5 000108\n", "another length"),
        ("a TYPE2 \\# 3 016100ff\n", "another length"),
        ("a TYPE2 \\# 4 016100ff\n", "one name"),
        ("@ SOA a b 1 2 3 4\n", "seven fields"),
        ("@ SOA a b 4294967296 2 3 4 5\n", "no number"),
        ("a 4294967296 NS b\n", "not TTL, class and type"),
        ("$TTL 4294967296\n", "not understood"),
        ('"a" NS b\n', "a name in quotes"),
        ('a NS "b"\n', "a name in quotes"),
        ('a TXT "open\nb NS c\n', "inside a quoted string"),
        ('a TXT "open' + ("\n" + "b" * 60_000) * 80, "over 4 MiB"),
    ],
)
def test_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "loop").write_text("$INCLUDE loop\n")
    with pytest.raises(Refused, match=reason):
        read(text, directory=tmp_path)


def test_a_string_over_several_lines() -> None:
    text = 'a TXT ( "one; (\r\n\n $ORIGIN test.\\" \\\\\ntwo" x\n"y" ) ; "\n'
    first, second = read(text + 'b NS \\"c\\".d\n')
    assert (first.owner, first.kind) == ("a.example", Kind.OTHER)
    assert (second.owner, second.value) == ("b.example", "\\034c\\034.d.example")


def test_directives_are_refused_unless_allowed() -> None:
    for text in ("$INCLUDE /etc/passwd\n", "$GENERATE 1-2 a$ NS b\n"):
        with pytest.raises(Refused, match="not allowed"):
            read(text)


def test_a_relative_name_needs_an_origin() -> None:
    with pytest.raises(Refused, match="no origin"):
        read("a NS b.\n", None)
    assert targets(read("$ORIGIN test.\na NS @\n", None)) == [("a.test", "test")]


def test_wire_soa() -> None:
    wire = "026e7300" + "0461646d6900" + "".join(f"{number:08x}" for number in range(1, 6))
    (record,) = read(f"@ TYPE6 \\# {len(wire) // 2} {wire}\n")
    assert record == Record("example", Kind.SOA, "ns admi 1 2 3 4 5")


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        (b"\t900\tin\tns", Kind.NS),
        (b" IN 1h30m Ds", Kind.DS),
        (b"TYPE43", Kind.DS),
        (b"CLASS1 TYPE6", Kind.SOA),
        (b"4294967295 IN NS", Kind.NS),
        (b"7101w IN NS", Kind.NS),
        (b"7102w IN NS", None),
        (b"4294967296 IN NS", None),
        (b"a", Kind.OTHER),
        (b"900 900 NS", None),
        (b"IN IN NS", None),
        (b"IN", None),
        (b"900", None),
        (b"CH NS", None),
        (b"NOTYPE", None),
        (b"", None),
    ],
)
def test_kind(fields: bytes, kind: Kind | None) -> None:
    assert kind_of(fields) is kind


def test_ds_text() -> None:
    assert ds_text([b"007", b"rsasha256", b"2", b"AB", b"cd"]) == "7 8 2 abcd"
