"""`locations check`: what a location does is compared with what its driver says, on memory locations that lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from runner.errors import EntryCode, EntryError, LocationUnavailableError
from runner.locations.names import NameRules
from runner.locations.probe import Step, Verdict, probe
from runner.locations.protocol import Capabilities, Driver, Location, OpenSettings, Unfinished
from runner.model.entry import Kind
from runner.model.task import LocationSettings
from runner.testing.fake_clock import FakeClock
from runner.testing.faults import FaultScript, not_listed, raises
from runner.testing.memory import RICH, memory_driver
from runner.testing.memory_tree import MemoryTree
from runner.testing.trees import tree
from runner.units import format_resolution

EXECUTION = "0123456789ab"
SETTINGS = LocationSettings("archive", "memory", {"tree": "t"}, "/")


def tried(driver: Driver, *, write: bool = True) -> list[Step]:
    return list(probe(driver, SETTINGS, FakeClock(), EXECUTION, write=write))


def failed(steps: list[Step]) -> list[str]:
    return [step.name for step in steps if step.verdict is Verdict.FAILED]


def memory(
    files: dict[str, Any] | None = None, capabilities: Capabilities = RICH
) -> tuple[MemoryTree, Driver]:
    built = tree(files or {"a/b": b"content"}).memory()
    return built, memory_driver({"t": built}, capabilities)


@pytest.mark.parametrize(
    "capabilities",
    [
        RICH,
        msgspec.structs.replace(RICH, mtime_resolution_ns=1_000_000_000),
        msgspec.structs.replace(RICH, mtime_resolution_ns=None, attributes=frozenset()),
        msgspec.structs.replace(RICH, case_sensitive=False),
        msgspec.structs.replace(RICH, empty_directories=False, hard_links=False),
        msgspec.structs.replace(RICH, kinds=frozenset({Kind.FILE, Kind.DIRECTORY}), hard_links=False),
    ],
    ids=["rich", "seconds", "no metadata", "one case", "no empty folders", "no links"],
)
def test_a_location_that_keeps_its_word_passes_and_is_left_as_it_was(capabilities: Capabilities) -> None:
    built, driver = memory(capabilities=capabilities)
    before = built.paths()
    steps = tried(driver)
    assert failed(steps) == []
    assert [step.name for step in steps][:3] == ["open", "list", "read"]
    assert steps[-1] == Step("clean up", Verdict.OK, "nothing is left")
    assert built.paths() == before


def test_reading_alone_writes_nothing() -> None:
    script = FaultScript([raises("put", EntryCode.INTERNAL), raises("remove", EntryCode.INTERNAL)])
    _, driver = memory()
    steps = tried(script.wrap_driver(driver), write=False)
    assert failed(steps) == []
    assert steps[-1].verdict is Verdict.NOT_TRIED
    assert script.fired == (0, 0)


def lying(driver: Driver, **methods: Any) -> Driver:
    """A driver whose locations have other methods."""

    def open_lying(*arguments: Any, **more: Any) -> Location:
        location = driver.open(*arguments, **more)
        for name, method in methods.items():
            original = getattr(location, name)
            setattr(
                location,
                name,
                lambda *given, _own=method, _was=original, **named: _own(_was, *given, **named),
            )
        return location

    return msgspec.structs.replace(driver, open=open_lying)


def test_a_server_that_ignores_conditions_is_found() -> None:
    _, driver = memory()

    def put(original: Any, entry: Any, content: Any, replaces: Any, throttle: Any) -> Any:
        present = driver.open(SETTINGS, OpenSettings(), create=True).stat(entry.path)
        return original(entry, content, present, throttle)

    assert failed(tried(lying(driver, put=put))) == ["no overwriting by surprise"]


def test_times_that_are_not_kept_are_found() -> None:
    _, driver = memory()

    def stat(original: Any, path: str) -> Any:
        entry = original(path)
        return None if entry is None else msgspec.structs.replace(entry, mtime_ns=5)

    assert "write" in failed(tried(lying(driver, stat=stat)))


def test_content_that_changes_on_the_way_is_found() -> None:
    _, driver = memory()

    def read(original: Any, entry: Any, offset: int = 0) -> Any:
        yield from (bytes(chunk).replace(b"sync", b"sink") for chunk in original(entry, offset))

    assert failed(tried(lying(driver, read=read)))[0] == "write"


def test_one_case_that_is_called_two_is_found() -> None:
    _, driver = memory()

    def stat(original: Any, path: str) -> Any:
        return original(path.replace("/case", "/Case"))

    assert failed(tried(lying(driver, stat=stat))) == ["names"]


def test_what_cannot_be_written_ends_the_trial_and_is_cleaned_up() -> None:
    script = FaultScript([raises("put", EntryCode.PERMISSION_DENIED, times=None)])
    built, driver = memory()
    before = built.paths()
    steps = tried(script.wrap_driver(driver))
    assert failed(steps) == ["write"]
    assert "[permission_denied]" in next(step.detail for step in steps if step.name == "write")
    assert steps[-1].name == "clean up"
    assert built.paths() == before


def test_what_cannot_be_opened_is_said_and_nothing_else_tried() -> None:
    def refuse(*arguments: Any, **more: Any) -> Location:
        raise LocationUnavailableError("the password is refused", remedy="Set another one.")

    _, driver = memory()
    assert tried(msgspec.structs.replace(driver, open=refuse)) == [
        Step("open", Verdict.FAILED, "the password is refused\nSet another one.")
    ]


def test_a_package_that_is_missing_is_named_with_its_extra() -> None:
    _, driver = memory()
    [step] = tried(msgspec.structs.replace(driver, requires=("no_such_module",), extra="smb"))
    assert step.verdict is Verdict.FAILED
    assert "pip install 'sync-runner[smb]'" in step.detail


def test_folders_that_cannot_be_listed_are_noted() -> None:
    _, driver = memory({"a/b": b"", "z/y": b"x"})
    steps = tried(FaultScript([not_listed("a/")]).wrap_driver(driver), write=False)
    assert (steps[1].name, steps[1].verdict) == ("list", Verdict.NOTED)
    assert "'a/'" in steps[1].detail


@pytest.mark.parametrize(
    ("skew", "verdict"),
    [(0.0, Verdict.OK), (1.5, Verdict.OK), (-60.0, Verdict.NOTED), (900.0, Verdict.FAILED)],
)
def test_the_clocks_are_compared(skew: float, verdict: Verdict) -> None:
    clock = FakeClock()
    _, driver = memory()

    def open_telling(*arguments: Any, **more: Any) -> Location:
        location: Any = driver.open(*arguments, **more)
        location.server_time_ns = lambda: int((clock.now().timestamp() + skew) * 1e9)
        return location  # type: ignore[no-any-return]

    steps = list(
        probe(msgspec.structs.replace(driver, open=open_telling), SETTINGS, clock, EXECUTION, write=False)
    )
    assert [step.verdict for step in steps if step.name == "clock"] == [verdict]


def refusing() -> Iterator[Unfinished]:
    raise EntryError(EntryCode.PERMISSION_DENIED, "", "you may not ask")
    yield


@pytest.mark.parametrize(
    ("told", "verdict", "words"),
    [
        (lambda: iter([]), Verdict.OK, "none of other programs"),
        (lambda: iter([Unfinished("a"), Unfinished("b")]), Verdict.NOTED, "2 of other programs: they"),
        (
            lambda: iter([Unfinished("a", 1_700_000_005 * 10**9), Unfinished("b", 1_700_000_000 * 10**9)]),
            Verdict.NOTED,
            "2 of other programs, the oldest of 2023-11-14T22:13:20Z: they",
        ),
        (lambda: iter([Unfinished("a")] * 5000), Verdict.NOTED, "1000 or more of other programs: they"),
        (refusing, Verdict.NOT_TRIED, "cannot be asked for: you may not ask"),
    ],
)
def test_unfinished_uploads_of_others_are_told(
    told: Callable[[], Iterator[Unfinished]], verdict: Verdict, words: str
) -> None:
    _, driver = memory()

    def open_telling(*arguments: Any, **more: Any) -> Location:
        location: Any = driver.open(*arguments, **more)
        location.unfinished = told
        return location  # type: ignore[no-any-return]

    steps = list(
        probe(
            msgspec.structs.replace(driver, open=open_telling), SETTINGS, FakeClock(), EXECUTION, write=False
        )
    )
    (step,) = [step for step in steps if step.name == "unfinished uploads"]
    assert step.verdict is verdict
    assert step.detail.startswith(words)


def test_resolutions_are_for_people() -> None:
    assert [format_resolution(one) for one in (1, 100, 1_000, 1_000_000, 10**9, 2 * 10**9)] == [
        "1 ns", "100 ns", "1 µs", "1 ms", "1 s", "2 s",
    ]  # fmt: skip


NAME_TABLE = [
    ("nothing is forbidden", NameRules(), "a:b\n\udcff", None),
    ("bytes", NameRules(max_name_bytes=4), "x/\u00fc\u00fc\u00fc", "longer than the 4 bytes"),
    ("bytes of another name in the path", NameRules(max_name_bytes=4), "long-enough/x", None),
    ("units", NameRules(max_name_units=3), "\U0001f600\U0001f600", "longer than the 3 UTF-16 units"),
    ("path", NameRules(max_path_bytes=5), "ab/cd/e", "the path is longer"),
    ("the slash of a folder is free", NameRules(max_path_bytes=5), "ab/cd/", None),
    ("path units", NameRules(max_path_units=5), "ab/cde", "longer than the 5 UTF-16 units"),
    ("a path's units, not its bytes", NameRules(max_path_units=5), "\u65e5\u672c/\u8a9e\u8a9e", None),
    (
        "two units a character",
        NameRules(max_path_units=5),
        "\U0001f600/\U0001f600x",
        "longer than the 5 UTF-16",
    ),
    ("a folder's slash is no unit", NameRules(max_path_units=5), "ab/cd/", None),
    ("levels", NameRules(max_depth=3), "a/b/c/d", "more than the 3 levels"),
    ("as many levels as allowed", NameRules(max_depth=3), "a/b/c", None),
    ("a folder's slash begins a level", NameRules(max_depth=3), "a/b/c/", "more than the 3 levels"),
    ("not UTF-8", NameRules(utf8=True), "a\udcff", "not valid UTF-8"),
    ("control", NameRules(controls=False), "a\x1fb", "control character"),
    ("delete", NameRules(controls=False), "a\x7fb", "control character"),
    ("beyond ASCII is no control", NameRules(controls=False), "a\u0085b", None),
    ("forbidden", NameRules(forbidden=':"'), "a:b", "':'"),
    ("forbidden in a parent is the parent's", NameRules(forbidden=":"), "a:b/c", None),
    ("end", NameRules(forbidden_end=" ."), "a.", "ends with '.'"),
    ("end of a folder", NameRules(forbidden_end=" ."), "a /", "ends with ' '"),
    ("reserved", NameRules(reserved=frozenset({"NUL"})), "x/nul", "reserves this name"),
    (
        "reserved with an extension",
        NameRules(reserved=frozenset({"NUL"})),
        "Nul.tar.gz",
        "reserves this name",
    ),
    (
        "reserved as it is spelt",
        NameRules(reserved_exactly=frozenset({".snapshot"})),
        "a/.snapshot/",
        "for itself",
    ),
    ("spelt otherwise", NameRules(reserved_exactly=frozenset({".snapshot"})), "a/.Snapshot", None),
    ("only begins like it", NameRules(reserved=frozenset({"NUL"})), "nulls", None),
]


@pytest.mark.parametrize("row", NAME_TABLE, ids=[row[0] for row in NAME_TABLE])
def test_name_rules(row: tuple[str, NameRules, str, str | None]) -> None:
    _, rules, path, expected = row
    refusal = rules.refusal(path)
    assert (refusal is None) == (expected is None)
    assert expected is None or expected in str(refusal)
