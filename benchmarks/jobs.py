"""The jobs, with the times of peers that are to be beaten."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from benchmarks.contest import (
    RUNNER,
    Contestant,
    Ground,
    Job,
    WrongResult,
    cold,
    runner_command,
    same_content,
)
from benchmarks.data import (
    LEVELS,
    change,
    grow,
    grow_big,
    grow_deep,
    grow_flat,
    grow_wide,
    place_of,
    stats_of,
)

SMALL, MANY, BIG_BYTES = 100_000, 1_000_000, 4 << 30
_CHAINS = 50
_MEMORY_BYTES, _MEMORY_GROWTH = 200e6, 1.3
_CHANGED_STEP = 100
_TASKS = 200


def jobs() -> list[Job]:
    """All, in the order of the table."""
    return [
        Job("first-copy", "First copy of 100,000 small files", _small, _copying, _nothing_there, same_content),
        Job(
            "first-copy-verified",
            "First copy of 100,000 small files, then everything verified",
            _small, _copying_verified, _nothing_there, same_content,
        ),
        Job("no-op", "Nothing to do: 1,000,000 files", _many, _idle, check=_untouched),
        Job(
            "one-percent", "1 % of 1,000,000 files changed", _many_changed, _changed,
            _changed_before, _changed_after,
        ),
        Job("checksum", "Everything compared by checksum", _small_and_big, _summing, check=_untouched),
        Job("big-file", "One file of 4 GiB, in memory", _big, _one_file, _nothing_there, same_content),
        Job(
            "big-file-disk", "One file of 4 GiB, on a disk", _big, _one_file,
            _nothing_there_cold, same_content, needs_disk=True,
        ),
        Job(
            "big-file-reflink", "One file of 1 and of 4 GiB, on a disk that shares blocks (XFS)", _big_shared,
            _sharing, _nothing_there_shared, _shared_content, _unmounted, beside_first=True, needs_disk=True,
            lacks=_no_file_system,
        ),
        Job("delete", "100,000 files to delete", _small, _deleting, _all_there, _gone),
        Job("flat", "First copy of one folder with 200,000 files", _flat, _shaped, _nothing_there, same_content),
        Job("wide", "First copy of 200,000 folders with a file each", _wide, _shaped, _nothing_there, same_content),
        Job("deep", "First copy of chains of 400 folders", _deep, _shaped, _nothing_there, same_content),
        Job("startup", "From nothing to an answer", _little, _starting, beside_first=True),
        Job("memory-100k", "Memory at 100,000 files", _small, _weighed, _nothing_there, _untouched, measures="bytes"),
        Job(
            "memory-1m", "Memory at 1,000,000 files", _many_new, _weighed, _nothing_there, _untouched,
            measures="bytes", grows_from=("memory-100k", _MEMORY_GROWTH),
        ),
        Job(
            "memory-100k-no-op", "Memory at 100,000 files, nothing to do", _small_twice, _weighed,
            check=_untouched, measures="bytes",
        ),
        Job(
            "memory-1m-no-op", "Memory at 1,000,000 files, nothing to do", _many, _weighed,
            check=_untouched, measures="bytes", grows_from=("memory-100k-no-op", _MEMORY_GROWTH),
        ),
    ]  # fmt: skip


# -- data --------------------------------------------------------------------------------------------------------


def _configure(ground: Ground) -> None:
    """sync.yaml of all tasks (JSON is YAML)."""
    locations = {name: {"type": "local", "path": f"./{name}"} for name in ("src", "dst", "nothing")}
    ends = {"source": "src", "destination": "dst", "reports": ["json"]}
    unverified = {"verify_mode": "none"}
    tasks = {
        "plain": {**ends, "options": unverified},
        "verified": {**ends, "options": {"verify_mode": "only_files_transferred"}},
        "checksum": {**ends, "options": {**unverified, "compare": "checksum"}},
        "delete": {
            **ends,
            "source": "nothing",
            "options": {**unverified, "preserve_deleted_files": "remove"},
            "guards": {"max_deletions": "unlimited", "allow_empty_source": True},
        },
    }
    document = {"version": 1, "locations": locations, "tasks": tasks}
    (ground.folder / "sync.yaml").write_text(json.dumps(document))
    (ground.folder / "nothing").mkdir()


def _small(ground: Ground) -> str:
    _configure(ground)
    files = ground.sized(SMALL)
    size = grow(ground.source, files, 1)
    return f"{files:,} files of {size / files / 1000:.1f} KB on average, 100 a folder"


def _small_twice(ground: Ground) -> str:
    what = _small(ground)
    _twin(ground)
    return what


def _many_new(ground: Ground) -> str:
    _configure(ground)
    files = ground.sized(MANY)
    grow(ground.source, files, 2, tiny=True)
    return f"{files:,} files, every second of 64 bytes and the others empty, 100 a folder"


def _many(ground: Ground) -> str:
    what = _many_new(ground)
    _twin(ground)
    return what


def _many_changed(ground: Ground) -> str:
    what = _many(ground)
    change(ground.source, ground.sized(MANY), _CHANGED_STEP, 1)
    return f"{what}; every hundredth has another content and time"


def _small_and_big(ground: Ground) -> str:
    what = _small(ground)
    size = ground.sized(BIG_BYTES)
    grow_big(ground.source / "big", size, 3)
    _twin(ground)
    return f"{what}, and one of {size / (1 << 30):.2f} GiB"


def _big(ground: Ground) -> str:
    _configure(ground)
    size = ground.sized(BIG_BYTES)
    grow_big(ground.source / "big", size, 3)
    return f"{size / (1 << 30):.2f} GiB"


def _big_shared(ground: Ground) -> str:
    """A file system of its own in a file, with reflink."""
    image, mount = ground.folder / "image", ground.folder / "disk"
    size = ground.sized(BIG_BYTES)
    with image.open("wb") as stream:
        stream.truncate(max(3 * size, 512 << 20))
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(image)], check=True, timeout=60)
    mount.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(mount)], check=True, timeout=60)
    _configure(ground)
    tasks: dict[str, object] = {}
    locations: dict[str, object] = {}
    for name, part in (("quarter", size // 4), ("whole", size)):
        grow_big(mount / name / "big", part, 3)
        locations |= {end: {"type": "local", "path": f"./disk/{end}"} for end in (name, f"{name}-copy")}
        tasks[name] = {
            "source": name, "destination": f"{name}-copy", "reports": ["json"], "options": {"verify_mode": "none"},
        }  # fmt: skip
    document = {"version": 1, "locations": locations, "tasks": tasks}
    (ground.folder / "sync.yaml").write_text(json.dumps(document))
    return f"{size / (4 << 30):.2f} and {size / (1 << 30):.2f} GiB"


def _no_file_system() -> str | None:
    if os.geteuid() != 0:
        return "only root may mount a file system that shares blocks"
    return None if shutil.which("mkfs.xfs") else "mkfs.xfs is not installed"


def _shared_content(ground: Ground, contestant: Contestant) -> None:
    name = "quarter" if "1 GiB" in contestant.name else "whole"
    wanted, found = (ground.folder / "disk" / end / "big" for end in (name, f"{name}-copy"))
    if not found.is_file() or not filecmp.cmp(wanted, found, shallow=False):
        raise WrongResult(f"{contestant.name}: {found.name} is not what the source holds")
    _alike(contestant, wanted.parent, found.parent)


def _unmounted(ground: Ground) -> None:
    if os.path.ismount(ground.folder / "disk"):
        subprocess.run(["umount", str(ground.folder / "disk")], check=True, timeout=60)


def _nothing_there_shared(ground: Ground) -> None:
    for name in ("disk/quarter-copy", "disk/whole-copy", ".sync-runner"):
        shutil.rmtree(ground.folder / name, ignore_errors=True)
    os.sync()


def _sharing(ground: Ground) -> list[Contestant]:
    """The runner takes as long for the whole as for the quarter: nothing is read."""
    return [
        Contestant("sync-runner, 1 GiB", runner_command("run", "quarter", "-q")),
        Contestant("sync-runner, 4 GiB", runner_command("run", "whole", "-q"), 1.3),
        Contestant("cp -a, 1 GiB", ("cp", "-a", "-T", "disk/quarter", "disk/quarter-copy")),
        Contestant("cp -a, 4 GiB", ("cp", "-a", "-T", "disk/whole", "disk/whole-copy")),
    ]


def _flat(ground: Ground) -> str:
    _configure(ground)
    files = ground.sized(2 * SMALL)
    grow_flat(ground.source, files)
    return f"{files:,} files of 64 bytes in one folder"


def _wide(ground: Ground) -> str:
    _configure(ground)
    folders = ground.sized(2 * SMALL)
    grow_wide(ground.source, folders)
    return f"{folders:,} folders with a file of 64 bytes"


def _deep(ground: Ground) -> str:
    _configure(ground)
    chains = ground.sized(_CHAINS)
    grow_deep(ground.source, chains)
    return f"{chains} chains of {LEVELS} folders, a file of 64 bytes in each folder"


def _little(ground: Ground) -> str:
    files = ground.sized(1_000)
    _configure(ground)
    grow(ground.source, files, 4)
    subprocess.run(runner_command("run", "plain", "-q"), cwd=ground.folder, check=True, timeout=300)
    tasks = {
        f"task-{number:03d}": {
            "source": "src",
            "destination": "dst",
            "schedule": {"cron": "0 3 * * *"},
            "filters": {"exclude": ["*.tmp", f"/x{number}/"]},
        }
        for number in range(_TASKS)
    }
    locations = {name: {"type": "local", "path": f"./{name}"} for name in ("src", "dst")}
    document = {"version": 1, "locations": locations, "tasks": tasks}
    (ground.folder / "tasks.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return f"a file of {_TASKS} tasks; a tree of {files:,} files in sync"


# -- who takes part ----------------------------------------------------------------------------------------------


def _peers(**wanted: Contestant) -> list[Contestant]:
    return [one for program, one in wanted.items() if shutil.which(program)]


def _copying(ground: Ground) -> list[Contestant]:
    here = str(ground.folder)
    jobs_folder = ground.folder / "fpsync"
    return [
        Contestant(RUNNER, runner_command("run", "plain", "-q")),
        *_peers(
            rsync=Contestant("rsync -a", ("rsync", "-a", "src/", "dst/"), 0.42),
            rclone=Contestant("rclone sync", ("rclone", "sync", "src", "dst"), 0.30, exact=False),
            cp=Contestant("cp -a", ("cp", "-a", "-T", "src", "dst"), 0.80),
            fpsync=Contestant(
                "fpsync",
                ("fpsync", "-n", "2", "-f", "2000", "-t", str(jobs_folder), f"{here}/src/", f"{here}/dst/"),
                exact=False,
            ),
        ),
    ]


def _copying_verified(ground: Ground) -> list[Contestant]:
    return [
        Contestant(RUNNER, runner_command("run", "verified", "-q")),
        *_peers(rsync=Contestant("rsync -a", ("rsync", "-a", "src/", "dst/"), 0.55)),
    ]


def _idle(ground: Ground) -> list[Contestant]:
    return [
        Contestant(RUNNER, runner_command("run", "plain", "-q")),
        *_peers(
            rsync=Contestant("rsync -a", ("rsync", "-a", "src/", "dst/"), 0.75),
            rclone=Contestant("rclone sync", ("rclone", "sync", "src", "dst"), 0.40, exact=False),
        ),
    ]


def _changed(ground: Ground) -> list[Contestant]:
    return [
        Contestant(RUNNER, runner_command("run", "plain", "-q")),
        *_peers(rsync=Contestant("rsync -a", ("rsync", "-a", "src/", "dst/"), 0.80)),
    ]


def _summing(ground: Ground) -> list[Contestant]:
    return [
        Contestant(RUNNER, runner_command("run", "checksum", "-q")),
        *_peers(
            rsync=Contestant("rsync -nac", ("rsync", "-nac", "src/", "dst/"), 0.60),
            rclone=Contestant("rclone check", ("rclone", "check", "-q", "src", "dst"), 0.50, exact=False),
        ),
    ]


def _one_file(ground: Ground) -> list[Contestant]:
    return [
        Contestant(RUNNER, runner_command("run", "plain", "-q")),
        *_peers(
            cp=Contestant("cp -a", ("cp", "-a", "-T", "src", "dst"), 1.10),
            rsync=Contestant("rsync -a", ("rsync", "-a", "src/", "dst/")),
        ),
    ]


def _deleting(ground: Ground) -> list[Contestant]:
    return [
        Contestant(RUNNER, runner_command("run", "delete", "-q")),
        *_peers(rsync=Contestant("rsync -a --delete", ("rsync", "-a", "--delete", "nothing/", "dst/"), 0.60)),
    ]


def _shaped(ground: Ground) -> list[Contestant]:
    return [
        Contestant(RUNNER, runner_command("run", "plain", "-q")),
        *_peers(rsync=Contestant("rsync -a", ("rsync", "-a", "src/", "dst/"))),
    ]


def _starting(ground: Ground) -> list[Contestant]:
    """Here the runner is many: each is held against the interpreter alone."""
    return [
        Contestant("python -c pass", (sys.executable, "-c", "pass")),
        Contestant("sync-runner --version", runner_command("--version"), 2.0),
        Contestant("sync-runner validate", runner_command("validate", "-c", "tasks.yaml", "-q"), 8.0),
        Contestant("sync-runner plan", runner_command("plan", "plain", "-q"), 5.0),
    ]


def _weighed(ground: Ground) -> list[Contestant]:
    return [Contestant(RUNNER, runner_command("run", "plain", "-q"), _MEMORY_BYTES)]


# -- before and after --------------------------------------------------------------------------------------------


def _nothing_there(ground: Ground) -> None:
    for name in ("dst", ".sync-runner", "fpsync"):
        shutil.rmtree(ground.folder / name, ignore_errors=True)


def _nothing_there_cold(ground: Ground) -> None:
    _nothing_there(ground)
    cold(ground.folder)


def _all_there(ground: Ground) -> None:
    _nothing_there(ground)
    _twin(ground)


def _gone(ground: Ground, contestant: Contestant) -> None:
    left = os.listdir(ground.destination)
    if left:
        raise WrongResult(f"{contestant.name}: {left[:3]} are still there")


def _changed_before(ground: Ground) -> None:
    """The destination as it was: only what changed is put back."""
    change(ground.destination, ground.sized(MANY), _CHANGED_STEP, 0)


def _changed_after(ground: Ground, contestant: Contestant) -> None:
    _untouched(ground, contestant)
    for number in range(0, ground.sized(MANY), _CHANGED_STEP * 50):
        place = place_of(number)
        if (ground.source / place).read_bytes() != (ground.destination / place).read_bytes():
            raise WrongResult(f"{contestant.name}: {place} is not what the source holds")


def _untouched(ground: Ground, contestant: Contestant) -> None:
    _alike(contestant, ground.source, ground.destination)


def _alike(contestant: Contestant, source: Path, destination: Path) -> None:
    if not destination.is_dir() or stats_of(source) != stats_of(destination):
        raise WrongResult(f"{contestant.name}: the destination is not the source")


def _twin(ground: Ground) -> None:
    subprocess.run(["cp", "-a", "-T", str(ground.source), str(ground.destination)], check=True, timeout=900)
