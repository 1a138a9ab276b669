"""The configuration's files, watched: a change is seen when the files have been still for a moment."""

from __future__ import annotations

import os
from collections.abc import Iterable

Facts = tuple[tuple[int, int, int] | None, ...]


class Watched:
    """Tells whether any of the files changed since the configuration was loaded from them."""

    def __init__(self, files: Iterable[str]) -> None:
        self._files = tuple(files)
        self._loaded = self._facts()
        self._before = self._loaded

    def changed(self) -> bool:
        """True once, when the files differ from what was loaded and were the same at the last two looks.

        Editors and version control write files piece by piece: what still moves is not read.
        """
        now = self._facts()
        still, self._before = now == self._before, now
        if not still or now == self._loaded or None in now:
            return False
        self._loaded = now
        return True

    def changed_at_once(self) -> bool:
        """True once, when the files differ from what was loaded: for somebody who waits for what they just wrote."""
        now = self._before = self._facts()
        if now == self._loaded or None in now:
            return False
        self._loaded = now
        return True

    def _facts(self) -> Facts:
        return tuple(_facts_of(path) for path in self._files)


def _facts_of(path: str) -> tuple[int, int, int] | None:
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size, facts.st_ino
