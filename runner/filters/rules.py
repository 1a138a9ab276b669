"""Ordered gitignore-like rules: the last one that matches decides.

The rules that are tied to the root run as one automaton over the names of a path, a step a folder, so that a
folder knows at once which rules can still match its entries. Rules for a name alone are one index for all
folders. That nothing below an excluded folder comes back is for the caller to keep.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner.filters.gitignore import ANY_NUMBER, Rule, parse_rule
from runner.filters.glob import STAR, Glob
from runner.filters.index import NO_MATCH, PatternIndex

_STATES_LIMIT = 4096
"""Folder states kept; each is small, and forgetting one costs only the time to work it out again."""

_BELOW_LIMIT = 256

_Place = tuple[int, int]
"""(number of a rule, how many of its components the path so far has matched)"""


class FolderRules:
    """Which anchored rules can match the entries of one folder, and where they go on below it.

    `files` and `folders` know the rules whose last component a name may match (None: there are none);
    `negates` when one of these takes back.
    `staying` places go on below any folder; `named` and `globbed` only below folders of such names. `below`
    remembers where that led, by the places that a name reached.
    """

    __slots__ = ("below", "files", "folders", "globbed", "named", "negates", "staying")

    def __init__(self, places: tuple[_Place, ...], rules: Sequence[Rule]) -> None:
        finals: list[tuple[int, Glob]] = []
        self.staying: list[_Place] = []
        self.named: dict[str, list[_Place]] = {}
        self.globbed: list[tuple[Glob, _Place]] = []
        self.below: dict[tuple[_Place, ...], FolderRules] = {}
        for number, position in places:
            components = rules[number].components
            component = components[position]
            is_last = position == len(components) - 1
            if component is ANY_NUMBER:
                self.staying.append((number, position))
                if is_last:
                    finals.append((number, Glob([STAR])))
            elif isinstance(component, Glob):
                if is_last:
                    finals.append((number, component))
                elif component.exact is not None:
                    self.named.setdefault(component.exact, []).append((number, position + 1))
                else:
                    self.globbed.append((component, (number, position + 1)))
        files = PatternIndex([pair for pair in finals if not rules[pair[0]].folders_only])
        folders = PatternIndex(finals)
        self.negates = any(rules[number].negated for number, _ in finals)
        self.files = None if files.is_empty else files
        self.folders = None if folders.is_empty else folders


class RuleSet:
    """All rules of a task. Safe to share between threads: its cache only saves work."""

    __slots__ = ("_file_names", "_folder_names", "_known", "_negated_names", "root", "rules")

    def __init__(self, lines: Iterable[str]) -> None:
        """Raises: RuleFault for a line that could never match (`faults.pattern_faults` finds them all)."""
        parsed = (parse_rule(line) for line in lines)
        self.rules: tuple[Rule, ...] = tuple(rule for rule in parsed if rule is not None)
        named = [
            (number, component, rule.folders_only)
            for number, rule in enumerate(self.rules)
            if rule.anywhere
            for component in rule.components
            if isinstance(component, Glob)
        ]
        folder_names = PatternIndex([(number, glob) for number, glob, _ in named])
        file_names = PatternIndex([(number, glob) for number, glob, only in named if not only])
        negated = PatternIndex([(number, glob) for number, glob, _ in named if self.rules[number].negated])
        self._negated_names = None if negated.is_empty else negated
        self._folder_names = None if folder_names.is_empty else folder_names
        self._file_names = None if file_names.is_empty else file_names
        self._known: dict[tuple[_Place, ...], FolderRules] = {}
        self.root = self._state(
            place
            for number, rule in enumerate(self.rules)
            if not rule.anywhere
            for place in self._closed((number, 0))
        )

    def __bool__(self) -> bool:
        return bool(self.rules)

    def enter(self, folder: FolderRules, name: str) -> FolderRules:
        """The rules for the entries of the folder `name` in a folder."""
        moved = tuple(folder.named.get(name, ()))
        if folder.globbed:
            moved += tuple(place for glob, place in folder.globbed if glob.matches(name))
        below = folder.below.get(moved)
        if below is None:
            if len(folder.below) >= _BELOW_LIMIT:
                folder.below.clear()
            reached = [closed for place in (*folder.staying, *moved) for closed in self._closed(place)]
            below = folder.below[moved] = self._state(reached)
        return below

    def excludes_file(self, folder: FolderRules, name: str) -> bool:
        """Whether the last rule that matches `name`, which is no folder, excludes it."""
        by_name, by_path = self._file_names, folder.files
        if (by_name is None or not by_name.matches(name)) and (by_path is None or not by_path.matches(name)):
            return False
        if not folder.negates and (self._negated_names is None or not self._negated_names.matches(name)):
            return True
        return not self.rules[self.last(folder, name, False)].negated

    def last(self, folder: FolderRules, name: str, is_folder: bool) -> int:
        """The number of the last rule that matches the entry `name` of a folder, or NO_MATCH."""
        if is_folder:
            by_name, by_path = self._folder_names, folder.folders
        else:
            by_name, by_path = self._file_names, folder.files
        best = NO_MATCH if by_name is None else by_name.last(name)
        return best if by_path is None else max(best, by_path.last(name))

    def _closed(self, place: _Place) -> list[_Place]:
        """A place, and those it reaches when `**` stands for no folder at all."""
        number, position = place
        components = self.rules[number].components
        reached = [place]
        while components[position] is ANY_NUMBER and position + 1 < len(components):
            position += 1
            reached.append((number, position))
        return reached

    def _state(self, places: Iterable[_Place]) -> FolderRules:
        key = tuple(sorted(set(places)))
        state = self._known.get(key)
        if state is None:
            if len(self._known) >= _STATES_LIMIT:
                self._known.clear()
            state = self._known[key] = FolderRules(key, self.rules)
        return state
