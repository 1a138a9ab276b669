"""What the conformance tests share: opening, the hooks an author may override, small steps, and the
assertions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import pytest

from runner.errors import EntryCode, EntryError
from runner.locations.protocol import Buffer, Capabilities, Driver, Location, OpenSettings, Written
from runner.model.entry import Attributes, Entry, Kind, path_bytes
from runner.model.task import LocationSettings

MTIME_NS = 1_700_000_000_123_456_789


class Meter:
    """A throttle that lets everything pass, counts it, and can stop the execution."""

    def __init__(self, cancel_after_bytes: int | None = None) -> None:
        self.taken = 0
        self._cancel_after = cancel_after_bytes

    def take(self, size_bytes: int) -> None:
        self.taken += size_bytes
        if self._cancel_after is not None and self.taken > self._cancel_after:
            raise EntryError(EntryCode.CANCELLED, "", "cancelled by the suite")


class ConformanceBase:
    """Give `driver` and `settings`; or override `open` alone (the tests of the driver value are then
    skipped).

    Hooks, all optional: `write_behind`, `make_unlistable`, `root_is_made_on_first_write`.
    """

    driver: Driver | None = None
    root_is_made_on_first_write = True
    """False where a root that is missing cannot be, or is not made by opening with create (a bucket)."""

    def settings(self) -> LocationSettings:
        """The location under test; equal settings open the same storage."""
        raise AssertionError("a conformance class needs `settings`, or its own `open`")

    def open(self, *, create: bool = True, open_settings: OpenSettings | None = None) -> Location:
        """A new location object over this test's storage; several may be open at once."""
        assert self.driver is not None, "a conformance class needs `driver`, or its own `open`"
        return self.driver.open(self.settings(), open_settings or OpenSettings(), create=create)

    def write_behind(self, path: str, content: bytes) -> None:
        """Change an existing file as another program does. Default: through a second location object."""
        other = self._opened()
        standing = other.stat(path)
        assert standing is not None
        other.put(file_entry(path, content, mtime_ns=MTIME_NS + 5_000_000_000), [content], standing, Meter())

    def make_unlistable(self, path: str) -> bool:
        """Make a folder that the user of this test can see but not list; False when that cannot be done."""
        return False

    # -- steps of the tests ----------------------------------------------------------------------------------

    @pytest.fixture(autouse=True)
    def _locations(self) -> Iterator[None]:
        self._open_locations: list[Location] = []
        yield
        for location in self._open_locations:
            location.close()
        # pytest keeps every test's object to the end, and locations keep buffers.
        self._open_locations.clear()

    def _opened(self, *, create: bool = True, open_settings: OpenSettings | None = None) -> Location:
        location = self.open(create=create, open_settings=open_settings)
        self._open_locations.append(location)
        return location

    def _needs(self, *kinds: Kind) -> Location:
        """A location that holds these kinds, or a skip."""
        location = self._opened()
        missing = set(kinds) - location.capabilities.kinds
        if missing:
            pytest.skip("holds no " + ", ".join(sorted(missing)))
        return location

    def _with_empty_folders(self) -> Location:
        location = self._needs(Kind.DIRECTORY)
        if not location.capabilities.empty_directories:
            pytest.skip("holds no empty folders")
        return location


def file_entry(
    path: str, content: bytes, attributes: Attributes | None = None, mtime_ns: int | None = MTIME_NS
) -> Entry:
    """A file as a source lists it."""
    return Entry(path, Kind.FILE, size_bytes=len(content), mtime_ns=mtime_ns, attributes=attributes)


def folder_entry(path: str, attributes: Attributes | None = None) -> Entry:
    return Entry(path, Kind.DIRECTORY, mtime_ns=MTIME_NS, attributes=attributes)


def link_entry(path: str, target: str) -> Entry:
    return Entry(path=path, kind=Kind.SYMLINK, link_target=target)


def put_file(location: Location, path: str, content: bytes = b"content") -> Entry:
    """Make a new file; its entry as `stat` gives it."""
    location.put(file_entry(path, content), [content], None, Meter())
    return stated(location, path)


def put_folder(location: Location, path: str) -> Written:
    return location.put(folder_entry(path), None, None, Meter())


def stated(location: Location, path: str) -> Entry:
    """What stands at `path`, which must be something."""
    entry = location.stat(path)
    assert entry is not None, f"stat({path!r}) finds nothing"
    return entry


def content_of(location: Location, path: str) -> bytes:
    """A file's whole content, each chunk copied while it is valid."""
    return b"".join(bytes(chunk) for chunk in location.read(stated(location, path)))


def listed(location: Location) -> list[str]:
    """Paths of a scan below its root, sorted canonically here; a problem fails the test."""
    paths = []
    for found in location.scan():
        assert isinstance(found, Entry), f"the scan reports {found}"
        paths.append(found.path)
    return sorted((path for path in paths if path != ""), key=path_bytes)


def entries(location: Location) -> dict[str, Entry]:
    return {found.path: found for found in location.scan() if isinstance(found, Entry)}


@contextlib.contextmanager
def refused(*codes: EntryCode) -> Iterator[None]:
    """The block must raise an EntryError of one of these codes (of any code when none is given)."""
    try:
        yield
    except EntryError as error:
        wanted = ", ".join(code.value for code in codes)
        assert not codes or error.entry_code in codes, f"{error.entry_code.value} came, not {wanted}: {error}"
        assert error.message, "an EntryError needs a message"
    else:
        raise AssertionError("nothing was raised; expected " + (", ".join(codes) or "an EntryError"))


def stored_mtime(capabilities: Capabilities, mtime_ns: int) -> int | None:
    """What a location with these capabilities makes of a modification time; None = nothing is promised."""
    resolution = capabilities.mtime_resolution_ns
    return None if resolution is None else mtime_ns - mtime_ns % resolution


def broken_after(content: bytes, error: Exception) -> Iterable[Buffer]:
    """Content that ends with an exception."""
    yield content
    raise error
