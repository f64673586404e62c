"""The RRSIG columns that `domain_mx` and `mx_host` share."""

from typing import Any

from crawler.dns.rdata import Signature

SIGNATURE = (
    "rrsig_signer",
    "rrsig_algorithm",
    "rrsig_key_tag",
    "rrsig_labels",
    "rrsig_original_ttl",
    "rrsig_inception",
    "rrsig_expiration",
)
_NONE = (None,) * len(SIGNATURE)
_MICROSECONDS = 1_000_000


def signature(rrsig: Signature | None) -> tuple[Any, ...]:
    """The columns of SIGNATURE; times in microseconds since 1970."""
    if rrsig is None:
        return _NONE
    return (
        *rrsig[:5],
        rrsig.inception * _MICROSECONDS,
        rrsig.expiration * _MICROSECONDS,
    )
