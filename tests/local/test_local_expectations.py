"""Each method acts only on what the plan saw: everything else is `stale`, and left alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from local_support import THROTTLE, HookedThrottle, entries_of, manifest, open_at
from runner_plugins.local.content import CHUNK_BYTES
from runner_plugins.local.location import LocalLocation
from runner_plugins.local.relay import PIECE_BYTES

from runner.errors import EntryCode, EntryError
from runner.model.entry import Attributes, Entry, Kind
from runner.model.task import DigestAlgorithm


def _file(path: str, content: bytes = b"new", **facts: object) -> Entry:
    return Entry(path, Kind.FILE, size_bytes=len(content), mtime_ns=1_000_000_007, **facts)


def _grow(root: Path) -> None:
    (root / "it").write_bytes(b"grown content")


def _touch(root: Path) -> None:
    os.utime(root / "it", ns=(1, 1))


def _rewrite_with_same_mtime(root: Path) -> None:
    facts = os.stat(root / "it")
    (root / "it").write_bytes(b"OLD")
    os.utime(root / "it", ns=(facts.st_atime_ns, facts.st_mtime_ns))


def _to_folder(root: Path) -> None:
    (root / "it").unlink()
    (root / "it").mkdir()


def _to_link(root: Path) -> None:
    (root / "it").unlink()
    os.symlink("/etc/passwd", root / "it")


def _gone(root: Path) -> None:
    (root / "it").unlink()


CHANGES = [_grow, _touch, _rewrite_with_same_mtime, _to_folder, _to_link]

ACTS: list[tuple[str, Callable[[LocalLocation, Entry], object]]] = [
    ("put", lambda here, was: here.put(_file("it"), [b"new"], was, THROTTLE)),
    (
        "put symlink",
        lambda here, was: here.put(Entry("it", Kind.SYMLINK, link_target="t"), None, was, THROTTLE),
    ),
    ("put folder", lambda here, was: here.put(Entry("it/", Kind.DIRECTORY), None, was, THROTTLE)),
    ("copy", lambda here, was: here.copy(here, here.stat("origin"), _file("it"), was, THROTTLE)),
    ("set_attributes", lambda here, was: here.set_attributes(_file("it", b"old"), was)),
    ("link", lambda here, was: here.link("it", "origin", was)),
    ("remove", lambda here, was: here.remove(was)),
    ("rename", lambda here, was: here.rename(was, "moved/there")),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("method", "act"), ACTS)
def test_a_changed_entry_is_stale(
    tmp_path: Path, method: str, act: Callable[[LocalLocation, Entry], object], change: Callable[[Path], None]
) -> None:
    (tmp_path / "it").write_bytes(b"old")
    (tmp_path / "origin").write_bytes(b"new")
    here = open_at(tmp_path, create=True)
    was = here.stat("it")
    assert was is not None
    change(tmp_path)
    before = manifest(tmp_path)

    with pytest.raises(EntryError) as caught:
        act(here, was)

    assert caught.value.entry_code is EntryCode.STALE
    after = manifest(tmp_path)
    after.pop(b"moved", None)  # the folder a rename would have gone to
    assert _but_root_times(after) == _but_root_times(before)


def _but_root_times(found: dict[bytes, tuple[object, ...]]) -> dict[bytes, tuple[object, ...]]:
    return {path: facts for path, facts in found.items() if path != b""}


@pytest.mark.parametrize(("method", "act"), ACTS)
def test_a_vanished_entry(tmp_path: Path, method: str, act: Callable[[LocalLocation, Entry], object]) -> None:
    (tmp_path / "it").write_bytes(b"old")
    (tmp_path / "origin").write_bytes(b"new")
    here = open_at(tmp_path, create=True)
    was = here.stat("it")
    assert was is not None
    _gone(tmp_path)

    with pytest.raises(EntryError) as caught:
        act(here, was)

    expected = EntryCode.NOT_FOUND if method == "remove" else EntryCode.STALE
    assert caught.value.entry_code is expected
    assert not (tmp_path / "it").exists()


@pytest.mark.parametrize(("method", "act"), [each for each in ACTS if each[0] not in ("remove", "rename")])
def test_an_expected_entry_is_replaced(
    tmp_path: Path, method: str, act: Callable[[LocalLocation, Entry], object]
) -> None:
    (tmp_path / "it").write_bytes(b"old")
    (tmp_path / "origin").write_bytes(b"new")
    here = open_at(tmp_path, create=True)

    act(here, here.stat("it"))

    kinds = {"put symlink": Kind.SYMLINK, "put folder": Kind.DIRECTORY}
    found = entries_of(here)
    assert sorted(path.rstrip("/") for path in found) == ["", "it", "origin"]
    there = found.get("it") or found["it/"]
    assert there.kind is kinds.get(method, Kind.FILE)
    if method in ("put", "copy", "link"):
        assert (tmp_path / "it").read_bytes() == b"new"


@pytest.mark.parametrize(("method", "act"), [each for each in ACTS if each[0] not in ("remove", "rename")])
def test_where_nothing_was_expected_something_is_stale(
    tmp_path: Path, method: str, act: Callable[[LocalLocation, Entry | None], object]
) -> None:
    if method == "set_attributes":
        return  # None there means: whatever stands there
    (tmp_path / "it").write_bytes(b"old")
    (tmp_path / "origin").write_bytes(b"new")
    here = open_at(tmp_path, create=True)

    with pytest.raises(EntryError) as caught:
        act(here, None)

    assert caught.value.entry_code is EntryCode.STALE
    assert (tmp_path / "it").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["it", "origin"]


def test_a_link_that_points_elsewhere_is_stale(tmp_path: Path) -> None:
    os.symlink("one", tmp_path / "l")
    here = open_at(tmp_path, create=True)
    was = here.stat("l")
    assert was is not None

    with pytest.raises(EntryError) as caught:
        here.remove(msgspec.structs.replace(was, link_target="two"))
    assert caught.value.entry_code is EntryCode.STALE
    here.remove(was)
    assert os.listdir(tmp_path) == []


def test_links_of_a_group_may_move_each_others_change_time(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"same")
    os.link(tmp_path / "one", tmp_path / "two")
    here = open_at(tmp_path, create=True)
    one, two = here.stat("one"), here.stat("two")
    assert one is not None
    assert two is not None

    here.remove(one)
    here.remove(two)

    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_not_empty_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kept").write_bytes(b"x")
    here = open_at(tmp_path, create=True)
    was = here.stat("folder")
    assert was is not None

    for act in (
        lambda: here.remove(was),
        lambda: here.put(_file("folder"), [b"new"], was, THROTTLE),
        lambda: here.put(Entry("folder", Kind.SYMLINK, link_target="x"), None, was, THROTTLE),
        lambda: here.link("folder", "folder/kept", was),
    ):
        with pytest.raises(EntryError) as caught:
            act()
        assert caught.value.entry_code is EntryCode.STALE
        assert "not empty" in caught.value.message
    assert (tmp_path / "folder" / "kept").read_bytes() == b"x"
    assert os.listdir(tmp_path) == ["folder"]


def test_an_empty_folder_gives_way_to_a_file_and_back(tmp_path: Path) -> None:
    (tmp_path / "it").mkdir()
    here = open_at(tmp_path, create=True)

    here.put(_file("it"), [b"new"], here.stat("it"), THROTTLE)
    assert (tmp_path / "it").read_bytes() == b"new"
    here.put(
        Entry("it/", Kind.DIRECTORY, mtime_ns=5, attributes=Attributes(mode=0o751)),
        None,
        here.stat("it"),
        THROTTLE,
    )
    facts = os.stat(tmp_path / "it")
    assert (facts.st_mode & 0o7777, facts.st_mtime_ns) == (0o751, 5)
    here.put(_file("it/inside"), [b"new"], None, THROTTLE)
    assert (tmp_path / "it" / "inside").read_bytes() == b"new"


def test_a_folder_where_one_stands_only_gets_attributes(tmp_path: Path) -> None:
    (tmp_path / "it").mkdir()
    (tmp_path / "it" / "kept").write_bytes(b"x")
    here = open_at(tmp_path, create=True)

    here.put(Entry("it/", Kind.DIRECTORY, attributes=Attributes(mode=0o700)), None, None, THROTTLE)

    assert os.stat(tmp_path / "it").st_mode & 0o7777 == 0o700
    assert (tmp_path / "it" / "kept").exists()


CONTENT_CHANGES: list[tuple[str, Callable[[Path], None]]] = [
    ("grows", lambda path: path.write_bytes(path.read_bytes() + b"x")),
    ("shrinks", lambda path: os.truncate(path, 1)),
    ("same size", lambda path: path.write_bytes(b"z" * path.stat().st_size)),
    ("same size, times put back", lambda path: _overwrite_quietly(path)),
]


def _overwrite_quietly(path: Path) -> None:
    facts = path.stat()
    with open(path, "r+b") as file:
        file.write(b"z")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


@pytest.mark.parametrize("size", [10, 3_000_000])
@pytest.mark.parametrize(("description", "change"), CONTENT_CHANGES)
def test_a_file_that_changes_under_the_reader(
    tmp_path: Path, description: str, change: Callable[[Path], None], size: int
) -> None:
    for folder in ("source", "target"):
        (tmp_path / folder).mkdir()
    path = tmp_path / "source" / "f"
    path.write_bytes(b"a" * size)
    source, target = open_at(tmp_path / "source"), open_at(tmp_path / "target", create=True)

    def read(entry: Entry) -> None:
        chunks = source.read(entry)
        next(chunks)
        change(path)
        for _ in chunks:
            pass

    acts: list[tuple[Callable[[Entry], object], int]] = [
        (read, 0),
        (lambda entry: source.digest(entry, DigestAlgorithm.SHA256, hook), CHUNK_BYTES),
        (lambda entry: target.copy(source, entry, entry, None, hook), PIECE_BYTES),
    ]
    for act, piece_bytes in acts:
        last_piece = (size - 1) // piece_bytes + 1 if piece_bytes else 0
        hook = HookedThrottle(lambda call, last=last_piece: change(path) if call == last else None)
        path.unlink()
        path.write_bytes(b"a" * size)
        entry = source.stat("f")
        assert entry is not None
        with pytest.raises(EntryError) as caught:
            act(entry)
        assert caught.value.entry_code is EntryCode.CHANGED_DURING_TRANSFER
        assert hook.calls == last_piece
    assert os.listdir(tmp_path / "target") == []


def test_reading_what_was_replaced(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    here = open_at(tmp_path)
    entry = here.stat("f")
    assert entry is not None

    def codes() -> EntryCode:
        with pytest.raises(EntryError) as caught:
            list(here.read(entry))
        return caught.value.entry_code

    (tmp_path / "f").unlink()
    assert codes() is EntryCode.NOT_FOUND
    os.mkfifo(tmp_path / "f")
    assert codes() is EntryCode.CHANGED_DURING_TRANSFER
    (tmp_path / "f").unlink()
    os.symlink("/etc/passwd", tmp_path / "f")
    assert codes() is EntryCode.CHANGED_DURING_TRANSFER
    (tmp_path / "f").unlink()
    (tmp_path / "f").mkdir()
    assert codes() is EntryCode.CHANGED_DURING_TRANSFER


@pytest.mark.parametrize("size", [0, 1, 10, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 2_500_000])
def test_content_of_any_size_is_read_copied_and_hashed(tmp_path: Path, size: int) -> None:
    import xxhash

    content = bytes(range(251)) * (size // 251 + 1)
    content = content[:size]
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "f").write_bytes(content)
    source, target = open_at(tmp_path / "source"), open_at(tmp_path / "target", create=True)
    entry = source.stat("f")
    assert entry is not None
    digest = f"xxh3_128:{xxhash.xxh3_128_hexdigest(content)}"

    copied = target.copy(source, entry, entry, None, THROTTLE)
    put = target.put(msgspec.structs.replace(entry, path="g"), source.read(entry), None, THROTTLE)

    assert (copied.bytes, copied.digest) == (size, digest)
    assert (put.bytes, put.digest) == (size, digest)
    assert source.digest(entry, DigestAlgorithm.XXH3_128, THROTTLE) == digest
    for name in "fg":
        assert (tmp_path / "target" / name).read_bytes() == content
    assert b"".join(bytes(chunk) for chunk in source.read(entry, size // 2)) == content[size // 2 :]


def test_content_that_is_not_what_was_announced(tmp_path: Path) -> None:
    here = open_at(tmp_path, create=True)

    with pytest.raises(EntryError) as caught:
        here.put(_file("f", b"12345"), [b"123"], None, THROTTLE)

    assert caught.value.entry_code is EntryCode.CHANGED_DURING_TRANSFER
    assert os.listdir(tmp_path) == []


def test_an_error_of_the_content_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    here = open_at(tmp_path, create=True)

    def content():
        yield b"half"
        raise EntryError(EntryCode.IO_ERROR, "f", "gone")

    with pytest.raises(EntryError) as caught:
        here.put(_file("f"), content(), here.stat("f"), THROTTLE)

    assert caught.value.entry_code is EntryCode.IO_ERROR
    assert (tmp_path / "f").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]
