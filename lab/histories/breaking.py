"""Hosts and lookups that break: for how long, how often, and what ends it."""

from dataclasses import replace

from lab.histories.history import (
    BEFORE,
    OUTAGE_DAY,
    PORT_25_DAY,
    SOME,
    Found,
    Full,
    History,
    breakage,
    broken,
    episode,
    exception,
    no_breakage,
    no_episode,
    noticed,
    state,
    status,
    without_servers,
)
from lab.scenarios.scenario import Chain, Session, Signing

_RULE = "measurement 9: four daily looks that count, first to last 70 hours"
_NO_STARTTLS = Session(ehlo="250-{host}\n250 8BITMIME")
_LEFT = Signing(signed=False, ds="none")


def _repaired(days: int, found: tuple[Found, ...]) -> History:
    name = f"repaired-after-{days}"
    return History(
        name=name,
        what=f"breaks on day 1 and is repaired after {days} days",
        why=_RULE,
        phases={BEFORE: (state(name),), 1: (broken(name),), 1 + days: (state(name),)},
        found=found,
    )


def _mx(name: str) -> str:
    return f"mx.{name}.plain"


def _in_turn(name: str, leaves: str) -> dict[int, tuple]:  # type: ignore[type-arg]
    """A wrong record, and a day a leaf."""
    return {
        day: (broken(name, chain=Chain(key=f"ecdsa-{leaf}")),) for day, leaf in enumerate(leaves, 1)
    }


_ONE, _FOUR, _THIRTY = (_mx(f"repaired-after-{days}") for days in (1, 4, 30))
_MOVED = without_servers(state("mx-moved"), records=("@ MX 10 mx.shelter.plain.",))
_KEYS_IN_TURN = Session(faults=("keys-in-turn",))

BREAKING = (
    _repaired(
        1,
        (
            no_episode(0, _ONE),
            breakage(1, _ONE, state="suspected", status="mismatch", fault="certificate", looks=1),
            noticed(1, _ONE, yes=False),
            episode(2, _ONE, ended_by="repaired", confirmed=None, looks=1, good_until=SOME),
            no_breakage(2, _ONE),
            no_episode(3, _ONE),
        ),
    ),
    _repaired(
        4,
        (
            breakage(3, _FOUR, state="suspected", looks=3),
            breakage(4, _FOUR, state="confirmed", looks=4),
            episode(4, _FOUR, confirmed=SOME, ended=None, recurrence=0),
            noticed(4, _FOUR),
            episode(5, _FOUR, ended_by="repaired", confirmed=SOME, looks=4),
            no_breakage(5, _FOUR),
            noticed(5, _FOUR, yes=False),
            no_episode(7, _FOUR),
        ),
    ),
    _repaired(
        30,
        (
            breakage(4, _THIRTY, state="confirmed"),
            breakage(11, _THIRTY, state="confirmed"),
            episode(11, _THIRTY, ended=None, recurrence=0),
            breakage(30, _THIRTY, state="confirmed"),
            episode(31, _THIRTY, ended_by="repaired", confirmed=SOME),
            no_breakage(31, _THIRTY),
        ),
    ),
    History(
        name="breaks-again",
        what="breaks, is repaired, and breaks again within the year",
        why="measurement 9: recurrence",
        phases={
            BEFORE: (state("breaks-again"),),
            1: (broken("breaks-again"),),
            2: (state("breaks-again"),),
            7: (broken("breaks-again"),),
            8: (state("breaks-again"),),
            60: (broken("breaks-again"),),
        },
        found=(
            episode(1, _mx("breaks-again"), recurrence=0, ended=None),
            episode(7, _mx("breaks-again"), recurrence=1, ended=None),
            episode(8, _mx("breaks-again"), recurrence=1, ended_by="repaired"),
            episode(60, _mx("breaks-again"), recurrence=2, ended=None),
        ),
    ),
    History(
        name="tlsa-removed",
        what="breaks, and the operator removes the TLSA records",
        why="measurement 9: a host that promises nothing any more",
        phases={
            BEFORE: (state("tlsa-removed"),),
            1: (broken("tlsa-removed"),),
            5: (state("tlsa-removed", tlsa=()),),
        },
        found=(
            breakage(4, _mx("tlsa-removed"), state="confirmed"),
            episode(5, _mx("tlsa-removed"), ended_by="tlsa_removed", confirmed=SOME),
            status(5, "tlsa-removed.plain", status="no_tlsa"),
        ),
    ),
    History(
        name="mx-moved",
        what="breaks, and the domain moves to another MX host",
        why="measurement 9: its domains have other MX hosts",
        phases={
            BEFORE: (state("mx-moved"), state("shelter")),
            1: (broken("mx-moved"), state("shelter")),
            5: (_MOVED, state("shelter")),
        },
        found=(
            breakage(4, _mx("mx-moved"), state="confirmed"),
            episode(5, _mx("mx-moved"), ended_by="mx_moved", confirmed=SOME),
            status(5, "mx-moved.plain", status="dane"),
        ),
    ),
    History(
        name="leaves-the-zone",
        what="breaks, and the domain leaves its zone",
        why="measurement 9: its domains have left their zones",
        phases={
            BEFORE: (state("leaves-the-zone"),),
            1: (broken("leaves-the-zone"),),
            5: (),
        },
        found=(
            breakage(4, _mx("leaves-the-zone"), state="confirmed"),
            episode(5, _mx("leaves-the-zone"), ended_by="domain_gone", confirmed=SOME),
            Found(5, "domains", {"domain": "leaves-the-zone.plain"}, None),
        ),
    ),
    History(
        name="flaps-daily",
        what="is broken on every other day",
        why="measurement 9: none good between; every good look ends an episode",
        phases={
            BEFORE: (state("flaps-daily"),),
            **{
                day: (broken("flaps-daily") if day % 2 else state("flaps-daily"),)
                for day in range(1, 90)
            },
        },
        found=(
            episode(1, _mx("flaps-daily"), recurrence=0, ended=None),
            episode(2, _mx("flaps-daily"), ended_by="repaired", looks=1),
            episode(3, _mx("flaps-daily"), recurrence=1, ended=None),
            breakage(3, _mx("flaps-daily"), state="suspected", looks=1),
            # nothing was published on day 6, so that days 5 and 7 are in a row
            breakage(7, _mx("flaps-daily"), state="suspected", looks=2),
            breakage(11, _mx("flaps-daily"), state="suspected", looks=1),
            noticed(11, _mx("flaps-daily"), yes=False),
        ),
    ),
    History(
        name="two-wrong-leaves",
        what="two certificates behind one address, a day each; the record fits neither",
        why="measurement 9: one that was seen before is not new",
        phases={BEFORE: (state("two-wrong-leaves"),), **_in_turn("two-wrong-leaves", 45 * "ab")},
        found=(
            breakage(2, _mx("two-wrong-leaves"), state="suspected", rollover_in_progress=True),
            breakage(4, _mx("two-wrong-leaves"), state="confirmed", rollover_in_progress=False),
            breakage(7, _mx("two-wrong-leaves"), state="confirmed", rollover_in_progress=False),
        ),
    ),
    History(
        name="two-wrong-in-turn",
        what="two certificates behind one address, a connection each; the record fits neither",
        why="measurement 9: one that was seen before is not new",
        phases={
            BEFORE: (state("two-wrong-in-turn"),),
            1: (
                broken(
                    "two-wrong-in-turn", session=_KEYS_IN_TURN, chain=Chain(second_key="ecdsa-b")
                ),
            ),
        },
        found=(
            breakage(1, _mx("two-wrong-in-turn"), status="mismatch", state="suspected", looks=1),
            breakage(4, _mx("two-wrong-in-turn"), state="confirmed", rollover_in_progress=False),
            breakage(11, _mx("two-wrong-in-turn"), state="confirmed"),
        ),
    ),
    History(
        name="one-right-leaf",
        what="two certificates behind one address, a connection each; the record fits one",
        why="measurement 6: F needs two agreeing attempts, else the better one stands",
        phases={
            BEFORE: (
                state("one-right-leaf", session=_KEYS_IN_TURN, chain=Chain(second_key="ecdsa-b")),
            )
        },
        found=tuple(
            one
            for day in (0, 1, 4, 7, 11)
            for one in (
                no_breakage(day, _mx("one-right-leaf")),
                status(day, "one-right-leaf.plain", status="dane"),
            )
        ),
    ),
    History(
        name="starttls-stripped",
        what="a mismatch; on two days STARTTLS is missing",
        why="measurement 9: the action follows from the kind that is approved",
        approvals=((_mx("starttls-stripped"), "certificate"),),
        phases={
            BEFORE: (state("starttls-stripped"),),
            0: (broken("starttls-stripped"),),
            4: (broken("starttls-stripped", session=_NO_STARTTLS),),
            7: (broken("starttls-stripped"),),
        },
        found=(
            exception(2, "starttls-stripped.plain", None),
            exception(3, "starttls-stripped.plain", "encrypt"),
            breakage(4, _mx("starttls-stripped"), status="no_starttls", state="confirmed"),
            exception(4, "starttls-stripped.plain", "encrypt"),
            exception(5, "starttls-stripped.plain", "encrypt"),
            # the certificate was last seen on day 3: its row begins anew
            exception(7, "starttls-stripped.plain", None),
            breakage(7, _mx("starttls-stripped"), status="mismatch", state="confirmed"),
            episode(7, _mx("starttls-stripped"), ended=None, confirmed=SOME),
        ),
    ),
    History(
        name="lookup-fails",
        what="the zone's signatures are wrong, then right again",
        why="measurement 2, 9: a lookup that fails is confirmed by the same rule",
        phases={
            BEFORE: (state("lookup-fails"),),
            1: (state("lookup-fails", signing=Signing(faults=("bad-signatures",))),),
            5: (state("lookup-fails"),),
        },
        found=(
            Found(3, "breakages", {"domain": "lookup-fails.plain"}, {"state": "suspected"}),
            Found(
                4,
                "breakages",
                {"domain": "lookup-fails.plain"},
                {"state": "confirmed", "operator_kind": "dns", "stage": "mx", "fault": "lookup"},
            ),
            Found(
                5,
                "episodes",
                {"domain": "lookup-fails.plain"},
                {"ended_by": "repaired", "confirmed": SOME, "kind": "lookup", "good_until": SOME},
            ),
        ),
    ),
    History(
        name="tempfail",
        what="a mismatch that hides behind 4xx for a day",
        why="measurement 9: a look that says nothing neither breaks nor extends a row",
        phases={
            BEFORE: (state("tempfail"),),
            0: (broken("tempfail"),),
            2: (broken("tempfail", session=Session(greeting="421 {host} later")),),
            3: (broken("tempfail"),),
        },
        found=(
            breakage(1, _mx("tempfail"), state="suspected", looks=2),
            no_breakage(2, _mx("tempfail")),
            episode(2, _mx("tempfail"), ended=None, looks=2),
            breakage(3, _mx("tempfail"), state="suspected", looks=3),
            breakage(4, _mx("tempfail"), state="confirmed", looks=4),
        ),
    ),
    History(
        name="across-our-outage",
        what="breaks on day 3; on day 6 the survey has no network",
        why="measurement 9: a missing run neither breaks nor extends the row",
        phases={BEFORE: (state("across-our-outage"),), 3: (broken("across-our-outage"),)},
        found=(
            Found(OUTAGE_DAY, "runs", {}, None),
            breakage(5, _mx("across-our-outage"), state="suspected", looks=3),
            breakage(7, _mx("across-our-outage"), state="confirmed", looks=4),
            episode(7, _mx("across-our-outage"), ended=None, looks=4),
        ),
    ),
    History(
        name="across-port-25",
        what="breaks on day 5; on days 6 and 9 nothing is published",
        why="measurement 9: no run in which mail servers cannot be connected to is published",
        phases={BEFORE: (state("across-port-25"),), 5: (broken("across-port-25"),)},
        found=(
            Found(PORT_25_DAY, "runs", {}, None),
            breakage(8, _mx("across-port-25"), state="suspected", looks=3),
            breakage(Full(1), _mx("across-port-25"), state="confirmed", looks=4),
        ),
    ),
    History(
        name="opts-out",
        what="a broken host opts out",
        why="measurement 6, 9: it is neither asked for nor probed, so nothing is learned of it",
        opt_out={5: (_mx("opts-out"),)},
        phases={BEFORE: (state("opts-out"),), 1: (broken("opts-out"),)},
        found=(
            breakage(4, _mx("opts-out"), state="confirmed"),
            no_breakage(5, _mx("opts-out")),
            episode(5, _mx("opts-out"), ended_by="not_seen", confirmed=SOME),
            noticed(5, _mx("opts-out"), yes=False),
            no_episode(7, _mx("opts-out")),
        ),
    ),
    History(
        name="merged-operator",
        what="an operator merge is added while a host is broken",
        why="measurement 9: a host is confirmed, whoever is said to operate it",
        merges={3: {"merged-operator.plain": "merged.plain"}},
        phases={BEFORE: (state("merged-operator"),), 1: (broken("merged-operator"),)},
        found=(
            breakage(2, _mx("merged-operator"), operator="merged-operator.plain"),
            breakage(3, _mx("merged-operator"), operator="merged.plain", looks=3),
            breakage(4, _mx("merged-operator"), operator="merged.plain", state="confirmed"),
        ),
    ),
    History(
        name="registry-zone-missing",
        what="a domain whose registry's zone file is cut on day 8",
        why="measurement 9: a cut zone is refused, and the last good names are kept",
        phases={BEFORE: (state("registry-zone-missing", tld="hashed"),)},
        found=tuple(
            status(day, "registry-zone-missing.hashed", status="dane") for day in (7, 8, 11)
        ),
    ),
    History(
        name="unsigned-again",
        what="breaks, and the domain's DS is removed",
        why="measurement 9: its domain has left the set of signed delegations",
        phases={
            BEFORE: (state("unsigned-again"),),
            1: (broken("unsigned-again"),),
            5: (replace(broken("unsigned-again"), zones={"@": _LEFT}),),
        },
        found=(
            breakage(4, _mx("unsigned-again"), state="confirmed"),
            episode(5, _mx("unsigned-again"), ended_by="domain_gone", confirmed=SOME),
        ),
    ),
)
