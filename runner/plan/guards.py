"""Guards: what stops a plan before its first write. Pure; each verdict names the command that goes on."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

import msgspec

from runner.locations.marker import Marker, Sighting
from runner.locations.protocol import Space
from runner.model.execution import GuardVerdict
from runner.model.plan import ActionTotals
from runner.model.task import Guards, Limit, Task
from runner.plan.identity import Cause, Objection, Remembered, objection_to
from runner.units import format_size

GUARD_NAMES = {
    "source_emptied": "The source lists nothing, but the destination or the last run had entries.",
    "max_deletions": "The plan deletes more than guards.max_deletions allows.",
    "max_deletions_per_folder": "The plan deletes more of one top-level folder than the guard allows.",
    "max_overwrites": "The plan replaces more than guards.max_overwrites allows.",
    "wide_root": "The destination is a root, a home or a system folder.",
    "source_changed": "The source is not the endpoint of the last successful run: another disk, mount or bucket.",
    "destination_changed": "The destination is not the endpoint of the last successful run.",
    "source_marker": "The source is not the marked place it has to be: gone, swapped, or put back to an older state.",
    "destination_marker": "The destination is not the marked place it has to be.",
    "filter_changed": "The filters changed since the last successful run, and the plan deletes.",
    "free_space": "The destination has not the space that the plan needs.",
}
NEVER_ACCEPTED = frozenset({"source_marker", "destination_marker"})
"""Guards that `--accept` does not let pass: the way on is to bring the right place, or to adopt this one by its name."""


class Past(msgspec.Struct, frozen=True):
    """What is remembered of the task's last successful run; the markers are of the last that transferred, successful
    or not. None = unknown."""

    filter_digest: str | None = None
    source_identity: str | None = None
    destination_identity: str | None = None
    listed_entries: int | None = None
    source_marker: Marker | None = None
    destination_marker: Marker | None = None

    @property
    def source(self) -> Remembered:
        return Remembered(self.source_identity, self.source_marker)

    @property
    def destination(self) -> Remembered:
        return Remembered(self.destination_identity, self.destination_marker)


class GuardFacts(msgspec.Struct, frozen=True):
    """What guards judge: the plan's sums, both endpoints as they are now, and the past."""

    totals: ActionTotals
    source_entries: int
    destination_entries: int
    destination_entries_by_folder: Mapping[str, int]
    deletions_by_folder: Mapping[str, int]
    bytes_needed: int
    entries_needed: int
    incomplete: bool
    source: Sighting = Sighting()
    destination: Sighting = Sighting()
    space: Space | None = None
    wide_root: str | None = None
    past: Past = Past()


def evaluate_guards(
    task: Task, facts: GuardFacts, accepted: frozenset[str], config_file: str
) -> tuple[GuardVerdict, ...]:
    """Every guard that objects, in the order of GUARD_NAMES; those in `accepted` are marked so."""
    guards = task.guards
    objections: dict[str, str | None] = {
        "source_emptied": _source_emptied(guards, facts),
        "max_deletions": _over(
            guards.max_deletions,
            facts.totals.to_delete + facts.totals.to_quarantine,
            facts.destination_entries,
            facts.totals.bytes_to_delete,
            "deletes",
        ),
        "max_deletions_per_folder": _per_folder(guards.max_deletions_per_folder, facts),
        "max_overwrites": _over(
            guards.max_overwrites,
            facts.totals.to_replace,
            facts.destination_entries,
            facts.totals.bytes_replaced,
            "replaces",
        ),
        "wide_root": None if guards.allow_wide_root else facts.wide_root,
        "source_changed": None,
        "destination_changed": None,
        "source_marker": None,
        "destination_marker": None,
        "filter_changed": _filter_changed(task, facts),
        "free_space": _free_space(guards, facts),
    }
    ways: dict[str, str] = {}
    for name, objection in _identity_objections(task, facts, config_file):
        objections[name] = objection.message
        if objection.way is not None:
            ways[name] = objection.way
    objecting = {name: message for name, message in objections.items() if message is not None}
    accepted -= NEVER_ACCEPTED
    refusing = [name for name in objecting if name not in accepted and name not in ways]
    return tuple(
        GuardVerdict(
            name,
            message,
            ways.get(name) or _remedy(task.name, config_file, refusing or [name]),
            name in accepted,
        )
        for name, message in objecting.items()
    )


def adopt_command(location: str, config_file: str) -> str:
    """The command that takes what stands at a location for the right place from now on."""
    return f"sync-runner locations adopt {shlex.quote(location)} -c {shlex.quote(config_file)}"


def _identity_objections(task: Task, facts: GuardFacts, config_file: str) -> Iterator[tuple[str, Objection]]:
    """(guard, objection) for each end that is not what it was."""
    if not task.guards.endpoint_identity:
        return
    for side, settings, remembered, seen in (
        ("source", task.source, facts.past.source, facts.source),
        ("destination", task.destination, facts.past.destination, facts.destination),
    ):
        adopt = adopt_command(settings.name, config_file)
        objection = objection_to(side, settings.name, settings.marker, remembered, seen, adopt)
        if objection is not None:
            guard = "changed" if objection.cause is Cause.CHANGED else "marker"
            yield f"{side}_{guard}", objection


def _remedy(task: str, config_file: str, guards: list[str]) -> str:
    """One command for all that object: whoever follows it is not refused by the next one."""
    words = f"{shlex.quote(task)} -c {shlex.quote(config_file)}"
    accepting = " ".join(f"--accept {guard}" for guard in guards)
    return (
        f"Look first: sync-runner plan {words}. If that is what you want: sync-runner run {words} {accepting}"
    )


def _source_emptied(guards: Guards, facts: GuardFacts) -> str | None:
    if guards.allow_empty_source or facts.incomplete or facts.source_entries > 0:
        return None
    if facts.destination_entries > 0:
        return (
            f"the source lists no entry at all, while the destination holds {facts.destination_entries:,}; "
            "is it mounted, and is it the right folder?"
        )
    if facts.past.listed_entries:
        return (
            f"the source lists no entry at all, while the last successful run listed "
            f"{facts.past.listed_entries:,}; is it mounted, and is it the right folder?"
        )
    return None


def _over(limit: Limit, count: int, of: int, size_bytes: int, verb: str) -> str | None:
    if limit.count is not None and count > limit.count:
        return f"the plan {verb} {count:,} entries; the guard allows {limit.count:,}"
    if (
        limit.percent is not None
        and count > limit.percent_from
        and of > 0
        and count * 100 > limit.percent * of
    ):
        return (
            f"the plan {verb} {count:,} of {of:,} entries at the destination ({count * 100 / of:.1f} %); "
            f"the guard allows {limit.percent:g} %"
        )
    if limit.size_bytes is not None and size_bytes > limit.size_bytes:
        return f"the plan {verb} {format_size(size_bytes)}; the guard allows {format_size(limit.size_bytes)}"
    return None


def _per_folder(limit: Limit, facts: GuardFacts) -> str | None:
    if limit == Limit() or facts.totals.to_delete + facts.totals.to_quarantine == 0:
        return None
    for folder in sorted(facts.deletions_by_folder):
        objection = _over(
            limit,
            facts.deletions_by_folder[folder],
            facts.destination_entries_by_folder.get(folder, 0),
            0,
            "deletes",
        )
        if objection is not None:
            return f"in {folder + '/' if folder else 'the root'}: {objection}"
    return None


def _filter_changed(task: Task, facts: GuardFacts) -> str | None:
    before = facts.past.filter_digest
    deletions = facts.totals.to_delete + facts.totals.to_quarantine
    if not task.guards.filter_change or before is None or before == task.filter_digest or deletions == 0:
        return None
    return (
        f"the filters changed since the last successful run and the plan deletes {deletions:,} entries; "
        "a changed filter changes what counts as missing"
    )


def _free_space(guards: Guards, facts: GuardFacts) -> str | None:
    space = facts.space
    if not guards.free_space or space is None:
        return None
    if space.free_bytes is not None and facts.bytes_needed > space.free_bytes:
        return (
            f"the plan needs {format_size(facts.bytes_needed)} at the destination, "
            f"which has {format_size(space.free_bytes)} free"
        )
    if space.free_entries is not None and facts.entries_needed > space.free_entries:
        return (
            f"the plan makes {facts.entries_needed:,} entries at the destination, "
            f"whose file system has room for {space.free_entries:,} (inodes)"
        )
    return None
