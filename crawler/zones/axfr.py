"""Zone transfer (RFC 5936) over TCP, signed with TSIG (RFC 8945) where a key is given.

What a survey needs of the zone (SOA, NS, DS, DNAME) is written as a master file with the SOA first
and last, so that the scanner reads it like any other and a cut is seen twice. dnspython
parses and verifies; nothing is kept in memory.
"""

import asyncio
import base64
import binascii
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import dns.exception
import dns.flags
import dns.inet
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.tsig
from isal import igzip

from crawler.dns.opaque import read_message
from crawler.zones.output import replacing
from crawler.zones.progress import Meter, Progress
from crawler.zones.settings import ZoneSource
from dane.faults import LocalTrouble, Refused, UsageFault

_gzip_file: Any = igzip.IGzipFile  # untyped
_PORT = "53"
_DS_FIELDS = 4  # bytes before the digest (RFC 4034 section 5.1)
_KEPT = (dns.rdatatype.SOA, dns.rdatatype.NS, dns.rdatatype.DS, dns.rdatatype.DNAME)
_ALGORITHMS = dns.tsig.mac_sizes.keys() - {dns.tsig.GSS_TSIG}
_SECRET = "DANESURVEY_TSIG_SECRET"


@dataclass(frozen=True, slots=True)
class Primary:
    """Where a zone is transferred from."""

    address: str
    port: int
    key: dns.tsig.Key | None = field(repr=False)  # its repr has the secret

    def __str__(self) -> str:
        return f"{self.address}#{self.port}"


def primary(source: ZoneSource) -> Primary:
    """The server and the key of a source. Raises UsageFault."""
    if source.server is None:
        raise UsageFault(f"[[zones]] {source.zone}: kind axfr needs server")
    address, _, port = source.server.partition("#")
    port = port or _PORT
    if not dns.inet.is_address(address) or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise UsageFault(f"[[zones]] {source.zone}: server is no address or address#port")
    return Primary(address, int(port), _key(source))


def _key(source: ZoneSource) -> dns.tsig.Key | None:
    if source.tsig_name is None:
        if source.tsig_secret_file is not None:
            raise UsageFault(f"[[zones]] {source.zone}: tsig_secret_file needs tsig_name")
        return None
    if source.tsig_secret_file is not None:
        try:
            secret = source.tsig_secret_file.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise UsageFault(f"{source.tsig_secret_file}: no TSIG secret to read") from None
    else:
        secret = os.environ.get(_SECRET, "")
    try:
        decoded = base64.b64decode(secret, validate=True)
    except binascii.Error:
        decoded = b""
    if not decoded:
        raise UsageFault(f"[[zones]] {source.zone}: tsig_secret_file or {_SECRET} (base64) needed")
    try:
        name = dns.name.from_text(source.tsig_name)
        algorithm = dns.name.from_text(source.tsig_algorithm)
    except dns.exception.DNSException as error:
        raise UsageFault(f"[[zones]] {source.zone}: the TSIG key's name: {error}") from None
    if algorithm not in _ALGORITHMS:
        known = ", ".join(sorted(one.to_text(omit_final_dot=True) for one in _ALGORITHMS))
        raise UsageFault(f"[[zones]] {source.zone}: tsig_algorithm is none of {known}")
    return dns.tsig.Key(name, decoded, algorithm)


async def transfer(
    server: Primary, zone: str, path: Path, timeout_s: float, progress: Progress
) -> None:
    """Transfer a zone into a gzip file. `timeout_s` is for each wait for the server.

    The same answer gives the same file. Raises Refused (the server says no, a bad signature, a
    cut), LocalTrouble.
    """
    soas = 0
    meter = Meter(progress, zone, "transferred")
    with replacing(path) as file, _packed(file) as out:
        async with aclosing(_answer(server, zone, timeout_s)) as messages:
            async for message in messages:
                kept = [rrset for rrset in message.answer if _is_kept(rrset)]
                if soas == 0 and (not kept or kept[0].rdtype != dns.rdatatype.SOA):
                    raise Refused(f"{server}: a transfer that does not begin with the SOA")
                soas += sum(rrset.rdtype == dns.rdatatype.SOA for rrset in kept)
                out.write("".join(f"{rrset.to_text()}\n" for rrset in kept).encode("ascii"))
                meter.at(out.tell())
                if soas > 1:
                    if server.key is not None and not message.had_tsig:  # RFC 8945 section 5.3.1
                        raise Refused(f"{server}: the last message is not signed")
                    return
        raise Refused(f"{server}: the transfer was cut")


def _is_kept(rrset: dns.rrset.RRset) -> bool:
    if rrset.rdtype == dns.rdatatype.DS:
        # One without a digest delegates trust to no key (RFC 6840 section 5.2).
        return len(rrset[0].to_wire()) > _DS_FIELDS
    return rrset.rdtype in _KEPT


def _packed(file: BinaryIO) -> Any:
    return _gzip_file(fileobj=file, mode="wb", compresslevel=1, mtime=0)


async def _answer(
    server: Primary, zone: str, timeout_s: float
) -> AsyncGenerator[dns.message.Message, None]:
    """The verified messages that answer an AXFR over one TCP connection.

    Ends where the server closes the connection. Raises Refused, LocalTrouble.
    """
    query = dns.message.make_query(zone, dns.rdatatype.AXFR)
    query.flags &= ~dns.flags.RD
    if server.key is not None:
        query.use_tsig(server.key)
    wire = query.to_wire()
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(server.address, server.port)
    except OSError as error:  # without a number: TimeoutError
        why = os.strerror(error.errno) if error.errno else f"silent for {timeout_s:.0f} s"
        raise LocalTrouble(f"{server} cannot be reached: {why}") from None
    context = None
    try:
        writer.write(len(wire).to_bytes(2) + wire)
        while data := await _message(reader, timeout_s):
            message = read_message(
                data,
                keyring=query.keyring,
                request_mac=query.mac,
                xfr=True,
                tsig_ctx=context,
                multi=True,
                one_rr_per_rrset=True,
            )
            if message.id != query.id:
                raise Refused(f"{server}: an answer to another question")
            if message.rcode() != dns.rcode.NOERROR:
                code = dns.rcode.to_text(message.rcode())
                raise Refused(f"{server}: {code} for {zone}: may this address and key transfer it?")
            if server.key is not None and context is None and not message.had_tsig:
                raise Refused(f"{server}: the answer is not signed")
            yield message
            context = message.tsig_ctx
    except TimeoutError:
        raise Refused(f"{server}: the transfer was cut: silent for {timeout_s:.0f} s") from None
    except OSError as error:
        raise Refused(f"{server}: the transfer was cut: {error.strerror or error}") from None
    except dns.exception.DNSException as error:
        raise Refused(f"{server}: a bad answer: {type(error).__name__}: {error}") from None
    finally:
        writer.close()


async def _message(reader: asyncio.StreamReader, timeout_s: float) -> bytes:
    """The next message of a TCP connection (RFC 1035 section 4.2.2); empty: it was closed."""
    async with asyncio.timeout(timeout_s):
        try:
            return await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
        except asyncio.IncompleteReadError:
            return b""
