"""OpenSSL's own DANE verification, through ctypes: the second opinion on `dane.verify`.

`SSL_dane_tlsa_add` for the records, `X509_verify_cert` with the connection's DANE state for the
chain, as OpenSSL's test/danetest.c does it. No handshake takes place.
"""

import ctypes
import ctypes.util
from collections.abc import Callable, Sequence
from ctypes import (
    POINTER,
    byref,
    c_char_p,
    c_int,
    c_long,
    c_size_t,
    c_ubyte,
    c_uint,
    c_ulong,
    c_void_p,
)
from dataclasses import dataclass
from datetime import datetime
from enum import IntFlag
from typing import Any

from dane.tlsa import TLSARecord

X509_V_OK = 0
X509_V_ERR_HOSTNAME_MISMATCH = 62
X509_V_ERR_DANE_NO_MATCH = 65
_NO_DANE_EE_NAMECHECKS = 1
_NO_CHECK_TIME = 0x200000
_NO_PARTIAL_WILDCARDS = 0x4


class Ignoring(IntFlag):
    """Checks that are left out, to find out which one it is that fails."""

    NOTHING = 0
    NAMES = 1
    TIMES = 2


@dataclass(frozen=True, slots=True)
class Opinion:
    """`error`: an X509_V_… code; None if no record was usable, so that DANE is not active.
    `depth`: of the certificate that matched, -1 if none did."""

    error: int | None
    depth: int
    usable: tuple[bool, ...]


def _library(name: str) -> ctypes.CDLL:
    found = ctypes.util.find_library(name)
    if found is None:
        raise OSError(f"no lib{name}")
    return ctypes.CDLL(found)


def _declare(
    library: ctypes.CDLL, name: str, result: type | None, *arguments: type
) -> Callable[..., Any]:
    function = library[name]
    function.restype = result
    function.argtypes = list(arguments)
    return function


class OpenSSL:
    """The functions needed, and one TLS context with DANE enabled."""

    def __init__(self) -> None:
        ssl, crypto = _library("ssl"), _library("crypto")
        pointer, number = c_void_p, c_int
        self._method = _declare(ssl, "TLS_client_method", pointer)
        self._ctx_new = _declare(ssl, "SSL_CTX_new", pointer, pointer)
        self._ctx_dane = _declare(ssl, "SSL_CTX_dane_enable", number, pointer)
        self._new = _declare(ssl, "SSL_new", pointer, pointer)
        self._free = _declare(ssl, "SSL_free", None, pointer)
        self._dane_enable = _declare(ssl, "SSL_dane_enable", number, pointer, c_char_p)
        self._dane_flags = _declare(ssl, "SSL_dane_set_flags", c_ulong, pointer, c_ulong)
        self._tlsa_add = _declare(
            ssl, "SSL_dane_tlsa_add", number,
            pointer, c_ubyte, c_ubyte, c_ubyte, c_char_p, c_size_t,
        )  # fmt: skip
        self._add_host = _declare(ssl, "SSL_add1_host", number, pointer, c_char_p)
        self._host_flags = _declare(ssl, "SSL_set_hostflags", None, pointer, c_uint)
        self._dane_of = _declare(ssl, "SSL_get0_dane", pointer, pointer)
        self._param_of = _declare(ssl, "SSL_get0_param", pointer, pointer)
        self._set_result = _declare(ssl, "SSL_set_verify_result", None, pointer, c_long)
        self._authority = _declare(
            ssl, "SSL_get0_dane_authority", number, pointer, pointer, pointer
        )
        self._read = _declare(crypto, "d2i_X509", pointer, pointer, POINTER(c_char_p), c_long)
        self._x509_free = _declare(crypto, "X509_free", None, pointer)
        self._stack_new = _declare(crypto, "OPENSSL_sk_new_null", pointer)
        self._stack_push = _declare(crypto, "OPENSSL_sk_push", number, pointer, pointer)
        self._stack_free = _declare(crypto, "OPENSSL_sk_free", None, pointer)
        self._store = _declare(crypto, "X509_STORE_new", pointer)()
        self._context_new = _declare(crypto, "X509_STORE_CTX_new", pointer)
        self._context_free = _declare(crypto, "X509_STORE_CTX_free", None, pointer)
        self._context_init = _declare(
            crypto, "X509_STORE_CTX_init", number, pointer, pointer, pointer, pointer
        )
        self._context_default = _declare(
            crypto, "X509_STORE_CTX_set_default", number, pointer, c_char_p
        )
        self._context_param = _declare(crypto, "X509_STORE_CTX_get0_param", pointer, pointer)
        self._context_dane = _declare(crypto, "X509_STORE_CTX_set0_dane", None, pointer, pointer)
        self._context_error = _declare(crypto, "X509_STORE_CTX_get_error", number, pointer)
        self._param_set1 = _declare(crypto, "X509_VERIFY_PARAM_set1", number, pointer, pointer)
        self._param_time = _declare(crypto, "X509_VERIFY_PARAM_set_time", None, pointer, c_long)
        self._param_flags = _declare(
            crypto, "X509_VERIFY_PARAM_set_flags", number, pointer, c_ulong
        )
        self._param_level = _declare(
            crypto, "X509_VERIFY_PARAM_set_auth_level", None, pointer, number
        )
        self._verify = _declare(crypto, "X509_verify_cert", number, pointer)
        self._clear = _declare(crypto, "ERR_clear_error", None)
        self._tls = self._ctx_new(self._method())
        assert self._ctx_dane(self._tls) == 1

    def _certificate(self, der: bytes) -> int | None:
        buffer = c_char_p(der)
        found: int | None = self._read(None, byref(buffer), len(der))
        self._clear()
        return found

    def verify(
        self,
        chain: Sequence[bytes],
        tlsa: Sequence[TLSARecord],
        names: Sequence[str],
        at: datetime,
        ignoring: Ignoring = Ignoring.NOTHING,
    ) -> Opinion:
        """The opinion on one chain, with the flag that RFC 7672 section 3.1.1 asks for (no name
        check for DANE-EE) and without demands on algorithm strength."""
        certificates = [self._certificate(der) for der in chain]
        assert all(certificates)
        ssl = self._new(self._tls)
        stack = self._stack_new()
        context = self._context_new()
        try:
            assert self._dane_enable(ssl, None) == 1
            self._host_flags(ssl, _NO_PARTIAL_WILDCARDS)
            self._dane_flags(ssl, _NO_DANE_EE_NAMECHECKS)
            if not ignoring & Ignoring.NAMES:
                for name in names:
                    assert self._add_host(ssl, name.encode()) == 1
            usable = tuple(self._add(ssl, record) for record in tlsa)
            if not any(usable):
                return Opinion(None, -1, usable)
            for one in certificates[1:]:
                self._stack_push(stack, one)
            assert self._context_init(context, self._store, certificates[0], stack) == 1
            self._context_default(context, b"ssl_server")
            param = self._context_param(context)
            self._param_set1(param, self._param_of(ssl))
            self._param_level(param, 0)
            if ignoring & Ignoring.TIMES:
                self._param_flags(param, _NO_CHECK_TIME)
            else:
                self._param_time(param, int(at.timestamp()))
            self._context_dane(context, self._dane_of(ssl))
            done = self._verify(context)
            error = self._context_error(context)
            assert (done == 1) == (error == X509_V_OK)
            self._set_result(ssl, error)
            return Opinion(error, self._authority(ssl, None, None), usable)
        finally:
            self._clear()
            self._context_free(context)
            self._stack_free(stack)
            self._free(ssl)
            for one in certificates:
                self._x509_free(one)

    def _add(self, ssl: int, record: TLSARecord) -> bool:
        if not record.data:
            return False  # SSL_dane_tlsa_add takes the empty allocation for a lack of memory
        added: int = self._tlsa_add(
            ssl, record.usage, record.selector, record.matching_type,
            record.data, len(record.data),
        )  # fmt: skip
        assert added >= 0
        self._clear()
        return added == 1
