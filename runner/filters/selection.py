"""Whether an entry matters to a task, and which rule says so.

The questions, in order, first of each folder on the way from the root and then of the path itself; the first
one that leaves something out ends it, with all that lies below:

1. Is it one of the names no task touches (BUILT_IN)?
2. With a manifest: is it listed, or below a listed folder, or a folder on the way to a listed path?
3. Does an exclude pattern match?
4. Is the last of the `rules` that matches one that excludes?
5. With include patterns: does one match, or is this a folder on the way to what one names?
6. Size, age and kind, of everything but folders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from runner.errors import UsageError
from runner.filters.datasync import PathPatterns
from runner.filters.facts import FactRules, RuleKind
from runner.filters.faults import pattern_faults
from runner.filters.index import NO_MATCH
from runner.filters.manifest import Manifest
from runner.filters.rules import FolderRules, RuleSet
from runner.model.entry import Entry, Kind, leaf_name, parent_path
from runner.model.task import FilterSettings

BUILT_IN = (
    ".sync-runner/",
    "/.sync-runner-quarantine/",
    "/.aws-datasync/",
    "/.awssync/",
    "/.zfs/",
    ".snapshot/",
)
"""Folders (gitignore-like rules) that no task reads, writes or deletes: what this tool and DataSync keep for
themselves, and what file servers show as snapshots."""

# An enum's member costs five times as much to look up through its class.
_DIRECTORY = Kind.DIRECTORY

_FOLDERS_LIMIT = 1024
"""Folder states kept. A sorted stream needs those on the way to the present folder; the rest saves little."""


class Decision(msgspec.Struct, frozen=True):
    """The answer for one path. `rule` is the rule that decided, for people: 'exclude "*.tmp"', 'no rule'.

    `by_ancestor` is the folder (`a/`) on which that rule matched, None when it was the path itself.
    """

    included: bool
    rule: str
    code: RuleKind
    by_ancestor: str | None = None


_NO_RULE = Decision(True, "no rule", RuleKind.DEFAULT)
_LISTED = Decision(True, "manifest", RuleKind.MANIFEST)
_NOT_LISTED = Decision(False, "not in the manifest", RuleKind.MANIFEST)
_NOT_INCLUDED = Decision(False, "no include pattern matches", RuleKind.INCLUDE)
_THE_ROOT = Decision(True, "the root", RuleKind.DEFAULT)
_ROOT_STAYS = Decision(False, "the root is never deleted", RuleKind.BUILT_IN)
_MANIFEST_KEEPS = Decision(False, "manifest: a task with a manifest deletes nothing", RuleKind.MANIFEST)
_DELETE_EXCLUDED = Decision(True, "delete_excluded", RuleKind.DEFAULT)


class _Folder(msgspec.Struct, frozen=True):
    """What is known about one folder, and so about all below it.

    `protected` is the built-in rule that keeps it and all below; `granted` the include pattern that lets in
    it and all below; `listed` the nearest listed folder of a manifest that this is or lies in.
    """

    path: str
    bare_path: str
    excluded: bool
    decision: Decision
    protected: Decision | None
    granted: Decision | None
    listed: str | None
    built_in: FolderRules
    rules: FolderRules


class Selection:
    """The filters of one task at one instant. Answers about an entry depend on nothing but that entry.

    Fastest when entries come folder by folder, as a sorted scan gives them. What it remembers of folders is
    bounded and only saves time, so threads may share it. With a manifest it also remembers which listed paths
    it was asked about: one reference a listed path.
    """

    def __init__(
        self,
        settings: FilterSettings,
        now_ns: int,
        manifest: Manifest | None = None,
        *,
        built_in: Sequence[str] = BUILT_IN,
    ) -> None:
        """`now_ns`: the instant ages are counted from, since 1970. `built_in`: gitignore-like rules, each
        for folders only, of what is never touched.

        Raises: UsageError when a pattern is wrong (configuration finds that first, with its place);
        ValueError when the settings name a manifest that was not given: to go on without it would widen the
        task.
        """
        faults = pattern_faults(settings)
        if faults:
            raise UsageError("\n".join(f'filter "{pattern}" {wrong}' for pattern, wrong in faults))
        if settings.manifest is not None and manifest is None:
            raise ValueError("the settings name a manifest, but it was not read")
        self._delete_excluded = settings.delete_excluded
        self._manifest = manifest
        self._seen: set[str] = set()
        self._built_in = RuleSet(built_in)
        self._includes = PathPatterns(settings.include)
        self._excludes = PathPatterns(settings.exclude)
        self._rules = RuleSet(settings.rules)
        self._facts = FactRules(settings, now_ns)
        self._root = _Folder(
            path="",
            bare_path="",
            excluded=False,
            decision=_THE_ROOT,
            protected=None,
            granted=None,
            listed=None,
            built_in=self._built_in.root,
            rules=self._rules.root,
        )
        self._folders = {"": self._root}
        self._present = self._root
        # Asked for every entry: None skips the question.
        self._excluded = self._excludes.matches if self._excludes else None
        self._included = self._includes.matches if self._includes else None
        self._asks_rules = bool(self._rules)
        self._asks_facts = not self._facts.is_empty

    @property
    def is_trivial(self) -> bool:
        """True when nothing is ever left out, so that nobody need ask. Never so with the built-in folders."""
        return not (self._built_in or self.asks_files)

    @property
    def asks_files(self) -> bool:
        """False when no rule concerns files: one matters whenever the folder that it is in does."""
        return bool(
            self._includes or self._excludes or self._rules or self._asks_facts or self._manifest is not None
        )

    @property
    def restricts_deletion(self) -> bool:
        """True when nothing at all may be deleted: a manifest says what to copy, not what there should be."""
        return self._manifest is not None

    def includes(self, entry: Entry) -> bool:
        """Whether the entry matters: the answer of `decide`, without its words."""
        path = entry.path
        if entry.kind is _DIRECTORY:
            if self._manifest is not None:
                self._mark_seen(path, self._manifest)
            return not self._folder(path).excluded
        parent, slash, name = path.rpartition("/")
        folder = self._present
        if folder.bare_path != parent:
            folder = self._present = self._folder(parent + slash)
        if self._manifest is not None:
            self._mark_seen(path, self._manifest)
            if folder.listed is None and path not in self._manifest:
                return False
        if folder.excluded:
            return False
        if self._excluded is not None and self._excluded(path):
            return False
        if self._asks_rules and self._rules.excludes_file(folder.rules, name):
            return False
        if self._included is not None and folder.granted is None and not self._included(path):
            return False
        return not (self._asks_facts and self._facts.refusal(entry, unknown_refuses=False) is not None)

    def decide(self, entry: Entry) -> Decision:
        """Whether the entry matters, and the rule that says so. An unknown size or time passes."""
        if self._manifest is not None:
            self._mark_seen(entry.path, self._manifest)
        decision = self.path_decision(entry.path)
        if decision.included:
            refusal = self._facts.refusal(entry, unknown_refuses=False)
            if refusal is not None:
                return Decision(False, *refusal)
        return decision

    def descend(self, directory: Entry) -> bool:
        """False only when surely nothing below the folder matters (for `Location.scan`)."""
        path = directory.path
        return not (self._folder(path).excluded or self._excludes.all_below(path))

    def path_decision(self, path: str) -> Decision:
        """What the rules about paths say; size, age and kind are not asked. A folder's path ends with `/`."""
        if not path or path.endswith("/"):
            return self._folder(path).decision
        parent = self._folder(parent_path(path))
        return (
            _inherited(parent.decision, parent.path) if parent.excluded else self._answer(parent, path, None)
        )

    def may_delete(self, entry: Entry) -> Decision:
        """Whether this entry, which only the destination has, is the task's to delete (`included`).

        It is when the filters would have let the task copy it; an unknown size or time that a filter asks
        about keeps it. `delete_excluded` gives up that protection, but for built-in folders and under a
        manifest. A folder that is ours to delete may still hold what is not.
        """
        path = entry.path
        if not path:
            return _ROOT_STAYS
        folder = self._folder(path if path.endswith("/") else parent_path(path))
        if folder.protected is not None:
            return folder.protected if folder.path == path else _inherited(folder.protected, folder.path)
        if self._manifest is not None:
            return _MANIFEST_KEEPS
        if self._delete_excluded:
            return _DELETE_EXCLUDED
        decision = self.path_decision(path)
        if decision.included:
            refusal = self._facts.refusal(entry, unknown_refuses=True)
            if refusal is not None:
                return Decision(False, *refusal)
        return decision

    def missing(self) -> Iterator[str]:
        """The manifest's paths that `includes` and `decide` were never asked about, in the manifest's order.

        Meaningful once the source was scanned to its end. A listed folder counts as met when anything below
        it was. Paths that another rule excludes are not missing: they may be there.
        """
        if self._manifest is None:
            return
        met = set(self._seen)
        for path in self._seen:
            folder = parent_path(path)
            while folder and folder not in met:
                met.add(folder)
                folder = parent_path(folder)
        for path in self._manifest:
            if path not in met and self.path_decision(path).included:
                yield path

    def _mark_seen(self, path: str, manifest: Manifest) -> None:
        if path in manifest:
            self._seen.add(path)
        elif path.endswith("/") and path[:-1] in manifest:
            self._seen.add(path[:-1])
        elif manifest.has_folders:
            listed = self._folder(parent_path(path)).listed
            if listed is not None:
                self._seen.add(listed)

    def _folder(self, path: str) -> _Folder:
        """What is known about a folder, worked out from the nearest folder above that is known already."""
        folder = self._folders.get(path)
        if folder is not None:
            return folder
        unknown = []
        while folder is None:
            unknown.append(path)
            path = parent_path(path)
            folder = self._folders.get(path)
        if len(self._folders) + len(unknown) > _FOLDERS_LIMIT:
            self._folders = {"": self._root}
        for path in reversed(unknown):
            folder = self._folders[path] = self._enter(folder, path)
        return folder

    def _enter(self, parent: _Folder, path: str) -> _Folder:
        """What is known about the folder `path` of `parent`."""
        name = leaf_name(path)
        protected = _inherited(parent.protected, parent.path) if parent.protected else None
        if protected is None:
            number = self._built_in.last(parent.built_in, name, True)
            if number != NO_MATCH:
                rule = f'built in "{self._built_in.rules[number].text}"'
                protected = Decision(False, rule, RuleKind.BUILT_IN)
        granted = parent.granted
        if granted is None and self._includes:
            granted = self._include_decision(path[:-1])
        elif granted is not None:
            granted = _inherited(granted, parent.path)
        is_listed = self._manifest is not None and path in self._manifest
        listed = path if is_listed else parent.listed
        if parent.excluded:
            decision = _inherited(parent.decision, parent.path)
        else:
            decision = protected or self._answer(parent, path, listed)
        return _Folder(
            path=path,
            bare_path=path[:-1],
            excluded=not decision.included,
            decision=decision,
            protected=protected,
            granted=granted,
            listed=listed,
            built_in=self._built_in.enter(parent.built_in, name),
            rules=self._rules.enter(parent.rules, name),
        )

    def _answer(self, parent: _Folder, path: str, listed: str | None) -> Decision:
        """The decision for a path (a folder's ends with `/`) in a folder that is not excluded.

        `listed`: the listed folder that `path`, being a folder, is or lies in.
        """
        is_folder = path.endswith("/")
        bare = path.removesuffix("/")
        answer = _NO_RULE
        if self._manifest is not None:
            known = path in self._manifest or bare in self._manifest or path in self._manifest.containers
            if not known and listed is None and parent.listed is None:
                return _NOT_LISTED
            answer = _LISTED
        exclude = self._excludes.first_text(bare)
        if exclude is not None:
            return Decision(False, f'exclude "{exclude}"', RuleKind.EXCLUDE)
        number = self._rules.last(parent.rules, leaf_name(bare), is_folder)
        if number != NO_MATCH and not self._rules.rules[number].negated:
            return Decision(False, f'rule "{self._rules.rules[number].text}"', RuleKind.RULE)
        if self._includes:
            include = self._include_decision(bare)
            if parent.granted is not None:
                include = _inherited(parent.granted, parent.path)
            way = self._includes.way_to(path) if is_folder else None
            if include is None and way is not None:
                include = Decision(True, f'on the way to include "{way}"', RuleKind.INCLUDE)
            if include is None:
                return _NOT_INCLUDED
            answer = include
        if number != NO_MATCH:
            return Decision(True, f'rule "{self._rules.rules[number].text}"', RuleKind.RULE)
        return answer

    def _include_decision(self, bare: str) -> Decision | None:
        """The decision of the include pattern that matches this very path, None when none does."""
        include = self._includes.first_text(bare)
        return None if include is None else Decision(True, f'include "{include}"', RuleKind.INCLUDE)


def _inherited(decision: Decision, folder: str) -> Decision:
    """A folder's decision as it holds below it: it names the folder on which the rule matched."""
    if decision.by_ancestor is not None:
        return decision
    return Decision(decision.included, decision.rule, decision.code, folder)
