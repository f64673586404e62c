"""Certificates and keys that are renewed, rightly and wrongly (RFC 7671 section 8)."""

from lab.histories.history import (
    BEFORE,
    LONG,
    NEXT,
    SOME,
    History,
    breakage,
    episode,
    no_breakage,
    no_rollover,
    record_of,
    rollover,
    state,
    status,
)
from lab.scenarios.scenario import EE, Chain

_CURRENT = record_of(Chain())
_NEXT = record_of(NEXT)
_OLD_RECORD, _NEXT_RECORD = f"3 1 1 {_CURRENT}", f"3 1 1 {_NEXT}"


def _mx(name: str) -> str:
    return f"mx.{name}.plain"


RENEWING = (
    History(
        name="current-and-next",
        what="the next record two days before its key, the old one until three days after",
        why="RFC 7671 section 8.1",
        phases={
            BEFORE: (state("current-and-next", tlsa=(_OLD_RECORD,)),),
            2: (state("current-and-next", tlsa=(_OLD_RECORD, _NEXT_RECORD)),),
            4: (state("current-and-next", tlsa=(_OLD_RECORD, _NEXT_RECORD), chain=NEXT),),
            7: (state("current-and-next", tlsa=(_NEXT_RECORD,), chain=NEXT),),
        },
        found=(
            no_rollover(3, _mx("current-and-next")),
            # the look that shows the new key first asked for the records before
            rollover(4, _mx("current-and-next"), "unobserved"),
            rollover(5, _mx("current-and-next"), "correct"),
            rollover(11, _mx("current-and-next"), "correct"),
            no_breakage(4, _mx("current-and-next")),
            no_breakage(7, _mx("current-and-next")),
        ),
    ),
    History(
        name="current-and-issuer",
        what="the key changes under a record of its issuer",
        why="RFC 7671 section 8.4: where one record matches both, none has to change",
        phases={
            BEFORE: (state("current-and-issuer", tlsa=(_OLD_RECORD, "2 1 1 ca"), chain=LONG),),
            2: (
                state(
                    "current-and-issuer",
                    tlsa=(_OLD_RECORD, "2 1 1 ca"),
                    chain=Chain(key=NEXT.key, valid_s=LONG.valid_s),
                ),
            ),
        },
        found=(
            no_rollover(4, _mx("current-and-issuer")),
            no_breakage(2, _mx("current-and-issuer")),
            status(11, "current-and-issuer.plain", status="dane"),
        ),
    ),
    History(
        name="late-introduction",
        what="the record comes a day after its key",
        why="measurement 9: the look that first shows the new key has no record of it",
        phases={
            BEFORE: (state("late-introduction", tlsa=(_OLD_RECORD,)),),
            2: (state("late-introduction", tlsa=(_OLD_RECORD,), chain=NEXT),),
            3: (state("late-introduction", tlsa=(_NEXT_RECORD,), chain=NEXT),),
        },
        found=(
            breakage(2, _mx("late-introduction"), state="suspected", status="mismatch"),
            rollover(2, _mx("late-introduction"), "no_introduction"),
            episode(3, _mx("late-introduction"), ended_by="repaired", confirmed=None),
            rollover(3, _mx("late-introduction"), "late_introduction"),
        ),
    ),
    History(
        name="early-retirement",
        what="the old record goes a day before its key",
        why="measurement 9: a look has the old key and its record no more",
        phases={
            BEFORE: (state("early-retirement", tlsa=(_OLD_RECORD,)),),
            2: (state("early-retirement", tlsa=(_NEXT_RECORD,)),),
            3: (state("early-retirement", tlsa=(_NEXT_RECORD,), chain=NEXT),),
        },
        found=(
            breakage(2, _mx("early-retirement"), state="suspected"),
            episode(3, _mx("early-retirement"), ended_by="repaired"),
            rollover(3, _mx("early-retirement"), "early_retirement"),
        ),
    ),
    History(
        name="within-a-day",
        what="record and key change between two looks",
        why="measurement 9: what no look proves is unobserved",
        phases={
            BEFORE: (state("within-a-day", tlsa=(_OLD_RECORD,)),),
            3: (state("within-a-day", tlsa=(_NEXT_RECORD,), chain=NEXT),),
        },
        found=(
            rollover(3, _mx("within-a-day"), "unobserved"),
            no_breakage(3, _mx("within-a-day")),
        ),
    ),
    History(
        name="missing-introduction",
        what="the key changes and its record never comes",
        why="measurement 9: no look has a record of the new key",
        phases={
            BEFORE: (state("missing-introduction", tlsa=(_OLD_RECORD,)),),
            2: (state("missing-introduction", tlsa=(_OLD_RECORD,), chain=NEXT),),
        },
        found=(
            rollover(2, _mx("missing-introduction"), "no_introduction"),
            breakage(5, _mx("missing-introduction"), state="confirmed"),
            rollover(11, _mx("missing-introduction"), "no_introduction"),
            episode(11, _mx("missing-introduction"), ended=None, cause="stale_certificate"),
        ),
    ),
    History(
        name="key-kept",
        what="a renewal keeps the key",
        why="RFC 7671 section 8: a 3 1 1 record stays true",
        phases={
            BEFORE: (state("key-kept"),),
            3: (state("key-kept", chain=Chain(valid_s=LONG.valid_s)),),
        },
        found=(
            no_rollover(4, _mx("key-kept")),
            no_breakage(3, _mx("key-kept")),
            status(4, "key-kept.plain", status="dane"),
        ),
    ),
    History(
        name="authority-changed",
        what="another authority signs the renewal; the record is of the old one",
        why="RFC 7671 section 5.2: a 2 1 1 record needs its authority in the chain",
        phases={
            BEFORE: (state("authority-changed", tlsa=("2 1 1 ca",), chain=LONG),),
            2: (
                state(
                    "authority-changed",
                    tlsa=("2 1 1 authority:lab",),
                    chain=Chain(authority="other", valid_s=LONG.valid_s, key=NEXT.key),
                ),
            ),
        },
        found=(
            breakage(2, _mx("authority-changed"), status="mismatch", state="suspected"),
            breakage(5, _mx("authority-changed"), state="confirmed"),
            episode(5, _mx("authority-changed"), confirmed=SOME, kind="mismatch"),
        ),
    ),
    History(
        name="always-good",
        what="nothing happens",
        why="measurement 7 row 11",
        phases={BEFORE: (state("always-good", tlsa=EE),)},
        found=tuple(
            one
            for day in (0, 5, 8, 11)
            for one in (
                no_breakage(day, _mx("always-good")),
                no_rollover(day, _mx("always-good")),
                status(day, "always-good.plain", status="dane"),
            )
        ),
    ),
)
