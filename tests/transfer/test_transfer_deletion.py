"""Deletion in two phases: every stage with every event, every history up to a length, and a crash at every write."""

from __future__ import annotations

import itertools

import pytest

from runner.errors import EntryCode, EntryError
from runner.locations.protocol import Location, OpenSettings
from runner.model.action import Action, ActionKind, OutcomeStatus
from runner.model.action import Stage as PlanStage
from runner.model.difference import Reason
from runner.model.entry import Entry
from runner.testing.fake_clock import FakeClock
from runner.testing.faults import FaultScript, meanwhile, raises
from runner.testing.memory import memory_location
from runner.testing.memory_tree import MemoryTree
from runner.testing.trees import Folder, tree
from runner.transfer.deletion import DAY_SECONDS, Event, Stage, Step, after, decide, stage_of, time_event
from runner.transfer.perform import Performer, PerformSettings
from runner.transfer.quarantine import announce, purge, purged_executions, quarantine_path, restore

KEEP = Step.KEEP
REFUSED = {Step.REFUSE_RETURNED, Step.REFUSE_OCCUPIED, Step.REFUSE_PURGED}
ASIDE = [KEEP, KEEP, KEEP, Step.CONDEMN, KEEP, Step.MOVE_BACK, Step.REFUSE_OCCUPIED]
TABLE = {
    Stage.STANDING: [Step.MOVE_ASIDE, Step.REFUSE_RETURNED, KEEP, KEEP, KEEP, KEEP, Step.REFUSE_OCCUPIED],
    Stage.ASIDE: ASIDE,
    Stage.CONDEMNED: [Step.REMOVE if step is Step.CONDEMN else step for step in ASIDE],
    Stage.PURGED: [KEEP, KEEP, KEEP, KEEP, KEEP, Step.REFUSE_PURGED, Step.REFUSE_PURGED],
}
"""The steps of each stage, in the order in which Event names the events."""


def test_every_stage_with_every_event() -> None:
    assert {stage: [decide(stage, event) for event in Event] for stage in Stage} == TABLE


def test_what_the_table_promises() -> None:
    for stage, event in itertools.product(Stage, Event):
        step = decide(stage, event)
        then = after(stage, step)
        assert (then is not stage) == (step is not KEEP and step not in REFUSED)
        # Only a time that is over leads towards the end, one stage at a time; only being wanted back leads away from it.
        assert (step in (Step.CONDEMN, Step.REMOVE)) <= (event is Event.OVER)
        assert (then is Stage.PURGED) <= (stage in (Stage.CONDEMNED, Stage.PURGED))
        assert (step is Step.MOVE_BACK) <= (event is Event.RESTORE)
        assert (step is Step.MOVE_ASIDE) <= (event is Event.EXTRA)


def test_the_storage_shows_each_stage() -> None:
    """A crash after any step leaves what the next look takes for the stage that the step leads to."""
    shown = {
        stage_of(is_aside=aside, is_condemned=noted): (aside, noted) for aside in (0, 1) for noted in (0, 1)
    }  # type: ignore[arg-type]
    assert set(shown) == set(Stage)
    for stage, event in itertools.product(Stage, Event):
        step = decide(stage, event)
        aside, noted = shown[stage]
        if step is Step.MOVE_ASIDE:
            aside = 1
        if step is Step.CONDEMN:
            noted = 1
        if step is Step.REMOVE:
            aside = 0
        if step is not Step.MOVE_BACK:
            assert stage_of(is_aside=bool(aside), is_condemned=bool(noted)) is after(stage, step)


@pytest.mark.parametrize("needed", [False, True])
@pytest.mark.parametrize(
    ("passed", "over"), [(-5.0, False), (0.0, False), (2 * DAY_SECONDS, False), (2 * DAY_SECONDS + 0.5, True)]
)
def test_when_the_time_is_over(passed: float, over: bool, needed: bool) -> None:
    event = time_event(since_seconds=1e9, keep_days=2.0, now_seconds=1e9 + passed, is_needed=needed)
    assert event is ((Event.NEEDED if needed else Event.OVER) if over else Event.RUNS)


# -- the code that works with storages -------------------------------------------------------------------------

KEEP_DAYS = 2.0
START = 0x65000000
WRITES = ("put", "remove", "rename")
PATH = "d/a"
LAST_WRITE = 4


class NoThrottle:
    def take(self, size_bytes: int) -> None:
        return


class Crash(Exception):
    """The process is gone before the write."""


class World:
    """Two trees, and what may happen to the one file in them. Each content is written once, so it tells the version."""

    def __init__(self) -> None:
        self.source = tree({"d/": Folder()}).memory()
        self.destination = tree({PATH: b"0"}).memory()
        self.now = float(START)
        self.versions = 1
        self.moved: dict[bytes, tuple[str, float]] = {}
        """By content: the execution that moved it aside first since it stood at its place, and when."""
        self.purged: set[bytes] = set()
        self.clock = FakeClock()

    def contents(self) -> dict[str, bytes]:
        paths = self.destination.paths()
        return {path: bytes(self.destination.node(path).content) for path in paths if path.endswith("/a")}

    def do(self, event: str, crash_before: int | None) -> bool:
        """Whether the event ended; False: the process ended before that write (from 1)."""
        count = 0

        def died() -> None:
            nonlocal count
            count += 1
            if count == crash_before:
                raise Crash

        scripts = FaultScript([meanwhile(method, died, times=None) for method in WRITES])
        destination = scripts.wrap(opened(self.destination))
        try:
            getattr(self, event)(destination)
        except Crash:
            return False
        return True

    def perform(self, destination: Location, execution: str, action: Action) -> None:
        settings = PerformSettings(execution, attempts=1)
        performer = Performer(opened(self.source), destination, settings, NoThrottle(), self.clock)
        outcome = performer.perform(action)
        assert outcome.status in (OutcomeStatus.DONE, OutcomeStatus.STALE), outcome

    def lost(self, destination: Location) -> None:
        """The source loses the file, and a run moves the destination's aside."""
        if PATH in self.source.paths():
            self.source.delete(PATH)
        self.run(destination)

    def back(self, destination: Location) -> None:
        """The source has a file again after a run made its plan: the run must leave the destination's alone."""
        planned = opened(self.destination).stat(PATH)
        self.write_source()
        before = self.contents()
        if planned is not None:
            self.move_aside(destination, planned)
        assert self.contents() == before
        self.run(destination)

    def unready(self, destination: Location) -> None:
        """The source has a file again that no run has carried yet."""
        self.write_source()

    def purge(self, destination: Location) -> None:
        """A day and a half later."""
        self.now += 1.5 * DAY_SECONDS
        self.purge_now(destination)

    def purge_now(self, destination: Location) -> None:
        before = self.contents()
        needed = PATH in self.source.paths() and PATH not in before
        over = {
            content
            for content, (_, since) in self.moved.items()
            if self.now - since > KEEP_DAYS * DAY_SECONDS and not needed
        }
        try:
            purge(destination, opened(self.source), "t", self.now, KEEP_DAYS)
        finally:
            gone = set(before.values()) - set(self.contents().values())
            assert gone <= over, (
                "purged before its time, or while the source has it and the destination nothing"
            )
            self.purged |= gone

    def restore(self, destination: Location) -> None:
        """Each execution's, the oldest first; what stands at its place is not overwritten."""
        standing = self.contents().get(PATH)
        for content, (execution, _) in sorted(self.moved.items(), key=lambda moved: moved[1][0]):
            _, problems = restore(destination, execution, [PATH], NoThrottle())
            if content in self.purged:
                assert [problem.code for problem in problems] == [EntryCode.NOT_FOUND]
                assert "or purged, which began at" in problems[0].message
        if standing is not None:
            assert self.contents()[PATH] == standing

    # -- what runs do ------------------------------------------------------------------------------------------

    def write_source(self) -> None:
        if PATH not in self.source.paths():
            self.source.write(PATH, b"%d" % self.versions)
            self.versions += 1

    def run(self, destination: Location) -> None:
        wanted, present = opened(self.source).stat(PATH), opened(self.destination).stat(PATH)
        if wanted is None and present is not None:
            self.move_aside(destination, present)
        elif wanted is not None and present is None:
            copy = Action(1, ActionKind.COPY, PlanStage.WRITE, PATH, wanted, None, (Reason.MISSING,))
            self.perform(destination, f"{int(self.now):08x}ffff", copy)

    def move_aside(self, destination: Location, planned: Entry) -> None:
        self.now += 1
        execution = f"{int(self.now):08x}0000"
        content = self.contents()[PATH]
        announce(destination, execution, "t", KEEP_DAYS, self.now)
        action = Action(1, ActionKind.QUARANTINE, PlanStage.REMOVE, PATH, None, planned, (Reason.EXTRA,))
        try:
            self.perform(destination, execution, action)
        finally:
            if PATH not in self.contents():
                self.moved[content] = (execution, self.now)


def opened(what: MemoryTree) -> Location:
    return memory_location(what, open_settings=OpenSettings())


def lived(events: tuple[str, ...], crash_in: int | None, crash_before: int) -> tuple[World, bool]:
    """The world after the events, and whether the process died; what was once at the destination is there or purged."""
    world = World()
    died = False
    known = {b"0"}
    for position, event in enumerate(events):
        died |= not world.do(event, crash_before if position == crash_in else None)
        known |= set(world.contents().values())
        assert known - set(world.contents().values()) == world.purged, events
        assert len(set(world.contents().values())) == len(world.contents()), events
    return world, died


def test_every_history_with_a_crash_before_every_write() -> None:
    _live_all(2)


@pytest.mark.slow
def test_longer_histories_with_a_crash_before_every_write() -> None:
    _live_all(4)


def _live_all(further: int) -> None:
    """The file is moved aside, then everything else happens in every order."""
    crashes = purges = 0
    for rest in itertools.product(("lost", "back", "unready", "purge", "restore"), repeat=further):
        events = ("lost", *rest)
        purges += len(lived(events, None, 0)[0].purged)
        for crash_in in range(len(events)):
            for crash_before in range(1, LAST_WRITE + 1):
                world, died = lived(events, crash_in, crash_before)
                if not died:
                    break
                crashes += 1
                purges += len(world.purged)
    assert crashes and purges


def test_what_a_crash_left_half_purged_is_restored_as_far_as_it_is_there() -> None:
    location = memory_location(
        tree({quarantine_path(f"{START:08x}0000", path): b"x" for path in ("a", "b")}).memory(),
        open_settings=OpenSettings(),
        create=True,
    )
    execution = f"{START:08x}0000"
    announce(location, execution, "t", KEEP_DAYS, START)
    script = FaultScript([raises("remove", EntryCode.IO_ERROR, nth=2)])
    with pytest.raises(EntryError):
        purge(script.wrap(location), None, "t", START + 3 * DAY_SECONDS, KEEP_DAYS)
    assert list(purged_executions(location)) == [execution]
    restored, problems = restore(location, execution, ["a", "b"], NoThrottle())
    assert (restored, [problem.path for problem in problems]) == (["a"], ["b"])
    assert "which began at 2023-09-15" in problems[0].message
