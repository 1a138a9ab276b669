"""Every example loads, says what it is for, and runs; the first job is small and real."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from docs_support import ROOT, run_shell, scratch_clone

from runner.config.build import load_configuration
from runner.locations.registry import Registry

EXAMPLES = ["sync.yaml", *sorted(f"examples/{path.name}" for path in (ROOT / "examples").glob("*.yaml"))]


def tree(folder: Path) -> dict[str, bytes | str | None]:
    """What stands below a folder: content of files, targets of links, None for folders."""
    found: dict[str, bytes | str | None] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = str(path.readlink())
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


def test_the_examples_are_known() -> None:
    assert EXAMPLES == [
        "sync.yaml",
        "examples/filters.yaml",
        "examples/full.yaml",
        "examples/guards.yaml",
        "examples/hooks.yaml",
        "examples/migrate-from-datasync.yaml",
        "examples/minimal.yaml",
        "examples/notifications.yaml",
        "examples/unattended.yaml",
    ]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_says_how_to_run_it(name: str) -> None:
    head = (ROOT / name).read_text("utf-8").partition("\nversion: 1\n")[0].splitlines()
    assert all(line.startswith("#") or not line for line in head)
    schema = "schemas" if name == "sync.yaml" else "../schemas"
    assert head[0] == f"# yaml-language-server: $schema={schema}/sync.schema.json"
    assert any("sync-runner run" in line or "sync-runner plan" in line for line in head)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_loads_and_stays_inside_the_clone(name: str) -> None:
    configuration = load_configuration(str(ROOT / name), Registry(), {})
    for location in configuration.locations.values():
        path = (Path(location.base_directory) / location.options["path"]).resolve()
        below = path.relative_to(ROOT)
        assert below.parts[0] in ("examples", "examples-output")


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_twice_and_the_second_run_has_nothing_to_do(name: str, tmp_path: Path) -> None:
    clone = scratch_clone(tmp_path)
    first = run_shell(f"sync-runner run --json -c {name}", clone)
    assert (first.returncode, first.stderr) == (0, "")
    second = run_shell(f"sync-runner run --json -c {name}", clone)
    assert (second.returncode, second.stderr) == (0, "")
    reports = [json.loads(line) for line in second.stdout.splitlines()]
    assert len(reports) == len(load_configuration(str(ROOT / name), Registry(), {}).tasks)
    assert [report["counters"]["actions_planned"] for report in reports] == [0] * len(reports)


def test_the_first_job_copies_everything_but_what_it_names(tmp_path: Path) -> None:
    clone = scratch_clone(tmp_path)
    assert run_shell("sync-runner run", clone).returncode == 0
    source, copy = tree(clone / "examples" / "photos"), tree(clone / "examples-output" / "photos")
    left_out = {
        ".cache",
        ".cache/thumbnails.db",
        "2025/incoming/.gitkeep",
        "2025/lake/sunset.png.part",
    }
    assert source.keys() - copy.keys() == left_out
    assert copy == {name: content for name, content in source.items() if name not in left_out}
    assert copy["2025/incoming"] is None
    assert copy["favourites/lake"] == "../2025/lake"


def test_the_guards_example_refuses_as_its_comment_says(tmp_path: Path) -> None:
    clone = scratch_clone(tmp_path)
    assert run_shell("sync-runner run -c examples/guards.yaml", clone).returncode == 0
    before = tree(clone / "examples-output" / "guards")
    (clone / "examples" / "documents" / "invoices").rename(clone / "invoices")
    refused = run_shell("sync-runner run --json -c examples/guards.yaml", clone)
    assert refused.returncode == 6
    guards = [verdict["guard"] for verdict in json.loads(refused.stdout)["guards"]]
    assert guards == ["max_deletions", "max_deletions_per_folder"]
    assert tree(clone / "examples-output" / "guards") == before


def test_the_examples_are_small() -> None:
    files = [path for path in (ROOT / "examples").rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) >= 36
    assert sum(path.stat().st_size for path in files) < 300_000


def test_the_picture_in_the_readme_is_small() -> None:
    picture = ROOT / "docs" / "images" / "report.png"
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert picture.stat().st_size < 200_000
