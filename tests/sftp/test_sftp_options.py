"""What options say before anything is connected, and packets as bytes. No server, and no asyncssh."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner_plugins.sftp.driver import DRIVER
from runner_plugins.sftp.facts import time_in_seconds
from runner_plugins.sftp.packets import Cursor, Facts, MalformedError, attributes, read_names, text
from sftp_support import settings

BASE: dict[str, Any] = {"host": "h", "user": "u", "path": "/srv/a", "known_hosts": "k"}


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({}, True),
        ({"known_hosts": None, "host_key": "ssh-ed25519 AAAA"}, True),
        ({"known_hosts": None}, False),
        ({"path": None}, False),
        ({"host": None}, False),
        ({"timeout": "60"}, False),
        ({"port": 0}, False),
        ({"agent": True}, True),
        ({"agent": "/run/agent"}, True),
        ({"unknown": 1}, False),
        ({"proxy_jump": {"host": "g", "port": 22}}, True),
        ({"proxy_jump": {"port": 22}}, False),
    ],
)
def test_the_schema_wants_a_known_host(change: dict[str, Any], valid: bool) -> None:
    options = {name: value for name, value in {**BASE, **change}.items() if value is not None}
    assert jsonschema.Draft202012Validator(DRIVER.options_schema()).is_valid(options) is valid


def test_the_examples_are_valid_and_tell_capabilities() -> None:
    schema = DRIVER.options_schema()
    for example in schema["examples"]:
        jsonschema.Draft202012Validator(schema).validate(example)
        assert DRIVER.capabilities(settings(example)).mtime_resolution_ns == 10**9
        assert DRIVER.describe(settings(example)).startswith("sftp://backup@files.example.org")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({}, {}, True),
        ({}, {"path": "/srv/a/b"}, True),
        ({"path": "/"}, {}, True),
        ({}, {"path": "/srv/ab"}, False),
        ({}, {"host": "H"}, True),
        ({}, {"host": "other"}, False),
        ({}, {"port": 22}, True),
        ({}, {"port": 2222}, False),
        ({"path": "a"}, {"path": "a/b"}, True),
        ({"path": "a"}, {"path": "b"}, False),
        ({"path": "."}, {"path": "b"}, True),
        ({"path": "a"}, {"path": "a", "user": "v"}, False),
    ],
)
def test_overlaps(one: dict[str, Any], other: dict[str, Any], expected: bool) -> None:
    left, right = settings({**BASE, **one}), settings({**BASE, **other})
    assert DRIVER.overlaps(left, right) is DRIVER.overlaps(right, left) is expected


@pytest.mark.parametrize(
    ("path", "wide"),
    [("/", True), (".", True), ("/home", True), ("/home/u/", True), ("/srv/a", False), ("photos", False)],
)
def test_wide_roots(path: str, wide: bool) -> None:
    assert (DRIVER.wide_root(settings({**BASE, "path": path})) is not None) is wide


def test_options_are_told_without_the_extra() -> None:
    """The driver's modules import without asyncssh."""
    code = (
        "import sys; sys.modules['asyncssh'] = None\n"
        "from runner_plugins.sftp.driver import DRIVER; print(len(DRIVER.options_schema()))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("time_ns", "seconds"),
    [
        (None, None),
        (-1, None),
        (0, 0),
        (999_999_999, 0),
        ((2**32 - 1) * 10**9 + 5, 2**32 - 1),
        (2**32 * 10**9, None),
    ],
)
def test_times_are_cut_and_never_wrapped(time_ns: int | None, seconds: int | None) -> None:
    assert time_in_seconds(time_ns) == seconds


u32 = st.integers(0, 2**32 - 1)


@given(st.none() | st.tuples(u32, u32), st.none() | u32, st.none() | st.tuples(u32, u32))
def test_attributes_come_back(
    owner: tuple[int, int] | None, mode: int | None, times: tuple[int, int] | None
) -> None:
    uid, gid = owner or (None, None)
    atime, mtime = times or (None, None)
    encoded = attributes(owner=owner, mode=mode, times=times)
    assert Cursor(encoded).facts() == Facts(None, uid, gid, mode, atime, mtime)


@given(st.lists(st.binary(max_size=20), max_size=5), st.data())
def test_an_answer_that_is_cut_short_is_malformed(names: list[bytes], data: st.DataObject) -> None:
    """Never a shorter list of names."""
    entries = b"".join(text(name) + text(b"-rw-r--r--") + attributes(mode=0o100644) for name in names)
    body = len(names).to_bytes(4, "big") + entries
    assert [name for name, _ in read_names(body)] == names
    with pytest.raises(MalformedError):
        read_names(body[: data.draw(st.integers(0, len(body) - 1))])
