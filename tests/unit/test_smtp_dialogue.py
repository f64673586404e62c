"""The SMTP dialogue: its table, its bounds, and what a hostile server can make of it."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.smtp.dialogue import (
    MAX_LINE,
    MAX_REPLY,
    MAX_REPLY_LINES,
    MAX_TEXT,
    TRANSITIONS,
    Dialogue,
    Event,
    LocalProtocolError,
    Reply,
    State,
    classify,
)
from dane.outcomes import HOST_CLASS, HostClass, HostStatus

GREETING = b"220 mx.example ESMTP\r\n"
EHLO = b"250-mx.example\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 8BITMIME\r\n"
GO = b"220 2.0.0 Ready\r\n"


def dialogue_after(*replies: bytes) -> Dialogue:
    dialogue = Dialogue("survey.example")
    for reply in replies:
        dialogue.receive(reply)
        dialogue.data_to_send()
    return dialogue


def test_a_good_server_is_asked_exactly_this() -> None:
    dialogue = Dialogue("survey.example")
    assert dialogue.data_to_send() == b""
    dialogue.receive(GREETING)
    assert dialogue.data_to_send() == b"EHLO survey.example\r\n"
    assert dialogue.data_to_send() == b"", "a command is handed out once"
    dialogue.receive(EHLO)
    assert dialogue.data_to_send() == b"STARTTLS\r\n"
    dialogue.receive(GO)
    assert dialogue.state is State.TLS
    assert dialogue.data_to_send() == b""
    dialogue.secured()
    assert dialogue.data_to_send() == b"EHLO survey.example\r\n"
    dialogue.receive(b"250 mx.example\r\n")
    assert dialogue.data_to_send() == b"QUIT\r\n"
    dialogue.receive(b"221 bye\r\n")
    assert dialogue.state is State.CLOSED
    assert (dialogue.status, dialogue.error, dialogue.injected) == (None, None, False)


def test_every_waiting_state_has_a_step_for_every_event() -> None:
    assert set(TRANSITIONS) == set(State) - {State.TLS, State.CLOSED}
    for state, steps in TRANSITIONS.items():
        assert set(steps) == set(Event), state


def test_only_four_commands_can_ever_be_sent() -> None:
    commands = {step.command for steps in TRANSITIONS.values() for step in steps.values()}
    assert commands == {None, "EHLO {name}", "STARTTLS", "QUIT"}


def test_a_way_to_the_end_is_settled_exactly_once() -> None:
    """Whatever leaves the plaintext states settles a status, but for the way to TLS."""
    for state in (State.GREETING, State.EHLO, State.STARTTLS):
        for step in TRANSITIONS[state].values():
            assert (step.status is None) == (step.state in (State.EHLO, State.STARTTLS, State.TLS))
    for state in (State.EHLO_AGAIN, State.QUIT):
        assert all(step.status is None for step in TRANSITIONS[state].values())


@pytest.mark.parametrize(
    ("replies", "status", "quits"),
    [
        ((b"421 4.3.2 closing\r\n",), HostStatus.TEMPFAIL, False),
        ((b"450 later\r\n",), HostStatus.TEMPFAIL, True),
        ((b"554 5.7.1 go away\r\n",), HostStatus.REFUSED, True),
        ((b"354 what\r\n",), HostStatus.TEMPFAIL, False),
        ((b"HTTP/1.1 400 Bad Request\r\n",), HostStatus.TEMPFAIL, False),
        ((GREETING, b"502 5.5.1 HELO only\r\n"), HostStatus.REFUSED, True),
        ((GREETING, b"450 4.7.1 later\r\n"), HostStatus.TEMPFAIL, True),
        ((GREETING, b"421 too busy\r\n"), HostStatus.TEMPFAIL, False),
        ((GREETING, b"250 mx.example\r\n"), HostStatus.NO_STARTTLS, True),
        ((GREETING, b"250-STARTTLS\r\n250 SIZE\r\n"), HostStatus.NO_STARTTLS, True),
        ((GREETING, b"250-mx\r\n250 XSTARTTLS STARTTLS\r\n"), HostStatus.NO_STARTTLS, True),
        ((GREETING, b"250-mx\r\n250-STARTTLS\r\n550 no\r\n"), HostStatus.REFUSED, True),
        ((GREETING, b"450-mx\r\n450 STARTTLS\r\n"), HostStatus.TEMPFAIL, True),
        ((GREETING, EHLO, b"454 4.7.0 no\r\n"), HostStatus.STARTTLS_REJECTED, True),
        ((GREETING, EHLO, b"502 5.5.1 no\r\n"), HostStatus.STARTTLS_REJECTED, True),
        ((GREETING, EHLO, b"421 4.7.0 no\r\n"), HostStatus.TEMPFAIL, False),
        ((GREETING + b"220 again\r\n",), HostStatus.TEMPFAIL, False),
        ((GREETING, EHLO + GO), HostStatus.TEMPFAIL, False),
    ],
)
def test_what_a_conversation_comes_to(
    replies: tuple[bytes, ...], status: HostStatus, quits: bool
) -> None:
    dialogue = Dialogue("survey.example")
    for reply in replies:
        dialogue.receive(reply)
        sent = dialogue.data_to_send()
    assert dialogue.status is status
    assert (sent == b"QUIT\r\n") is quits
    assert dialogue.state is (State.QUIT if quits else State.CLOSED)


@pytest.mark.parametrize(
    "ehlo",
    [
        b"250-mx\r\n250 starttls\r\n",
        b"250-mx\n250 StartTLS\n",
        b"250-mx\r\n250-STARTTLS  \r\n250\r\n",
        b"250-\r\n250-\r\n250 STARTTLS now\r\n",
    ],
)
def test_ways_to_offer_starttls(ehlo: bytes) -> None:
    assert dialogue_after(GREETING, ehlo).state is State.STARTTLS


@pytest.mark.parametrize("wait_in", [(), (GREETING,), (GREETING, EHLO)])
def test_eof_and_time_out_before_tls_are_no_verdict(wait_in: tuple[bytes, ...]) -> None:
    ended = dialogue_after(*wait_in)
    ended.receive(b"")
    late = dialogue_after(*wait_in)
    late.timed_out()
    for dialogue in (ended, late):
        assert dialogue.state is State.CLOSED
        assert dialogue.status is HostStatus.TEMPFAIL
        assert dialogue.error


@pytest.mark.parametrize("reply", [b"421 bye\r\n", b"550 no\r\n", b"nonsense\r\n", b""])
def test_after_the_handshake_nothing_changes_the_outcome(reply: bytes) -> None:
    dialogue = dialogue_after(GREETING, EHLO, GO)
    dialogue.secured()
    dialogue.receive(reply)
    assert dialogue.status is None
    assert dialogue.state in (State.QUIT, State.CLOSED)


def test_bytes_behind_the_220_are_told_and_thrown_away() -> None:
    dialogue = dialogue_after(GREETING, EHLO, GO + b"250-evil\r\n250 injected")
    assert dialogue.state is State.TLS
    assert dialogue.injected
    dialogue.secured()
    dialogue.receive(b"250 mx.example\r\n")
    assert dialogue.error is None, "what was injected is not part of the protected stream"
    assert dialogue.data_to_send() == b"QUIT\r\n"


def test_arriving_in_pieces_makes_no_difference() -> None:
    dialogue = Dialogue("survey.example")
    for reply, command in ((GREETING, b"EHLO survey.example\r\n"), (EHLO, b"STARTTLS\r\n")):
        for i in range(len(reply)):
            assert dialogue.data_to_send() == b""
            dialogue.receive(reply[i : i + 1])
        assert dialogue.data_to_send() == command


def test_bounds() -> None:
    at_the_limit = b"220 " + b"x" * (MAX_LINE - 6) + b"\r\n"
    assert len(at_the_limit) == MAX_LINE
    assert dialogue_after(at_the_limit).state is State.EHLO
    long_line = dialogue_after(b"220 " + b"x" * (MAX_LINE - 5) + b"\r\n")
    endless_line = dialogue_after(b"220 " + b"x" * 200_000)
    many_lines = dialogue_after(b"220-x\r\n" * MAX_REPLY_LINES + b"220 x\r\n")
    long_reply = dialogue_after((b"220-" + b"x" * 1000 + b"\r\n") * (MAX_REPLY // 1000 + 1))
    for dialogue in (long_line, endless_line, many_lines, long_reply):
        assert dialogue.state is State.CLOSED
        assert dialogue.status is HostStatus.TEMPFAIL
        assert "over" in str(dialogue.error)
    assert dialogue_after(b"220-x\r\n" * (MAX_REPLY_LINES - 1) + b"220 x\r\n").state is State.EHLO


def test_evidence_is_printable_and_short() -> None:
    reply = Reply(220, (b"\0\x1b[31m\xff caf\xc3\xa9", b"second"))
    assert reply.text == "\\x00\\x1b[31m\\xff caf\\xc3\\xa9\nsecond"
    assert len(Reply(220, (b"\0" * 2000,)).text) == MAX_TEXT
    assert "\0" not in str(dialogue_after(b"\0\0\0\r\n").error)


def test_misuse_is_our_bug() -> None:
    with pytest.raises(LocalProtocolError):
        Dialogue("survey.example").secured()
    at_tls = dialogue_after(GREETING, EHLO, GO)
    for call in (lambda: at_tls.receive(b"x"), at_tls.receive_eof, at_tls.timed_out):
        with pytest.raises(LocalProtocolError):
            call()


@given(st.integers(200, 599), st.lists(st.binary(max_size=20), min_size=1, max_size=4))
def test_every_reply_is_one_event(code: int, lines: list[bytes]) -> None:
    event = classify(Reply(code, tuple(lines)))
    assert (event is Event.SHUTDOWN) == (code == 421)
    if event in (Event.TRANSIENT, Event.PERMANENT):
        assert str(code)[0] in event


def play(dialogue: Dialogue, chunks: list[bytes]) -> None:
    """Feed what a server may send until the dialogue is over, as the probe would."""
    for chunk in chunks:
        if dialogue.state is State.TLS:
            dialogue.secured()
        if dialogue.state is State.CLOSED:
            return
        assert dialogue.data_to_send().count(b"\r\n") <= 1, "no pipelining"
        dialogue.receive(chunk)
    if dialogue.state is State.TLS:
        dialogue.secured()
    if dialogue.state is not State.CLOSED:
        dialogue.receive(b"")


ALLOWED = {
    None,
    HostStatus.TEMPFAIL,
    HostStatus.REFUSED,
    HostStatus.NO_STARTTLS,
    HostStatus.STARTTLS_REJECTED,
}
PIECES = (
    GREETING,
    EHLO,
    GO,
    b"250 ok\r\n",
    b"250-ok\r\n",
    b"421 busy\r\n",
    b"454 no\r\n",
    b"554 no\r\n",
    b"STARTTLS",
    b"\r\n",
    b"\n",
    b"\0",
    b"220",
    b"-",
    b" ",
    b"\xff" * 700,
    b"220-" + b"y" * 900 + b"\r\n",
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=80)), max_size=40))
def test_any_server_ends_in_an_outcome(chunks: list[bytes]) -> None:
    dialogue = Dialogue("survey.example")
    play(dialogue, chunks)
    assert dialogue.status in ALLOWED


def fuzz(cases: int, seed: int) -> None:
    """Random dialogues: valid pieces, shuffled, cut, repeated and with bytes changed."""
    dice = random.Random(seed)
    statuses = set()
    for _ in range(cases):
        chunks = []
        script = [GREETING, EHLO, GO, b"250 ok\r\n", b"221 bye\r\n"]
        for _ in range(dice.randrange(1, 6)):
            piece = dice.choice(script if dice.random() < 0.5 else PIECES)
            if dice.random() < 0.3:
                changed = bytearray(piece)
                changed[dice.randrange(len(changed))] = dice.randrange(256)
                piece = bytes(changed)
            cut = dice.randrange(len(piece) + 1) if dice.random() < 0.2 else 0
            chunks += [part for part in (piece[:cut], piece[cut:]) if part]
        dialogue = Dialogue("survey.example")
        play(dialogue, script[: dice.randrange(5)] + chunks)
        statuses.add(dialogue.status)
    assert statuses == ALLOWED


def test_fuzz() -> None:
    fuzz(100_000, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_fuzz_at_length() -> None:
    fuzz(1_000_000, seed=2)


def test_what_the_conversation_settles_is_no_pass() -> None:
    settled = {step.status for steps in TRANSITIONS.values() for step in steps.values()} - {None}
    classes = {HOST_CLASS[status] for status in settled if status is not None}
    assert classes == {HostClass.F, HostClass.Q}
