"""Digests of a few bytes without OpenSSL: loading that takes longer than any digest of a name or of settings.

These are CPython's own implementations, which hashlib takes where OpenSSL has none. Where they are not to be had under
these names, hashlib itself is asked: the digests are the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


def sha256_hex(content: bytes) -> str:
    """SHA-256 as 64 lowercase hexadecimal digits."""
    return str(_sha256()(content).hexdigest())


def blake2b_of_8_bytes(content: bytes) -> bytes:
    """BLAKE2b with a digest of 8 bytes."""
    return bytes(_blake2b()(content, digest_size=8).digest())


@functools.cache
def _sha256() -> Callable[[bytes], Any]:
    try:
        from _sha2 import sha256  # type: ignore[import-not-found]  # Python 3.12 and later
    except ImportError:
        try:
            from _sha256 import sha256  # type: ignore[import-not-found]
        except ImportError:
            from hashlib import sha256
    return sha256  # type: ignore[no-any-return]


@functools.cache
def _blake2b() -> Callable[..., Any]:
    try:
        from _blake2 import blake2b
    except ImportError:
        from hashlib import blake2b
    return blake2b
