"""Scripted faults around any location, and the proof that each of them fired.

    script = FaultScript([
        raises("put", EntryCode.NO_SPACE, nth=3),
        raises("read", EntryCode.IO_ERROR, path="big.mov", after_bytes=1_000_000),
        flips("put", path="photos/*", at_byte=17),       # what the storage keeps is not what was sent
        not_listed("private/"),
        meanwhile("read", lambda: source_tree.write("a", b"new"), path="a"),
    ])
    driver = script.wrap_driver(memory_driver(trees))    # or script.wrap(location)
    ...
    script.assert_all_fired()

A fault that never fired proves nothing: end each test with `assert_all_fired`.
"""

from __future__ import annotations

import enum
import fnmatch
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from runner.errors import EntryCode, EntryError
from runner.locations.protocol import Driver, Location, OpenSettings
from runner.model.task import LocationSettings


class Effect(enum.Enum):
    """What a fault does."""

    RAISE = "raise"
    SHORT = "short"
    FLIP = "flip"
    NOT_LISTED = "not_listed"
    MEANWHILE = "meanwhile"


METHODS = (
    "open",
    "scan",
    "listed",
    "descend",
    "stat",
    "read",
    "put",
    "remove",
    "close",
    "set_attributes",
    "link",
    "copy",
    "rename",
    "digest",
    "identity",
    "space",
    "lock",
    "remove_leftover",
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One scripted fault: made by the functions below.

    It counts the calls of `method` whose path matches the pattern `path` (fnmatch: `*` crosses `/`), and
    fires on the `nth` such call and the `times - 1` after it (`times` None: on all after it). Besides the
    protocol's methods there are `open` (path: the location's name), `listed` (each entry that a scan gives:
    to break a listing half-way) and `descend` (each folder that a scan enters).
    """

    method: str
    effect: Effect
    path: str = "*"
    nth: int = 1
    times: int | None = 1
    error: Callable[[str], Exception] | None = None
    at_byte: int = 0
    action: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"no method {self.method!r}; one of {', '.join(METHODS)}")
        if self.nth < 1 or (self.times is not None and self.times < 1):
            raise ValueError("nth and times count from 1")

    def describe(self) -> str:
        return f"{self.effect.value} in call {self.nth} of {self.method}({self.path!r})"


def raises(
    method: str,
    error: EntryCode | Exception,
    *,
    path: str = "*",
    nth: int = 1,
    times: int | None = 1,
    after_bytes: int = 0,
) -> Fault:
    """The call raises: an EntryError of that code for its path, or that exception. read, and put's content,
    raise once `after_bytes` have passed; put's storage must then be as before."""

    def make(at: str) -> Exception:
        if isinstance(error, EntryCode):
            return EntryError(error, at, f"scripted fault: {error.value} at {at!r}")
        return error

    return Fault(method, Effect.RAISE, path, nth, times, error=make, at_byte=after_bytes)


def short(
    method: str, *, path: str = "*", nth: int = 1, times: int | None = 1, keeps_bytes: int = 0
) -> Fault:
    """read ends after `keeps_bytes` and says nothing; put stores only so many and reports all as written."""
    return Fault(method, Effect.SHORT, path, nth, times, at_byte=keeps_bytes)


def flips(method: str, *, path: str = "*", nth: int = 1, times: int | None = 1, at_byte: int = 0) -> Fault:
    """One bit of the byte at that offset is another: in what read gives, or in what the storage keeps of a
    put (which reports the digest of what was sent, as hardware that lies does)."""
    return Fault(method, Effect.FLIP, path, nth, times, at_byte=at_byte)


def not_listed(folder: str, *, nth: int = 1, times: int | None = None) -> Fault:
    """scan gives the folder's entry, then a Problem(not_listed) in place of its content."""
    return Fault("descend", Effect.NOT_LISTED, folder, nth, times)


def meanwhile(
    method: str,
    action: Callable[[], None],
    *,
    path: str = "*",
    nth: int = 1,
    times: int | None = 1,
    after_bytes: int = 0,
) -> Fault:
    """Another program acts: before the call, or (read, put) once `after_bytes` of content have passed; with
    the file's size, a read's fault acts just before the driver's last look."""
    return Fault(method, Effect.MEANWHILE, path, nth, times, at_byte=after_bytes, action=action)


class FaultScript:
    """Faults, and the counts of calls and firings. Wrapped locations may live in several threads."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._faults = tuple(faults)
        self._matched = [0] * len(self._faults)
        self._fired = [0] * len(self._faults)
        self._calls: dict[str, int] = {}
        self._lock = threading.Lock()

    @property
    def counts(self) -> dict[str, int]:
        """Calls by method so far."""
        with self._lock:
            return dict(self._calls)

    @property
    def fired(self) -> tuple[int, ...]:
        """How often each fault fired, in the order of the script."""
        with self._lock:
            return tuple(self._fired)

    def assert_all_fired(self) -> None:
        """AssertionError that names each fault that never fired."""
        missing = [
            fault.describe() for fault, count in zip(self._faults, self.fired, strict=True) if not count
        ]
        if missing:
            raise AssertionError("these scripted faults never fired: " + "; ".join(missing))

    def wrap(self, location: Location) -> Location:
        """`location` with the faults: it offers exactly the roles that `location` offers."""
        from runner.testing.fault_location import faulty

        return faulty(location, self)

    def wrap_driver(self, driver: Driver) -> Driver:
        """`driver`, whose locations share this script's counts; batches stay in this process."""

        def open_faulty(settings: LocationSettings, open_settings: OpenSettings, *, create: bool) -> Location:
            for fault in self.due("open", settings.name):
                self.fire(fault, settings.name)
            return self.wrap(driver.open(settings, open_settings, create=create))

        return msgspec.structs.replace(driver, open=open_faulty, in_process_only=True)

    def due(self, method: str, path: str) -> list[Fault]:
        """For the wrapper: count a call; the faults that are due in it, in the order of the script."""
        due = []
        with self._lock:
            self._calls[method] = self._calls.get(method, 0) + 1
            for index, fault in enumerate(self._faults):
                if fault.method != method or not fnmatch.fnmatchcase(path, fault.path):
                    continue
                self._matched[index] += 1
                late = fault.times is not None and self._matched[index] >= fault.nth + fault.times
                if self._matched[index] >= fault.nth and not late:
                    due.append(fault)
        return due

    def fire(self, fault: Fault, path: str) -> None:
        """For the wrapper: count a firing, and do what the fault does besides altering content."""
        with self._lock:
            self._fired[next(index for index, one in enumerate(self._faults) if one is fault)] += 1
        if fault.action is not None:
            fault.action()
        if fault.error is not None:
            raise fault.error(path)
