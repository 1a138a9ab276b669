"""Installed packages' entry points, read directly: the same answer as importlib.metadata's, without its imports."""

from __future__ import annotations

import sys
import zipfile
from importlib.metadata import PathDistribution, distributions, entry_points
from pathlib import Path

import msgspec
import pytest

from runner.locations.discovery import declared, load
from runner.locations.registry import GROUP, Registry
from runner.testing.memory import memory_driver

PLAIN = "[runner.locations]\none = one.driver:DRIVER\n"


def installed(place: Path, name: str, content: str | None) -> Path:
    """A package's metadata in `place`, as an installer leaves it."""
    folder = place / name
    folder.mkdir(parents=True)
    package = name.partition("-")[0]
    for file in ("METADATA", "PKG-INFO"):
        (folder / file).write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    if content is not None:
        (folder / "entry_points.txt").write_text(content, encoding="utf-8")
    return place


def as_importlib_says(paths: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    seen = set()
    for package in distributions(path=paths):
        if package._normalized_name not in seen:
            seen.add(package._normalized_name)
            found.update((one.name, one.value) for one in package.entry_points if one.group == GROUP)
    return found


CONTENTS = [
    ("one", PLAIN, {"one": "one.driver:DRIVER"}),
    ("no entry points at all", None, {}),
    ("other groups only", "[console_scripts]\nrunner.locations = a:main\n", {}),
    ("a group whose name begins alike", "[runner.locations.more]\na = b:C\n", {}),
    (
        "several groups, comments, blank lines and spaces",
        "[a]\nx = y:z\n\n[runner.locations]\n# the first\n  one=one:DRIVER  \n\ntwo = a.b : C\n[b]\nx = y:z\n",
        {"one": "one:DRIVER", "two": "a.b : C"},
    ),
    ("an extra", "[runner.locations]\none = one:DRIVER [smb]\n", {"one": "one:DRIVER [smb]"}),
    ("a name twice", "[runner.locations]\none = a:B\none = c:D\n", {"one": "c:D"}),
    (
        "the group twice",
        "[runner.locations]\na = a:A\n[x]\nb = b:B\n[runner.locations]\nc = c:C\n",
        {"a": "a:A", "c": "c:C"},
    ),
    ("lines that end as on Windows", "[runner.locations]\r\none = one:DRIVER\r\n", {"one": "one:DRIVER"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "expected"), [case[1:] for case in CONTENTS], ids=[case[0] for case in CONTENTS]
)
@pytest.mark.parametrize("ending", ["dist-info", "egg-info"])
def test_what_a_package_declares(tmp_path, content, expected, ending):
    installed(tmp_path, f"stranger-1.0.{ending}", content)

    assert declared(GROUP, [str(tmp_path)]) == expected == as_importlib_says([str(tmp_path)])


@pytest.mark.parametrize("second", ["stranger-2.0", "Stranger-2.0", "stranger"])
def test_a_package_that_is_found_twice_counts_where_it_is_found_first(tmp_path, second):
    first, other = tmp_path / "first", tmp_path / "other"
    installed(first, "stranger-1.0.dist-info", PLAIN)
    installed(other, f"{second}.dist-info", "[runner.locations]\nolder = a:B\n")
    paths = [str(first), str(other)]

    assert declared(GROUP, paths) == {"one": "one.driver:DRIVER"} == as_importlib_says(paths)


def test_names_are_compared_as_pep_503_says(tmp_path):
    first, other = tmp_path / "first", tmp_path / "other"
    installed(first, "my_._driver-1.0.dist-info", PLAIN)
    installed(other, "my_driver-1.0.dist-info", "[runner.locations]\nolder = a:B\n")

    assert declared(GROUP, [str(first), str(other)]) == {"one": "one.driver:DRIVER"}


def test_places_that_are_not_there_and_broken_packages_are_passed_over(tmp_path):
    installed(tmp_path, "stranger-1.0.dist-info", PLAIN)
    (tmp_path / "old-1.0.egg-info").write_text("Metadata-Version: 1.0\nName: old\nVersion: 1.0\n")
    (tmp_path / "odd-1.0.dist-info" / "entry_points.txt").mkdir(parents=True)
    paths = [str(tmp_path / "nowhere"), str(tmp_path)]

    assert declared(GROUP, paths) == {"one": "one.driver:DRIVER"} == as_importlib_says(paths)


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("order", [("first", "other"), ("other", "first")])
def test_no_package_poses_as_a_driver_of_ours(tmp_path, order, archived):
    """Wherever Python finds it, and whichever way packages are read."""
    installed(tmp_path / "first", "sync_runner-1.0.dist-info", "[runner.locations]\nlocal = ours:DRIVER\n")
    installed(
        tmp_path / "other",
        "a_stranger-1.0.dist-info",
        "[runner.locations]\nlocal = theirs:A\nown = theirs:A\n",
    )
    installed(
        tmp_path / "other",
        "z_stranger-1.0.dist-info",
        "[runner.locations]\nlocal = theirs:Z\nown = theirs:Z\n",
    )
    paths = [str(tmp_path / one) for one in order]
    if archived:
        with zipfile.ZipFile(tmp_path / "empty.zip", "w") as stream:
            stream.writestr("nothing", "")
        paths.append(str(tmp_path / "empty.zip"))

    assert declared(GROUP, paths) == {"local": "ours:DRIVER", "own": "theirs:Z"}


def test_packages_in_an_archive_are_found(tmp_path):
    archive = tmp_path / "packages.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr(
            "stranger-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n"
        )
        stream.writestr("stranger-1.0.dist-info/entry_points.txt", PLAIN)

    assert declared(GROUP, [str(archive)]) == {"one": "one.driver:DRIVER"}


def test_packages_in_an_egg_are_found(tmp_path):
    installed(tmp_path / "stranger-1.0-py3.11.egg", "EGG-INFO", PLAIN)
    paths = [str(tmp_path / "stranger-1.0-py3.11.egg")]

    assert declared(GROUP, paths) == {"one": "one.driver:DRIVER"} == as_importlib_says(paths)


def test_a_finder_of_packages_beside_python_s_own_is_asked(monkeypatch, tmp_path):
    class Finder:
        @staticmethod
        def find_spec(*_arguments):
            return None

        @staticmethod
        def find_distributions(*_context):
            return [PathDistribution(tmp_path / "stranger-1.0.dist-info")]

    installed(tmp_path, "stranger-1.0.dist-info", PLAIN)
    assert "one" not in declared(GROUP)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])

    assert declared(GROUP)["one"] == "one.driver:DRIVER"


def test_this_environment_s_drivers_are_those_that_importlib_finds():
    assert declared(GROUP) == {point.name: point.value for point in entry_points(group=GROUP)}


def test_loading_follows_attributes_and_names_what_is_missing():
    assert load("runner.locations.registry:Registry.driver [extra]") is Registry.driver
    with pytest.raises(ImportError) as missing:
        load("no_such_package.driver:DRIVER")
    assert missing.value.name == "no_such_package"


def test_a_driver_given_by_hand_wins_over_an_installed_one():
    mine = msgspec.structs.replace(memory_driver({}), type="local")

    assert Registry((mine,)).driver("local") is mine
