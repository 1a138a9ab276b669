"""The data of the contests: the same for the same seed and size."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

LEAST_BYTES, MOST_BYTES = 1_000, 21_000
TINY_BYTES = 64
FILES_PER_FOLDER = 100
FOLDERS_PER_FOLDER = 50
LEVELS = 400
_POOL_BYTES = 1 << 20
_EPOCH_NS = 1_700_000_000_000_000_000


def place_of(number: int) -> str:
    """Where file `number` of a grown tree stands: 100 files a folder, 50 folders a folder."""
    folder, place = divmod(number, FILES_PER_FOLDER)
    return f"d{folder // FOLDERS_PER_FOLDER:04d}/s{folder % FOLDERS_PER_FOLDER:02d}/f{place:03d}.bin"


def grow(root: Path, files: int, seed: int, *, tiny: bool = False) -> int:
    """Make `files` files of about 11 KB each; returns how many bytes they hold.

    `tiny`: every second holds 64 bytes and the others none. A page of memory for each of two million would be 8 GB.
    """
    dice = random.Random(seed)
    pool = dice.randbytes(_POOL_BYTES)
    total = 0
    root.mkdir(parents=True)
    for number in range(files):
        path = root / place_of(number)
        if number % FILES_PER_FOLDER == 0:
            path.parent.mkdir(parents=True)
        size = TINY_BYTES * (1 - number % 2) if tiny else dice.randint(LEAST_BYTES, MOST_BYTES)
        offset = dice.randrange(_POOL_BYTES - size)
        _write(str(path), pool[offset : offset + size], _EPOCH_NS + number)
        total += size
    _age_folders(root)
    return total


def change(root: Path, files: int, step: int, version: int) -> None:
    """Give every `step`-th file of a tiny tree content and time of `version`; 0 is what another version replaces."""
    for number in range(0, files, step):
        content = random.Random(number * 1_000 + version).randbytes(TINY_BYTES)
        _write(str(root / place_of(number)), content, _EPOCH_NS + number + version * 1_000_000_000)


def grow_big(path: Path, size: int, seed: int) -> None:
    """One file without holes and without repetition within 64 MiB."""
    block = random.Random(seed).randbytes(min(size, 64 << 20))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        left = size
        while left:
            left -= stream.write(block[:left])
    _age_folders(path.parent)


def grow_flat(root: Path, files: int) -> None:
    """One folder with that many small files."""
    root.mkdir(parents=True)
    for number in range(files):
        _write(f"{root}/f{number:07d}", b"%064d" % number, _EPOCH_NS + number)
    _age_folders(root)


def grow_wide(root: Path, folders: int) -> None:
    """That many folders with one small file each, a hundred a folder."""
    root.mkdir(parents=True)
    for number in range(folders):
        path = f"{root}/d{number // 100:05d}/s{number % 100:02d}"
        os.makedirs(path)
        _write(path + "/file", b"%064d" % number, _EPOCH_NS + number)
    _age_folders(root)


def grow_deep(root: Path, chains: int) -> None:
    """Chains of folders, one within the other, a small file in each: as deep as every tool's paths can be."""
    root.mkdir(parents=True)
    for chain in range(chains):
        path = f"{root}/c{chain:03d}"
        for level in range(LEVELS):
            os.mkdir(path)
            _write(path + "/file", b"%064d" % level, _EPOCH_NS + level)
            path += "/d"
    _age_folders(root)


def stats_of(root: Path) -> dict[str, tuple[int, int, int]]:
    """Mode, size and mtime in ns of everything below, by path: what shows that a tree was left as it is."""
    return dict(_stats(str(root), ""))


def _stats(root: str, prefix: str) -> Iterator[tuple[str, tuple[int, int, int]]]:
    with os.scandir(os.path.join(root, prefix)) as found:
        for one in found:
            path = os.path.join(prefix, one.name)
            facts = one.stat(follow_symlinks=False)
            if one.is_dir(follow_symlinks=False):
                yield path, (facts.st_mode, 0, 0)
                yield from _stats(root, path)
            else:
                yield path, (facts.st_mode, facts.st_size, facts.st_mtime_ns)


def _age_folders(root: Path) -> None:
    """An old time for each: rsync leaves a folder's time as it is when only the part of a second differs."""
    for folder, _, _ in os.walk(root):
        os.utime(folder, ns=(_EPOCH_NS, _EPOCH_NS))


def _write(path: str, content: bytes, mtime_ns: int) -> None:
    with open(path, "wb", buffering=0) as stream:
        stream.write(content)
    os.utime(path, ns=(mtime_ns, mtime_ns))
