"""`danesurvey verify`: DANE verification offline, of one chain or of a stream of cases."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from dane.faults import UsageFault
from dane.outcomes import Verdict

if TYPE_CHECKING:
    from dane.outcomes import RolloverScheme
    from dane.verify import Verification

MOST_BYTES = 16 * 1024 * 1024
"""Of one line of JSON or one PEM file; the chain of any sane server is below 100 kB."""

_EXIT_CODE = {
    Verdict.MATCH: 0,
    Verdict.UNUSABLE: 0,
    Verdict.MISMATCH: 1,
    Verdict.NAME_MISMATCH: 1,
    Verdict.TA_EXPIRED: 1,
    Verdict.CERT_UNPARSED: 3,
}
"""Whether a sender that enforces DANE delivers; 3: it could not be decided here."""

_EXAMPLE = """Example: danesurvey verify --chain chain.pem --name mx.example.org --tlsa "3 1 1 HEX"
"""


def register(app: typer.Typer) -> None:
    app.command("verify", epilog=_EXAMPLE)(verify)


def verify(
    chain: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The certificates as sent, PEM, the server's first."),
    ] = None,
    tlsa: Annotated[
        list[str] | None,
        typer.Option(metavar="RECORD", help='A TLSA record, as "3 1 1 HEX". Any number.'),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A reference name: TLSA base domain, mail domain. Any number; without one, "
            "names are not checked.",
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When, ISO 8601, UTC without an offset. Default: now."),
    ] = None,
    print_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; --batch always does.")
    ] = False,
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="JSON lines, `-` for stdin: id, chain (list of PEM), tlsa, names (lists), at. "
            "Prints a JSON line for each; one that is no case gets an `error`.",
        ),
    ] = None,
) -> None:
    """Verify a certificate chain against TLSA records, without a network.

    Exit code: 0 match or unusable (TLS is required, but nothing to authenticate with), 1
    mismatch, name_mismatch or ta_expired, 2 wrong input, 3 a certificate could not be read.
    With --batch: 0, or 2 if a line was no case (the others are verified nevertheless).
    """
    from dane.case import CaseFault, as_json, read_case

    if batch is not None:
        if chain or tlsa or name or at:
            raise UsageFault("--batch takes all from its lines: no --chain, --tlsa, --name, --at")
        _verify_batch(batch)
        return
    if chain is None or not tlsa:
        raise UsageFault("verify needs --chain and --tlsa, or --batch")
    try:
        case = read_case([_read_text(chain)], tlsa, name or [], at)
    except CaseFault as fault:
        raise UsageFault(str(fault)) from None
    verification = case.verify()
    scheme = case.scheme(verification)
    answer = json.dumps(as_json(verification, scheme), indent=2)
    print(answer if print_json else _text(verification, scheme))
    raise typer.Exit(_EXIT_CODE[verification.verdict])


def _text(verification: "Verification", scheme: "RolloverScheme | None") -> str:
    from dane.case import defects_of

    lines = [str(verification.verdict)]
    for one in verification.records:
        place = "" if one.depth is None else f", certificate {one.depth}"
        cause = "" if one.cause in (None, one.result) else f" ({one.cause})"
        lines.append(f"  {one.record.text()}: {one.result}{cause}{place}")
    if verification.name_decides:
        lines.append(f"  names in the certificate: {', '.join(verification.leaf_names) or 'none'}")
    if odd := defects_of(verification, scheme):
        lines.append(f"  defects: {', '.join(odd)}")
    if scheme is not None:
        lines.append(f"  rollover scheme: {scheme}")
    return "\n".join(lines)


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageFault(f"{path}: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise UsageFault(f"{path}: over {MOST_BYTES} bytes")
    return data.decode("latin-1")


def _verify_batch(source: str) -> None:
    from dane.case import verify_line

    bad = count = 0
    for line in _lines(source):
        count += 1
        text, good = verify_line(line) if len(line) <= MOST_BYTES else _too_long()
        bad += not good
        print(text, flush=True)
    if bad:
        raise UsageFault(f"{bad} of {count} lines are no cases (see their `error`)")


def _too_long() -> tuple[str, bool]:
    return json.dumps({"id": None, "error": f"the line is over {MOST_BYTES} bytes"}), False


def _lines(source: str) -> Iterator[bytes]:
    """The lines that are not blank; of one that is too long, its beginning."""
    if source == "-":
        yield from _bounded_lines(sys.stdin.buffer)
        return
    try:
        with Path(source).open("rb") as file:
            yield from _bounded_lines(file)
    except OSError as error:
        raise UsageFault(f"{source}: {error.strerror}") from None


def _bounded_lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(MOST_BYTES + 1):
        if len(line) > MOST_BYTES:
            while rest := file.readline(MOST_BYTES):
                if rest.endswith(b"\n"):
                    break
        if line.strip():
            yield line
