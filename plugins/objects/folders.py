"""Folders: an object whose key ends with `/` and that is empty, or nothing but what is below them."""

from __future__ import annotations

from runner.errors import EntryCode, EntryError
from runner.model.entry import Entry, Kind

from .client import Condition, ConditionFailedError, Description, ObjectClient, ObjectFacts
from .copies import Copies
from .faults import shown, stale
from .listing import first_below
from .looking import Looker
from .metadata import Names, description_of
from .scan import root


class Folders:
    """The folders below `prefix`. Paths are "" or end with `/`."""

    def __init__(
        self, client: ObjectClient, looker: Looker, copies: Copies, prefix: str, names: Names, *, posix: bool
    ) -> None:
        self._client = client
        self._looker = looker
        self._copies = copies
        self._prefix = prefix
        self._names = names
        self._posix = posix

    def stat(self, path: str) -> Entry | None:
        """The folder as it stands now."""
        key = self._prefix + path
        first = first_below(self._client, key) if key else []
        if first and first[0].key == key and self._looker.needs_look:
            looked = self._looker.look(key)
            if looked is not None:
                return self._looker.entry(path, looked)
        if path == "":
            return root(self._prefix)
        return Entry(path, Kind.DIRECTORY) if first else None

    def put(self, entry: Entry) -> None:
        """Make a folder's marker, or complete it: what the entry leaves open stays as it is."""
        key = self._prefix + entry.path
        self._refuse_without_markers(entry.path)
        if self._client.features.put_if_absent:
            try:
                self._client.put(key, b"", self._description(entry), Condition(absent=True))
                return
            except ConditionFailedError:
                pass
        self._complete(key, entry, self._client.head(key))

    def set_attributes(self, entry: Entry) -> None:
        """The same for a folder that has to be there, in whatever way. Raises STALE."""
        key = self._prefix + entry.path
        self._refuse_without_markers(entry.path)
        standing = self._client.head(key)
        if standing is None and self.stat(entry.path) is None:
            raise stale(entry.path, "no folder is there any more")
        self._complete(key, entry, standing)

    def expect_empty(self, path: str) -> list[ObjectFacts]:
        """The marker of a folder that holds nothing else. Raises STALE."""
        first = first_below(self._client, self._prefix + path, 2)
        if not first:
            raise stale(path, "nothing is there any more")
        if len(first) > 1 or first[0].key != self._prefix + path:
            inside = first[-1].key[len(self._prefix) :]
            raise stale(path, f"the folder is not empty: it holds {shown(inside)}")
        if first[0].size_bytes:
            raise stale(path, "an object with content stands for the folder")
        return first

    def remove(self, path: str) -> None:
        """Remove the marker of an empty folder. Raises STALE, NOT_FOUND."""
        if not first_below(self._client, self._prefix + path):
            raise EntryError(EntryCode.NOT_FOUND, path, f"{shown(path)}: nothing is there")
        self.drop_empty(path)

    def drop_empty(self, path: str) -> None:
        for marker in self.expect_empty(path):
            self._copies.delete(marker.key, marker.etag)

    def _refuse_without_markers(self, path: str) -> None:
        if not self._client.features.markers:
            message = (
                f"{shown(path)}: this server keeps no objects for folders; set `directory_markers: false`"
            )
            raise EntryError(EntryCode.KIND_NOT_SUPPORTED, path, message)

    def _complete(self, key: str, entry: Entry, standing: ObjectFacts | None) -> None:
        if standing is None:
            self._client.put(key, b"", self._description(entry))
            return
        if standing.size_bytes:
            message = f"{shown(entry.path)}: an object with content stands for the folder"
            raise EntryError(EntryCode.KIND_CONFLICT, entry.path, message)
        self._copies.describe(standing, entry)

    def _description(self, entry: Entry) -> Description:
        return description_of(entry, None, self._names, posix=self._posix)
