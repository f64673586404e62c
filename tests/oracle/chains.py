"""Chains of every make, by hypothesis: right, wrong, reordered, cross-signed, out of date.

The plan (plain values, which hypothesis shrinks) is apart from the certificates made of it.
Keys come from a small pool, so that a chain costs its signatures only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import strategies as st

from dane.tlsa import DIGESTS, TLSARecord

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
BASE = "mx.example.org"

_DAY = timedelta(days=1)
_DATES = {
    "now": (AT - 30 * _DAY, AT + 30 * _DAY),
    "expired": (AT - 60 * _DAY, AT - 30 * _DAY),
    "future": (AT + 30 * _DAY, AT + 60 * _DAY),
}
_KEYS = ("rsa", "rsa-weak", "rsa-pss", "p256", "p384", "ed25519", "ed448", "dsa")
_NOBODY = 99
"""The number of a key that signs nothing."""

_PURPOSES = {
    "server": ExtendedKeyUsageOID.SERVER_AUTH,
    "client": ExtendedKeyUsageOID.CLIENT_AUTH,
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}
_UNKNOWN_EXTENSION = x509.UnrecognizedExtension(
    x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00"
)
LEAF_NAMES = (
    (BASE,),
    ("other.example.net", "MX.Example.ORG"),
    ("*.example.org",),
    ("*.org",),
    ("*",),
    ("mx*.example.org",),
    ("*.mx.example.org",),
    ("other.example.net",),
    ("mx.example.org.",),
    ("mx.example.org\0.example.net",),
    (),
)


@dataclass(frozen=True)
class Authority:
    """How one CA certificate is made. `who`: whose name and key it has, an index into the plan's
    authorities (two with one `who` are cross-signed, or one renewed); `issuer`: likewise,
    whose name and key sign it; `called`: whose name it has in truth (an impostor's differs)."""

    key: str
    who: int
    called: int
    issuer: int
    dates: str = "now"
    is_ca: bool | None = True
    path_length: int | None = None
    signs: bool | None = None  # keyUsage keyCertSign; None: no keyUsage
    purposes: tuple[str, ...] = ()
    unknown_critical: bool = False
    permits: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    identifiers: str = "right"  # subject and authority key identifiers: right, none, wrong


@dataclass(frozen=True)
class Leaf:
    """How the server's own certificate is made. `issuer`: None for a self-signed one."""

    key: str = "p256"
    issuer: int | None = 0
    dates: str = "now"
    names: tuple[str, ...] = (BASE,)
    common_name: str = "leaf"
    serves: bool | None = True  # keyUsage digitalSignature; None: no keyUsage
    purposes: tuple[str, ...] = ("server",)


@dataclass(frozen=True)
class RecordPlan:
    """A record made for one of all certificates, the leaf first; `skew` spoils its data."""

    usage: int
    selector: int
    matching_type: int
    target: int
    skew: str = ""


@dataclass(frozen=True)
class Plan:
    """`sent`: after the leaf, of all certificates (the leaf is 0), by index; repeats allowed."""

    leaf: Leaf
    authorities: tuple[Authority, ...]
    sent: tuple[int, ...]
    records: tuple[RecordPlan, ...]
    names: tuple[str, ...]


_purposes = st.sampled_from([(), (), (), ("server",), ("client",), ("client", "server")])
_key = st.sampled_from(_KEYS)
_dates = st.sampled_from(["now"] * 6 + ["expired", "future"])


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    count = draw(st.integers(0, 3))
    authorities = []
    for i in range(count):
        # Mostly a line up to a self-signed root; now and then a cross-signature or a loop.
        straight = min(i + 1, count - 1)
        issuer = draw(st.sampled_from([straight] * 8 + list(range(count))))
        who = draw(st.sampled_from([i] * 6 + list(range(count))))
        authorities.append(
            Authority(
                key=draw(_key),
                who=who,
                called=draw(st.sampled_from([who] * 12 + list(range(count)))),
                issuer=issuer,
                dates=draw(_dates),
                is_ca=draw(st.sampled_from([True] * 10 + [False, None])),
                path_length=draw(st.sampled_from([None] * 6 + [0, 1])),
                signs=draw(st.sampled_from([None, None, True, True, True, False])),
                purposes=draw(_purposes),
                unknown_critical=draw(st.sampled_from([False] * 12 + [True])),
                permits=draw(st.sampled_from([()] * 10 + [("example.org",), ("example.net",)])),
                excludes=draw(st.sampled_from([()] * 10 + [("example.org",), ("mx.example.org",)])),
                identifiers=draw(st.sampled_from(["right"] * 8 + ["none"] * 3 + ["wrong"])),
            )
        )
    leaf = Leaf(
        key=draw(_key),
        issuer=draw(st.sampled_from([0] * 6 + [None])) if count else None,
        dates=draw(_dates),
        names=draw(st.sampled_from((LEAF_NAMES[0],) * 4 + LEAF_NAMES)),
        common_name=draw(st.sampled_from(["leaf", BASE, "*.example.org", "other.example.net"])),
        serves=draw(st.sampled_from([None, True, True, True, False])),
        purposes=draw(_purposes),
    )
    in_order = st.just(tuple(range(1, count + 1)))
    any_order = st.lists(st.integers(0, count), max_size=count + 2).map(tuple)
    records = st.lists(
        st.builds(
            RecordPlan,
            usage=st.sampled_from([2] * 6 + [3] * 4 + [0, 1, 4]),
            selector=st.sampled_from([0, 0, 0, 1, 1, 1, 2]),
            matching_type=st.sampled_from([0, 0, 1, 1, 1, 2, 2, 3]),
            target=st.integers(0, count),
            skew=st.sampled_from([""] * 10 + ["flip", "cut", "other_selector", "empty"]),
        ),
        min_size=1,
        max_size=4,
    ).map(tuple)
    return Plan(
        leaf,
        tuple(authorities),
        draw(st.one_of(in_order, in_order, in_order, any_order)),
        draw(records),
        draw(st.sampled_from([(BASE,), (BASE,), (BASE, "example.org"), ("nowhere.example.com",)])),
    )


@cache
def private_key(kind: str, number: int) -> CertificateIssuerPrivateKeyTypes:
    """The key of certificate `number`: one of a pool."""
    del number
    match kind:
        case "rsa" | "rsa-pss":
            return rsa.generate_private_key(65537, 2048)
        case "rsa-weak":
            return rsa.generate_private_key(65537, 1024)
        case "p256":
            return ec.generate_private_key(ec.SECP256R1())
        case "p384":
            return ec.generate_private_key(ec.SECP384R1())
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "ed448":
            return ed448.Ed448PrivateKey.generate()
        case "ml-dsa-65":  # not among _KEYS: OpenSSL knows it from 3.5 on
            return mldsa.MLDSA65PrivateKey.generate()
        case _:
            return dsa.generate_private_key(1024)


@dataclass(frozen=True)
class Made:
    """The certificates of a plan. `all`: the leaf, then the authorities."""

    all: tuple[x509.Certificate, ...]
    chain: tuple[bytes, ...]
    tlsa: tuple[TLSARecord, ...]


def make(plan: Plan) -> Made:
    """The certificates, the chain as sent and the records of a plan."""
    leaf = _make_leaf(plan)
    everything = (leaf, *(_make_authority(plan, i) for i in range(len(plan.authorities))))
    chain = (_der(leaf), *(_der(everything[i]) for i in plan.sent))
    records = tuple(_make_record(one, everything) for one in plan.records)
    return Made(everything, chain, records)


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: str, issuer: str, kind: str, number: int, dates: str
) -> x509.CertificateBuilder:
    not_before, not_after = _DATES[dates]
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(private_key(kind, number).public_key())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )


def _sign(builder: x509.CertificateBuilder, kind: str, number: int) -> x509.Certificate:
    key = private_key(kind, number)
    if kind in ("ed25519", "ed448", "ml-dsa-65"):
        return builder.sign(key, None)
    if kind == "rsa-pss":
        scheme = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        return builder.sign(key, hashes.SHA256(), rsa_padding=scheme)
    return builder.sign(key, hashes.SHA512() if kind == "p384" else hashes.SHA256())


def _purpose_extension(purposes: Sequence[str]) -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage([_PURPOSES[one] for one in purposes])


def _key_usage(*, signs: bool, serves: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=serves,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _make_authority(plan: Plan, i: int) -> x509.Certificate:
    one = plan.authorities[i]
    (kind, number), signer = _identity(plan, one.who), _identity(plan, one.issuer)
    builder = _builder(f"CA {one.called}", f"CA {one.issuer}", kind, number, one.dates)
    builder = builder.serial_number(i + 1)
    if one.is_ca is not None:
        length = one.path_length if one.is_ca else None
        builder = builder.add_extension(x509.BasicConstraints(one.is_ca, length), critical=True)
    if one.signs is not None:
        usage = _key_usage(signs=one.signs, serves=False)
        builder = builder.add_extension(usage, critical=True)
    if one.purposes:
        builder = builder.add_extension(_purpose_extension(one.purposes), critical=False)
    if one.unknown_critical:
        builder = builder.add_extension(_UNKNOWN_EXTENSION, critical=True)
    if one.permits or one.excludes:
        constraints = x509.NameConstraints(
            [x509.DNSName(name) for name in one.permits] or None,
            [x509.DNSName(name) for name in one.excludes] or None,
        )
        builder = builder.add_extension(constraints, critical=True)
    if one.identifiers != "none":
        public, signing = private_key(kind, number), private_key(*signer)
        if one.identifiers == "wrong":
            signing = private_key("p256", _NOBODY)
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(public.public_key()), critical=False
        ).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False
        )
    return _sign(builder, *signer)


def _identity(plan: Plan, who: int) -> tuple[str, int]:
    """Kind and number of an authority's key."""
    return plan.authorities[who].key, who + 1


def _make_leaf(plan: Plan) -> x509.Certificate:
    leaf = plan.leaf
    issuer = leaf.common_name if leaf.issuer is None else f"CA {leaf.issuer}"
    builder = _builder(leaf.common_name, issuer, leaf.key, 0, leaf.dates).serial_number(1000)
    if leaf.names:
        names = x509.SubjectAlternativeName([x509.DNSName(name) for name in leaf.names])
        builder = builder.add_extension(names, critical=False)
    if leaf.serves is not None:
        usage = _key_usage(signs=False, serves=leaf.serves)
        builder = builder.add_extension(usage, critical=True)
    if leaf.purposes:
        builder = builder.add_extension(_purpose_extension(leaf.purposes), critical=False)
    if leaf.issuer is None:
        return _sign(builder, leaf.key, 0)
    return _sign(builder, *_identity(plan, leaf.issuer))


def _make_record(plan: RecordPlan, everything: Sequence[x509.Certificate]) -> TLSARecord:
    selector = plan.selector
    if plan.skew == "other_selector":
        selector = 1 - selector
    target = everything[plan.target]
    if selector == 1:
        data = target.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        data = _der(target)
    if plan.skew == "empty":
        data = b""
    if plan.matching_type in DIGESTS:
        data = DIGESTS[plan.matching_type](data)
    if plan.skew == "flip":
        data = bytes((data[0] ^ 1,)) + data[1:]
    elif plan.skew == "cut":
        data = data[:-1]
    return TLSARecord(plan.usage, plan.selector, plan.matching_type, data)
