"""The independent judge: what a run left, held against what may be there. No code of the product decides here."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from runner.testing.manifest import Row, manifest

Rows = Mapping[bytes, Row]

QUARANTINE = b".sync-runner-quarantine"
_TEMPORARY = re.compile(rb"\.sync-runner-[0-9a-f]{12}-[0-9a-z]+\.part")
_STATE_LEFTOVER = re.compile(r"\.part$|^\.(past|standing|control|sync-runner-plan|report)[.-]")


def rows_of(folder: Path, *, folder_times: bool = True) -> dict[bytes, Row]:
    """The rows of a tree; none when it is not there."""
    return manifest(str(folder), folder_times=folder_times) if folder.exists() else {}


def content_rows(rows: Rows) -> dict[bytes, Row]:
    """Without quarantine and without temporary files of ours."""
    return {
        path: row
        for path, row in rows.items()
        if path.split(b"/", 1)[0] != QUARANTINE and not is_temporary(path)
    }


def is_temporary(path: bytes) -> bool:
    return _TEMPORARY.fullmatch(path.rsplit(b"/", 1)[-1]) is not None


def temporaries(rows: Rows) -> list[bytes]:
    """Temporary files of ours in a destination."""
    return [path for path in rows if is_temporary(path)]


def state_leftovers(state: Path) -> list[str]:
    """Temporary files in a state folder."""
    return [
        os.path.join(folder, name)
        for folder, _, names in os.walk(state)
        for name in names
        if _STATE_LEFTOVER.search(name)
    ]


def same_thing(left: Row | None, right: Row | None) -> bool:
    """Equal in kind and content; metadata and, of folders, everything else left aside."""
    if left is None or right is None:
        return left is right
    return (left.kind, left.size, left.sha256, left.link_target, left.device) == (
        right.kind,
        right.size,
        right.sha256,
        right.link_target,
        right.device,
    )


def torn(present: Rows, old: Rows, new: Rows) -> list[str]:
    """Paths that hold neither what they held before nor what they are to hold, both whole (invariant I1)."""
    content = content_rows(present)
    faults = []
    for path in sorted({*content, *old, *new} - {b""}):
        there, was, wanted = content.get(path), old.get(path), new.get(path)
        if same_thing(there, was) or same_thing(there, wanted):
            continue
        if there is None and was is not None and was.kind == "d" and wanted is not None:
            # What is in a folder goes entry by entry, then the folder, before something else takes its place:
            # docs/promises.md says so.
            continue
        faults.append(f"{path!r}: {_shown(there)}, neither {_shown(was)} nor {_shown(wanted)}")
    return faults


def lost(present: Rows, old: Rows, new: Rows) -> list[str]:
    """Files that were at the destination only, and are neither there nor in quarantine any more."""
    kept = {(row.size, row.sha256) for path, row in present.items() if row.kind == "-"}
    return [
        f"{path!r} is neither at its place nor in quarantine"
        for path, row in old.items()
        if row.kind == "-" and path not in new and (row.size, row.sha256) not in kept
    ]


def unequal(left: Rows, right: Rows) -> list[str]:
    """What differs between two trees, in anything."""
    return [
        f"{path!r}: {_shown(left.get(path))} is not {_shown(right.get(path))}"
        for path in sorted({*left, *right})
        if left.get(path) != right.get(path)
    ]


def _shown(row: Row | None) -> str:
    if row is None:
        return "nothing"
    digest = f" {row.sha256[:8]}" if row.sha256 else ""
    target = f" -> {row.link_target!r}" if row.link_target else ""
    return (
        f"{row.kind}{row.mode:04o} {row.uid}:{row.gid} {row.size} B{digest}{target} mtime {row.mtime_ns}"
        f" xattrs {row.xattrs} link {row.hard_link_of!r}"
    )
