"""A task between two trees in memory, run by the real pipeline with a fake clock; and random trees for it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import strategies as st

from runner.config.describe import config_digest, filter_digest
from runner.execution.context import Cancellation, Context
from runner.locations.marker import MARKER_FOLDER
from runner.locations.protocol import Driver, Location, OpenSettings
from runner.locations.registry import Registry
from runner.model.action import Action, Outcome
from runner.model.entry import Attributes, Kind
from runner.model.events import Event
from runner.model.execution import Counters, Counts, Report
from runner.model.plan import Explanation, PlanSummary
from runner.model.task import (
    Configuration,
    FilterSettings,
    Guards,
    Limit,
    LocationSettings,
    Task,
    TaskOptions,
)
from runner.model.wire import decode_line
from runner.pipeline import apply_plan, explain_path, plan_task, run_task, verify_task
from runner.plan.file import PlanReader
from runner.testing.fake_clock import FakeClock
from runner.testing.faults import FaultScript
from runner.testing.memory import MemoryTree, memory_driver
from runner.testing.memory_tree import Seen
from runner.testing.trees import Declared, File, Folder, HardLink, Special, Symlink, tree
from runner.transfer.quarantine_note import QUARANTINE

NO_GUARDS = Guards(
    max_deletions=Limit(),
    allow_empty_source=True,
    endpoint_identity=False,
    filter_change=False,
    free_space=False,
)
SECOND = 1_000_000_000
DEFAULTS = TaskOptions()
NO_FILTERS = FilterSettings()


def make_task(
    options: TaskOptions = DEFAULTS,
    filters: FilterSettings = NO_FILTERS,
    guards: Guards = NO_GUARDS,
    location_type: str = "memory",
    source: dict[str, Any] | None = None,
    destination: dict[str, Any] | None = None,
    name: str = "t",
) -> Task:
    """A complete task between trees `left` and `right`, or between what the options of a driver name."""
    left = LocationSettings("src", location_type, source or {"tree": "left"}, "/")
    right = LocationSettings("dst", location_type, destination or {"tree": "right"}, "/")
    return Task(
        name,
        left,
        right,
        options,
        filters,
        guards,
        None,
        (),
        config_digest(((left, "left"), (right, "right")), options, filters),
        filter_digest(filters, "/"),
    )


@dataclass
class Rig:
    """Two trees, a task between them, and the pipeline's calls on it.

    `state` is a folder of its own; `scripts` are faults of the location `left` or `right`.
    """

    left: MemoryTree
    right: MemoryTree
    state: str
    task: Task
    scripts: Mapping[str, FaultScript] = field(default_factory=dict)
    capabilities: Any = None
    roles: frozenset[str] | None = None
    accept: frozenset[str] = frozenset()
    clock: FakeClock = field(default_factory=FakeClock)
    events: list[Event] = field(default_factory=list)
    cancellation: Cancellation = field(default_factory=Cancellation)

    @property
    def driver(self) -> Driver:
        more: dict[str, Any] = {} if self.roles is None else {"roles": self.roles}
        if self.capabilities is not None:
            more["capabilities"] = self.capabilities
        driver = memory_driver({"left": self.left, "right": self.right}, **more)

        def open_scripted(
            settings: LocationSettings, open_settings: OpenSettings, *, create: bool
        ) -> Location:
            location = driver.open(settings, open_settings, create=create)
            script = self.scripts.get(settings.options["tree"])
            return location if script is None else script.wrap(location)

        return msgspec.structs.replace(driver, open=open_scripted)

    @property
    def context(self) -> Context:
        file = os.path.join(self.state, "sync.yaml")
        configuration = Configuration(
            file,
            {"src": self.task.source, "dst": self.task.destination},
            {self.task.name: self.task},
            os.path.join(self.state, ".sync-runner"),
        )
        return Context(
            configuration,
            Registry((self.driver,)),
            self.clock,
            self.events.append,
            self.accept,
            self.cancellation,
        )

    @property
    def plan_path(self) -> str:
        return os.path.join(self.state, "plan.jsonl")

    def plan(self) -> PlanSummary:
        return plan_task(self.task, self.context, self.plan_path)

    def actions(self) -> list[Action]:
        """The actions of the plan that was written last."""
        return list(PlanReader(self.plan_path).actions())

    def apply(self) -> Report:
        return apply_plan(self.plan_path, self.context)

    def run(self) -> Report:
        return run_task(self.task, self.context)

    def verify(self) -> Report:
        return verify_task(self.task, self.context)

    def explain(self, path: str) -> Explanation:
        return explain_path(self.task, self.context, path)

    def outcomes(self, report: Report) -> list[Outcome]:
        """What the execution's journal holds."""
        folder = self.context.state.execution_folder(report.execution.execution_id)
        with open(os.path.join(folder, "outcomes.jsonl"), "rb") as journal:
            return [decode_line(line, Outcome) for line in journal]


def rig(
    state: object,
    left: MemoryTree,
    right: MemoryTree,
    options: TaskOptions = DEFAULTS,
    filters: FilterSettings = NO_FILTERS,
    guards: Guards = NO_GUARDS,
    **more: Any,
) -> Rig:
    return Rig(left, right, str(state), make_task(options, filters, guards), **more)


def balance(counters: Counters) -> Counts:
    """What listed has to be after an execution."""
    return counters.transferred + counters.skipped + counters.failed + counters.excluded


def planned_balance(counters: Counters) -> Counts:
    """What listed has to be in a plan."""
    return counters.prepared + counters.skipped + counters.failed + counters.excluded


def changing(actions: Iterable[Action]) -> list[Action]:
    return [action for action in actions if not action.is_housekeeping]


# -- random trees --------------------------------------------------------------------------------------------

NAMES = ("a", "a!", "a-b", "a.txt", "a0", "b", "b\udcff", "é")
TIMES = (1 * SECOND, 2 * SECOND, 2 * SECOND + 1, 3 * SECOND)
CONTENTS = (b"", b"x", b"y", b"xy")

_files = st.builds(
    File,
    st.sampled_from(CONTENTS),
    mode=st.sampled_from((0o644, 0o600)),
    mtime_ns=st.sampled_from(TIMES),
    xattrs=st.sampled_from(((), (("user.k", b"v"),))),
)
_folders = st.builds(Folder, mode=st.sampled_from((0o755, 0o700)), mtime_ns=st.sampled_from(TIMES))
_symlinks = st.builds(Symlink, st.sampled_from(("a", "b", "nowhere")), mtime_ns=st.sampled_from(TIMES))
_pipes = st.builds(Special, st.just(Kind.FIFO), mtime_ns=st.sampled_from(TIMES))
_links = st.integers(0, 5)
_paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3)


@st.composite
def declared_trees(draw: st.DrawFn, largest: int = 8, plain: bool = False) -> dict[str, Declared]:
    """A small tree as `trees.tree` takes it. An integer drawn for a path makes it another name of an earlier
    file. `plain`: files and folders only."""
    leaf = (
        st.one_of(_files, _files, _folders)
        if plain
        else st.one_of(_files, _files, _files, _folders, _symlinks, _pipes, _links, _links)
    )
    spec: dict[str, Declared] = {}
    taken: dict[str, bool] = {}
    files: list[str] = []
    for names, one in draw(st.lists(st.tuples(_paths, leaf), max_size=largest)):
        parents = ["/".join(names[:depth]) for depth in range(1, len(names))]
        path = "/".join(names)
        if path in taken or any(taken.get(parent) is False for parent in parents):
            continue
        taken.update(dict.fromkeys(parents, True))
        if isinstance(one, Folder):
            taken[path] = True
            spec[path + "/"] = one
        elif isinstance(one, int):
            if files:
                taken[path] = False
                spec[path] = HardLink(files[one % len(files)])
        else:
            taken[path] = False
            spec[path] = one
            if isinstance(one, File):
                files.append(path)
    return spec


def memory_of(spec: dict[str, Declared], name: str = "memory", root_mtime_ns: int = 2 * SECOND) -> MemoryTree:
    """A new MemoryTree that holds a declaration; its root is dated and has a mode."""
    built = tree(spec).memory(identity=name)
    root = built.node("")
    root.mtime_ns = root_mtime_ns
    root.attributes = Attributes(mode=0o755, uid=0, gid=0, xattrs=(), acls=())
    return built


def frozen(one: MemoryTree) -> tuple[dict[str, Seen], int, Attributes]:
    """All that can be seen of a tree, its root included."""
    root = one.node("")
    return one.snapshot(), root.mtime_ns, root.attributes


def without_quarantine(snapshot: dict[str, Seen]) -> dict[str, Seen]:
    """The snapshot without what is in quarantine and the marker beside it; names there do not count as other names of
    a file."""
    own = (QUARANTINE, MARKER_FOLDER)
    kept = {path: seen for path, seen in snapshot.items() if not path.startswith(own)}
    names: dict[str | None, list[str]] = {}
    for path, seen in kept.items():
        names.setdefault(seen.group, []).append(path)
    return {
        path: msgspec.structs.replace(
            seen,
            group=names[seen.group][0] if seen.group is not None and len(names[seen.group]) > 1 else None,
        )
        for path, seen in kept.items()
    }


def alone(seen: Seen) -> Seen:
    """The same without its hard-link group: work on other names may change that."""
    return msgspec.structs.replace(seen, group=None)


def contents(one: MemoryTree) -> dict[str, bytes]:
    """Path -> content of everything that is no folder; quarantine left out."""
    return {
        path: seen.content
        for path, seen in without_quarantine(one.snapshot()).items()
        if seen.kind is not Kind.DIRECTORY
    }


def with_options(options: TaskOptions, **changes: Any) -> TaskOptions:
    return msgspec.structs.replace(options, **changes)
