"""Digests as the protocol writes them, computed without any driver's code."""

from __future__ import annotations

import hashlib

import xxhash

from runner.model.task import DigestAlgorithm


def hasher_of(algorithm: DigestAlgorithm) -> hashlib._Hash | xxhash.xxh3_128:
    """A fresh hash object."""
    return xxhash.xxh3_128() if algorithm is DigestAlgorithm.XXH3_128 else hashlib.sha256()


def digest_of(content: bytes, algorithm: DigestAlgorithm) -> str:
    """algorithm:hex of some content."""
    hasher = hasher_of(algorithm)
    hasher.update(content)
    return f"{algorithm.value}:{hasher.hexdigest()}"
