"""Scenarios of TLSA records that match nothing or are of no use (measurement, 5, 6 and 8)."""

from dataclasses import replace

from lab.scenarios.scenario import (
    EXPIRED_S,
    LEAF_ONLY,
    NOT_YET_S,
    OTHER_NAME,
    USUAL,
    Behaviour,
    Chain,
    Host,
    Scenario,
    Signing,
    has,
    one_of,
)
from lab.scenarios.verdicts import BROKEN, NO_ADDRESS, NO_TLSA, UNUSABLE


def _broken(
    name: str,
    what: str,
    why: str,
    *tlsa: str,
    chain: Chain = USUAL,
    status: str = "mismatch",
    **columns: object,
) -> Scenario:
    """One host whose TLSA does not match."""
    return Scenario(
        name=name,
        what=what,
        why=why,
        hosts=(Host(tlsa=tlsa, chain=chain),),
        verdict=BROKEN,
        host_verdict={"mx": {"status": status, "class": "F", "usable": True, **columns}},
    )


def _unusable(name: str, what: str, *tlsa: str, **columns: object) -> Scenario:
    """One host with TLSA of which no record is usable; TLS works."""
    return Scenario(
        name=name,
        what=what,
        why="measurement 5.1 and 5.5: secure TLSA, none usable, TLS without authentication",
        hosts=(Host(tlsa=tlsa),),
        verdict=UNUSABLE,
        mx_host={"mx": {"tlsa_outcome": "secure", "tlsa_usable": 0}},
        host_verdict={"mx": {"status": "unusable", "class": "P°", "usable": False, **columns}},
    )


_MISMATCHES = (
    _broken(
        "ee-stranger",
        "3 1 1 of a key that the server does not have",
        "measurement 6: a usable record, a handshake, no match",
        "3 1 1 stranger",
        causes=["unknown"],
    ),
    Scenario(
        name="stale-certificate",
        what="3 1 1 of the next key alone, the server still has the certificate of before",
        why="measurement 6: no match (RFC 7671 8.1); 8: that it is stale only an earlier run knows",
        hosts=(
            Host(),
            Host(tlsa=("3 1 1 leaf",), chain=Chain(key="ecdsa-next"), addresses=()),
        ),
        verdict=BROKEN,
        host_verdict={"mx": {"status": "mismatch", "class": "F", "causes": ["unknown"]}},
    ),
    _broken(
        "agility-strong-wrong",
        "3 1 2 wrong, 3 1 1 right",
        "measurement 5.2: the strongest digest present is all that counts (RFC 7671 9)",
        "3 1 1 leaf",
        "3 1 2 stranger",
    ),
    _broken(
        "leaf-as-ta",
        "the leaf's digest under usage 2",
        "measurement 8: wrong_usage",
        "2 1 1 leaf",
        causes=["wrong_usage"],
    ),
    _broken(
        "ta-as-ee",
        "the authority's digest under usage 3",
        "measurement 8: wrong_usage",
        "3 1 1 ca",
        causes=["wrong_usage"],
    ),
    _broken(
        "certificate-as-key",
        "the certificate's digest under selector 1",
        "measurement 8: wrong_selector",
        "3 1 1 leaf/0/1",
        causes=["wrong_selector"],
    ),
    _broken(
        "key-as-certificate",
        "the key's digest under selector 0",
        "measurement 8: wrong_selector",
        "3 0 1 leaf/1/1",
        causes=["wrong_selector"],
    ),
    _broken(
        "digest-as-other-type",
        "the key's SHA-256 under matching type 2, beside a stranger's",
        "measurement 5.1 and 8: unusable by its length, but its data tells the cause",
        "3 1 2 leaf/1/1",
        "3 1 1 stranger",
        causes=["unknown", "wrong_matching_type"],
        defects=has("bad_digest_length"),
    ),
    _broken(
        "digest-of-nothing",
        "SHA-256 of no data",
        "measurement 8: empty_digest; a well-formed digest, so usable",
        "3 1 1 nothing",
        causes=["empty_digest"],
        defects=has("empty_digest"),
    ),
    _broken(
        "ta-not-sent",
        "2 1 1, the authority's certificate not sent",
        "measurement 5.4: digest anchors must be in the presented chain (RFC 7671 5.2.2)",
        "2 1 1 ca",
        chain=LEAF_ONLY,
        causes=["ta_not_sent"],
    ),
    _broken(
        "pem-of-certificate",
        "3 0 1 of the certificate's PEM text",
        "RFC 6698 2.1.4: the digest is of the DER; measurement 8: pem_digest",
        "3 0 1 pem:leaf",
        causes=["pem_digest"],
    ),
    _broken(
        "pem-of-key",
        "3 1 1 of the key's PEM text, as `openssl x509 -pubkey | sha256sum` has it",
        "RFC 6698 2.1.4: the digest is of the DER; measurement 8: pem_digest",
        "3 1 1 pem:leaf",
        causes=["pem_digest"],
    ),
    _broken(
        "retired-issuer",
        "2 1 1 of Let's Encrypt R3, which issues no more; the chain is another authority's",
        "measurement 8: retired_issuer, by the table of public authorities",
        "2 1 1 hex:8d02536c887482bc34ff54e41d2ba659bf85b341a0a20afadb5813dcfbcf286d",
        causes=["retired_issuer"],
    ),
    _broken(
        "retired-issuer-beside-stranger",
        "2 1 1 of Let's Encrypt R10 and of an authority that nobody knows",
        "measurement 8: retired_issuer, and never of an unknown digest",
        "2 1 1 hex:2bbad93ab5c79279ec121507f272cbe0c6647a3aae52e22f388afab426b4adba",
        "2 1 1 stranger",
        causes=["retired_issuer", "unknown"],
    ),
    _broken(
        "ta-stranger",
        "2 1 1 of an authority that did not sign this",
        "measurement 6: no match",
        "2 1 1 stranger",
    ),
    _broken(
        "ta-unrelated",
        "2 1 1 of an authority that is sent and did not sign",
        "measurement 5.4: a path from leaf to anchor",
        "2 1 1 authority:other",
        chain=Chain(send=("leaf", "authority:other")),
        causes=["chain_invalid"],
    ),
    _broken(
        "ta-through-no-ca",
        "2 1 1 of a root, the certificate between is no CA",
        "measurement 5.4: basicConstraints (RFC 5280 4.2.1.9)",
        "2 1 1 root",
        chain=Chain(authority="not-a-ca", send=("leaf", "ca", "root")),
        causes=["chain_invalid"],
    ),
    _broken(
        "ta-expired",
        "2 1 1, the authority expired",
        "measurement 6: a TA path matches, a certificate is outside its dates",
        "2 1 1 ca",
        chain=Chain(authority="expired"),
        status="ta_expired",
    ),
    _broken(
        "leaf-expired-ta",
        "2 1 1, the leaf expired",
        "measurement 6: from leaf to anchor",
        "2 1 1 ca",
        chain=Chain(valid_s=EXPIRED_S),
        status="ta_expired",
    ),
    _broken(
        "leaf-future-ta",
        "2 1 1, the leaf not yet valid",
        "measurement 6: outside its dates, at either end",
        "2 1 1 ca",
        chain=Chain(valid_s=NOT_YET_S),
        status="ta_expired",
    ),
    _broken(
        "expired-and-misnamed",
        "2 1 1, the leaf expired and for another name",
        "measurement 6: ta_expired even if the name is wrong too",
        "2 1 1 ca",
        chain=replace(OTHER_NAME, valid_s=EXPIRED_S),
        status="ta_expired",
    ),
    _broken(
        "ta-name-mismatch",
        "2 1 1, certificate for another name",
        "measurement 6: path and dates right, no reference name (RFC 7672 3.2.2)",
        "2 1 1 ca",
        chain=OTHER_NAME,
        status="name_mismatch",
    ),
    _broken(
        "common-name-ignored",
        "2 1 1, right CN beside a DNS-ID of another name",
        "measurement 5.4: CN only if there is no DNS-ID",
        "2 1 1 ca",
        chain=replace(OTHER_NAME, common_name="mx.common-name-ignored.plain"),
        status="name_mismatch",
    ),
    _broken(
        "wildcard-part-of-label",
        "2 1 1, certificate for m*.domain",
        "measurement 5.4: `*` is the whole first label",
        "2 1 1 ca",
        chain=Chain(names=("m*.wildcard-part-of-label.plain",)),
        status="name_mismatch",
    ),
    Scenario(
        name="wildcard-two-labels",
        what="2 1 1, certificate for *.domain, host two labels below",
        why="measurement 5.4: `*` is one label",
        records=("@ MX 10 mx.mail",),
        hosts=(
            Host(
                name="mx.mail",
                tlsa=("2 1 1 ca",),
                chain=Chain(names=("*.wildcard-two-labels.plain",)),
            ),
        ),
        verdict=BROKEN,
        host_verdict={"mx.mail": {"status": "name_mismatch", "class": "F"}},
    ),
    _broken(
        "long-chain",
        "3 1 1 right, a chain of over 100 kB",
        "measurement 6: OpenSSL, and so senders, refuse it: protocol error in both handshakes",
        "3 1 1 leaf",
        chain=Chain(send=("leaf", "ca", "filler")),
        status="tls_failed",
    ),
    Scenario(
        name="key-types-differ",
        what="RSA and ECDSA certificates, a record for the ECDSA one only",
        why="measurement 4 and 8: the key type that clients prefer decides; the other one gives "
        "`key_type_divergence` (`probe.both_key_types`), never a status",
        hosts=(Host(tlsa=("3 1 1 leaf",), chain=Chain(second_key="2048-2")),),
        verdict={"status": one_of("dane", "broken")},
        host_verdict={"mx": {"status": one_of("pass", "mismatch")}},
    ),
)

_UNUSABLE = (
    _unusable("pkix-only", "0 1 1 and 1 1 1", "0 1 1 ca", "1 1 1 leaf", defects=has("pkix_usage")),
    _unusable("private-usage", "usage 255", "255 1 1 leaf"),
    _unusable("unknown-usage", "usage 4", "4 1 1 leaf/1/1"),
    _unusable("unknown-selector", "3 2 1", "3 2 1 leaf/1/1", defects=has("unknown_selector")),
    _unusable(
        "unknown-matching-type",
        "3 1 3",
        "3 1 3 leaf/1/1",
        defects=has("unknown_matching_type"),
    ),
    _unusable(
        "bad-digest-length",
        "3 1 1 with a digest of 20 bytes",
        f"3 1 1 hex:{'ab' * 20}",
        defects=has("bad_digest_length"),
    ),
    _unusable(
        "sha256-as-sha512",
        "the right SHA-256 under matching type 2",
        "3 1 2 leaf/1/1",
        defects=has("bad_digest_length"),
    ),
    _unusable(
        "digest-as-full",
        "the right SHA-256 under matching type 0",
        "3 1 0 leaf/1/1",
        defects=has("full_data"),
    ),
    _unusable("empty-data", "3 1 1 with no data", "3 1 1 empty", defects=has("bad_digest_length")),
    replace(
        _unusable("one-byte", "a TLSA record of one byte", "short:03"),
        zones={"@": Signing(servers=(Behaviour(action="shorten-tlsa"),))},
    ),
)


def _misplaced(name: str, what: str, why: str, at: str) -> Scenario:
    """One host without TLSA; right records stand where no sender looks."""
    return Scenario(
        name=name,
        what=what,
        why=f"{why}; measurement 6: absent, and `check` tells where they are",
        hosts=(Host(tlsa=("3 1 1 leaf",), tlsa_at=at),),
        verdict=NO_TLSA,
        mx_host={"mx": {"status": "absent", "tlsa": []}},
        host_verdict={"mx": {"status": "absent", "class": "N", "usable": False}},
    )


_WRONG_PLACES = (
    _misplaced("tlsa-at-domain", "TLSA below the mail domain", "RFC 7672 2.2.3", "_25._tcp"),
    _misplaced("tlsa-at-port-465", "TLSA for port 465", "RFC 7672 1.3", "_465._tcp.mx"),
    _misplaced("tlsa-at-port-587", "TLSA for port 587", "RFC 7672 1.3", "_587._tcp.mx"),
    _misplaced("tlsa-at-port-443", "TLSA for port 443", "RFC 6698 3", "_443._tcp.mx"),
    _misplaced("tlsa-without-underscores", "TLSA at 25.tcp", "RFC 6698 3", "25.tcp.mx"),
    _misplaced("tlsa-port-without-underscore", "TLSA at 25._tcp", "RFC 6698 3", "25._tcp.mx"),
    _misplaced("tlsa-protocol-without-underscore", "TLSA at _25.tcp", "RFC 6698 3", "_25.tcp.mx"),
    Scenario(
        name="tlsa-hides-wildcard",
        what="A only at `*`, TLSA at _25._tcp.mx: mx is an empty non-terminal now",
        why="RFC 4592 2.2.2: a wildcard does not apply to a name that exists; measurement 7 row 4",
        hosts=(Host(name="*", tlsa=("3 1 1 leaf",), tlsa_at="_25._tcp.mx"),),
        verdict=NO_ADDRESS,
        mx_host={"mx": {"status": "no_address", "a_outcome": "nodata", "a_secure": True}},
        host_verdict={"mx": {"status": "no_address", "class": "-"}},
    ),
)

SCENARIOS = (*_MISMATCHES, *_UNUSABLE, *_WRONG_PLACES)
