"""Names: one key a name, the wire form and back, whose name it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dane.names import (
    BUCKETS,
    NameFault,
    bucket,
    canonical,
    from_labels,
    from_wire,
    operator,
    public_suffix_list_version,
    registrable_domain,
    to_labels,
    to_wire,
)

names = st.lists(st.binary(min_size=1, max_size=20), max_size=9)


@given(names)
def test_a_name_is_had_back_from_its_key_and_its_wire_form(labels: list[bytes]) -> None:
    key = from_labels(labels)
    assert key.isascii()
    assert key.isprintable()
    assert " " not in key
    assert to_labels(key) == [label.lower() for label in labels]
    assert canonical(key) == key
    assert from_wire(to_wire(key)) == key
    assert 0 <= bucket(key) < BUCKETS


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Example.ORG.", "example.org"),
        ("example.org", "example.org"),
        (".", "."),
        ("a\\.b.example", "a\\046b.example"),
        ("a\\046b.example", "a\\046b.example"),
        ("\\065.example", "a.example"),
        ("a b.example", "a\\032b.example"),
        ("*.example", "\\042.example"),
        ("bücher.example", "b\\195\\188cher.example"),
        ("_25._tcp.mx-1.example", "_25._tcp.mx-1.example"),
    ],
)
def test_keys(text: str, key: str) -> None:
    assert canonical(text) == key


@pytest.mark.parametrize(
    "text",
    ["", "..", "a..b", ".a", "a\\", "a\\25", "a\\256", "a" * 64, ".".join(["a" * 63] * 4)],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(NameFault):
        canonical(text)


@pytest.mark.parametrize(
    "wire",
    [b"", b"\1a", b"\2a\0", b"\1a\0\0", b"\xc0\0", b"\0\0", (b"\x3f" + b"a" * 63) * 4 + b"\0"],
)
def test_what_is_no_wire_form(wire: bytes) -> None:
    with pytest.raises(NameFault):
        from_wire(wire)


@pytest.mark.parametrize(
    ("key", "domain"),
    [
        ("mx1.example.org", "example.org"),
        ("a.b.example.co.uk", "example.co.uk"),
        ("example.org", "example.org"),
        ("co.uk", "co.uk"),
        ("org", "org"),
        (".", "."),
        ("mx.domain.nosuchtld", "domain.nosuchtld"),
        ("mx.xn--bcher-kva.xn--p1ai", "xn--bcher-kva.xn--p1ai"),
        ("a\\046b.example.org", "example.org"),
    ],
)
def test_registrable_domain(key: str, domain: str) -> None:
    assert registrable_domain(key) == domain


def test_operators_are_merged() -> None:
    merges = {"provider-mx.net": "provider.example"}
    assert operator("mx3.provider-mx.net", merges) == "provider.example"
    assert operator("mx3.other.net", merges) == "other.net"


def test_the_edition_of_the_list_is_known() -> None:
    assert public_suffix_list_version().split(".")[-1].isdigit()
