"""Several files, one document; and files that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from config_cases import HEAD, Diagnose, Load

from runner.config.build import load_configuration
from runner.errors import ExitCode, UsageError
from runner.locations.registry import Registry


def test_parts_come_from_other_files_and_keep_their_folder(load: Load, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.yaml").write_text("locations: {c: {type: folder, path: ./c}}\nvars: {x: from-c}\n")
    configuration = load(
        "version: 1\ninclude: more.yaml\n"
        "tasks:\n  t: {source: a, destination: c, description: '{{ vars.x }}'}\n",
        more="include: [sub/c.yaml]\nversion: 1\ndefaults: {options: {sparse: false}}\n"
        "locations: {a: {type: folder, path: ./a}}\n",
    )
    task = configuration.tasks["t"]
    assert (task.source.base_directory, task.destination.base_directory) == (
        str(tmp_path),
        str(tmp_path / "sub"),
    )
    assert (task.description, task.options.sparse) == ("from-c", False)


@pytest.mark.parametrize(
    ("description", "main", "other", "expected"),
    [
        ("location twice", "locations: {a: {type: folder, path: x}}",
         "locations: {a: {type: folder, path: y}}",
         "other.yaml:1:13: locations.a is given twice; first in sync.yaml:3:13"),
        ("deep default twice", "defaults: {options: {workers: 1}}", "defaults: {options: {workers: 2}}",
         "other.yaml:1:22: defaults.options.workers is given twice; first in sync.yaml:3:22"),
        ("another version", "", "version: 2",
         "other.yaml:1:1: version is given twice; first in sync.yaml:1:1"),
    ],
)  # fmt: skip
def test_what_is_given_twice_names_both_places(
    diagnose: Diagnose, tmp_path: Path, description: str, main: str, other: str, expected: str
) -> None:
    found = diagnose(f"version: 1\ninclude: [other.yaml]\n{main}\n", other=other)
    lines = [d.render().splitlines()[0].replace(f"{tmp_path}/", "") for d in found]
    assert lines == [expected]


@pytest.mark.parametrize(
    ("description", "include", "expected"),
    [
        ("itself", "sync.yaml", "2:11 'sync.yaml' includes itself"),
        ("missing", "gone.yaml", "2:11 'gone.yaml' cannot be read: No such file or directory"),
        ("folder", ".", "2:11 '.' cannot be read: is a folder, not a file"),
        ("pipe", "pipe", "2:11 'pipe' cannot be read: is not a regular file"),
        ("template", "'{{ env.X }}'", "2:11 a template cannot choose what is included"),
        ("number", "3", "2:11 3 is not a file's name"),
    ],
)
def test_includes_that_cannot_be(
    diagnose: Diagnose, tmp_path: Path, description: str, include: str, expected: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    found = diagnose(f"version: 1\ninclude: [{include}]\n")
    assert [f"{d.line}:{d.column} {d.message}" for d in found] == [expected]


def test_a_circle_is_named(diagnose: Diagnose) -> None:
    (found,) = diagnose(
        "version: 1\ninclude: one.yaml\n", one="include: two.yaml\n", two="include: one.yaml\n"
    )
    assert found.file.endswith("/two.yaml")
    assert found.suggestion == "the circle: one.yaml -> two.yaml -> one.yaml"


def test_depth_is_capped(diagnose: Diagnose) -> None:
    files = {f"f{i}": f"include: f{i + 1}.yaml\n" for i in range(12)}
    (found,) = diagnose("version: 1\ninclude: f0.yaml\n", **files, f12="version: 1\n")
    assert found.message == "includes are nested more than 10 levels deep"


def test_faults_come_in_file_order_from_all_files(diagnose: Diagnose) -> None:
    found = diagnose(
        f"{HEAD}include: other.yaml\nnope: 1\n", other="tasks:\n  t: {source: a, destination: c}\n  u: []\n"
    )
    assert [(Path(d.file).name, d.line) for d in found] == [
        ("sync.yaml", 6),
        ("other.yaml", 2),
        ("other.yaml", 3),
    ]


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "nul"])
def test_a_main_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "sync.yaml"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    name = "a\0b" if kind == "nul" else str(path)
    with pytest.raises(UsageError) as caught:
        load_configuration(name, Registry(), {})
    assert caught.value.exit_code == ExitCode.USAGE
    assert name in caught.value.message
    assert "sync-runner init" in str(caught.value.remedy)


def test_json_is_yaml(load: Load) -> None:
    text = '{"version": 1, "locations": {"a": {"type": "folder", "path": "a\\u00e9"}}}'
    assert load(text).locations["a"].options == {"path": "aé"}
