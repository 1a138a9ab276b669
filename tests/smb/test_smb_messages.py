"""Answers come from a server that may lie: what is damaged is a ValueError, never a crash or a guess."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner_plugins.smb import messages
from runner_plugins.smb.facts import difference, is_plain, version_of
from runner_plugins.smb.messages import Facts

from runner.model.entry import Entry, Kind

READERS: list[Callable[[bytes], object]] = [
    lambda raw: messages.opened(raw, "a"),
    lambda raw: messages.closed(raw, FACTS),
    messages.content_read,
    messages.written_count,
    messages.information,
    messages.control_answer,
    lambda raw: list(messages.listed(memoryview(raw))),
    lambda raw: messages.volume(memoryview(raw)),
    lambda raw: messages.free_bytes(memoryview(raw)),
]
FACTS = Facts("a", 1, 2, 3_000_000_000, 4, 5, 0x20, 7)


@pytest.mark.parametrize("number", range(len(READERS)))
@given(raw=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(number: int, raw: bytes) -> None:
    try:
        READERS[number](raw)
    except (ValueError, struct.error, UnicodeDecodeError) as error:
        assert isinstance(error, ValueError), error


def entry(name: str, following: int = 0, **facts: int) -> bytes:
    encoded = name.encode("utf-16-le", "surrogatepass")
    fixed = struct.pack(
        "<IIQQQQQQIIIBB24sHQ", following, 0, 1, 2, 3, 4, facts.get("size", 5), 6, facts.get("attributes", 0x20),
        len(encoded), facts.get("tag", 0), 0, 0, b"", 0, 99,
    )  # fmt: skip
    return fixed + encoded


def test_a_listing_is_read() -> None:
    first = entry("größe")
    first += bytes(-len(first) % 8)
    raw = entry("größe", len(first))[:104] + first[104:] + entry("日本", size=77)
    found = list(messages.listed(memoryview(raw)))
    assert [(one.name, one.size_bytes, one.file_id) for one in found] == [("größe", 5, 99), ("日本", 77, 99)]


@pytest.mark.parametrize("following", [1, 103, 10_000])
def test_a_listing_whose_entries_overlap_or_lead_outside_is_refused(following: int) -> None:
    with pytest.raises(ValueError):
        list(messages.listed(memoryview(entry("a", following))))


def test_a_name_with_half_a_character_keeps_it() -> None:
    (found,) = messages.listed(memoryview(entry("a\ud800")))
    assert found.name == "a\ud800"


@pytest.mark.parametrize(
    ("what", "tag", "expected"),
    [
        ("a symbolic link", 0xA000000C, False),
        ("a junction", 0xA0000003, False),
        ("a DFS link's own tag unknown", 0, False),
        ("a link of the Linux subsystem", 0xA000001D, False),
        ("a socket", 0x80000023, False),
        ("a device of NFS", 0x80000014, False),
        ("a deduplicated file", 0x80000013, True),
        ("a compressed system file", 0x80000017, True),
        ("a cloud file", 0x9000001A, True),
    ],
)
def test_which_reparse_points_are_files(what: str, tag: int, expected: bool) -> None:
    facts = FACTS._replace(attributes=0x20 | messages.REPARSE_POINT, tag=tag)
    assert is_plain(facts) is expected, what
    assert is_plain(FACTS)


@pytest.mark.parametrize(
    ("what", "changes", "expected"),
    [
        ("nothing", {}, None),
        ("its size", {"size_bytes": 6}, "size"),
        ("its time", {"written": 3_000_000_001}, "modification time"),
        ("its change time", {"changed": 5}, "changed or replaced"),
        ("its id", {"file_id": 8}, "changed or replaced"),
        ("an id that the server does not tell", {"file_id": 0}, None),
        ("its kind", {"attributes": messages.DIRECTORY}, "directory now"),
    ],
)
def test_what_differs_is_told(what: str, changes: dict[str, int], expected: str | None) -> None:
    listed = Entry(
        "a",
        Kind.FILE,
        size_bytes=5,
        mtime_ns=messages.to_nanoseconds(FACTS.written),
        version=version_of(FACTS),
    )
    found = difference(listed, FACTS._replace(**changes))
    assert (found is None) if expected is None else (found is not None and expected in found), what


def test_a_compound_s_parts_start_at_multiples_of_eight() -> None:
    """[MS-SMB2] 3.2.4.1.4; and contexts in a CREATE."""
    for name in ("", "a", "ab", "abc", "abcd", "x" * 77):
        request = messages.create(name, 0x80, 7, 1, 0)
        offset, length = struct.unpack_from("<II", request.body, 48)
        assert offset % 8 == 0 and length == 24
        assert request.body[offset - 64 :] == messages._QUERY_FILE_ID
