"""The Merkle tree hash of RFC 6962, section 2.1 (SHA-256), fed one leaf after the other. Memory: O(log n) hashes."""

from __future__ import annotations

import hashlib

_LEAF, _NODE = b"\x00", b"\x01"


class MerkleTree:
    """Add leaves in order, ask for the root at any time. One thread."""

    def __init__(self) -> None:
        self._count = 0
        # One hash for each bit that is set in the count: the roots of whole subtrees, the largest first.
        self._whole: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Append one leaf."""
        node = hashlib.sha256(_LEAF + leaf).digest()
        count = self._count
        while count & 1:
            node = hashlib.sha256(_NODE + self._whole.pop() + node).digest()
            count >>= 1
        self._whole.append(node)
        self._count += 1

    def root(self) -> bytes:
        """32 bytes; of no leaf at all the hash of nothing, as the RFC says."""
        if not self._whole:
            return hashlib.sha256().digest()
        *before, node = self._whole
        for whole in reversed(before):
            node = hashlib.sha256(_NODE + whole + node).digest()
        return node

    def copy(self) -> MerkleTree:
        """One that goes on from here on its own."""
        copy = MerkleTree()
        copy._count, copy._whole = self._count, self._whole.copy()
        return copy
