"""Scenarios about name servers (measurement, section 2)."""

from lab.scenarios.scenario import (
    EE,
    GOOD,
    Behaviour,
    Host,
    Scenario,
    Signing,
    has,
    lacks,
    one_of,
)
from lab.scenarios.verdicts import (
    DANE,
    INDETERMINATE,
    MX_FAILED,
    TLSA_FAILED,
)
from lab.scenarios.zone import zone

_ANY = ("*",)
_MANY = (*(f"3 1 1 hex:{n:064x}" for n in range(1, 80)), "3 1 1 leaf")
_FAILED_TLSA = {"status": "tlsa_failed", "class": "L"}


def _tlsa_answered_with(action: str, what: str, dns_cause: str = "type_blocked") -> Scenario:
    return zone(
        f"tlsa-{action}",
        what,
        "measurement 2: all of these reach us as SERVFAIL; 6: tlsa_failed (RFC 7672 2.1.2)",
        Signing(servers=(Behaviour(action=action),)),
        TLSA_FAILED,
        mx={"status": "tlsa_failed", "tlsa_outcome": "servfail"},
        host={**_FAILED_TLSA, "dns_cause": dns_cause},
    )


SCENARIOS = (
    _tlsa_answered_with("drop", "the name server never answers TLSA questions"),
    _tlsa_answered_with("notimp", "NOTIMP to TLSA questions"),
    _tlsa_answered_with("refused", "REFUSED to TLSA questions"),
    _tlsa_answered_with("formerr", "FORMERR to TLSA questions"),
    _tlsa_answered_with("servfail", "SERVFAIL to TLSA questions"),
    _tlsa_answered_with("garbage", "nonsense to TLSA questions"),
    _tlsa_answered_with("truncate-and-stall", "TLSA needs TCP, and TCP stalls", "tcp_broken"),
    zone(
        "tlsa-truncate",
        "TLSA needs TCP",
        "RFC 7766 5: TCP is required",
        Signing(servers=(Behaviour(action="truncate"),)),
        DANE,
    ),
    zone(
        "tlsa-slow",
        "TLSA is answered 0.4 s late",
        "measurement 2: an answer, however late",
        Signing(servers=(Behaviour(action="slow"),)),
        DANE,
    ),
    zone(
        "tlsa-twice",
        "every TLSA record comes twice",
        "measurement 8: duplicate; the signature is over one of them (RFC 2181 5)",
        Signing(servers=(Behaviour(action="twice"),)),
        DANE,
        host={"status": "pass", "defects": has("duplicate")},
    ),
    zone(
        "lame",
        "the name server refuses the zone",
        "measurement 2: servfail; 7 row 2",
        Signing(servers=(Behaviour(action="refused", types=_ANY),)),
        {**MX_FAILED, "dns_cause": "lame"},
        domain_mx={"outcome": "servfail", "secure": False},
    ),
    zone(
        "silent-server",
        "the name server never answers",
        "measurement 2: servfail, after Unbound has given up",
        Signing(servers=(Behaviour(action="drop", types=_ANY),)),
        {**MX_FAILED, "dns_cause": "servers_silent"},
        domain_mx={"outcome": "servfail", "secure": False},
    ),
    zone(
        "silent-servers",
        "neither of its two name servers answers",
        "measurement 2: servfail; Unbound tries each of them for long",
        Signing(servers=(Behaviour(action="drop", types=_ANY),) * 2),
        {**MX_FAILED, "dns_cause": "servers_silent"},
        domain_mx={"outcome": "servfail", "secure": False},
    ),
    zone(
        "one-server-lame",
        "one of two name servers refuses the zone",
        "a resolver asks the other",
        Signing(servers=(GOOD, Behaviour(action="refused", types=_ANY))),
        DANE,
        host={"status": "pass", "defects": has("some_servers_fail")},
    ),
    zone(
        "one-server-silent",
        "one of two name servers never answers",
        "a resolver asks the other",
        Signing(servers=(GOOD, Behaviour(action="drop", types=_ANY))),
        DANE,
        host={"status": "pass", "defects": has("some_servers_fail")},
    ),
    zone(
        "servers-disagree",
        "one of two name servers has an older copy, without TLSA",
        "either copy is signed: what a resolver gets first is the answer",
        Signing(servers=(GOOD, Behaviour(action="other-copy", types=_ANY))),
        {"status": one_of("dane", "no_tlsa")},
        mx={"tlsa_outcome": one_of("secure", "nxdomain")},
    ),
    zone(
        "one-server-unsigned",
        "one of two name servers has the zone without signatures",
        "a resolver asks the other when validation fails (RFC 4035 4.7); 8: servers_disagree",
        Signing(servers=(GOOD, Behaviour(action="strip-signatures", types=_ANY))),
        DANE,
        host={"status": "pass", "defects": has("servers_disagree")},
    ),
    zone(
        "no-edns",
        "FORMERR to EDNS: no DNSSEC from this server",
        "measurement 2: without EDNS there is no RRSIG (RFC 4035 3): a failure",
        Signing(servers=(Behaviour(action="no-edns", types=_ANY),)),
        {**MX_FAILED, "dns_cause": "edns_broken"},
        domain_mx={"outcome": one_of("bogus", "servfail"), "secure": False},
    ),
    zone(
        "fragments-dropped",
        "UDP answers over 1232 bytes never arrive; 80 TLSA records",
        "a resolver that asks for 1232 bytes gets TC and goes on over TCP",
        Signing(servers=(Behaviour(action="drop-large", types=_ANY),)),
        DANE,
        hosts=(Host(tlsa=_MANY),),
    ),
    *(
        zone(
            f"one-server-tlsa-{action}",
            f"one of two name servers: {action} for TLSA",
            "measurement 8: a resolver asks the other; some_servers_fail",
            Signing(servers=(GOOD, Behaviour(action=action))),
            DANE,
            host={"status": "pass", "defects": has("some_servers_fail")},
        )
        for action in ("drop", "notimp")
    ),
    zone(
        "lossy-path",
        "one datagram in twenty is lost on the way to both of its name servers",
        "measurement 8: by UDP twice, then by TCP, and once more later: no fault of the servers",
        Signing(servers=(Behaviour(action="lossy", types=_ANY),) * 2),
        DANE,
        host={"status": "pass", "defects": lacks("some_servers_fail", "servers_disagree")},
    ),
    zone(
        "fragments-lost",
        "UDP answers over 1232 bytes never arrive, and the server heeds no buffer size",
        "measurement 2: no resolver goes on over TCP after silence; fragments_lost",
        Signing(servers=(Behaviour(action="lose-fragments", types=_ANY),)),
        TLSA_FAILED,
        hosts=(Host(tlsa=_MANY),),
        mx={"status": "tlsa_failed", "tlsa_outcome": "servfail"},
        host={**_FAILED_TLSA, "dns_cause": "fragments_lost"},
    ),
    zone(
        "tlsa-denied-wrongly",
        "NXDOMAIN for TLSA, with the proof for another name",
        "measurement 6: tlsa_failed; 2: bad_denial (RFC 4035 5.4)",
        Signing(servers=(Behaviour(action="deny-another"),)),
        TLSA_FAILED,
        mx={"status": "tlsa_failed", "tlsa_outcome": "bogus"},
        host={**_FAILED_TLSA, "dns_cause": "bad_denial"},
    ),
    zone(
        "fails-validators",
        "SERVFAIL to questions with CD, which only a validator's have",
        "measurement 2: both resolvers fail and all servers are good, twice: X, not theirs",
        Signing(servers=(Behaviour(action="fail-checking-disabled"),)),
        INDETERMINATE,
        mx={"tlsa_outcome": "servfail"},
        host={"status": "local_error", "class": "X", "dns_cause": "unknown"},
    ),
    zone(
        "aaaa-dropped",
        "the name server drops AAAA questions, and answers all others",
        "measurement 6: either family suffices; 8: address_family_failed; 2: the time-outs of one "
        "type do not make the server dead for the others",
        Signing(servers=(Behaviour(action="drop", types=("AAAA",)),)),
        DANE,
        mx={"status": None, "aaaa_outcome": "servfail", "tlsa_outcome": "secure"},
        host={
            "status": "pass",
            "defects": has("address_family_failed"),
            "dns_cause": "type_blocked",
        },
    ),
    zone(
        "tlsa-odd-length",
        "`3 1 2` with 32 bytes among the records, and a signature that does not verify",
        "measurement 2: what was sent is read; the cause is the signature",
        Signing(faults=("bad-tlsa-signature",)),
        TLSA_FAILED,
        hosts=(Host(tlsa=("3 1 2 hex:" + "ab" * 32, *EE)),),
        mx={"status": "tlsa_failed", "tlsa_outcome": "bogus"},
        host={**_FAILED_TLSA, "dns_cause": "signature_invalid"},
    ),
    zone(
        "ds-odd-length",
        "a second DS whose digest is a byte too short",
        "measurement 2: a validator disregards it (RFC 6840 5.2)",
        Signing(ds="right-and-short"),
        DANE,
    ),
    Scenario(
        name="odd-bytes",
        what="bytes in the MX host's name that are no letters, digits or hyphens",
        why="measurement 4: no SNI for such names; RFC 2181 11: any byte is allowed",
        records=(r"@ MX 10 m\000x\.\195\188",),
        hosts=(Host(name=r"m\000x\.\195\188", tlsa=EE),),
        verdict=DANE,
    ),
)
