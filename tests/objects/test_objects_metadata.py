"""POSIX metadata in user metadata: as AWS DataSync writes it, and every form that is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner_plugins.objects.client import ObjectFacts
from runner_plugins.objects.metadata import (
    HYPHENS,
    UNDERSCORES,
    attributes_of,
    description_of,
    link_group_of,
    parse_rclone_time,
    parse_time,
    posix_of,
)

from runner.model.entry import Attributes, Entry, Kind

ALL = frozenset({"mode", "uid", "gid", "user", "group", "atime_ns", "user_metadata", "content_headers"})

TIMES = [
    ("nanoseconds", "1595002920000000123ns", 1_595_002_920_000_000_123),
    ("before 1970", "-5ns", -5),
    ("seconds and nanoseconds", "1595002920/5", 1_595_002_920_000_000_005),
    ("milliseconds", "1595002920123", 1_595_002_920_123_000_000),
    ("a blank", "", None),
    ("a word", "yesterday", None),
    ("a unit that is none", "15s", None),
    ("too many digits", "9" * 30 + "ns", None),
    ("digits of another script", "\u0661\u0662ns", None),
    ("nothing", None, None),
]


@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in TIMES], ids=[row[0] for row in TIMES])
def test_times_are_read_in_all_three_forms(text: str | None, expected: int | None) -> None:
    assert parse_time(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1595002920.123456789", 1_595_002_920_123_456_789),
        ("1595002920.5", 1_595_002_920_500_000_000),
        ("1595002920", 1_595_002_920_000_000_000),
        ("-1.5", -1_500_000_000),
        ("1e9", None),
        ("", None),
        (None, None),
    ],
)
def test_rclone_s_time_is_read(text: str | None, expected: int | None) -> None:
    assert parse_rclone_time(text) == expected


@given(
    st.builds(
        Attributes,
        mode=st.none() | st.integers(0, 0o7777),
        uid=st.none() | st.integers(0, 2**32 - 2),
        gid=st.none() | st.integers(0, 2**32 - 2),
        atime_ns=st.none() | st.integers(-(10**18), 4 * 10**18),
    ),
    st.none() | st.integers(-(10**18), 4 * 10**18),
    st.sampled_from([Kind.FILE, Kind.DIRECTORY]),
    st.sampled_from([HYPHENS, UNDERSCORES]),
)
def test_what_is_written_is_read_again(
    attributes: Attributes, mtime_ns: int | None, kind: Kind, names
) -> None:  # type: ignore[no-untyped-def]
    path = "a/" if kind is Kind.DIRECTORY else "a"
    description = description_of(
        Entry(path, kind, mtime_ns=mtime_ns, attributes=attributes), None, names, posix=True
    )
    facts = ObjectFacts(path, 0, metadata=description.metadata, headers=())
    posix = posix_of(facts.metadata, names)
    assert posix.mtime_ns == mtime_ns
    found = attributes_of(facts, posix, frozenset({"mode", "uid", "gid", "atime_ns"}), names)
    assert found == attributes


def test_the_keys_are_those_of_datasync() -> None:
    attributes = Attributes(mode=0o664, uid=500, gid=501, atime_ns=7)
    description = description_of(
        Entry("a", Kind.FILE, mtime_ns=1_595_002_920_000_000_000, attributes=attributes),
        None,
        HYPHENS,
        posix=True,
    )
    assert dict(description.metadata) == {
        "file-permissions": "0100664",
        "file-owner": "500",
        "file-group": "501",
        "file-mtime": "1595002920000000000ns",
        "file-atime": "7ns",
    }


def test_a_link_is_known_by_its_permissions() -> None:
    description = description_of(Entry("a", Kind.SYMLINK, link_target="b"), None, HYPHENS, posix=True)
    assert dict(description.metadata) == {"file-permissions": "0120777"}
    assert posix_of(description.metadata, HYPHENS).kind is Kind.SYMLINK


def test_what_an_entry_leaves_open_stays() -> None:
    standing = ObjectFacts(
        "a",
        1,
        metadata=(("colour", "red"), ("file-mtime", "1ns"), ("file-owner", "5")),
        headers=(("content-type", "x/y"),),
    )
    entry = Entry("a", Kind.FILE, mtime_ns=2)
    description = description_of(entry, None, HYPHENS, posix=True, standing=standing)
    assert dict(description.metadata) == {"colour": "red", "file-mtime": "2ns", "file-owner": "5"}
    assert description.headers == (("content-type", "x/y"),)
    entry = Entry(
        "a", Kind.FILE, attributes=Attributes(user_metadata=(("file-owner", "0"), ("shape", "round")))
    )
    description = description_of(entry, None, HYPHENS, posix=True, standing=standing)
    assert dict(description.metadata) == {"file-mtime": "1ns", "file-owner": "5", "shape": "round"}


def test_owners_may_be_names() -> None:
    posix = posix_of((("file-group", "12345678901"), ("file-owner", "alice")), HYPHENS)
    assert (posix.uid, posix.user, posix.gid, posix.group) == (None, "alice", None, "12345678901")


def test_members_of_a_link_group_fall_apart_when_they_differ() -> None:
    def group(etag: str, mode: str, mark: str = "m") -> str | None:
        metadata = (("file-permissions", mode), ("sync-runner-link", mark))
        facts = ObjectFacts("a", 1, etag=etag, metadata=metadata)
        return link_group_of(facts, posix_of(metadata, HYPHENS), HYPHENS)

    assert group("e", "0100644") == group("e", "0100644")
    assert (
        len({group("e", "0100644"), group("f", "0100644"), group("e", "0100600"), group("e", "0100644", "n")})
        == 4
    )
