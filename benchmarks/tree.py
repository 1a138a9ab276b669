"""The data: a tree of small files that is the same for the same seed."""

from __future__ import annotations

import os
import random

FILES_PER_FOLDER = 100
LEAST_BYTES, MOST_BYTES = 1_000, 21_000


def grow(root: str, files: int, seed: int) -> int:
    """Make `files` files of about 11 KB, 100 a folder, 50 folders a folder; returns how many bytes they hold."""
    dice = random.Random(seed)
    pool = dice.randbytes(1 << 20)
    total = 0
    for number in range(files):
        folder, place = divmod(number, FILES_PER_FOLDER)
        path = os.path.join(root, f"d{folder // 50:03d}", f"s{folder % 50:02d}")
        if place == 0:
            os.makedirs(path)
        size = dice.randint(LEAST_BYTES, MOST_BYTES)
        offset = dice.randrange(len(pool) - size)
        with open(os.path.join(path, f"f{place:03d}.bin"), "wb") as stream:
            stream.write(pool[offset : offset + size])
        total += size
    return total
