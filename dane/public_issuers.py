"""Public certificate authorities that mail servers' TLSA records name: which still issue.

A DANE-TA record holds the digest of an authority. Public authorities retire their intermediates
every few years, and a record of a retired one stops matching with the next renewal. This table
tells such a record from one of a certificate that nobody knows; and it says which intermediates
a new certificate of an authority may come from.

Source: the certificates that each authority publishes. Let's Encrypt, of 2024 and later: digests
of the files of https://letsencrypt.org/certificates/ (`certs/2024`, `certs/gen-y`), checked on
2026-12-01; they switched to the Y generation on 2026-05-13 (https://letsencrypt.org/2025/11/24/
gen-y-hierarchy.html). Older ones: the same page and their published key pins, checked on the
same day. `2 1 1` is the digest of the key, and `2 0 1` that of a certificate, of which an
authority may have several with the same key; not all of these are listed.

What is missing here is only told as unknown: no verdict hangs on this table.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

CHECKED = date(2026, 12, 1)
"""When the table was last compared with what the authorities publish."""


class IssuerState(StrEnum):
    """Whether an authority's key signs certificates of servers."""

    ISSUES = "issues"  # a renewal may come from here
    ROOT = "root"  # signs authorities only
    RETIRED = "retired"  # issues no more


@dataclass(frozen=True, slots=True)
class Issuer:
    """One authority: a name and a key.

    `common_name`: of its subject. `root`: common name of the root that it stands below; of a
    root its own. `spki_sha256`, `certificate_sha256`: lower-case hex, as in `2 1 1` and `2 0 1`.
    """

    operator: str
    common_name: str
    root: str
    state: IssuerState
    spki_sha256: str
    certificate_sha256: tuple[str, ...] = ()


_LE, _SECTIGO = "Let's Encrypt", "Sectigo"
_X1, _X2, _YR, _YE = "ISRG Root X1", "ISRG Root X2", "Root YR", "Root YE"
_DST, _USERTRUST = "DST Root CA X3", "USERTrust RSA Certification Authority"
_ISSUES, _ROOT, _RETIRED = IssuerState.ISSUES, IssuerState.ROOT, IssuerState.RETIRED

ISSUERS: tuple[Issuer, ...] = (
    Issuer(
        _LE,
        "YR1",
        _YR,
        _ISSUES,
        "2e8307068b6db620e4a39d068b5dee5d6ef5788cbb2c0b6d23ead84fcc17178c",
    ),
    Issuer(
        _LE,
        "YR2",
        _YR,
        _ISSUES,
        "9d637b3d27a9e570d07607b9ccadb80a70915c7af72afce12841b1b1da825fd1",
    ),
    Issuer(
        _LE,
        "YR3",
        _YR,
        _ISSUES,
        "51aaa87d984b559ac69e929f888a022d832e089ff4dba0a412b5101bca4bc799",
    ),
    Issuer(
        _LE,
        "YE1",
        _YE,
        _ISSUES,
        "6ebcefb4210b088654a38b03fea3d7d1c711b4fb1ddc363a45f9b1a4e53da01e",
    ),
    Issuer(
        _LE,
        "YE2",
        _YE,
        _ISSUES,
        "b3fb5d00e994cddf2cc9a4eea9f806bc5727e83cc0e4299bf956f2d524fe5376",
    ),
    Issuer(
        _LE,
        "YE3",
        _YE,
        _ISSUES,
        "a698a20824be04e47a1a33c4fa488731be92011f23a31e900e2ca26c9c2acfce",
    ),
    Issuer(
        _LE,
        _YR,
        _YR,
        _ROOT,
        "7e4e8838a8add6295de7ae3b047d3aba3488ab95db0a0aa56d897a00d8618bcf",
    ),
    Issuer(
        _LE,
        _YE,
        _YE,
        _ROOT,
        "b0292ae545978e0fbb98abbd94c861605e5b18bb32ed523f50d5b7b5c71d47bc",
    ),
    Issuer(
        _LE,
        _X1,
        _X1,
        _ROOT,
        "0b9fa5a59eed715c26c1020c711b4f6ec42d58b0015e14337a39dad301c5afc3",
        ("96bcec06264976f37460779acf28c5a7cfe8a3c0aae11a8ffcee05c0bddf08c6",),
    ),
    Issuer(
        _LE,
        _X2,
        _X2,
        _ROOT,
        "762195c225586ee6c0237456e2107dc54f1efc21f61a792ebd515913cce68332",
        ("69729b8e15a86efc177a57afb7171dfc64add28c2fca8cf1507e34453ccb1470",),
    ),
    # Of 2024, until 2026-05-13
    Issuer(
        _LE,
        "R10",
        _X1,
        _RETIRED,
        "2bbad93ab5c79279ec121507f272cbe0c6647a3aae52e22f388afab426b4adba",
        ("9d7c3f1aa6ad2b2ec0d5cf1e246f8d9ae6cbc9fd0755ad37bb974b1f2fb603f3",),
    ),
    Issuer(
        _LE,
        "R11",
        _X1,
        _RETIRED,
        "6ddac18698f7f1f7e1c69b9bce420d974ac6f94ca8b2c761701623f99c767dc7",
        ("591e9ce6c863d3a079e9fabe1478c7339a26b21269dde795211361024ae31a44",),
    ),
    Issuer(
        _LE,
        "R12",
        _X1,
        _RETIRED,
        "919c0df7a787b597ed056ace654b1de9c0387acf349f73734a4fd7b58cf612a4",
        ("131fce7784016899a5a00203a9efc80f18ebbd75580717edc1553580930836ec",),
    ),
    Issuer(
        _LE,
        "R13",
        _X1,
        _RETIRED,
        "025490860b498ab73c6a12f27a49ad5fe230fafe3ac8f6112c9b7d0aad46941d",
        ("d3b128216a843f8ef1321501f5df52a5df52939ee2c19297712cd3de4d419354",),
    ),
    Issuer(
        _LE,
        "R14",
        _X1,
        _RETIRED,
        "f1647a5ee3efac54c892e930584fe47979b7acd1c76c1271bca1c5076d869888",
        ("24d45aa9b8d6053d281f3842c8cc0c6c1af7ccdfd42dd5c12f6a74fa9323f7a2",),
    ),
    Issuer(
        _LE,
        "E5",
        _X2,
        _RETIRED,
        "3586d4ecf070578cbd27aedce20b964e48bc149faeb9dad72f46b857869172b8",
        ("e788d14b0436b5120bbee3f15c15badf08c1407fe72568a4f16f9151c380e1e3",),
    ),
    Issuer(
        _LE,
        "E6",
        _X2,
        _RETIRED,
        "d016e1fe311948aca64f2de44ce86c9a51ca041df6103bb52a88eb3f761f57d7",
        (
            "065ab7d2a050f947587121765d8d070c0e1330d5798faa42c2072749ed293762",
            "76e9e288aafc0e37f4390cbf946aad997d5c1c901b3ce513d3d8fadbabe2ab85",
        ),
    ),
    Issuer(
        _LE,
        "E7",
        _X2,
        _RETIRED,
        "cbbc559b44d524d6a132bdac672744da3407f12aae5d5f722c5f6c7913871c75",
        ("54715420224c5b65beed018dc3940d7338c577e322d5488f633d8c6a8fed61b2",),
    ),
    Issuer(
        _LE,
        "E8",
        _X2,
        _RETIRED,
        "885bf0572252c6741dc9a52f5044487fef2a93b811cdedfad7624cc283b7cdd5",
        ("ac1274542267f17b525535b5563bf731febb182533b46a82dc869cb64eb528c0",),
    ),
    Issuer(
        _LE,
        "E9",
        _X2,
        _RETIRED,
        "f1440a9b76e1e41e53a4cb461329bf6337b419726be513e42e19f1c691c5d4b2",
        ("4185df97806c2ba76f1d79823f112ffa639a49ccdc990908102067ab6412b886",),
    ),
    # Of 2020, until 2024-06-06
    Issuer(
        _LE,
        "R3",
        _X1,
        _RETIRED,
        "8d02536c887482bc34ff54e41d2ba659bf85b341a0a20afadb5813dcfbcf286d",
        (
            "67add1166b020ae61b8f5fc96813c04c2aa589960796865572a3c7e737613dfd",
            "730c1bdcd85f57ce5dc0bba733e5f1ba5a925b2a771d640a26f7a454224dad3b",
        ),
    ),
    Issuer(
        _LE,
        "R4",
        _X1,
        _RETIRED,
        "e5545e211347241891c554a03934cde9b749664a59d26d615fe58f77990f2d03",
    ),
    Issuer(
        _LE,
        "E1",
        _X2,
        _RETIRED,
        "276fe8a8c4ec7611565bf9fce6dcace9be320c1b5bea27596b2204071ed04f10",
        ("46494e30379059df18be52124305e606fc59070e5b21076ce113954b60517cda",),
    ),
    Issuer(
        _LE,
        "E2",
        _X2,
        _RETIRED,
        "bd936e72b212ef6f773102c6b77d38f94297322efc25396bc3279422e0c89270",
    ),
    # Of 2016, until December 2020; the root that signed them ended on 2021-09-30
    Issuer(
        _LE,
        "Let's Encrypt Authority X3",
        _X1,
        _RETIRED,
        "60b87575447dcba2a36b7d11ac09fb24a9db406fee12d2cc90180517616e8a18",
        ("25847d668eb4f04fdd40b12b6b0740c567da7d024308eb6c2c96fe41d9de218d",),
    ),
    Issuer(
        _LE,
        "Let's Encrypt Authority X4",
        _X1,
        _RETIRED,
        "b111dd8a1c2091a89bd4fd60c57f0716cce50feeff8137cdbee0326e02cf362b",
    ),
    Issuer(
        "IdenTrust",
        _DST,
        _DST,
        _RETIRED,
        "563b3caf8cfef34c2335caf560a7a95906e8488462eb75ac59784830df9e5b2b",
        ("0687260331a72403d909f105e69bcf0d32e1bd2493ffc6d9206d11bcd6770739",),
    ),
    # Before the name Sectigo: until January 2019
    Issuer(
        _SECTIGO,
        "COMODO RSA Domain Validation Secure Server CA",
        "COMODO RSA Certification Authority",
        _RETIRED,
        "9253b6de74f67a11435c27f1dde1d30d1112333ddab23d66b8efb86887638ae6",
    ),
    # Before the roots for servers alone: until 2025
    Issuer(
        _SECTIGO,
        "Sectigo RSA Domain Validation Secure Server CA",
        _USERTRUST,
        _RETIRED,
        "e1ae9c3de848ece1ba72e0d991ae4d0d9ec547c6bad1dddab9d6beb0a7e0e0d8",
    ),
)


_BY_KEY = {one.spki_sha256: one for one in ISSUERS}
_BY_CERTIFICATE = {digest: one for one in ISSUERS for digest in one.certificate_sha256}


def issuer_of_key(spki_sha256: str) -> Issuer | None:
    """The authority with a key, by the digest of its SubjectPublicKeyInfo."""
    return _BY_KEY.get(spki_sha256)


def issuer_of_certificate(sha256: str) -> Issuer | None:
    """The authority of a certificate, by the digest of its DER."""
    return _BY_CERTIFICATE.get(sha256)


def issuing_beside(issuer: Issuer) -> tuple[Issuer, ...]:
    """All authorities that a renewal may come from where it came from this one before.

    Those of the same operator below the same root; empty for one that does not issue.
    """
    if issuer.state is not IssuerState.ISSUES:
        return ()
    return tuple(
        one
        for one in ISSUERS
        if one.state is IssuerState.ISSUES
        and (one.operator, one.root) == (issuer.operator, issuer.root)
    )
