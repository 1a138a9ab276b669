"""Lock files: exact versions with digests, as `uv pip compile --generate-hashes` writes and pip reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

PIN = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9.!+_-]+)(?: ; (?P<marker>[^\\]+))?"
)
DIGEST = re.compile(r"--hash=sha256:([0-9a-f]{64})")
SOURCE = re.compile(r"\s+# +(?:via )?(?P<source>\S.*)")


class LockError(Exception):
    """A lock file that holds something else than pinned packages with digests: which line, and what is there."""


@dataclass(frozen=True)
class Locked:
    """One package of a lock."""

    name: str
    """Normalised, as PyPA's specification of names has it."""
    version: str
    marker: str | None
    """Where it is needed, as an environment marker; None means everywhere."""
    digests: tuple[str, ...]
    """SHA-256 of every file of this version that may be installed."""
    needed_by: tuple[str, ...]
    """Who asks for it: names of packages, and inputs of the lock in their own words."""


def normalised(name: str) -> str:
    """A package's name as all its spellings have it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(text: str) -> tuple[Locked, ...]:
    """The packages of a lock, in its order.

    Raises:
        LockError: for any line that is no pinned package, digest or comment (an option, an address, a path, a
            range), for a package without digests, and for one that stands there twice.
    """
    found: list[Locked] = []
    for number, block in blocks(text):
        first, *rest = block
        pin = PIN.fullmatch(first.removesuffix(" \\"))
        if pin is None:
            raise LockError(f"line {number}: no package with an exact version: {first!r}")
        digests, sources = [], []
        for line in rest:
            if line.strip() == "# via":
                continue
            digest, source = DIGEST.fullmatch(line.strip().removesuffix(" \\")), SOURCE.fullmatch(line)
            if digest is not None:
                digests.append(digest[1])
            elif source is not None:
                # Constraints ask for nothing, they only choose versions.
                sources += [] if source["source"].startswith("-c ") else [source["source"]]
            else:
                raise LockError(f"line {number}: {pin['name']}: neither a digest nor a comment: {line!r}")
        if not digests:
            raise LockError(f"line {number}: {pin['name']}: no digest")
        name = normalised(pin["name"])
        if any(other.name == name for other in found):
            raise LockError(f"line {number}: {name} stands here twice")
        marker = pin["marker"] and pin["marker"].strip()
        found.append(Locked(name, pin["version"], marker, tuple(digests), tuple(sources)))
    return tuple(found)


def blocks(text: str) -> list[tuple[int, list[str]]]:
    """Lines that belong together: one that is not indented with the indented ones after it, and its number."""
    found: list[tuple[int, list[str]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line[:1].isspace() and found:
            found[-1][1].append(line)
        elif line and not line.startswith("#"):
            found.append((number, [line]))
    return found
