"""The scanner: any rendering of a zone gives the zone, by either reader, however it is cut."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.zones import compiled, plain, spread
from crawler.zones.assembly import Stage
from crawler.zones.master import Kind, MasterFile
from crawler.zones.scanner import ZoneScan, scan
from dane import names
from dane.faults import Refused
from dane.sample import is_sampled

APEX = "example"
DIGESTS = {1: 40, 2: 64, 4: 96}


@dataclass
class Delegation:
    ns: set[str] = field(default_factory=set)
    ds: set[tuple[int, int, int, str]] = field(default_factory=set)
    dname: bool = False


Zone = dict[str, Delegation]
Found = dict[str, tuple[tuple[str, ...], tuple[str, ...]]]


def delegated(zone: Zone) -> Zone:
    """Names with NS that are not below a name with NS or DNAME (RFC 5936 section 3.5)."""

    def occluded(name: str) -> bool:
        above = name.partition(".")[2]
        if above in ("", APEX):
            return False
        one = zone.get(above)
        return (one is not None and bool(one.ns or one.dname)) or occluded(above)

    return {name: one for name, one in zone.items() if one.ns and not occluded(name)}


def signed(zone: Zone) -> Found:
    """What the scanner has to find."""
    return {
        name: (
            tuple(sorted(f"{tag} {alg} {kind} {digest}" for tag, alg, kind, digest in one.ds)),
            tuple(sorted(one.ns)),
        )
        for name, one in delegated(zone).items()
        if one.ds
    }


def rows(result: ZoneScan) -> Found:
    with result.stage:
        found = [row for batch in result.batches() for row in batch.to_pylist()]
    assert len({row["domain"] for row in found}) == len(found) == result.signed
    return {row["domain"]: (tuple(row["ds"]), tuple(row["ns"])) for row in found}


def scanned(text: bytes, size: int = 1 << 20, origin: str | None = None) -> ZoneScan:
    def chunks() -> Iterator[bytes]:
        return (text[at : at + size] for at in range(0, len(text), size))

    return scan(chunks, Stage, origin=origin)


plain_label = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=12)
any_label = st.binary(min_size=1, max_size=6).map(lambda raw: names.from_labels([raw]))


@st.composite
def ds_records(draw: st.DrawFn) -> tuple[int, int, int, str]:
    kind = draw(st.sampled_from(sorted(DIGESTS)))
    digest = draw(st.text("0123456789abcdef", min_size=DIGESTS[kind], max_size=DIGESTS[kind]))
    return draw(st.integers(0, 65535)), draw(st.sampled_from([5, 8, 13, 200])), kind, digest


@st.composite
def zones(draw: st.DrawFn, label: st.SearchStrategy[str]) -> Zone:
    owner = st.lists(label, min_size=1, max_size=2).map(lambda labels: ".".join([*labels, APEX]))
    target = st.lists(label, min_size=1, max_size=3).map(".".join)
    delegation = st.builds(
        Delegation,
        st.sets(target, max_size=3),
        st.sets(ds_records(), max_size=2),
        st.sampled_from([False, False, False, True]),
    )
    zone = draw(st.dictionaries(owner, delegation, max_size=12))
    for _ in range(draw(st.integers(0, 3)) if zone else 0):
        below = [*draw(st.lists(label, min_size=1, max_size=2)), draw(st.sampled_from([*zone]))]
        zone[".".join(below)] = draw(delegation)
    return zone


def records(zone: Zone) -> list[tuple[str, str, str]]:
    """Owner, type, RDATA; all that is not NS or DS is noise that must not count."""
    found = [(f"ns1.{name}", "A", "192.0.2.1") for name in list(zone)[::3]]
    for name, one in zone.items():
        found += [(name, "NS", f"{target}.") for target in one.ns]
        found += [(name, "DS", " ".join(map(str, ds))) for ds in one.ds]
        found += [(name, "DNAME", "elsewhere.test.")] * one.dname
    found += [("0P9MHAVEQVM6T7VBL5LOP2U3T2RP3TOM.example", "NSEC3", "1 1 0 - 2T7B NS DS RRSIG")]
    return found


def mixed_case(draw: st.DrawFn, text: str) -> str:
    return text.upper() if draw(st.booleans()) else text


ORDERS = {
    "bytes": lambda one: one[0].lower() + ".",
    "labels": lambda one: (one[0].lower() + ".").replace(".", "\x01"),
    "types": lambda one: (one[1], one[0]),
}


@st.composite
def registry_files(draw: st.DrawFn) -> tuple[Zone, bytes]:
    """One plain record a line, absolute owners, as registries write."""
    zone = draw(zones(plain_label))
    found = records(zone)
    order = draw(st.sampled_from([*ORDERS, None]))
    found = sorted(found, key=ORDERS[order]) if order else draw(st.permutations(found))
    gap = draw(st.sampled_from(["\t", " ", "\t\t", "  \t", " \t"]))
    middle = draw(st.sampled_from(["3600 IN", "IN 3600", "3600", "IN", "", "1h in"]))
    soa = ("example", "SOA", "ns.example. host.example. 7 1800 900 604800 86400")
    ends = draw(st.booleans())
    lines = []
    for owner, rrtype, rdata in [soa, ("example", "NS", "ns.example."), *found, *[soa] * ends]:
        if rrtype == "DS" and draw(st.booleans()):
            rdata = f"{rdata[:-7]} {rdata[-7:]}"
        parts = [
            mixed_case(draw, owner + "."),
            *middle.split(),
            mixed_case(draw, rrtype),
            mixed_case(draw, rdata).replace(" ", draw(st.sampled_from([" ", "\t"]))),
        ]
        lines.append(gap.join(parts))
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    text = newline.join(lines) + draw(st.sampled_from(["", newline]))
    return zone, text.encode()


@settings(max_examples=60, deadline=None)
@given(registry_files(), st.integers(20, 3000))
def test_registry_files(case: tuple[Zone, bytes], size: int) -> None:
    zone, text = case
    result = scanned(text, size)
    assert rows(result) == signed(zone)
    assert result.delegations == len(delegated(zone))
    assert result.serial == 7
    assert result.records == len(records(zone)) + 2
    lines = text.lower().splitlines()
    assert result.ends_with_soa == (lines[-1].split()[-7:] == lines[0].split()[-7:])


@settings(max_examples=60, deadline=None)
@given(registry_files())
def test_both_readers_agree(case: tuple[Zone, bytes]) -> None:
    """Where the fast reader reads a block, it says what the general one says."""
    _, text = case
    block = plain.read(b"\n" + text.rstrip(b"\r\n") + b"\n", plain.Zone(APEX), with_rows=True)
    if b"\r" in text:
        assert block is None
        return
    assert block is not None
    assert block.rows is not None
    fast = sorted((row["owner"], row["is_ds"], row["value"]) for row in block.rows.to_pylist())
    general = list(MasterFile(APEX).read(text.splitlines()))
    assert block.records == len(general)
    assert list(block.soas) == [record.value for record in general if record.kind is Kind.SOA]
    assert fast == sorted(
        (plain.Zone.form(record.owner), record.kind is Kind.DS, record.value)
        for record in general
        if record.kind in (Kind.NS, Kind.DS) and record.owner != APEX
    )


def content(block: plain.Block) -> tuple[object, ...]:
    return (
        block.records,
        block.last_owner,
        block.soas,
        block.ends_with_soa,
        block.edges,
        block.orders,
        block.delegations,
        block.signed.to_pylist(),
    )


compiled_only = pytest.mark.skipif(not compiled.available, reason="the extension is not compiled")


def both(block: bytes) -> tuple[plain.Block | None, plain.Block | None]:
    """What the compiled and the other fast reader make of a block."""
    zone = plain.Zone(APEX)
    return compiled.read(block, zone, orders=plain.ORDERS), plain.read(block, zone)


def assert_the_same(compiled_block: plain.Block, block: plain.Block) -> None:
    assert bool(compiled_block.orders) == bool(block.orders)
    if block.orders:  # else nobody looks at the rest
        assert content(compiled_block) == content(block)


@compiled_only
@settings(max_examples=100, deadline=None)
@given(registry_files())
def test_the_compiled_reader_agrees(case: tuple[Zone, bytes]) -> None:
    by_compiled, by_plain = both(b"\n" + case[1].rstrip(b"\r\n") + b"\n")
    if by_compiled is not None:
        assert by_plain is not None
        assert_the_same(by_compiled, by_plain)


@compiled_only
def test_the_compiled_reader_reads_what_registries_write() -> None:
    zone = b"".join([SOA, DS, NS, NS.replace(b"ns.", b"NS0."), NS.replace(b"a.ex", b"B.EX")])
    by_compiled, by_plain = both(b"\n" + zone.replace(b" ", b"\t", 3) + SOA)
    assert by_compiled is not None
    assert by_plain is not None
    assert_the_same(by_compiled, by_plain)


@compiled_only
@settings(max_examples=200, deadline=None)
@given(registry_files(), st.data())
def test_the_compiled_reader_on_damaged_files(
    case: tuple[Zone, bytes], data: st.DataObject
) -> None:
    """It gives up, or says what the other one says where that does not give up."""
    text = bytearray(case[1].replace(b"\r", b"") + b"\n")
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=2) | st.sampled_from([b"\n", b"\t", b" ", b"."])
        )
    by_compiled, by_plain = both(b"\n" + bytes(text))
    if by_compiled is not None and by_plain is not None:
        assert_the_same(by_compiled, by_plain)


@settings(max_examples=30, deadline=None)
@given(registry_files(), st.integers(20, 3000))
def test_without_the_compiled_reader(case: tuple[Zone, bytes], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "available", False)
        assert rows(scanned(case[1], size)) == signed(case[0])


@st.composite
def master_files(draw: st.DrawFn) -> tuple[Zone, bytes]:
    """Everything that RFC 1035 and RFC 3597 allow."""
    zone = draw(zones(st.one_of(plain_label, any_label)))
    lines = ["$TTL 1d ; a default", "$ORIGIN example."]
    lines.append("@ IN SOA ns host ( 7 ; serial\n 1800 900\n604800 86400 ) ; the end")
    origin, last = APEX, APEX
    for owner, rrtype, rdata in draw(st.permutations(records(zone))):
        if draw(st.integers(0, 9)) == 0:
            origin = draw(st.sampled_from([APEX, owner, "test"]))
            lines.append(f"$ORIGIN {origin}.")
        if draw(st.integers(0, 9)) == 0:
            lines.append(draw(st.sampled_from(["", "   ", "; com(ment", '\t; "open'])))
        if draw(st.integers(0, 9)) == 0:
            lines.append(f'{owner}. TXT "a;(b" "\\"" (\n "c" ; "\n)')
            last = owner
        shown = owner + "."
        if owner == last and draw(st.booleans()):
            shown = ""
        elif owner == origin and draw(st.booleans()):
            shown = "@"
        elif owner.endswith(f".{origin}") and draw(st.booleans()):
            shown = owner.removesuffix(f".{origin}")
        last = owner
        if rrtype == "DS" and draw(st.booleans()):
            tag, algorithm, kind, digest = rdata.split()
            wire = f"{int(tag):04x}{int(algorithm):02x}{int(kind):02x}{digest}"
            rrtype, rdata = "TYPE43", f"\\# {len(wire) // 2} {wire[:6]} {wire[6:]}"
        elif rrtype == "NS" and draw(st.booleans()):
            wire = names.to_wire(rdata.removesuffix(".")).hex()
            rrtype, rdata = "TYPE2", f"\\# {len(wire) // 2} {wire}"
        elif rrtype == "NS" and rdata.endswith(f".{origin}.") and draw(st.booleans()):
            rdata = rdata.removesuffix(f".{origin}.")
        middle = draw(st.sampled_from(["3600 IN", "IN 3600", "CLASS1", "2h30m", ""]))
        rdata = f"( {rdata}\n )" if draw(st.integers(0, 4)) == 0 else rdata
        lines.append(f"{shown}\t{middle} {rrtype}  {rdata}")
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    return zone, "\n".join(lines).replace("\n", newline).encode()


@settings(max_examples=60, deadline=None)
@given(master_files(), st.integers(50, 3000))
def test_master_files(case: tuple[Zone, bytes], size: int) -> None:
    zone, text = case
    result = scanned(text, size, origin=APEX)
    assert rows(result) == signed(zone)
    assert result.delegations == len(delegated(zone))


SOA = b"example. 900 IN SOA ns.example. host.example. 7 1800 900 604800 86400\n"
DS = b"a.example. 900 IN DS 1 13 2 " + b"ab" * 32 + b"\n"
NS = b"a.example. 900 IN NS ns.test.\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "empty"),
        (NS, "no SOA"),
        (SOA + b"a.other. 900 IN NS ns.test.\n", "outside the zone"),
        (SOA + b"a.xexample. 900 IN NS ns.test.\n", "outside the zone"),
        (SOA + b"a.example. 900 CH NS ns.test.\n", "another class"),
        (SOA + b"a.example. 900 IN FOO ns.test.\n", "is not TTL, class and type"),
        (SOA + b"a.example. 900 900 NS ns.test.\n", "TTL, class and type"),
        (SOA + b"a..example. 900 IN DS 1 13 2 ab\na..example. IN NS ns.test.\n", "empty label"),
        (SOA + NS + DS.replace(b" 1 13", b" 65536 13"), "no number up to 65535"),
        (SOA + NS + DS.replace(b"ab\n", b"a\n"), "hexadecimal"),
        (SOA + NS + b"a.example. 900 IN DS 1 13\n", "needs key tag"),
        (SOA + NS + DS.replace(b"DS", b"NS"), "one name"),
        (SOA + b'a.example. 900 IN TXT "open\n', "quoted string"),
        (SOA + b"a.example. 900 IN NS ) ns.test.\n", "parenthesis too many"),
        (SOA + b"$GENERATE 1-2 a$ NS ns.test.\n", "not allowed"),
        (SOA + b"\x00\x01\x02\n", "line 2"),
    ],
)
def test_refused(text: bytes, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        scanned(text)


def test_algorithm_mnemonics_and_leading_zeros() -> None:
    text = SOA + NS + DS.replace(b"1 13", b"00001 ecdsap256sha256")
    assert rows(scanned(text)) == {"a.example": (("1 13 2 " + "ab" * 32,), ("ns.test",))}


def test_a_control_character_before_a_newline_stays() -> None:
    with pytest.raises(Refused, match="two different SOA"):
        scanned(SOA + NS + SOA.replace(b"400\n", b"400\x00\n"))


def test_an_escaped_blank_parts_no_fields() -> None:
    text = SOA + (NS + DS).replace(b"a.ex", b"a\\ b.ex").replace(b"ns.", b"\\\tn\\\\.")
    assert rows(scanned(text)) == {
        "a\\032b.example": (("1 13 2 " + "ab" * 32,), ("\\009n\\092.test",))
    }


UNUSUAL = {"*": "\\042", "0/25": "0\\04725", "\xe9": "\\233"}  # as written, and in keys


@settings(max_examples=60, deadline=None)
@given(st.permutations([*UNUSUAL, "a"] * 2), st.integers(20, 300), st.data())
def test_owners_with_unusual_bytes(written: list[str], size: int, data: st.DataObject) -> None:
    """Each as it is or escaped, so that either reader has a part of a delegation."""
    if data.draw(st.booleans()):
        written = sorted(written)
    text, seen = SOA, set[str]()
    for label in written:
        record = DS if label in seen else NS
        seen.add(label)
        shown = data.draw(st.sampled_from([label, UNUSUAL.get(label, label)]))
        text += record.replace(b"a.ex", f"{shown}.ex".encode("latin-1"))
    found = rows(scanned(text, size))
    assert set(found) == {f"{UNUSUAL.get(label, label)}.example" for label in written}


def test_a_record_twice_counts_as_one_in_the_sets() -> None:
    assert rows(scanned(SOA + NS + NS + DS + DS)) == {
        "a.example": (("1 13 2 " + "ab" * 32,), ("ns.test",))
    }


def test_the_apex_and_orphans_are_no_delegations() -> None:
    text = SOA + DS.replace(b"a.example", b"example") + b"example. 900 IN NS ns.test.\n"
    result = scanned(text + DS.replace(b"a.ex", b"b.ex"))
    with result.stage:
        assert (result.delegations, result.signed) == (0, 0)


@pytest.mark.parametrize("readers", ["compiled", "columns", "general"])
@pytest.mark.parametrize(
    ("lines", "count", "found"),
    [
        ([NS, DS, NS.replace(b"a.ex", b"b.a.ex"), DS.replace(b"a.ex", b"b.a.ex")], 1, ["a"]),
        ([NS.replace(b"a.ex", b"b.a.ex"), DS.replace(b"a.ex", b"b.a.ex"), NS], 1, []),
        ([NS.replace(b"a.ex", b"b.a.ex"), DS.replace(b"a.ex", b"b.a.ex")], 1, ["b.a"]),
        ([NS, NS.replace(b"a.ex", b"d.c.b.a.ex"), DS.replace(b"a.ex", b"d.c.b.a.ex")], 1, []),
        (
            [
                b"a.example. 900 IN DNAME b.test.\n",
                NS.replace(b"a.ex", b"b.a.ex"),
                DS.replace(b"a.ex", b"b.a.ex"),
            ],
            0,
            [],
        ),
        ([DS, NS.replace(b"a.ex", b"b.a.ex"), DS.replace(b"a.ex", b"b.a.ex")], 1, ["b.a"]),
        ([NS, NS.replace(b"a.ex", b"ba.ex"), DS.replace(b"a.ex", b"ba.ex")], 2, ["ba"]),
    ],
    ids=["below", "before", "no cut", "far below", "DNAME", "only DS above", "beside"],
)
def test_a_name_below_a_cut_is_no_delegation(
    lines: list[bytes], count: int, found: list[str], readers: str
) -> None:
    text = b"".join([SOA, *lines])
    if readers == "general":
        text = text.replace(b" IN ", b" ( IN ) ")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "available", compiled.available and readers == "compiled")
        result = scanned(text, 100)
    assert result.delegations == count
    assert set(rows(result)) == {f"{name}.example" for name in found}


def test_a_zone_with_more_names_above_delegations_than_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spread, "_MOST_OCCLUDING", 1)
    cuts = [NS.replace(b"a.ex", b"%s.ex" % name) for name in (b"a", b"b.a", b"b", b"b.b")]
    with pytest.raises(Refused, match="delegations have delegations below them"):
        scanned(SOA + b"".join(cuts))


@pytest.mark.parametrize("rrtype", ["DELEG", "ALIAS", "ANAME", "CLA", "DSYNC", "TYPE65280"])
@pytest.mark.parametrize("middle", ["", "900", "IN", "900 IN", "IN 900"])
def test_a_type_newer_than_the_library_is_another_type(rrtype: str, middle: str) -> None:
    line = f"a.example. {middle} {rrtype} x.\n".encode()
    assert set(rows(scanned(SOA + NS + line + DS))) == {"a.example"}
    assert set(rows(scanned(SOA + NS + line.replace(b" x.", b" ( x. )") + DS))) == {"a.example"}


@pytest.mark.parametrize("middle", ["", "900", "IN", "900 IN"])
def test_a_type_that_nobody_knows_is_named(middle: str) -> None:
    with pytest.raises(Refused, match=r"line 2: .*'NEWTYPE' is no known type"):
        scanned(SOA + f"a.example. {middle} NEWTYPE x.\n".encode())


def test_a_delegation_larger_than_a_block() -> None:
    lines = [b"a.example. 900 IN NS ns%05d.test.\n" % number for number in range(3000)]
    text = SOA + DS + b"".join(lines) + DS.replace(b"a.ex", b"b.ex") + NS.replace(b"a.ex", b"b.ex")
    found = rows(scanned(text, 10_000))
    assert len(found["a.example"][1]) == 3000
    assert "b.example" in found


def sampled(zone: Zone, one_of: int) -> set[str]:
    """The delegations without DS that are in the sample."""
    return {
        name
        for name, one in delegated(zone).items()
        if not one.ds and is_sampled(name.encode(), one_of)
    }


@pytest.mark.parametrize("use_compiled", [True, False])
@settings(max_examples=40, deadline=None)
@given(case=st.one_of(registry_files(), master_files()), one_of=st.integers(1, 4))
def test_a_sample_of_the_unsigned_is_the_same_by_every_reader(
    use_compiled: bool, case: tuple[Zone, bytes], one_of: int
) -> None:
    zone, text = case

    def chunks() -> Iterator[bytes]:
        return (text[at : at + 200] for at in range(0, len(text), 200))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "available", compiled.available and use_compiled)
        result = scan(chunks, Stage, origin=APEX, unsigned_sample=one_of)
    with result.stage:
        found = {row["domain"]: row for batch in result.batches() for row in batch.to_pylist()}
    assert {name for name, row in found.items() if not row["ds"]} == sampled(zone, one_of)
    assert {name: (tuple(row["ds"]), tuple(row["ns"])) for name, row in found.items()} == {
        **signed(zone),
        **{name: ((), tuple(sorted(zone[name].ns))) for name in sampled(zone, one_of)},
    }
    assert result.signed == len(signed(zone))
    assert result.delegations == len(delegated(zone))


def test_a_sample_is_one_in_so_many_in_every_bucket() -> None:
    labels = [f"name{number}.example" for number in range(200_000)]
    for one_of in (1, 2, 100, 1024, 4096):
        found = [name for name in labels if is_sampled(name.encode(), one_of)]
        expected = len(labels) / one_of
        assert abs(len(found) - expected) <= 5 * expected**0.5
    buckets = {names.bucket(name) for name in labels if is_sampled(name.encode(), 1024)}
    assert len(buckets) > 150  # of some 195: the hash of the buckets is another
