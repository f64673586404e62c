"""One SMTP conversation up to STARTTLS and past it, without I/O (RFC 5321, RFC 3207).

`Dialogue` is told what arrived (`receive`, `receive_eof`, `timed_out`, `secured`) and says
what to send (`data_to_send`) and where it stands (`state`, `status`). All that it may do
is in `TRANSITIONS`, a total table of (state, event): greeting, EHLO, STARTTLS, EHLO again
inside TLS, QUIT. There is no HELO (it cannot offer STARTTLS), no MAIL, RCPT or VRFY, and
no pipelining: a command goes out only when the reply to the one before is complete.

What the peer does wrong is an outcome, never an exception. Its bounds: a line of 2 KiB, a
reply of 32 KiB and 100 lines. `LocalProtocolError` is a bug of the caller.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from dane.outcomes import AfterTLS, HostStatus

MAX_LINE = 2048
"""Bytes of one reply line, its line end included (RFC 5321 section 4.5.3.1.5 asks for 512)."""
MAX_REPLY = 32 * 1024
"""Bytes of one reply, all lines."""
MAX_REPLY_LINES = 100
MAX_TEXT = 500
"""Characters of a reply that are kept as evidence."""

_REPLY_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_VISIBLE = [chr(b) if 0x20 <= b < 0x7F else f"\\x{b:02x}" for b in range(256)]


class LocalProtocolError(Exception):
    """The caller did what the dialogue does not allow in this state: a bug of ours."""


class State(StrEnum):
    """What the dialogue waits for."""

    GREETING = "greeting"  # connected; the server speaks first
    EHLO = "EHLO"  # EHLO sent
    STARTTLS = "STARTTLS"  # STARTTLS sent
    TLS = "TLS"  # the caller is to do the handshake, then to call `secured`
    EHLO_AGAIN = "EHLO inside TLS"  # RFC 3207 section 4.2: what came before is forgotten
    QUIT = "QUIT"  # QUIT sent
    CLOSED = "closed"  # the caller is to close the connection


class Event(StrEnum):
    """What happened while the dialogue waited."""

    POSITIVE = "2xx"
    OFFERED = "2xx with STARTTLS"  # a reply to EHLO with that keyword
    SHUTDOWN = "421"  # allowed as reply to anything (RFC 5321 section 3.8)
    TRANSIENT = "4xx"
    PERMANENT = "5xx"
    GARBLED = "no SMTP reply"  # another code, no code, over a bound, out of turn
    EOF = "connection closed"
    TIMEOUT = "time-out"


@dataclass(frozen=True, slots=True)
class Step:
    """Where an event leads, and what it settles."""

    state: State
    command: str | None = None  # sent on entering the state; {name} is our EHLO name
    status: HostStatus | None = None  # None: not settled, or settled before


_HANG_UP = Step(State.CLOSED)
_TEMPFAIL = Step(State.CLOSED, None, HostStatus.TEMPFAIL)
_TEMPFAIL_QUIT = Step(State.QUIT, "QUIT", HostStatus.TEMPFAIL)
_REFUSED = Step(State.QUIT, "QUIT", HostStatus.REFUSED)
_REJECTED = Step(State.QUIT, "QUIT", HostStatus.STARTTLS_REJECTED)
_LEAVE = Step(State.QUIT, "QUIT")
_SEND_EHLO = Step(State.EHLO, "EHLO {name}")

# 421 says that the server is closing the channel: no QUIT is sent into it.
_LOST = {
    Event.SHUTDOWN: _TEMPFAIL,
    Event.GARBLED: _TEMPFAIL,
    Event.EOF: _TEMPFAIL,
    Event.TIMEOUT: _TEMPFAIL,
}
# Once the handshake is done the certificate decides; how the rest goes changes nothing.
_DONE = dict.fromkeys(Event, _HANG_UP)

TRANSITIONS: Mapping[State, Mapping[Event, Step]] = {
    State.GREETING: _LOST
    | {
        Event.POSITIVE: _SEND_EHLO,
        Event.OFFERED: _SEND_EHLO,
        Event.TRANSIENT: _TEMPFAIL_QUIT,
        Event.PERMANENT: _REFUSED,
    },
    State.EHLO: _LOST
    | {
        Event.OFFERED: Step(State.STARTTLS, "STARTTLS"),
        Event.POSITIVE: Step(State.QUIT, "QUIT", HostStatus.NO_STARTTLS),
        Event.TRANSIENT: _TEMPFAIL_QUIT,
        Event.PERMANENT: _REFUSED,
    },
    State.STARTTLS: _LOST
    | {
        Event.POSITIVE: Step(State.TLS),
        Event.OFFERED: Step(State.TLS),
        Event.TRANSIENT: _REJECTED,
        Event.PERMANENT: _REJECTED,
    },
    State.EHLO_AGAIN: _DONE
    | {
        Event.POSITIVE: _LEAVE,
        Event.OFFERED: _LEAVE,
        Event.TRANSIENT: _LEAVE,
        Event.PERMANENT: _LEAVE,
    },
    State.QUIT: _DONE,
}
"""measurement, section 6, the lines that the conversation alone decides."""

_AFTER_TLS = {
    Event.SHUTDOWN: AfterTLS.SHUTDOWN,
    Event.TRANSIENT: AfterTLS.TRANSIENT,
    Event.PERMANENT: AfterTLS.PERMANENT,
    Event.GARBLED: AfterTLS.GARBLED,
    Event.EOF: AfterTLS.CLOSED,
    Event.TIMEOUT: AfterTLS.SILENT,
}
"""What is recorded of a session that goes wrong once the handshake is done."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply: its code, and its lines without code, as bytes from a stranger."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def text(self) -> str:
        """Printable evidence: bytes outside ASCII's visible ones as \\xHH, lines by newline."""
        text = "\n".join("".join(map(_VISIBLE.__getitem__, line)) for line in self.lines)
        return text[:MAX_TEXT]

    def keywords(self) -> frozenset[bytes]:
        """EHLO keywords, upper case (RFC 5321 section 4.1.1.1: not the first line)."""
        return frozenset(line.split(None, 1)[0].upper() for line in self.lines[1:] if line.split())


def classify(reply: Reply) -> Event:
    """The event that a reply is. 421 comes before 4xx."""
    if reply.code == 421:
        return Event.SHUTDOWN
    if 200 <= reply.code < 300:
        return Event.OFFERED if b"STARTTLS" in reply.keywords() else Event.POSITIVE
    return {4: Event.TRANSIENT, 5: Event.PERMANENT}.get(reply.code // 100, Event.GARBLED)


class Dialogue:
    """The conversation with one server, from its greeting to the close.

    `status` is the host status that the conversation settled; None with `state` CLOSED
    means that the handshake was done. `after_tls`: how it went wrong after that, if it did.
    `injected`: the server sent bytes between its 220 to STARTTLS and our ClientHello (defect
    `starttls_injection`); they are thrown away unread.
    """

    __slots__ = (
        "_buffer",
        "_lines",
        "_name",
        "_outgoing",
        "_size",
        "after_tls",
        "error",
        "injected",
        "reply",
        "state",
        "status",
    )

    def __init__(self, ehlo_name: str) -> None:
        self._name = ehlo_name
        self._buffer = bytearray()
        self._lines: list[bytes] = []
        self._size = 0
        self._outgoing = b""
        self.state = State.GREETING
        self.status: HostStatus | None = None
        self.reply: Reply | None = None  # the last one before the outcome was settled
        self.error: str | None = None  # why it ended other than by a reply
        self.injected = False
        self.after_tls: AfterTLS | None = None

    def data_to_send(self) -> bytes:
        """What is to be sent now; each command is handed out once."""
        data, self._outgoing = self._outgoing, b""
        return data

    def receive(self, data: bytes) -> None:
        """Take bytes of the server: plaintext before the handshake, decrypted text after."""
        self._expect_waiting()
        if not data:
            self.receive_eof()
            return
        self._buffer += data
        while (line := self._next_line()) is not None:
            if not self._take_line(line):
                return

    def receive_eof(self) -> None:
        """The server closed the connection, or it broke."""
        self._expect_waiting()
        self._apply(Event.EOF, f"connection closed while waiting for {self._awaited()}")

    def timed_out(self) -> None:
        """The step or the session took longer than its deadline."""
        self._expect_waiting()
        self._apply(Event.TIMEOUT, f"time-out while waiting for {self._awaited()}")

    def secured(self) -> None:
        """The handshake is done: greet again, inside TLS (RFC 3207 section 4.2)."""
        if self.state is not State.TLS:
            raise LocalProtocolError(f"secured() in state {self.state}")
        self.state = State.EHLO_AGAIN
        self._outgoing = f"EHLO {self._name}\r\n".encode("ascii")

    def _awaited(self) -> str:
        if self.state is State.GREETING:
            return "the greeting"
        return f"the reply to {self.state}"

    def _expect_waiting(self) -> None:
        if self.state not in TRANSITIONS:
            raise LocalProtocolError(f"nothing is read in state {self.state}")

    def _next_line(self) -> bytes | None:
        """The next complete line without its end; None if there is none (yet, or any more).

        A bare LF ends a line too: some servers send it, and senders accept it.
        """
        end = self._buffer.find(b"\n", 0, MAX_LINE)
        if end < 0:
            if len(self._buffer) >= MAX_LINE:
                self._garbled(f"a line over {MAX_LINE} bytes")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._size += end + 1
        return line.removesuffix(b"\r")

    def _take_line(self, line: bytes) -> bool:
        """Add a line to the reply; False when nothing more is to be read for now."""
        parts = _REPLY_LINE.fullmatch(line)
        if parts is None:
            self._garbled("not an SMTP reply: " + "".join(map(_VISIBLE.__getitem__, line[:60])))
            return False
        code, mark, text = parts.groups()
        self._lines.append(text or b"")
        if self._size > MAX_REPLY or len(self._lines) > MAX_REPLY_LINES:
            self._garbled(f"a reply over {MAX_REPLY} bytes or {MAX_REPLY_LINES} lines")
            return False
        if mark == b"-":
            return True
        # The code of the last line counts where lines disagree, as it does for Postfix.
        reply = Reply(int(code), tuple(self._lines))
        self._lines.clear()
        self._size = 0
        if self.state in (State.GREETING, State.EHLO, State.STARTTLS):
            self.reply = reply
        event = classify(reply)
        error = f"unexpected reply {reply.code}" if event is Event.GARBLED else None
        if self.state is State.EHLO_AGAIN and event in _AFTER_TLS:
            error = f"inside TLS: {reply.code} {reply.text}"
        self._apply(event, error)
        self._leave_nothing_behind()
        return False

    def _leave_nothing_behind(self) -> None:
        """Bytes after a complete reply answer nothing that we have sent.

        Before TLS they are an injection (CVE-2011-0411 and its kin): read after the
        handshake they would pass for protected. Before EHLO or STARTTLS they would be taken
        for the reply to a command that the server has not seen, and a second greeting for
        an EHLO reply without STARTTLS: no basis for a verdict.
        """
        if not self._buffer:
            return
        self._buffer.clear()
        if self.state is State.TLS:
            self.injected = True
        elif self.state in (State.EHLO, State.STARTTLS):
            self._garbled("bytes out of turn, before our next command")

    def _garbled(self, why: str) -> None:
        self._buffer.clear()
        self._apply(Event.GARBLED, why)

    def _apply(self, event: Event, error: str | None) -> None:
        step = TRANSITIONS[self.state][event]
        if self.state is State.EHLO_AGAIN:
            self.after_tls = _AFTER_TLS.get(event)
        if error is not None and self.error is None:
            self.error = error
        self.state = step.state
        self._outgoing = b""
        if step.command is not None:
            self._outgoing = f"{step.command}\r\n".format(name=self._name).encode("ascii")
        if step.status is not None:
            self.status = step.status
