"""The general reader of DNS master files (RFC 1035 section 5, RFC 2308, RFC 3597).

Reads every valid file: relative owners, `@`, blank owners, `$ORIGIN`, `$TTL`, parentheses,
comments, quoted strings, escapes, class and TTL in either order or absent, RFC 3597
types and RDATA, CRLF. It understands only what a survey of delegations needs: of each
record the owner and the type, and the RDATA of SOA, NS and DS. `$INCLUDE` and `$GENERATE`
are refused unless allowed. What is not a master file is `Refused`, with its line.

Registry files have one plain record a line and hundreds of millions of them; those are
read by `crawler.zones.plain`, which gives up on anything that needs this reader.
"""

import re
from collections.abc import Iterable, Iterator
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import dns.exception
import dns.rdatatype

from crawler.zones.rdata import ds_text, generic, number, wire_name
from dane import names
from dane.faults import Refused

MAX_LINE = 64 * 1024
_MAX_ENTRY = 4 * 1024 * 1024
_MAX_INCLUDES = 8
_MAX_GENERATED = 1_000_000
_MAX_TTL_TEXT = 64


class Kind(Enum):
    """What a record is to a survey of delegations."""

    SOA = "SOA"
    NS = "NS"
    DS = "DS"
    DNAME = "DNAME"
    OTHER = "other"


class Record(NamedTuple):
    """One record; owner and NS targets are keys (`dane.names`)."""

    owner: str
    kind: Kind
    value: str  # SOA: RDATA text; NS: the target; DS: `ds_text`; else empty


_KINDS = {
    dns.rdatatype.SOA: Kind.SOA,
    dns.rdatatype.NS: Kind.NS,
    dns.rdatatype.DS: Kind.DS,
    dns.rdatatype.DNAME: Kind.DNAME,
}
# Types that dnspython does not know: of drafts, of software, and old ones (IANA's registry)
_NEWER_TYPES = frozenset(
    b"DELEG DELEGI DELEGPARAM ALIAS ANAME LUA CLA IPN DOA SINK RKEY TALINK EID NIMLOC ATMA"
    b" UINFO UID GID".split()
)
_TOKEN = re.compile(
    rb'[ \t]+|(?P<comment>;.*)|(?P<open>\()|(?P<close>\))|(?P<word>"(?:[^"\\]|\\.)*"'
    rb'|(?:[^ \t;()"\\]|\\[0-9]{3}|\\[^0-9])+)',
    re.DOTALL,
)
_SPECIAL = re.compile(rb'[;()"]|\\[ \t]')
_BLANK = re.compile(rb"[ \t]+")
_PLAIN_NAME = re.compile(rb"(?:[A-Za-z0-9_-]{1,63}\.)+")
_ESCAPED_DOT = re.compile(rb"(?:^|[^\\])(?:\\\\)*\\\.$")
_TO_QUOTE = re.compile(rb'(?:[^"\\]|\\.)*"', re.DOTALL)  # the rest of a quoted string
_TTL = re.compile(rb"[0-9]+|(?:[0-9]+[smhdwSMHDW])+")
_TTL_PART = re.compile(rb"([0-9]+)([smhdw]?)", re.IGNORECASE)
_UNIT_S = {b"": 1, b"s": 1, b"m": 60, b"h": 3600, b"d": 86400, b"w": 604800}
_CLASS = re.compile(rb"(?:IN|CLASS1)", re.IGNORECASE)
_OTHER_CLASS = re.compile(rb"(?:CH|HS|CS|CLASS[0-9]+)", re.IGNORECASE)
# What dig prints when there is no zone, or only some of it
_TRANSCRIPT = (
    (b"Transfer failed", "dig says that the transfer failed"),
    (b"communications error", "dig says that the connection failed"),
    (b"connection timed out", "dig says that the connection timed out"),
    (b"no servers could be reached", "dig says that no server could be reached"),
    (b"->>HEADER<<-", "a dig answer to a question, not a zone"),
)


@lru_cache(maxsize=1024)
def _kind(text: bytes) -> Kind | None:
    """The kind of a type's mnemonic or `TYPEnnn`; None if there is no such type."""
    if text in _NEWER_TYPES:
        return Kind.OTHER
    try:
        rrtype = dns.rdatatype.from_text(text.decode("ascii", "replace"))
    except (dns.exception.DNSException, ValueError):
        return None
    return _KINDS.get(rrtype, Kind.OTHER)


def _is_ttl(text: bytes) -> bool:
    """Seconds, or numbers with a unit each, that fit the wire's 32 bits.

    What is over 2^31 - 1 is a TTL of zero (RFC 2181 section 8), which a survey of delegations
    makes no use of.
    """
    if not _TTL.fullmatch(text) or len(text) > _MAX_TTL_TEXT:
        return False
    parts = _TTL_PART.findall(text)
    return sum(int(number) * _UNIT_S[unit.lower()] for number, unit in parts) < 1 << 32


def _is_before_type(word: bytes) -> bool:
    """Whether a word is a TTL or a class, or looks as if it should be one."""
    return word[:1].isdigit() or bool(_CLASS.fullmatch(word) or _OTHER_CLASS.fullmatch(word))


@lru_cache(maxsize=4096)
def kind_of(fields: bytes) -> Kind | None:
    """The kind of a record from what stands between owner and RDATA: TTL, class, type.

    None if it is not TTL and class (either order, each at most once) and a known mnemonic.
    """
    *before, rrtype = fields.split() or [b""]
    if len(before) > 2 or _TTL.fullmatch(rrtype) or _CLASS.fullmatch(rrtype):
        return None
    ttls = sum(_is_ttl(field) for field in before)
    classes = sum(bool(_CLASS.fullmatch(field)) for field in before)
    if ttls > 1 or classes > 1 or ttls + classes != len(before):
        return None
    return _kind(rrtype.upper())


class MasterFile:
    """Reads the entries of one master file, whole lines at a time.

    `origin` is the initial origin (a key), or None if only `$ORIGIN` can give one. `directory`
    is where `$INCLUDE` is relative to; None refuses `$INCLUDE` and `$GENERATE`.
    """

    def __init__(
        self, origin: str | None, *, directory: Path | None = None, includes: int = 0
    ) -> None:
        self.origin = origin
        self.owner: str | None = None
        self.line = 0  # lines read so far
        self._directory = directory
        self._includes = includes
        self._words: list[bytes] = []  # of an entry that goes on in the next line
        self._blank = False
        self._depth = 0
        self._in_quotes = False
        self._size = 0

    @property
    def is_open(self) -> bool:
        """Whether an entry goes on: parentheses or a quoted string are open."""
        return self._depth > 0 or self._in_quotes

    def refuse(self, why: str) -> Refused:
        """The refusal of this file, naming the line."""
        return Refused(f"line {self.line}: {why}")

    def finish(self) -> None:
        """The file ends here. Raises Refused inside an entry."""
        if self.is_open:
            within = "a quoted string" if self._in_quotes else "parentheses"
            raise self.refuse(f"the file ends inside {within}")

    def read(self, lines: Iterable[bytes]) -> Iterator[Record]:
        """The records of whole lines (without the newline). Raises Refused."""
        for raw in lines:
            self.line += 1
            if not raw:
                continue
            if len(raw) > MAX_LINE:
                raise self.refuse("a line over 64 KiB")
            line = raw[:-1] if raw.endswith(b"\r") else raw
            if not self.is_open:
                self._words = []
                self._size = 0
                self._blank = line[:1] in (b" ", b"\t")
            if self._in_quotes or _SPECIAL.search(line):
                self._split(line)
            else:
                self._words += filter(None, _BLANK.split(line))
            self._size += len(line)
            if self.is_open:
                if self._size > _MAX_ENTRY:
                    raise self.refuse("an entry over 4 MiB: parentheses or quotes are not closed")
            elif self._words:
                try:
                    yield from self._entry(self._words)
                except ValueError as error:
                    raise self.refuse(str(error)) from None

    def _split(self, line: bytes) -> None:
        """Add the words of a line with comments, quotes or parentheses."""
        at = 0
        if self._in_quotes:
            rest = _TO_QUOTE.match(line)
            if rest is None:
                return
            self._in_quotes = False
            at = rest.end()
        while at < len(line):
            token = _TOKEN.match(line, at)
            if token is None and line[at : at + 1] == b'"':
                # "Any character can occur" in it (section 5.1); no record that is looked into
                # has such a string, so its further lines are not kept
                self._words.append(line[at:] + b"\n")
                self._in_quotes = True
                return
            if token is None:
                raise self.refuse("a lone backslash")
            at = token.end()
            match token.lastgroup:
                case "word":
                    self._words.append(token["word"])
                case "open":
                    self._depth += 1
                case "close":
                    self._depth -= 1
                    if self._depth < 0:
                        raise self.refuse("a closing parenthesis too many")
                case "comment":
                    for mark, why in _TRANSCRIPT:
                        if mark in token["comment"]:
                            raise self.refuse(why)
                case _:
                    pass

    def _name(self, text: bytes) -> str:
        """The key of a name as written, relative names completed. Raises ValueError."""
        if _PLAIN_NAME.fullmatch(text) and len(text) < 255:
            return text[:-1].lower().decode()
        if text == b"@":
            return self._known_origin()
        if text.startswith(b'"'):
            raise ValueError("a name in quotes, which are for strings")
        decoded = text.decode("utf-8", "surrogateescape")
        if text.endswith(b".") and not _ESCAPED_DOT.search(text):
            return names.canonical(decoded)
        labels = names.to_labels(decoded) + names.to_labels(self._known_origin())
        if sum(map(len, labels)) + len(labels) + 1 > 255:
            raise names.NameFault("a name over 255 bytes")
        return names.from_labels(labels)

    def _known_origin(self) -> str:
        if self.origin is None:
            raise ValueError("a relative name, and no origin is given")
        return self.origin

    def _entry(self, words: list[bytes]) -> Iterator[Record]:
        if not self._blank and words[0].startswith(b"$"):
            yield from self._directive(words)
            return
        if self._blank:
            if self.owner is None:
                raise ValueError("a blank owner, and no record before it")
        else:
            self.owner = self._name(words[0])
            words = words[1:]
        yield self._record(words)

    def _record(self, words: list[bytes]) -> Record:
        assert self.owner is not None
        count = 0
        while count < min(len(words), 2) and _is_before_type(words[count]):
            if _OTHER_CLASS.fullmatch(words[count]) and not _CLASS.fullmatch(words[count]):
                raise ValueError("a record of another class than IN")
            count += 1
        if count >= len(words):
            raise ValueError("a record without a type")
        kind = kind_of(b" ".join(words[: count + 1]))
        if kind is None:
            shown = b" ".join(words[: count + 1])[:60].decode("ascii", "replace")
            rrtype = words[count][:60].decode("ascii", "replace")
            unknown = "" if _kind(words[count].upper()) else f": {rrtype!r} is no known type"
            raise ValueError(f"{shown!r} is not TTL, class and type{unknown}")
        return Record(self.owner, kind, self._rdata(kind, words[count + 1 :]))

    def _rdata(self, kind: Kind, words: list[bytes]) -> str:
        if kind in (Kind.OTHER, Kind.DNAME):
            return ""
        if words[:1] == [b"\\#"]:
            return self._wire_rdata(kind, generic(words))
        if kind is Kind.DS:
            return ds_text(words)
        if kind is Kind.NS:
            if len(words) != 1:
                raise ValueError("an NS record has one name")
            return self._name(words[0])
        if len(words) != 7:
            raise ValueError("an SOA record has seven fields")
        serial = number(words[2], 0xFFFFFFFF)
        rest = b" ".join(words[3:]).decode("ascii", "replace")
        return f"{self._name(words[0])} {self._name(words[1])} {serial} {rest}"

    def _wire_rdata(self, kind: Kind, wire: bytes) -> str:
        if kind is Kind.DS:
            if len(wire) < 5:
                raise ValueError("a DS of under 5 bytes")
            return f"{int.from_bytes(wire[:2])} {wire[2]} {wire[3]} {wire[4:].hex()}"
        first, at = wire_name(wire, 0)
        if kind is Kind.NS:
            if at != len(wire):
                raise ValueError("an NS record has one name")
            return first
        second, at = wire_name(wire, at)
        if len(wire) != at + 20:
            raise ValueError("an SOA record has two names and five numbers")
        numbers = [int.from_bytes(wire[i : i + 4]) for i in range(at, len(wire), 4)]
        return f"{first} {second} {' '.join(map(str, numbers))}"

    def _directive(self, words: list[bytes]) -> Iterator[Record]:
        match words[0].upper(), words[1:]:
            case b"$TTL", [ttl] if _is_ttl(ttl):
                return
            case b"$ORIGIN", [origin]:
                self.origin = self._name(origin)
            case (b"$INCLUDE" | b"$GENERATE" as which, _) if self._directory is None:
                raise ValueError(f"{which.decode()} is not allowed for this source")
            case b"$INCLUDE", [file, *origin] if len(origin) < 2:
                yield from self._include(file, origin)
            case b"$GENERATE", [span, owner, *fields] if len(fields) >= 2:
                yield from self._generate(span, owner, fields)
            case _:
                shown = b" ".join(words)[:60].decode("ascii", "replace")
                raise ValueError(f"a directive that is not understood: {shown!r}")

    def _include(self, file: bytes, origin: list[bytes]) -> Iterator[Record]:
        """The records of another file; origin and owner here stay as they are (section 5.1)."""
        assert self._directory is not None
        if self._includes >= _MAX_INCLUDES:
            raise ValueError(f"$INCLUDE over {_MAX_INCLUDES} files deep")
        path = self._directory / file.strip(b'"').decode("utf-8", "surrogateescape")
        inner = MasterFile(
            self._name(origin[0]) if origin else self.origin,
            directory=path.parent,
            includes=self._includes + 1,
        )
        inner.owner = self.owner
        try:
            with path.open("rb") as lines:
                yield from inner.read(line.rstrip(b"\n") for line in lines)
                inner.finish()
        except OSError as error:
            raise ValueError(f"$INCLUDE: {error.strerror}") from None

    def _generate(self, span: bytes, owner: bytes, fields: list[bytes]) -> Iterator[Record]:
        """BIND's `$GENERATE start-stop[/step] owner [TTL] [class] type rdata`."""
        bounds = re.fullmatch(rb"([0-9]{1,9})-([0-9]{1,9})(?:/([0-9]{1,9}))?", span)
        if bounds is None or int(bounds[3] or 1) == 0:
            raise ValueError("$GENERATE needs start-stop or start-stop/step")
        values = range(int(bounds[1]), int(bounds[2]) + 1, int(bounds[3] or 1))
        if len(values) > _MAX_GENERATED:
            raise ValueError(f"$GENERATE of over {_MAX_GENERATED} records")
        for value in values:
            self.owner = self._name(_substitute(owner, value))
            yield self._record([_substitute(field, value) for field in fields])


_PLACE = re.compile(rb"\$\$|\$(?:\{(-?[0-9]{1,9})(?:,([0-9]{1,2})(?:,([doxX]))?)?\})?")


def _substitute(template: bytes, value: int) -> bytes:
    """`$` or `${offset,width,base}` of a `$GENERATE` replaced by the value; `$$` is `$`."""

    def digits(place: re.Match[bytes]) -> bytes:
        if place[0] == b"$$":
            return b"$"
        number = value + int(place[1] or 0)
        return format(number, f"0{int(place[2] or 0)}{(place[3] or b'd').decode()}").encode()

    return _PLACE.sub(digits, template)
