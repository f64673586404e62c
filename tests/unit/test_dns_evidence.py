"""Why a lookup fails, from what each server does with direct questions (measurement, section 2)."""

from typing import Any

import pytest

from crawler.dns.evidence import Entry, all_good, cause_of, denies_empty_non_terminal
from dane.outcomes import AuthorityResult, DnsCause

ANSWERS = {(t, q): {} for t in ("udp", "tcp") for q in ("TLSA", "SOA", "A", "invented")}
Replies = dict[tuple[str, str], dict[str, Any]]


def server(address: str = "192.0.2.1", **changes: dict[str, Any]) -> list[Entry]:
    """A good server, but for `changes`: by `udp_TLSA` and the like, `TLSA` (both) or `all`."""
    replies: Replies = {key: dict(value) for key, value in ANSWERS.items()}
    if any(label.endswith("DNSKEY") for label in changes):
        replies |= {(transport, "DNSKEY"): {} for transport in ("udp", "tcp")}
    for label, change in changes.items():
        for transport, question in replies:
            if label in ("all", transport, question, f"{transport}_{question}"):
                replies[transport, question] |= change
    return [
        Entry("ns.example", address, t, q, **{"result": AuthorityResult.ANSWER} | reply)
        for (t, q), reply in replies.items()
    ]


def result(word: str, **more: Any) -> dict[str, Any]:
    return {"result": AuthorityResult(word), **more}


TRUNCATED, LARGE, NO_OPT = {"truncated": True}, {"size": 2000}, {"edns": False}
TIMEOUT, REFUSED = result("timeout"), result("refused")


def because(cause: str) -> dict[str, Any]:
    return {"cause": DnsCause(cause)}


CASES = [
    (server(), None),
    (server(TLSA=result("nxdomain")), None),
    (server(udp_TLSA=TRUNCATED), None),
    (server(tcp=TIMEOUT), None),  # TCP is not needed
    (server(all=TIMEOUT), "servers_silent"),
    (server(udp=TIMEOUT), "servers_silent"),
    (server(all=REFUSED), "lame"),
    (server(all=result("servfail")), "lame"),
    (server(all=result("refused", cause=DnsCause.LAME)), "lame"),
    *((server(TLSA=result(word)), "type_blocked")
      for word in ("timeout", "notimp", "refused", "formerr", "servfail")),
    (server(udp_TLSA=TIMEOUT), "type_blocked"),  # by UDP alone, and small
    (server(DNSKEY=result("servfail")), "type_blocked"),
    (server(udp_TLSA=TRUNCATED, tcp_TLSA=TIMEOUT), "tcp_broken"),
    (server(udp_TLSA=TRUNCATED, tcp=TIMEOUT), "tcp_broken"),
    (server(udp_DNSKEY=TRUNCATED, tcp_DNSKEY=TIMEOUT), "tcp_broken"),
    (server(TLSA=result("no_rrsig", cause=DnsCause.NO_RRSIG), all=NO_OPT), "edns_broken"),
    (server(udp_TLSA=TIMEOUT, tcp_TLSA=LARGE), "fragments_lost"),
    (server(udp_DNSKEY=TIMEOUT, tcp_DNSKEY=LARGE), "fragments_lost"),
    (server(TLSA=result("cname_loop")), "cname_loop"),
    (server(DNSKEY=because("ds_without_key"), TLSA=because("signature_expired")),
     "ds_without_key"),
    (server(DNSKEY=because("dnskey_missing")), "dnskey_missing"),
    (server(TLSA=result("no_rrsig", cause=DnsCause.NO_RRSIG)), "no_rrsig"),
    *((server(TLSA=because(word)), word)
      for word in ("signature_expired", "signature_not_yet_valid", "signature_invalid",
                   "serial_raised_after_signing", "validator_limit")),
    (server(TLSA=result("bad_denial", cause=DnsCause.DENIAL_MISSING)), "denial_missing"),
    (server(TLSA=result("bad_denial", cause=DnsCause.BAD_DENIAL)), "bad_denial"),
    (server(invented=because("bad_denial")), None),  # not what failed
]  # fmt: skip


@pytest.mark.parametrize(("entries", "cause"), CASES)
def test_of_one_server(entries: list[Entry], cause: str | None) -> None:
    assert cause_of(entries, "TLSA") == cause
    assert all_good(entries, "TLSA") is (cause is None)


@pytest.mark.parametrize(
    ("first", "second", "cause"),
    [
        ({}, {}, None),
        ({}, {"all": TIMEOUT}, "unknown"),  # a resolver would have heard the good one
        ({}, {"all": REFUSED}, "unknown"),
        ({}, {"TLSA": because("signature_expired")}, "signature_expired"),
        ({"all": TIMEOUT}, {"all": TIMEOUT}, "servers_silent"),
        # the one that answers is the one that a resolver hears
        ({"all": TIMEOUT}, {"TLSA": because("signature_expired")}, "signature_expired"),
        ({"all": REFUSED}, {"TLSA": because("signature_invalid")}, "signature_invalid"),
        ({"all": REFUSED}, {"all": TIMEOUT}, "lame"),
        # else the first of the vocabulary
        ({"TLSA": because("bad_denial")}, {"TLSA": result("notimp")}, "type_blocked"),
    ],
)
def test_of_two_servers(first: dict[str, Any], second: dict[str, Any], cause: str | None) -> None:
    entries = [*server("192.0.2.1", **first), *server("192.0.2.2", **second)]
    assert cause_of(entries, "TLSA") == cause
    assert cause_of(entries[::-1], "TLSA") == cause
    assert all_good(entries, "TLSA") is (cause is None)


def test_a_server_that_answers_without_edns_only() -> None:
    plain = Entry("ns.example", "192.0.2.1", "udp", "no-edns", AuthorityResult.ANSWER)
    for word in ("formerr", "notimp", "timeout"):
        assert cause_of([*server(all=result(word)), plain], "TLSA") is DnsCause.EDNS_BROKEN


def test_nothing_asked_is_nothing_good() -> None:
    assert cause_of([], "TLSA") is None
    assert not all_good([], "TLSA")


VOCABULARY = """
    servers_silent lame type_blocked tcp_broken edns_broken fragments_lost cname_loop
    ds_without_key dnskey_missing no_rrsig signature_expired signature_not_yet_valid
    serial_raised_after_signing signature_invalid denial_missing bad_denial validator_limit unknown
"""


def test_the_vocabulary_is_the_order_of_the_page() -> None:
    assert " ".join(DnsCause) == " ".join(VOCABULARY.split())


@pytest.mark.parametrize(
    ("word", "denied"),
    [("answer", False), ("nxdomain", True), ("bad_denial", True), ("timeout", False)],
)
def test_a_denial_of_the_empty_non_terminal(word: str, denied: bool) -> None:
    entry = Entry("ns.example", "192.0.2.1", "udp", "_tcp", AuthorityResult(word))
    assert denies_empty_non_terminal([*server(TLSA={"answer": "records"}), entry]) is denied
    # without records below it the name may well not exist
    assert not denies_empty_non_terminal([*server(TLSA=result("nxdomain")), entry])
