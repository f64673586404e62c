"""One attempt at a server, and the rows of `smtp_probe` and `certificate` that it becomes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crawler.scan.judgement import Judged
from crawler.scan.probe_row import Certificates, probe_row
from crawler.scan.target import Key
from crawler.smtp.probe import Conversation
from dane.outcomes import Defect

OnRow = Callable[[dict[str, Any], Mapping[str, bytes]], None]
"""Gets a row that will not change any more, without its run, and all certificates seen."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the connections to a server showed (measurement, section 6).

    `proven`: it needs no confirmation by canaries. The server showed its certificate, so it was
    there, and so were we; or nothing was connected to.
    """

    key: Key
    talks: Sequence[Conversation]
    judged: Judged
    defects: Iterable[Defect] = ()
    proven: bool = False
    visited: bool = True

    @property
    def reached(self) -> bool:
        """Whether an SMTP server answered."""
        return any(talk.chain or talk.smtp_code is not None for talk in self.talks)


def without_connection(key: Key, reason: Judged, *, proven: bool = True) -> Attempt:
    """The attempt at a server that is not, or not any more, to be connected to."""
    return Attempt(key, [reason.talk], reason, proven=proven, visited=False)


@dataclass(slots=True)
class Rows:
    """The rows of a scan's finished attempts, by the number of the target."""

    on_row: OnRow | None
    probes: dict[int, dict[str, Any]] = field(default_factory=dict)
    certificates: Certificates = field(default_factory=Certificates)

    def add(self, target: int, attempt: Attempt) -> None:
        row = self.probes[target] = probe_row(
            attempt.key, attempt.talks, attempt.judged, attempt.defects, self.certificates
        )
        if self.on_row is not None:
            self.on_row(row, self.certificates.der)
