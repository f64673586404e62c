"""Whether what was scanned may take the place of the last good zone.

A zone that comes short is worse than none: its missing domains would count as gone. What is
refused keeps the last good names.
"""

from dataclasses import dataclass

from crawler.zones.settings import IntakeSettings

_MIN_LOST_DELEGATIONS = 50
_SERIALS = 1 << 32
# How files begin that came instead of a zone
_FOREIGN = (
    (b"version https://git-lfs", "a git-lfs pointer, not the file itself"),
    (b"<", "HTML or XML, not a zone"),
    (b"{", "JSON, not a zone"),
    (b"PK\x03\x04", "a zip archive, not a zone"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one snapshot of a zone; None: not known, as in a list."""

    serial: int | None
    delegations: int
    signed: int | None


def foreign(start: bytes) -> str | None:
    """What a file is that is no zone, judged by its first bytes; None if it may be one."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not text:
        return "an empty file"
    return next((what for mark, what in _FOREIGN if text.startswith(mark)), None)


def refusal(
    new: Figures, last: Figures | None, bounds: IntakeSettings, *, accept_shrink: bool = False
) -> str | None:
    """Why a snapshot is refused after the last accepted one; None: it is accepted.

    `accept_shrink` allows any loss.
    """
    if new.delegations == 0:
        return "no delegation in it"
    if last is None:
        return None
    if new.serial is not None and last.serial is not None and _older(new.serial, last.serial):
        return f"serial {new.serial} is older than {last.serial}"
    if accept_shrink:
        return None
    lost = last.delegations - new.delegations
    if lost > max(bounds.max_lost_delegations * last.delegations, _MIN_LOST_DELEGATIONS):
        return f"{lost} of {last.delegations} delegations are gone (--accept-shrink takes it once)"
    if new.signed is not None and last.signed is not None:
        lost = last.signed - new.signed
        if lost > bounds.max_lost_signed * last.signed:
            return (
                f"{lost} of {last.signed} signed delegations are gone"
                " (--accept-shrink takes it once)"
            )
    return None


def _older(serial: int, last: int) -> bool:
    """Serial number arithmetic (RFC 1982 section 3.2)."""
    return 0 < (last - serial) % _SERIALS < _SERIALS // 2
