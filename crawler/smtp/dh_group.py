"""How large a finite-field Diffie-Hellman group a TLS 1.2 server asks for, before it is used.

The server chooses the group (RFC 5246 section 7.4.3), and OpenSSL computes in any of up to
10 000 bits: 0.6 s of CPU for a message of 2 KB. It gives no say in that, so the size is read
from the plaintext part of the server's flight before OpenSSL gets it. TLS 1.3 has named groups
only (RFC 8446 section 4.2.7), and its flight is encrypted behind the ServerHello.
"""

MOST_BITS = 4096
"""About 50 ms of CPU. Senders are content with 2048; nobody is better off with more."""

_ALERT, _CHANGE_CIPHER_SPEC, _HANDSHAKE = 21, 20, 22
_SERVER_HELLO, _SERVER_KEY_EXCHANGE = 2, 12
_RECORD_HEADER, _MESSAGE_HEADER = 5, 4
_AFTER_RANDOM = 2 + 32

_DHE = frozenset(
    {
        *(0x0032, 0x0033, 0x0038, 0x0039),  # AES, SHA-1 (RFC 5246 appendix A.5)
        *(0x0011, 0x0012, 0x0013, 0x0014, 0x0015, 0x0016),  # DES, 3DES (likewise)
        *(0x0040, 0x0067, 0x006A, 0x006B),  # AES, SHA-256 (likewise)
        *(0x0044, 0x0045, 0x0087, 0x0088, 0x00BD, 0x00BE, 0x00C3, 0x00C4),  # Camellia (RFC 5932)
        *(0x0099, 0x009A),  # SEED (RFC 4162)
        *(0x009E, 0x009F, 0x00A2, 0x00A3),  # AES-GCM (RFC 5288)
        *(0xC052, 0xC053, 0xC056, 0xC057),  # ARIA-GCM (RFC 6209)
        *(0xC09E, 0xC09F, 0xC0A2, 0xC0A3),  # AES-CCM (RFC 6655)
        0xCCAA,  # ChaCha20 (RFC 7905)
    }
)
"""Cipher suites of ephemeral finite-field Diffie-Hellman with a certificate."""


class GroupSize:
    """Reads along with the handshake. `bits` is None until the server named a group."""

    __slots__ = ("_cipher", "_messages", "_over", "_records", "bits")

    def __init__(self) -> None:
        self.bits: int | None = None
        self._over = False
        self._cipher = 0
        self._records = bytearray()
        self._messages = bytearray()

    def receive(self, data: bytes) -> None:
        """Take bytes of the server. What is no TLS is left to OpenSSL to refuse."""
        if self._over:
            return
        self._records += data
        while len(self._records) >= _RECORD_HEADER:
            kind = self._records[0]
            end = _RECORD_HEADER + int.from_bytes(self._records[3:5], "big")
            if kind not in (_HANDSHAKE, _ALERT, _CHANGE_CIPHER_SPEC):
                self._stop()
                return
            if len(self._records) < end:
                return
            if kind == _HANDSHAKE:
                self._messages += self._records[_RECORD_HEADER:end]
            del self._records[:end]
            self._take_messages()

    def _take_messages(self) -> None:
        while len(self._messages) >= _MESSAGE_HEADER:
            end = _MESSAGE_HEADER + int.from_bytes(self._messages[1:4], "big")
            if len(self._messages) < end:
                return
            kind, body = self._messages[0], bytes(self._messages[_MESSAGE_HEADER:end])
            del self._messages[:end]
            if kind == _SERVER_HELLO and len(body) > _AFTER_RANDOM:
                at = _AFTER_RANDOM + 1 + body[_AFTER_RANDOM]  # after the session's name
                self._cipher = int.from_bytes(body[at : at + 2], "big")
            elif kind == _SERVER_KEY_EXCHANGE:
                if self._cipher in _DHE:
                    size = int.from_bytes(body[:2], "big")
                    self.bits = int.from_bytes(body[2 : 2 + size], "big").bit_length()
                self._stop()

    def _stop(self) -> None:
        """What has not been read is of no interest."""
        self._over = True
        self._records.clear()
        self._messages.clear()
