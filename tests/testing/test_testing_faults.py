"""Each scripted fault does what it says, exactly where it says, and a silent one fails the test."""

from __future__ import annotations

import pytest

from runner.errors import EntryCode, EntryError, LocationUnavailableError
from runner.locations.protocol import Linking, Location, OpenSettings, Renames, SetsAttributes
from runner.model.entry import Entry, Kind, Problem
from runner.model.task import DigestAlgorithm, LocationSettings
from runner.testing.digests import digest_of
from runner.testing.faults import Fault, FaultScript, flips, meanwhile, not_listed, raises, short
from runner.testing.memory import OBJECT_STORE, MemoryTree, memory_driver, memory_location
from runner.testing.trees import tree

CONTENT = bytes(range(256)) * 1000


class Free:
    def take(self, size_bytes: int) -> None:
        return


def filled() -> MemoryTree:
    return tree({"a": CONTENT, "b": b"b", "d/": {"e": b"e", "f/": {"g": b"g"}}, "z": b"z"}).memory()


def wrapped(*faults: Fault, held: MemoryTree | None = None) -> tuple[Location, FaultScript]:
    script = FaultScript(faults)
    return script.wrap(memory_location(held or filled(), chunk_bytes=1000)), script


def stated(location: Location, path: str) -> Entry:
    entry = location.stat(path)
    assert entry is not None
    return entry


def read(location: Location, path: str) -> bytes:
    return b"".join(bytes(chunk) for chunk in location.read(stated(location, path)))


def put(location: Location, path: str, content: bytes, replaces: Entry | None = None) -> str | None:
    entry = Entry(path, Kind.FILE, size_bytes=len(content))
    return location.put(entry, [content[:100], content[100:]], replaces, Free()).digest


def code_of(raised: pytest.ExceptionInfo[EntryError]) -> tuple[EntryCode, str]:
    return raised.value.entry_code, raised.value.path


def test_the_nth_matching_call_raises_and_no_other() -> None:
    location, script = wrapped(raises("stat", EntryCode.IO_ERROR, path="d/*", nth=2, times=2))
    outcomes = []
    for path in ("a", "d/e", "d/e", "b", "d/f/g", "d/e"):
        try:
            location.stat(path)
            outcomes.append("ok")
        except EntryError as error:
            outcomes.append(error.path)
    assert outcomes == ["ok", "ok", "d/e", "ok", "d/f/g", "ok"]
    assert (script.fired, script.counts) == ((2,), {"stat": 6})
    script.assert_all_fired()


def test_a_lasting_fault_lasts() -> None:
    location, script = wrapped(raises("stat", EntryCode.UNAVAILABLE, nth=2, times=None))
    assert location.stat("a") is not None
    for _ in range(3):
        with pytest.raises(EntryError):
            location.stat("a")
    assert script.fired == (3,)


def test_a_fault_that_never_fired_fails_the_test_by_name() -> None:
    location, script = wrapped(
        raises("put", EntryCode.NO_SPACE),
        raises("stat", EntryCode.TIMEOUT),
        flips("read", at_byte=10_000_000),
    )
    with pytest.raises(EntryError):
        location.stat("a")
    assert len(read(location, "a")) == len(CONTENT)
    with pytest.raises(AssertionError) as caught:
        script.assert_all_fired()
    assert str(caught.value) == (
        "these scripted faults never fired: raise in call 1 of put('*'); flip in call 1 of read('*')"
    )


def test_any_exception_can_be_raised() -> None:
    location, _ = wrapped(raises("remove", KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        location.remove(stated(location, "a"))


def test_a_read_breaks_after_so_many_bytes() -> None:
    location, script = wrapped(raises("read", EntryCode.IO_ERROR, path="a", after_bytes=2500))
    got = bytearray()
    with pytest.raises(EntryError) as caught:
        for chunk in location.read(stated(location, "a")):
            got += chunk
    assert code_of(caught) == (EntryCode.IO_ERROR, "a")
    assert bytes(got) == CONTENT[:3000]
    assert read(location, "a") == CONTENT
    script.assert_all_fired()


def test_a_put_breaks_on_the_way_and_leaves_nothing() -> None:
    location, script = wrapped(raises("put", EntryCode.IO_ERROR, after_bytes=50))
    with pytest.raises(EntryError):
        put(location, "new", CONTENT)
    assert location.stat("new") is None
    put(location, "new", CONTENT)
    script.assert_all_fired()


def test_a_short_read_says_nothing() -> None:
    location, script = wrapped(short("read", path="a", keeps_bytes=1500))
    assert read(location, "a") == CONTENT[:1500]
    assert read(location, "a") == CONTENT
    script.assert_all_fired()


def test_a_read_flips_one_bit() -> None:
    location, script = wrapped(flips("read", path="a", at_byte=1234))
    got = read(location, "a")
    assert [index for index, (left, right) in enumerate(zip(got, CONTENT, strict=True)) if left != right] == [
        1234
    ]
    assert bin(got[1234] ^ CONTENT[1234]).count("1") == 1
    script.assert_all_fired()


def test_a_storage_that_lies_about_a_flipped_byte() -> None:
    held = filled()
    location, script = wrapped(flips("put", at_byte=3), held=held)
    assert put(location, "new", b"0123456") == digest_of(b"0123456", DigestAlgorithm.XXH3_128)
    assert held.node("new").content == b"0122456"
    script.assert_all_fired()


def test_a_storage_that_drops_the_end_and_says_all_is_well() -> None:
    held = filled()
    location, script = wrapped(short("put", keeps_bytes=4), held=held)
    assert put(location, "new", b"0123456") == digest_of(b"0123456", DigestAlgorithm.XXH3_128)
    assert held.node("new").content == b"0123"
    script.assert_all_fired()


def test_a_folder_that_cannot_be_listed() -> None:
    location, script = wrapped(not_listed("d/f/"))
    found = [(type(one).__name__, one.path) for one in location.scan()]
    assert found == [
        ("Entry", ""),
        ("Entry", "a"),
        ("Entry", "b"),
        ("Entry", "d/"),
        ("Entry", "d/e"),
        ("Entry", "d/f/"),
        ("Problem", "d/f/"),
        ("Entry", "z"),
    ]
    script.assert_all_fired()


@pytest.mark.parametrize("folder", ["", "d/"])
def test_a_folder_that_cannot_be_listed_at_the_edges(folder: str) -> None:
    location, script = wrapped(not_listed(folder))
    found = list(location.scan(folder))
    assert [type(one) for one in found] == [Entry, Problem]
    assert [one.path for one in found] == [folder, folder]
    script.assert_all_fired()


def test_a_folder_that_is_not_entered_is_no_problem() -> None:
    location, script = wrapped(not_listed("d/"))
    found = list(location.scan("", lambda entry: entry.path != "d/"))
    assert [type(one) for one in found] == [Entry] * 5
    assert script.fired == (0,)


def test_a_listing_breaks_half_way() -> None:
    location, script = wrapped(raises("listed", EntryCode.TIMEOUT, path="d/e"))
    got = []
    with pytest.raises(EntryError):
        for found in location.scan():
            got.append(found.path)
    assert got == ["", "a", "b", "d/"]
    script.assert_all_fired()


def test_the_world_moves_before_a_call() -> None:
    held = filled()
    location, script = wrapped(meanwhile("remove", lambda: held.write("a", b"new"), path="a"), held=held)
    entry = stated(location, "a")
    with pytest.raises(EntryError) as caught:
        location.remove(entry)
    assert code_of(caught) == (EntryCode.STALE, "a")
    script.assert_all_fired()


@pytest.mark.parametrize("after_bytes", [1, 128_000, len(CONTENT)])
def test_the_world_moves_while_a_file_is_read(after_bytes: int) -> None:
    held = filled()
    fault = meanwhile("read", lambda: held.write("a", b"new"), path="a", after_bytes=after_bytes)
    location, script = wrapped(fault, held=held)
    with pytest.raises(EntryError) as caught:
        read(location, "a")
    assert code_of(caught) == (EntryCode.CHANGED_DURING_TRANSFER, "a")
    script.assert_all_fired()


def test_wrapping_offers_exactly_the_roles_of_what_is_wrapped() -> None:
    rich = FaultScript().wrap(memory_location(filled()))
    poor = FaultScript().wrap(memory_location(filled(), OBJECT_STORE, roles=frozenset()))
    assert [isinstance(rich, role) for role in (Linking, Renames, SetsAttributes)] == [True, True, True]
    assert [isinstance(poor, role) for role in (Linking, Renames, SetsAttributes)] == [False, False, False]


def test_roles_have_faults_too() -> None:
    location, script = wrapped(
        raises("link", EntryCode.IO_ERROR), raises("set_attributes", EntryCode.IO_ERROR)
    )
    assert isinstance(location, Linking) and isinstance(location, SetsAttributes)
    with pytest.raises(EntryError):
        location.link("x", "a", None)
    with pytest.raises(EntryError):
        location.set_attributes(Entry("a", Kind.FILE), None)
    script.assert_all_fired()


def test_a_wrapped_driver_shares_the_counts_of_all_its_locations() -> None:
    script = FaultScript(
        [raises("open", LocationUnavailableError("gone"), nth=3), raises("stat", EntryCode.TIMEOUT, nth=2)]
    )
    driver = script.wrap_driver(memory_driver({"t": filled()}))
    settings = LocationSettings("src", "memory", {"tree": "t"}, "/")
    first = driver.open(settings, OpenSettings(), create=False)
    second = driver.open(settings, OpenSettings(), create=False)
    first.stat("a")
    with pytest.raises(EntryError):
        second.stat("a")
    with pytest.raises(LocationUnavailableError):
        driver.open(settings, OpenSettings(), create=False)
    script.assert_all_fired()


@pytest.mark.parametrize("wrong", [{"method": "put_all"}, {"nth": 0}, {"times": 0}])
def test_a_fault_that_could_never_fire_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"no method|count from 1"):
        raises(**{"method": "put", "error": EntryCode.TIMEOUT, **wrong})  # type: ignore[arg-type]
