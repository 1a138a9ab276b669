"""Signing and encrypting messages with a session's keys ([MS-SMB2] 3.1.4.1, 3.1.4.3). Imported when connected."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import os
import struct
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from .faults import ConnectionFault

_HMAC_SHA256, _AES_CMAC, _AES_GMAC = 0, 1, 2
_GCM = frozenset({0x0002, 0x0004})
_TRANSFORM = struct.Struct("<4s16s16sIHHQ")
_NO_SIGNATURE = bytes(16)


class Signer:
    """Signs requests and checks the signatures of answers."""

    def __init__(self, key: bytes, dialect: int, algorithm: int | None) -> None:
        if dialect < 0x0300:
            algorithm = _HMAC_SHA256
        elif dialect < 0x0311 or algorithm is None:
            algorithm = _AES_CMAC
        self._key = key
        self._algorithm = algorithm
        self._gmac = AESGCM(key) if algorithm == _AES_GMAC else None

    def signed(self, message: bytes, message_id: int) -> bytes:
        """The request with its signature in its place."""
        return b"".join((message[:48], self._signature(message, message_id, 0), message[64:]))

    def check(self, message: memoryview, message_id: int) -> None:
        """Raises ConnectionFault when the answer was not signed with our key."""
        signature = bytes(message[48:64])
        bare = b"".join((message[:48], _NO_SIGNATURE, message[64:]))
        if not hmac.compare_digest(signature, self._signature(bare, message_id, 1)):
            raise ConnectionFault("an answer carries a wrong signature: somebody may be in between")

    def _signature(self, message: bytes, message_id: int, from_server: int) -> bytes:
        if self._gmac is not None:
            return self._gmac.encrypt(struct.pack("<QI", message_id, from_server), b"", message)
        if self._algorithm == _AES_CMAC:
            code = CMAC(AES(self._key))
            code.update(message)
            return code.finalize()
        return hmac.new(self._key, message, hashlib.sha256).digest()[:16]


class Cipher:
    """Encrypts requests and decrypts answers of one session."""

    def __init__(self, session_id: int, sending_key: bytes, receiving_key: bytes, algorithm: int) -> None:
        kind: Any = AESGCM if algorithm in _GCM else AESCCM
        self._nonce_bytes = 12 if algorithm in _GCM else 11
        self._sending = kind(sending_key)
        self._receiving = kind(receiving_key)
        self._session_id = session_id
        # A nonce may never come twice under one key: a counter cannot repeat, where random numbers could.
        self._prefix = os.urandom(self._nonce_bytes - 8)
        self._counter = itertools.count(1)

    def sealed(self, message: bytes) -> bytes:
        nonce = self._prefix + next(self._counter).to_bytes(8, "little")
        padded = nonce.ljust(16, b"\0")
        header = _TRANSFORM.pack(b"\xfdSMB", _NO_SIGNATURE, padded, len(message), 0, 1, self._session_id)
        text = self._sending.encrypt(nonce, message, header[20:])
        return b"".join((header[:4], text[-16:], header[20:], text[:-16]))

    def opened(self, frame: memoryview) -> bytes:
        """The messages inside an encrypted frame. Raises ConnectionFault when it is not from our server."""
        if len(frame) < _TRANSFORM.size:
            raise ConnectionFault("an encrypted answer is too short")
        _, signature, padded, _, _, _, session_id = _TRANSFORM.unpack_from(frame)
        if session_id != self._session_id:
            raise ConnectionFault("an encrypted answer is for another session")
        try:
            text: bytes = self._receiving.decrypt(
                padded[: self._nonce_bytes],
                b"".join((frame[_TRANSFORM.size :], signature)),
                bytes(frame[20 : _TRANSFORM.size]),
            )
        except InvalidTag as error:
            raise ConnectionFault("an encrypted answer was forged or damaged") from error
        return text
