"""Which names a location can hold: told as a value, so that a plan refuses by name before anything is written."""

from __future__ import annotations

import sys

import msgspec

from runner.model.entry import leaf_name, path_bytes

_CONTROLS = frozenset(map(chr, (*range(32), 127)))


class NameRules(msgspec.Struct, frozen=True):
    """Rules for one name, and for a whole path relative to the location's root. The default allows everything.

    max_name_bytes    longest single name in bytes; None = no limit known
    max_name_units    longest single name in UTF-16 code units (SMB, Azure)
    max_path_bytes    longest path in bytes, without the trailing slash of a folder (object keys)
    max_path_units    longest path in UTF-16 code units, without the trailing slash of a folder (Azure)
    max_depth         most pieces of a path between slashes, the empty one behind a folder's slash included
    utf8              only names that are valid UTF-8
    forbidden         characters no name may hold
    controls          False: no character below U+0020, nor U+007F
    forbidden_end     characters no name may end with
    reserved_exactly  names that mean something else, as they are spelt (`.snapshot`)
    reserved          names that mean something else, in upper case, also with an extension (`nul.txt`)
    """

    max_name_bytes: int | None = None
    max_name_units: int | None = None
    max_path_bytes: int | None = None
    max_path_units: int | None = None
    max_depth: int | None = None
    utf8: bool = False
    forbidden: str = ""
    controls: bool = True
    forbidden_end: str = ""
    reserved_exactly: frozenset[str] = frozenset()
    reserved: frozenset[str] = frozenset()

    @property
    def held_up_to(self) -> int:
        """Paths of at most so many characters can surely be held; 0 = each has to be looked at."""
        spelt = self.utf8 or not self.controls or self.forbidden or self.forbidden_end
        if spelt or self.reserved_exactly or self.reserved or self.max_depth is not None:
            return 0
        in_bytes = [limit // 4 for limit in (self.max_name_bytes, self.max_path_bytes) if limit is not None]
        in_units = [limit // 2 for limit in (self.max_name_units, self.max_path_units) if limit is not None]
        return min([*in_bytes, *in_units, sys.maxsize])

    def refusal(self, path: str) -> str | None:
        """Why the last name of `path` cannot be held ("the name holds ':'"), None when it can."""
        return self._too_long(path) or self._misspelt(leaf_name(path))

    def _too_long(self, path: str) -> str | None:
        limit = self.max_path_bytes
        if limit is not None and len(path) * 4 > limit and len(path_bytes(path.removesuffix("/"))) > limit:
            return f"the path is longer than the {limit} bytes the destination allows"
        limit = self.max_path_units
        if limit is not None and len(path) * 2 > limit and _units(path.removesuffix("/")) > limit:
            return f"the path is longer than the {limit} UTF-16 units the destination allows"
        limit = self.max_depth
        if limit is not None and path.count("/") >= limit:
            return f"the path has more than the {limit} levels the destination allows"
        limit = self.max_name_bytes
        if limit is not None and len(path) * 4 > limit and len(path_bytes(leaf_name(path))) > limit:
            return f"the name is longer than the {limit} bytes the destination allows"
        limit = self.max_name_units
        if limit is not None and len(path) * 2 > limit and _units(leaf_name(path)) > limit:
            return f"the name is longer than the {limit} UTF-16 units the destination allows"
        return None

    def _misspelt(self, name: str) -> str | None:
        if self.utf8 and not name.isascii():
            try:
                name.encode("utf-8")
            except UnicodeEncodeError:
                return "the name is not valid UTF-8, and the destination takes nothing else"
        if not self.controls and not name.isprintable() and not _CONTROLS.isdisjoint(name):
            return "the name holds a control character, which the destination does not allow"
        for character in self.forbidden:
            if character in name:
                return f"the name holds {character!r}, which the destination does not allow"
        if self.forbidden_end and name.endswith(tuple(self.forbidden_end)):
            return f"the name ends with {name[-1]!r}, which the destination would drop"
        if name in self.reserved_exactly:
            return "the destination reserves this name for itself"
        if self.reserved and name.split(".", 1)[0].rstrip(" ").upper() in self.reserved:
            return "the destination reserves this name for a device"
        return None


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
