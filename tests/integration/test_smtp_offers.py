"""What our TLS offers: as much as Postfix does, and where that is not enough the word is ours."""

import ssl

import pytest
import trustme

from crawler.smtp.dh_group import MOST_BITS
from crawler.smtp.tls import Offer, key_type
from dane.outcomes import HostStatus, Undecided
from tests.smtp_servers import SMTP, tls_context
from tests.support.conversations import talk

CA = trustme.CA()
RSA = CA.issue_cert("mx.example", key_type=trustme.KeyType.RSA)
ECDSA = CA.issue_cert("mx.example", key_type=trustme.KeyType.ECDSA)


@pytest.mark.parametrize(
    "cipher",
    [
        "ECDHE-ARIA256-GCM-SHA384",
        "ARIA128-GCM-SHA256",
        "ECDHE-RSA-CAMELLIA256-SHA384",
        "CAMELLIA128-SHA",
        "AES256-CCM",
        "ECDHE-ECDSA-AES128-CCM",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "AES128-SHA",
    ],
)
def test_a_server_with_one_of_postfix_ciphers_only_is_reached(cipher: str) -> None:
    context = tls_context(
        RSA, ECDSA, ciphers=f"{cipher}:@SECLEVEL=0", newest=ssl.TLSVersion.TLSv1_2
    )
    seen = talk(SMTP(context))
    assert (seen.status, seen.cipher) == (None, cipher)
    assert seen.tls_group == ("x25519" if cipher.startswith("ECDHE") else None)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("offer", "family"), [(Offer.RSA, "rsa"), (Offer.ECDSA, "ecdsa"), (Offer.MODERN, "ecdsa")]
)
def test_the_kind_of_key_is_chosen_under_both_versions(
    offer: Offer, family: str, newest: ssl.TLSVersion
) -> None:
    seen = talk(SMTP(tls_context(RSA, ECDSA, newest=newest)), offer=offer)
    kind = key_type(seen.chain[0])
    assert seen.tls_version == ("TLSv1.3" if newest is ssl.TLSVersion.TLSv1_3 else "TLSv1.2")
    assert kind is not None
    assert kind[0] == family


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(("leaf", "offer"), [(RSA, Offer.ECDSA), (ECDSA, Offer.RSA)])
def test_a_server_without_that_kind_of_key_refuses(
    leaf: trustme.LeafCert, offer: Offer, newest: ssl.TLSVersion
) -> None:
    seen = talk(SMTP(tls_context(leaf, newest=newest)), offer=offer)
    assert (seen.status, seen.chain) == (HostStatus.TLS_FAILED, ())


def _with_group(bits: int) -> ssl.SSLContext:
    """A server of DHE only. The modulus need not be prime to be dear."""
    context = tls_context(
        RSA, ciphers="DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0", newest=ssl.TLSVersion.TLSv1_2
    )
    modulus = (1 << bits) - 1 - (1 << (bits // 2))
    with trustme.Blob(_dh_parameters(modulus)).tempfile() as path:
        context.load_dh_params(path)
    return context


def _dh_parameters(modulus: int) -> bytes:
    """PEM of PKCS #3 DHParameter (prime, base 2)."""
    from base64 import encodebytes

    def tagged(tag: int, content: bytes) -> bytes:
        return bytes((tag, 0x82)) + len(content).to_bytes(2, "big") + content

    prime = modulus.to_bytes(modulus.bit_length() // 8 + 1, "big")
    der = tagged(0x30, tagged(0x02, prime) + b"\x02\x01\x02")
    return b"-----BEGIN DH PARAMETERS-----\n%s-----END DH PARAMETERS-----\n" % encodebytes(der)


@pytest.mark.parametrize("offer", [Offer.MODERN, Offer.LEGACY])
def test_a_group_beyond_the_bound_is_not_computed_in_and_is_ours(offer: Offer) -> None:
    seen = talk(SMTP(_with_group(10_000)), offer=offer)
    assert (seen.status, seen.undecided) == (
        HostStatus.LOCAL_ERROR_SMTP,
        Undecided.TLS_UNSUPPORTED,
    )
    assert seen.error == "a Diffie-Hellman group of 10000 bits"


def test_a_group_at_the_bound_is_computed_in() -> None:
    seen = talk(SMTP(_with_group(MOST_BITS)))
    assert (seen.status, seen.tls_group, len(seen.chain)) == (None, seen.tls_group, 1)
    assert seen.cipher == "DHE-RSA-AES128-GCM-SHA256"
