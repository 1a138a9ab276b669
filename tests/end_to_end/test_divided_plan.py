"""A plan made side by side is the plan that one walk makes, byte for byte."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from runner.clock import SystemClock
from runner.config.build import load_configuration
from runner.execution.circumstances import circumstances, read_selection
from runner.execution.context import Context
from runner.execution.crew import Crew
from runner.locations.pair import Endpoints
from runner.locations.registry import Registry
from runner.pipeline import run_task
from runner.plan import divide
from runner.plan.file import PlanWriter, write_plan_file
from runner.plan.prepare import prepare

CONFIGURATION = """
version: 1
locations:
  src: {{type: local, path: ./src}}
  dst: {{type: local, path: ./dst}}
tasks:
  t:
    source: src
    destination: dst
    options: {options}
    filters: {filters}
"""


@pytest.fixture(autouse=True)
def divide_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(divide, "DIVIDE_AFTER_ENTRIES", 10)


def grow(root: Path, seed: int) -> None:
    """A tree of about 400 entries in 60 folders, with names that stand close together."""
    dice = random.Random(seed)
    names = ["a", "a!", "a-b", "a.txt", "b", "caf\u00e9", "e", "z\udcff"]
    folders = [root]
    root.mkdir()
    for _ in range(60):
        folder = dice.choice(folders) / dice.choice(names)
        if not folder.exists():
            folder.mkdir()
            folders.append(folder)
    for folder in folders:
        for number in range(dice.randrange(12)):
            (folder / f"f{number}").write_bytes(b"x" * dice.randrange(50))
            os.utime(folder / f"f{number}", ns=(0, dice.randrange(5) * 10**9))
        os.utime(folder, ns=(0, 10**9))


def drift(source: Path, destination: Path, seed: int) -> None:
    """The destination is the source, with changes, extras and missing folders."""
    dice = random.Random(seed)
    shutil.copytree(source, destination, symlinks=True)
    for folder, folders, files in os.walk(destination):
        for name in files:
            chance = dice.random()
            if chance < 0.1:
                os.unlink(os.path.join(folder, name))
            elif chance < 0.2:
                Path(folder, name).write_bytes(b"changed")
            elif chance < 0.25:
                os.chmod(os.path.join(folder, name), 0o600)
            elif chance < 0.3:
                os.utime(os.path.join(folder, name), ns=(0, 1))
            elif chance < 0.35:
                with contextlib.suppress(OSError):  # a file system without extended attributes
                    os.setxattr(os.path.join(folder, name), "user.k", b"v")
            elif chance < 0.38 and os.geteuid() == 0:
                os.chown(os.path.join(folder, name), 1, 1)
            elif chance < 0.4:
                os.unlink(os.path.join(folder, name))
                os.symlink("f0", os.path.join(folder, name))
            elif chance < 0.5:
                # Only who reads it finds out.
                path = Path(folder, name)
                facts = path.stat()
                path.write_bytes(b"y" * facts.st_size)
                os.utime(path, ns=(0, facts.st_mtime_ns))
        if dice.random() < 0.3:
            Path(folder, "extra").write_bytes(b"extra")
        for name in list(folders):
            if dice.random() < 0.1:
                shutil.rmtree(os.path.join(folder, name))
                folders.remove(name)


def plans(folder: Path, **task: Any) -> Iterator[bytes]:
    """The plan file by one walk that compares every file, by one walk that settles equal ones (where the compiled module
    was built), then divided; each with what is shown of it."""
    text = CONFIGURATION.format(options=task.get("options", "{}"), filters=task.get("filters", "{}"))
    (folder / "sync.yaml").write_text(text)
    registry = Registry()
    configuration = load_configuration(str(folder / "sync.yaml"), registry, {})
    context = Context(configuration, registry, SystemClock())
    one = configuration.tasks["t"]
    for compares_all, side_by_side in ((True, False), (False, False), (False, True)):
        with (
            patch("runner_plugins.local.location.native", None) if compares_all else nullcontext(),
            patch("runner_plugins.local.scan.native", None) if compares_all else nullcontext(),
            Endpoints(one, registry, "0" * 12) as endpoints,
            closing(PlanWriter()) as writer,
            closing(Crew(one, context, endpoints, "0" * 12, refresh=False)) as crew,
        ):
            selection = read_selection(one, context, crew.now_ns)
            asked: list[int] = []

            def pool(crew: Crew = crew, asked: list[int] = asked) -> divide.Workers:
                asked.append(1)
                workers = crew.pool()
                # A real walk goes on until they are there; here they have to be.
                workers.ready(wait=True)
                return workers

            prepared = prepare(
                one,
                endpoints,
                selection,
                circumstances(one, context),
                writer,
                workers=pool if side_by_side else None,
            )
            assert bool(asked) is side_by_side
            write_plan_file(str(folder / "p.jsonl"), writer, prepared.header, prepared.trailer)
            yield (folder / "p.jsonl").read_bytes()
            yield repr((prepared.first, prepared.largest)).encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "task",
    [
        {},
        {"options": "{preserve_deleted_files: remove}"},
        {"options": "{compare: checksum}"},
        {"options": "{preserve_deleted_files: remove, compare: checksum}", "filters": '{exclude: ["*/e"]}'},
        {"options": "{overwrite_mode: if_newer}", "filters": '{rules: ["f3", "!a/f3"], min_size: 3B}'},
    ],
)
def test_divided_plans_equal_plans_of_one_walk(tmp_path: Path, seed: int, task: dict[str, str]) -> None:
    grow(tmp_path / "src", seed)
    if seed % 3:
        drift(tmp_path / "src", tmp_path / "dst", seed)
    one_walk, one_shown, settled, settled_shown, divided, divided_shown = plans(tmp_path, **task)
    assert divided == settled == one_walk
    assert divided_shown == settled_shown == one_shown


@pytest.mark.parametrize("trouble", ["hard link", "kind", "leftover"])
def test_what_concerns_several_folders_is_decided_in_one_walk(tmp_path: Path, trouble: str) -> None:
    grow(tmp_path / "src", 1)
    drift(tmp_path / "src", tmp_path / "dst", 1)
    (tmp_path / "src" / "zz").mkdir()
    (tmp_path / "src" / "zz" / "last").write_bytes(b"1")
    if trouble == "hard link":
        os.link(tmp_path / "src" / "zz" / "last", tmp_path / "src" / "first")
    elif trouble == "kind":
        (tmp_path / "dst" / "zz").write_bytes(b"no folder")
    else:
        (tmp_path / "dst" / "zz").mkdir()
        (tmp_path / "dst" / "zz" / ".sync-runner-0123456789ab-1.part").write_bytes(b"")
    one_walk, _, settled, _, divided, _ = plans(tmp_path, options="{preserve_deleted_files: remove}")
    assert divided == settled == one_walk


@pytest.mark.parametrize("delete_excluded", [False, True])
def test_folders_that_no_task_touches_stay_with_all_that_is_in_them(
    tmp_path: Path, delete_excluded: bool
) -> None:
    (tmp_path / "src" / "a").mkdir(parents=True)
    for folder in (".snapshot/hourly", "a/.snapshot", "gone"):
        (tmp_path / "dst" / folder).mkdir(parents=True)
        (tmp_path / "dst" / folder / "x").write_bytes(b"kept")
    (tmp_path / "sync.yaml").write_text(
        CONFIGURATION.format(
            options="{preserve_deleted_files: remove}",
            filters="{delete_excluded: true}" if delete_excluded else "{}",
        )
        + "    guards: {max_deletions: unlimited}\n"
    )
    registry = Registry()
    configuration = load_configuration(str(tmp_path / "sync.yaml"), registry, {})
    report = run_task(configuration.tasks["t"], Context(configuration, registry, SystemClock()))
    assert report.execution.exit_code == 0, report.problems
    kept = {str(path.relative_to(tmp_path / "dst")) for path in (tmp_path / "dst").rglob("x")}
    assert kept == {".snapshot/hourly/x", "a/.snapshot/x"}
