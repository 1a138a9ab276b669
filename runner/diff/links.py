"""Hard-link groups: which names share one file, on both sides, while the streams go by.

Memory: two dictionary entries per group with more than one name, none for ordinary files.
"""

from __future__ import annotations

from runner.model.entry import Entry


class LinkGroups:
    """Pairs the source's link groups with the destination's.

    A group's first path at the source leads; the others are to be names of the leader's file. At the
    destination a file belongs to the first source file that claims it: another one that meets it there must
    get a file of its own.
    """

    def __init__(self, preserve: bool) -> None:
        self._preserve = preserve
        self._leaders: dict[str, str] = {}
        self._file_of_leader: dict[str, str | None] = {}
        self._owner: dict[str, str] = {}

    def leader(self, source: Entry) -> str | None:
        """The path that leads this entry's group, None when it stands alone or leads itself."""
        group = source.link_group
        if group is None or not self._preserve:
            return None
        leading = self._leaders.setdefault(group, source.path)
        return None if leading == source.path else leading

    def leader_written(self, source: Entry) -> None:
        """The leader gets a new file: no name at the destination is a name of it yet."""
        if source.link_group is not None and self._preserve:
            self._file_of_leader[source.link_group] = None

    def forsake(self, source: Entry) -> None:
        """A leader that could not be compared leads nobody: the next name of its group takes its place."""
        group = source.link_group
        if group is not None and self._leaders.get(group) == source.path:
            del self._leaders[group]

    def claim(self, source: Entry, destination: Entry) -> bool:
        """A source file that leads or stands alone meets `destination`: True when the file there may serve it,
        False when another source file has it already."""
        present = destination.link_group
        if present is not None:
            name = source.link_group if source.link_group is not None and self._preserve else source.path
            if self._owner.setdefault(present, name) != name:
                return False
        if source.link_group is not None and self._preserve:
            self._file_of_leader[source.link_group] = present
        return True

    def follows(self, source: Entry, destination: Entry) -> bool:
        """True when `destination` is already another name of the leader's file."""
        assert source.link_group is not None
        serving = self._file_of_leader.get(source.link_group)
        return serving is not None and destination.link_group == serving
