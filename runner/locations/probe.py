"""What a location really does: opened, listed, timed, and, where it may be written to, tried out.

Writing happens in one folder of its own name at the root, which is removed again. What a driver declares as its
capabilities is compared with what was seen: a server that ignores a condition is found here, not in a sync.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import msgspec
import xxhash

from runner.clock import Clock
from runner.errors import EntryCode, EntryError, LocationUnavailableError, MissingExtraError
from runner.locations.protocol import (
    Driver,
    Identifies,
    Linking,
    Location,
    OpenSettings,
    Renames,
    SetsAttributes,
    TellsTime,
    TellsUnfinished,
)
from runner.locations.registry import check_installed
from runner.model.entry import Attributes, Entry, Kind, Problem
from runner.model.task import LocationSettings
from runner.units import format_resolution, format_size

LISTED_AT_MOST = 1_000
MTIME_NS = 1_600_000_000_123_456_789
SKEW_NOTED_SECONDS = 2.0
SKEW_REFUSED_SECONDS = 300.0
"""Signed requests (SigV4, Kerberos) are refused beyond five to fifteen minutes."""
CONTENT = b"sync-runner was here: this file may be deleted.\n"


class Verdict(enum.StrEnum):
    OK = "ok"
    FAILED = "failed"
    NOTED = "noted"
    NOT_TRIED = "not_tried"


class Step(msgspec.Struct, frozen=True):
    """One thing that was tried. `detail` is for people; `seconds` what it took."""

    name: str
    verdict: Verdict
    detail: str
    seconds: float = 0.0


class _Free:
    def take(self, size_bytes: int) -> None:
        return


class _Failure(Exception):
    """What was seen is not what was declared."""


Tried = Callable[[], tuple[Verdict, str]]


def probe(
    driver: Driver,
    settings: LocationSettings,
    clock: Clock,
    execution_id: str,
    *,
    write: bool,
    cache_directory: str | None = None,
) -> Iterator[Step]:
    """Each step as it is done; ends early when the location cannot be opened. Never raises for what a location does.

    `write` False: nothing is written, and what only writing proves is said not to be tried.
    """
    attributes = driver.capabilities(settings).attributes - {"mtime"}
    open_settings = OpenSettings(
        attributes=attributes, execution_id=execution_id, cache_directory=cache_directory
    )
    began = clock.monotonic()
    try:
        check_installed(driver)
        location = driver.open(settings, open_settings, create=write)
    except (LocationUnavailableError, MissingExtraError, EntryError) as error:
        yield Step("open", Verdict.FAILED, str(error), clock.monotonic() - began)
        return
    try:
        yield Step("open", Verdict.OK, driver.describe(settings), clock.monotonic() - began)
        trial = _Trial(location, clock, f".sync-runner-check-{execution_id}/")
        for name, tried in trial.reading():
            yield _tried(name, tried, clock)
        if not write:
            yield Step("write", Verdict.NOT_TRIED, "nothing was written; --write tries it")
            return
        writable = True
        for name, tried in trial.writing():
            if not writable and name != "clean up":
                continue
            step = _tried(name, tried, clock)
            yield step
            writable = writable and not (name == "write" and step.verdict is Verdict.FAILED)
    finally:
        location.close()


def _tried(name: str, tried: Tried, clock: Clock) -> Step:
    began = clock.monotonic()
    try:
        verdict, detail = tried()
    except _Failure as failure:
        verdict, detail = Verdict.FAILED, str(failure)
    except (EntryError, LocationUnavailableError) as error:
        code = f" [{error.entry_code.value}]" if isinstance(error, EntryError) else ""
        verdict, detail = Verdict.FAILED, f"{error.message}{code}"
    return Step(name, verdict, detail, clock.monotonic() - began)


class _Trial:
    """The steps on one open location. `folder` is where it writes."""

    def __init__(self, location: Location, clock: Clock, folder: str) -> None:
        self._location = location
        self._clock = clock
        self._folder = folder
        self._capabilities = location.capabilities
        self._a_file: Entry | None = None

    def reading(self) -> Iterator[tuple[str, Tried]]:
        yield "list", self._list
        yield "read", self._read
        if isinstance(self._location, Identifies):
            yield "identity", self._identity
        if isinstance(self._location, TellsTime):
            yield "clock", self._skew
        if isinstance(self._location, TellsUnfinished):
            yield "unfinished uploads", self._unfinished

    def writing(self) -> Iterator[tuple[str, Tried]]:
        yield "write", self._write
        yield "no overwriting by surprise", self._conditions
        yield "replace", self._replace
        yield "metadata", self._metadata
        yield "names", self._names
        yield "kinds", self._kinds
        if isinstance(self._location, Renames):
            yield "rename", self._rename
        yield "clean up", self._clean_up

    # -- reading -------------------------------------------------------------------------------------------

    def _list(self) -> tuple[Verdict, str]:
        entries = problems = 0
        first: Problem | None = None
        for found in itertools.islice(self._location.scan(), LISTED_AT_MOST):
            if isinstance(found, Problem):
                problems += 1
                first = first or found
                continue
            entries += 1
            if self._a_file is None and found.kind is Kind.FILE and (found.size_bytes or 0) <= 1 << 20:
                self._a_file = found
        seen = (
            f"the first {entries} entries" if entries + problems >= LISTED_AT_MOST else f"{entries} entries"
        )
        if first is not None:
            return (
                Verdict.NOTED,
                f"{seen}; {problems} could not be listed, the first: {first.path!r}: {first.message}",
            )
        return Verdict.OK, seen

    def _read(self) -> tuple[Verdict, str]:
        if self._a_file is None:
            return Verdict.NOT_TRIED, "no small file was among what was listed"
        size = sum(len(chunk) for chunk in self._location.read(self._a_file))
        if size != self._a_file.size_bytes:
            raise _Failure(
                f"{self._a_file.path!r} is listed with {self._a_file.size_bytes} bytes and has {size}"
            )
        return Verdict.OK, f"{self._a_file.path!r}, {format_size(size)}"

    def _identity(self) -> tuple[Verdict, str]:
        assert isinstance(self._location, Identifies)
        free = self._location.space().free_bytes
        space = "" if free is None else f"; {format_size(free)} free"
        return Verdict.OK, (self._location.identity().describe() or "no facts") + space

    def _skew(self) -> tuple[Verdict, str]:
        assert isinstance(self._location, TellsTime)
        before = self._clock.now().timestamp()
        theirs = self._location.server_time_ns() / 1e9
        after = self._clock.now().timestamp()
        # What the question took is nobody's skew.
        skew = theirs - min(max(theirs, before), after)
        detail = f"the server's clock differs by {skew:+.1f} s" if abs(skew) >= 0.05 else "the clocks agree"
        if abs(skew) > SKEW_REFUSED_SECONDS:
            raise _Failure(f"{detail}: signed requests are refused; set one of the clocks right (NTP)")
        return (Verdict.NOTED if abs(skew) > SKEW_NOTED_SECONDS else Verdict.OK), detail

    def _unfinished(self) -> tuple[Verdict, str]:
        assert isinstance(self._location, TellsUnfinished)
        count = 0
        oldest_ns: int | None = None
        try:
            for upload in itertools.islice(self._location.unfinished(), LISTED_AT_MOST):
                count += 1
                if upload.begun_ns is not None and (oldest_ns is None or upload.begun_ns < oldest_ns):
                    oldest_ns = upload.begun_ns
        except EntryError as error:
            # For information: nothing the runner does needs this right.
            return Verdict.NOT_TRIED, f"cannot be asked for: {error.message}"
        if count == 0:
            return Verdict.OK, "none of other programs"
        many = f"{count} or more" if count == LISTED_AT_MOST else str(count)
        since = ""
        if oldest_ns is not None:
            oldest = datetime.fromtimestamp(oldest_ns // 1_000_000_000, UTC)
            since = f", the oldest of {oldest:%Y-%m-%dT%H:%M:%SZ}"
        return Verdict.NOTED, f"{many} of other programs{since}: they take space until somebody removes them"

    # -- writing -------------------------------------------------------------------------------------------

    def _put(self, name: str, content: bytes, replaces: Entry | None = None, **facts: object) -> Entry:
        path = self._folder + name
        entry = Entry(path, Kind.FILE, len(content), mtime_ns=MTIME_NS)
        written = self._location.put(msgspec.structs.replace(entry, **facts), [content], replaces, _Free())
        present = self._location.stat(path)
        if present is None or present.size_bytes != len(content):
            raise _Failure(f"{path!r} was written and is not there as it was written")
        expected = f"xxh3_128:{xxhash.xxh3_128(content).hexdigest()}"
        if written.digest not in (None, expected):
            raise _Failure(f"{path!r} was written with another digest than its content has")
        return present

    def _write(self) -> tuple[Verdict, str]:
        present = self._put("file", CONTENT)
        back = b"".join(bytes(chunk) for chunk in self._location.read(present))
        if back != CONTENT:
            raise _Failure("what was written is not what can be read")
        resolution = self._capabilities.mtime_resolution_ns
        if resolution is None:
            return Verdict.OK, "written and read back; modification times are not kept"
        if present.mtime_ns != MTIME_NS - MTIME_NS % resolution:
            raise _Failure(f"the time {MTIME_NS} ns became {present.mtime_ns} ns")
        return Verdict.OK, f"written and read back; times are kept to {format_resolution(resolution)}"

    def _conditions(self) -> tuple[Verdict, str]:
        """A file that is there is not overwritten by who expects nothing, nor by who expects another."""
        present = self._location.stat(self._folder + "file")
        assert present is not None
        wrong = msgspec.structs.replace(present, size_bytes=1, version="another")
        for expected in (None, wrong):
            try:
                self._put("file", b"overwritten", expected)
            except EntryError as error:
                if error.entry_code is not EntryCode.STALE:
                    raise
            else:
                raise _Failure("a file was overwritten although something else was expected there")
        return Verdict.OK, "what is not as expected stays as it is"

    def _replace(self) -> tuple[Verdict, str]:
        present = self._location.stat(self._folder + "file")
        changed = self._put("file", CONTENT * 2, present)
        if b"".join(bytes(chunk) for chunk in self._location.read(changed)) != CONTENT * 2:
            raise _Failure("what was replaced is not what can be read")
        return Verdict.OK, "new content under the old name"

    def _metadata(self) -> tuple[Verdict, str]:
        wanted = Attributes(mode=0o640) if "mode" in self._capabilities.attributes else None
        present = self._put("with-metadata", CONTENT, attributes=wanted)
        if wanted is not None and (present.attributes is None or present.attributes.mode != 0o640):
            raise _Failure(f"the mode 0640 became {present.attributes}")
        if isinstance(self._location, SetsAttributes) and wanted is not None:
            later = msgspec.structs.replace(present, attributes=Attributes(mode=0o600), mtime_ns=MTIME_NS)
            self._location.set_attributes(later, present)
            present = self._location.stat(present.path) or present
            if present.attributes is None or present.attributes.mode != 0o600:
                raise _Failure(f"the mode 0600, set later, became {present.attributes}")
        carried = ", ".join(sorted(self._capabilities.attributes)) or "none"
        return Verdict.OK, f"declared: {carried}"

    def _names(self) -> tuple[Verdict, str]:
        self._put("Case", CONTENT)
        other = self._location.stat(self._folder + "case")
        if self._capabilities.case_sensitive and other is not None:
            raise _Failure("upper and lower case are one here, but the driver says they differ")
        self._put("f\u00fcr \u65e5\u672c", CONTENT)
        sensitive = "differ" if self._capabilities.case_sensitive else "are one"
        return Verdict.OK, f"upper and lower case {sensitive}; names beyond ASCII are kept"

    def _kinds(self) -> tuple[Verdict, str]:
        proved = ["file"]
        if self._capabilities.empty_directories:
            path = self._folder + "empty/"
            self._location.put(Entry(path, Kind.DIRECTORY, mtime_ns=MTIME_NS), None, None, _Free())
            standing = self._location.stat(path)
            if standing is None or standing.kind is not Kind.DIRECTORY:
                raise _Failure("an empty folder was made and is not there")
            proved.append("empty folder")
        if Kind.SYMLINK in self._capabilities.kinds:
            link = Entry(self._folder + "link", Kind.SYMLINK, link_target="file")
            self._location.put(link, None, None, _Free())
            seen = self._location.stat(link.path)
            if seen is None or seen.kind is not Kind.SYMLINK or seen.link_target != "file":
                raise _Failure(f"a symbolic link was made and became {seen}")
            proved.append("symbolic link")
        if self._capabilities.hard_links and isinstance(self._location, Linking):
            self._location.link(self._folder + "second-name", self._folder + "file", None)
            proved.append("hard link")
        return Verdict.OK, ", ".join(proved)

    def _rename(self) -> tuple[Verdict, str]:
        assert isinstance(self._location, Renames)
        standing = self._location.stat(self._folder + "Case")
        assert standing is not None
        self._location.rename(standing, self._folder + "moved/Case")
        if self._location.stat(self._folder + "moved/Case") is None:
            raise _Failure("a file was moved and is not there")
        return Verdict.OK, "files can be moved into quarantine"

    def _clean_up(self) -> tuple[Verdict, str]:
        found = [one for one in self._location.scan(self._folder) if isinstance(one, Entry)]
        for entry in reversed(found):
            if not entry.path.startswith(self._folder):
                continue
            try:
                self._location.remove(self._location.stat(entry.path) or entry)
            except EntryError as error:
                if error.entry_code is not EntryCode.NOT_FOUND:
                    raise
        left = self._location.stat(self._folder)
        if left is not None:
            raise _Failure(f"{self._folder!r} is still there: remove it")
        return Verdict.OK, "nothing is left"
