"""Our names and rclone's: an exact inverse, and the same as rclone's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runner_plugins.rclone.driver import DRIVER
from runner_plugins.rclone.names import from_rclone, is_certain, refusal, temporary_execution, to_rclone

from runner.locations.protocol import OpenSettings
from runner.model.entry import Entry, Problem
from runner.model.task import LocationSettings
from runner.testing.conformance_base import content_of, put_file

_PICTURES = "".join(map(chr, (*range(0x2401, 0x2422), 0xFF0E, 0xFF0F)))
_CONTROLS = "".join(map(chr, (*range(1, 32), 127)))
NAMES = st.text(
    st.sampled_from("ab .%:?*\\\"'|<>~#-\u0085\u2028e\u0301\U0001f600" + _CONTROLS + _PICTURES), min_size=1
)


@given(NAMES)
def test_the_way_there_and_back_is_exact(name: str) -> None:
    told = to_rclone(name)
    assert from_rclone(told) == name
    assert is_certain(told)
    assert not set(told) & set(_CONTROLS)


@given(NAMES, NAMES)
def test_no_two_names_become_one(first: str, second: str) -> None:
    assert (to_rclone(first) == to_rclone(second)) == (first == second)


@pytest.mark.parametrize(
    ("path", "is_refused"),
    [
        ("a/b", False),
        ("a\nb", False),
        ("\uff0e\uff0e", False),
        ("a\u201bb", True),
        ("\u2400", True),
        ("d\u201b/b", True),
        ("bad-\udcff", True),
        ("a\0b", True),
        ("../a", True),
        ("a//b", True),
        (".", True),
    ],
)
def test_names_that_rclone_would_make_others_of_are_refused(path: str, is_refused: bool) -> None:
    assert (refusal(path) is not None) == is_refused


def test_only_our_own_temporary_names_are_taken_for_ours() -> None:
    assert temporary_execution(".sync-runner-0123456789ab-77aa1.part") == "0123456789ab"
    assert temporary_execution(".sync-runner-0123456789ab-77aa1.part.txt") is None
    assert temporary_execution("sync-runner-0123456789ab-77aa1.part") is None


def test_rclone_s_own_disk_names_are_ours(tmp_path: Path) -> None:
    """What a program wrote to disk is listed under its own bytes, read and replaced; or named as a problem."""
    root = tmp_path / "root"
    root.mkdir()
    location = DRIVER.open(
        LocationSettings("tested", "rclone", {"backend": "local", "path": str(root)}, "/"),
        OpenSettings(),
        create=True,
    )

    @settings(max_examples=60, deadline=None)
    @given(NAMES.filter(lambda name: name not in (".", "..") and len(os.fsencode(name)) < 200))
    def check(name: str) -> None:
        for old in root.iterdir():
            old.unlink()
        (root / name).write_bytes(b"theirs")
        assert [found.path for found in location.scan()] == ["", name]
        assert content_of(location, name) == b"theirs"
        (root / name).unlink()
        put_file(location, name, b"ours")
        assert os.listdir(root) == [name]

    try:
        check()
        for old in root.iterdir():
            old.unlink()
        for hostile in (b"quote-\xe2\x80\x9b", b"invalid-\xff"):
            (root / os.fsdecode(hostile)).write_bytes(b"x")
        kinds = [type(found) for found in location.scan()]
        assert kinds == [Entry, Problem, Problem]
    finally:
        location.close()
