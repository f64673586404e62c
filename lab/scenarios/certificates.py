"""Scenarios of certificates that match a TLSA record (measurement, sections 5 and 8)."""

from dataclasses import replace

from lab.scenarios.scenario import (
    EXPIRED_S,
    LEAF_ONLY,
    OTHER_NAME,
    USUAL,
    Chain,
    Host,
    Scenario,
    Session,
    has,
    lacks,
    one_of,
)
from lab.scenarios.verdicts import DANE

_SELF_SIGNED = Chain(authority=None, send=("leaf",))
_INTERMEDIATE = Chain(authority="intermediate", send=("leaf", "ca", "root"))


def _stranger(n: int) -> str:
    """A 3 1 1 record of a key that nobody has."""
    return f"3 1 1 hex:{n:064x}"


def _good(
    name: str, what: str, why: str, *tlsa: str, chain: Chain = USUAL, **columns: object
) -> Scenario:
    """One host whose TLSA matches; `columns` are of its host_verdict."""
    return Scenario(
        name=name,
        what=what,
        why=why,
        hosts=(Host(tlsa=tlsa, chain=chain),),
        verdict=DANE,
        mx_host={"mx": {"tlsa_outcome": "secure"}},
        host_verdict={"mx": {"status": "pass", "class": "P", "usable": True, **columns}},
    )


SCENARIOS = (
    _good(
        "ee-spki",
        "3 1 1 of the leaf's key",
        "measurement 5.4: EE(3) matches the key, no name, no date (RFC 7671 5.1)",
        "3 1 1 leaf",
        defects=has("single_key"),
    ),
    replace(
        _good(
            "ta-spki",
            "2 1 1 of the authority's key, authority sent, name right",
            "measurement 5.4: TA(2), digest anchor in the presented chain (RFC 7671 5.2)",
            "2 1 1 ca",
            defects=has("ta_spki"),
        ),
        tld="hashed",
    ),
    _good(
        "ee-and-ta",
        "3 1 1 and 2 1 1, both right",
        "measurement 5.3: any one match suffices",
        "3 1 1 leaf",
        "2 1 1 ca",
        defects=lacks("single_key"),
    ),
    _good(
        "current-and-next",
        "3 1 1 of the current key and of the next",
        "measurement 5.3; the state in which a rollover should be (RFC 7671 8.1)",
        "3 1 1 leaf",
        "3 1 1 stranger",
        defects=lacks("single_key"),
    ),
    _good("ee-certificate", "3 0 1", "measurement 5.1", "3 0 1 leaf"),
    _good(
        "ee-sha512",
        "3 1 2 alone",
        "measurement 5.1 and 8: no record of matching type 1",
        "3 1 2 leaf",
        defects=has("no_sha256"),
    ),
    _good("ta-certificate", "2 0 1 of the authority", "measurement 5.4", "2 0 1 ca"),
    _good(
        "ee-full-key",
        "3 1 0, the key itself",
        "measurement 5.1 and 8",
        "3 1 0 leaf",
        defects=has("full_data", "no_sha256"),
    ),
    _good(
        "ee-full-certificate",
        "3 0 0, the certificate itself",
        "measurement 5.1 and 8",
        "3 0 0 leaf",
        defects=has("full_data", "no_sha256"),
    ),
    _good(
        "agility-weak-wrong",
        "3 1 2 right, 3 1 1 wrong",
        "measurement 5.2: the strongest digest present is all that counts (RFC 7671 9)",
        "3 1 1 stranger",
        "3 1 2 leaf",
    ),
    _good(
        "ta-full-certificate-not-sent",
        "2 0 0, the authority's certificate in DNS and not on the wire",
        "measurement 5.4: 2 0 0 need not be in the presented chain (RFC 7671 5.2.2)",
        "2 0 0 ca",
        chain=LEAF_ONLY,
        defects=has("full_data", "anchor_not_sent"),
    ),
    _good(
        "ta-full-key-not-sent",
        "2 1 0, the authority's key in DNS and its certificate not on the wire",
        "measurement 5.4: 2 1 0 need not be in the presented chain (RFC 7671 5.2.2)",
        "2 1 0 ca",
        chain=LEAF_ONLY,
        defects=has("full_data", "ta_spki", "anchor_not_sent"),
    ),
    _good(
        "ta-intermediate",
        "2 1 1 of an intermediate authority, root not sent",
        "measurement 5.4: the path ends at the anchor (RFC 7671 5.2)",
        "2 1 1 ca",
        chain=replace(_INTERMEDIATE, send=("leaf", "ca")),
    ),
    _good(
        "ta-root",
        "2 1 1 of the root above an intermediate, all sent",
        "measurement 5.4: the path from leaf to anchor",
        "2 1 1 root",
        chain=_INTERMEDIATE,
    ),
    _good(
        "one-of-several",
        "four 3 1 1 records, one matches",
        "measurement 5.3: any one match suffices",
        *map(_stranger, range(1, 4)),
        "3 1 1 leaf",
    ),
    _good(
        "ta-wrong-ee-right",
        "2 1 1 of a strange authority, 3 1 1 right",
        "measurement 5.3: the best counts",
        "2 1 1 stranger",
        "3 1 1 leaf",
    ),
    _good(
        "pkix-and-ee",
        "1 1 1 and 3 1 1",
        "measurement 5.1: usage 1 is unusable for SMTP, 3 1 1 decides (RFC 7672 3.1.3)",
        "1 1 1 leaf",
        "3 1 1 leaf",
        defects=has("pkix_usage"),
    ),
    _good(
        "thirteen-records",
        "thirteen records, the last matches",
        "measurement 8: more than 12 records, no less valid",
        *map(_stranger, range(1, 13)),
        "3 1 1 leaf",
        defects=has("too_many"),
    ),
    _good(
        "eighty-records",
        "eighty records: the answer needs TCP",
        "measurement 3.6: TLSA RRsets are uncapped in number",
        *map(_stranger, range(1, 80)),
        "3 1 1 leaf",
        defects=has("too_many"),
    ),
    _good(
        "leaf-expired-ee",
        "3 1 1, certificate expired",
        "measurement 5.4: no date under EE(3) (RFC 7671 5.1)",
        "3 1 1 leaf",
        chain=Chain(valid_s=EXPIRED_S),
    ),
    _good(
        "other-name-ee",
        "3 1 1, certificate for another name",
        "measurement 5.4: no name under EE(3) (RFC 7671 5.1)",
        "3 1 1 leaf",
        chain=OTHER_NAME,
    ),
    _good(
        "self-signed",
        "3 1 1, self-signed",
        "measurement 5.4: the leaf alone decides",
        "3 1 1 leaf",
        chain=_SELF_SIGNED,
    ),
    _good(
        "wildcard-name",
        "2 1 1, certificate for *.domain",
        "measurement 5.4: `*` is the whole first label, one label (RFC 7672 3.2.3)",
        "2 1 1 ca",
        chain=Chain(names=("*.wildcard-name.plain",)),
    ),
    _good(
        "common-name-only",
        "2 1 1, the host's name only as CN",
        "measurement 5.4: CN if there is no DNS-ID (RFC 7672 3.2.3)",
        "2 1 1 ca",
        chain=Chain(names=(), common_name="mx.common-name-only.plain"),
    ),
    _good(
        "name-of-the-domain",
        "2 1 1, certificate for the recipient's domain only",
        "measurement 5.4: the next-hop domain is a reference name (RFC 7672 3.2.2)",
        "2 1 1 ca",
        chain=Chain(names=("name-of-the-domain.plain",)),
        # the host alone cannot pass; with this domain it does
        status=one_of("name_mismatch", "pass"),
        **{"class": one_of("F", "P")},
    ),
    _good(
        "only-with-server-name",
        "the right certificate only for the right SNI",
        "measurement 4: SNI is the TLSA base domain (RFC 7672 8.1)",
        "3 1 1 leaf",
        chain=Chain(only_for="mx.only-with-server-name.plain"),
    ),
    _good(
        "two-key-types",
        "RSA and ECDSA certificates, a record for each",
        "measurement 4: both key types match",
        "3 1 1 leaf",
        "3 1 1 second",
        chain=Chain(second_key="2048-1"),
        defects=lacks("key_type_divergence"),
    ),
    _good(
        "rsa-2048",
        "3 1 1 of an RSA key",
        "measurement 5.4",
        "3 1 1 leaf",
        chain=Chain(key="2048-0"),
    ),
    _good(
        "rsa-1024",
        "3 1 1 of a short RSA key",
        "measurement 5.4: the record decides; 4: what security level 1 refuses works at 0",
        "3 1 1 leaf",
        chain=Chain(key="1024-0", authority=None, send=("leaf",)),
    ),
    _good(
        "sha1-signature",
        "3 1 1, a certificate signed with SHA-1",
        "measurement 5.4: the key alone decides",
        "3 1 1 leaf",
        chain=replace(_SELF_SIGNED, key="2048-3", with_sha1=True),
    ),
    Scenario(
        name="tls-1.0-only",
        what="3 1 1, a server that knows TLS 1.0 and nothing later",
        why="measurement 4 and 8: only the second handshake works",
        hosts=(Host(tlsa=("3 1 1 leaf",), session=Session(faults=("tls-1.0-only",))),),
        verdict=DANE,
        host_verdict={"mx": {"status": "pass", "defects": has("legacy_tls")}},
    ),
    Scenario(
        name="wildcard-tlsa",
        what="TLSA at a wildcard",
        why="measurement 8: RRSIG labels fewer than owner labels; valid (RFC 4592)",
        hosts=(Host(tlsa=("3 1 1 leaf",), tlsa_at="*._tcp.mx"),),
        verdict=DANE,
        mx_host={"mx": {"tlsa_outcome": "secure", "tlsa_base": "mx.wildcard-tlsa.plain"}},
        host_verdict={"mx": {"status": "pass", "defects": has("wildcard_tlsa")}},
    ),
)
