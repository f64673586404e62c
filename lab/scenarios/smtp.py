"""Scenarios about SMTP and STARTTLS (measurement, sections 4 and 6)."""

from lab.scenarios.scenario import EE, Host, Port, Scenario, Session, has, one_of
from lab.scenarios.verdicts import BROKEN, DANE, UNREACHABLE

_UNUSABLE_SET = ("1 1 1 leaf",)
_PLAIN = Session(ehlo="250-{host}\n250 8BITMIME")
_CLASS = {
    "pass": (DANE, "P"),
    "no_starttls": (BROKEN, "F"),
    "starttls_rejected": (BROKEN, "F"),
    "tls_failed": (BROKEN, "F"),
    "tempfail": (UNREACHABLE, "Q"),
    "refused": (UNREACHABLE, "Q"),
}


def _scenario(
    name: str,
    status: str,
    what: str,
    why: str,
    *faults: str,
    session: Session | None = None,
    tlsa: tuple[str, ...] = EE,
    **columns: object,
) -> Scenario:
    """One host that talks so, and the line of measurement 6 that it comes to."""
    verdict, host_class = _CLASS[status]
    return Scenario(
        name=name,
        what=what,
        why=why,
        hosts=(Host(tlsa=tlsa, session=session or Session(faults=faults)),),
        verdict=verdict,
        host_verdict={"mx": {"status": status, "class": host_class, **columns}},
    )


_STARTTLS = (
    _scenario(
        "no-starttls",
        "no_starttls",
        "EHLO works and does not offer STARTTLS",
        "measurement 6: complete 2xx EHLO without STARTTLS (RFC 7672 2.2: TLS is mandatory)",
        session=_PLAIN,
    ),
    _scenario(
        "no-starttls-unusable",
        "no_starttls",
        "no STARTTLS, and no usable TLSA record",
        "measurement 6: unusable sets too (RFC 7672 2.2: TLS is required all the same)",
        session=_PLAIN,
        tlsa=_UNUSABLE_SET,
        usable=False,
    ),
    Scenario(
        name="starttls-every-other-time",
        what="STARTTLS is offered on every other connection",
        why="measurement 6: F needs two agreeing attempts, else the better one stands",
        hosts=(Host(tlsa=EE, session=Session(faults=("every-other-starttls",))),),
        verdict=DANE,
        host_verdict={"mx": {"status": "pass"}},
    ),
    _scenario(
        "starttls-first-time",
        "pass",
        "STARTTLS is offered on a client's first connection only",
        "measurement 6: an attempt that passes needs no second",
        "first-starttls",
    ),
    _scenario(
        "starttls-454",
        "starttls_rejected",
        "STARTTLS is offered, then 454",
        "measurement 6: 4xx (but 421) to STARTTLS (RFC 3207 4)",
        session=Session(starttls="454 4.7.0 TLS not available"),
    ),
    _scenario(
        "starttls-501",
        "starttls_rejected",
        "STARTTLS is offered, then 501",
        "measurement 6: 5xx to STARTTLS",
        session=Session(starttls="501 5.5.2 Syntax error"),
    ),
    _scenario(
        "starttls-454-unusable",
        "starttls_rejected",
        "STARTTLS is offered, then 454; no usable TLSA record",
        "measurement 6: unusable sets too",
        session=Session(starttls="454 4.7.0 TLS not available"),
        tlsa=_UNUSABLE_SET,
    ),
    _scenario(
        "starttls-421",
        "tempfail",
        "STARTTLS is offered, then 421",
        "measurement 6: 421 anywhere",
        session=Session(starttls="421 4.3.2 Shutting down"),
    ),
    _scenario(
        "starttls-lower-case",
        "pass",
        "STARTTLS is offered in lower case",
        "RFC 5321 4.1.1.1: keywords are not case-sensitive",
        session=Session(ehlo="250-{host}\n250-starttls\n250 8bitmime"),
    ),
    _scenario(
        "tls-alert",
        "tls_failed",
        "the handshake ends with an alert",
        "measurement 6: alert in both handshakes",
        "alert-at-tls",
    ),
    _scenario(
        "tls-alert-unusable",
        "tls_failed",
        "the handshake ends with an alert; no usable TLSA record",
        "measurement 6: unusable sets too",
        session=Session(faults=("alert-at-tls",)),
        tlsa=_UNUSABLE_SET,
    ),
    _scenario(
        "tls-closed",
        "tls_failed",
        "the connection ends in the handshake",
        "measurement 6: EOF in both handshakes",
        "close-at-tls",
    ),
    _scenario(
        "tls-garbage",
        "tls_failed",
        "the handshake is answered with text",
        "measurement 6: protocol error in both handshakes",
        "garbage-at-tls",
    ),
    _scenario(
        "tls-stall",
        "tempfail",
        "the handshake is never answered",
        "measurement 6: a time-out is tempfail",
        "stall-at-tls",
    ),
    _scenario(
        "unrecognized-name",
        "tls_failed",
        "every server name is refused with an alert",
        "measurement 6: alert in both handshakes (RFC 6066 3)",
        "unrecognized-name",
    ),
    _scenario(
        "injection",
        "pass",
        "plain text follows the 220 to STARTTLS",
        "measurement 8: starttls_injection; what was said before TLS does not count (RFC 3207 6)",
        "injection",
        defects=has("starttls_injection"),
    ),
)

_BEFORE_STARTTLS = (
    _scenario(
        "greeting-421",
        "tempfail",
        "421 for a greeting",
        "measurement 6: 421 anywhere",
        session=Session(greeting="421 4.3.2 Too busy"),
    ),
    _scenario(
        "greeting-450",
        "tempfail",
        "450 for a greeting",
        "measurement 6: 4xx greeting",
        session=Session(greeting="450 4.3.2 Later"),
    ),
    _scenario(
        "greeting-554",
        "refused",
        "554 for a greeting",
        "measurement 6: 5xx greeting, policy against us (RFC 5321 3.1)",
        session=Session(greeting="554 5.7.1 Not you"),
    ),
    _scenario(
        "ehlo-421",
        "tempfail",
        "421 to EHLO",
        "measurement 6: 421 anywhere",
        session=Session(ehlo="421 4.3.2 Shutting down"),
    ),
    _scenario(
        "ehlo-451",
        "tempfail",
        "451 to EHLO",
        "measurement 6: 4xx EHLO",
        session=Session(ehlo="451 4.3.0 Later"),
    ),
    _scenario(
        "ehlo-550",
        "refused",
        "550 to EHLO and to HELO",
        "measurement 6: 5xx EHLO, policy against us",
        session=Session(ehlo="550 5.7.1 Not you", helo="550 5.7.1 Not you"),
    ),
    _scenario(
        "helo-only",
        "refused",
        "502 to EHLO, HELO works",
        "measurement 6: 5xx EHLO",
        session=Session(ehlo="502 5.5.1 No such command"),
    ),
    _scenario(
        "greeting-several-lines",
        "pass",
        "a greeting of several lines",
        "RFC 5321 4.2.1",
        session=Session(greeting="220-{host}\n220-no unsolicited mail\n220 ESMTP"),
    ),
    _scenario(
        "slow-banner",
        "pass",
        "the greeting comes after 20 s",
        "RFC 5321 4.5.3.2.1: wait five minutes for it; ours is shorter, and longer than this",
        "slow-banner",
    ),
    _scenario(
        "drip",
        "tempfail",
        "a greeting of 100 bytes at one byte a second",
        "measurement 6: time-out after TCP connect",
        session=Session(greeting="220 " + "x" * 96, faults=("drip",)),
    ),
    _scenario(
        "endless-banner",
        "tempfail",
        "a greeting without end",
        "design 8: bounded in time and memory; measurement 6: no greeting came",
        "endless-banner",
    ),
    Scenario(
        name="long-line",
        what="a greeting line of 200 kB",
        why="RFC 5321 4.5.3.1.5 allows 512 bytes; to read on or to give up are both right",
        hosts=(Host(tlsa=EE, session=Session(faults=("long-line",))),),
        verdict={"status": one_of("dane", "unreachable")},
        host_verdict={"mx": {"status": one_of("pass", "tempfail", "refused")}},
    ),
    _scenario(
        "nul-banner",
        "pass",
        "NULs in the greeting",
        "RFC 5321 4.2: the code decides, the text is for people",
        "nul-banner",
    ),
    _scenario(
        "silent",
        "tempfail",
        "no greeting ever comes",
        "measurement 6: time-out after TCP connect",
        "silent",
    ),
    _scenario(
        "closed-at-once",
        "tempfail",
        "the connection ends before a greeting",
        "measurement 6: EOF after TCP connect",
        "close-at-once",
    ),
    _scenario(
        "closed-after-ehlo",
        "tempfail",
        "the connection ends after EHLO",
        "measurement 6: EOF after TCP connect",
        "close-after-ehlo",
    ),
)

_REAL = (
    Scenario(
        name="real-postfix",
        what="a real Postfix, 3 1 1 and 2 1 1",
        why="measurement 6: pass; a server that none of us wrote",
        hosts=(Host(tlsa=("3 1 1 leaf", "2 1 1 ca"), port=Port.POSTFIX),),
        verdict=DANE,
        host_verdict={"mx": {"status": "pass", "class": "P"}},
        needs=frozenset({"postfix"}),
    ),
)

SCENARIOS = (*_REAL, *_STARTTLS, *_BEFORE_STARTTLS)
