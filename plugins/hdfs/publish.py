"""From content to a name: written beside its place, checked, given its attributes, then renamed into place.

HDFS files cannot be changed in place, and rename2 replaces a file in one step, or refuses to. A file and a folder
cannot change places in one step: what stands there is moved aside, and back when the rest fails.
"""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Callable, Iterable, Iterator

from runner.errors import EntryCode, EntryError
from runner.locations.observer import spent
from runner.locations.protocol import Buffer, OpenSettings, Throttle, Written
from runner.model.activity import Activity
from runner.model.entry import Entry, Kind
from runner.model.task import Integrity

from .attributes import apply
from .content import Passing, prove
from .facts import difference
from .faults import RemoteFault, classified, stale, unreachable
from .names import TemporaryNames, absolute
from .transport import Status, Transport

PRIVATE_FOLDER = 0o700
_PRIVATE_FILE = 0o600
_NEW_FILE = 0o644
_NEW_FOLDER = 0o755
"""What Hadoop's own tools give new files and folders; used where no mode is carried."""

_MOST_PARENTS = 4096


class Publisher:
    """Makes files and folders below one root."""

    def __init__(
        self, transport: Transport, root: str, settings: OpenSettings, names: TemporaryNames
    ) -> None:
        self._transport = transport
        self._root = root
        self._settings = settings
        self._names = names
        # Folders that stood there a moment ago: asking for each file would cost a round trip.
        self._parents: set[str] = set()
        self._abandoned: list[str] = []

    def put_file(
        self, entry: Entry, content: Iterable[Buffer], replaces: Entry | None, throttle: Throttle
    ) -> Written:
        """Write, check and publish a file. See `Location.put`."""
        place = absolute(self._root, entry.path)
        with classified(entry.path, "write"):
            self._require(entry.path, place, replaces)
            draft = self._beside(place)
            observer = self._settings.observer
            passing = Passing(content, entry, throttle, self._settings.digest, observer)
            with self._removed_on_failure(draft):
                self._write(draft, passing, entry)
                status = self._transport.status(draft)
                if status is None or status.length != passing.size_bytes:
                    length = "nothing" if status is None else f"{status.length} bytes"
                    raise EntryError(
                        EntryCode.CHECKSUM_FAILURE,
                        entry.path,
                        f"HDFS holds {length} of the {passing.size_bytes} bytes sent; nothing was published",
                    )
                if self._settings.integrity is Integrity.READ_BACK:
                    algorithm = self._settings.digest
                    with spent(observer, Activity.VERIFYING):
                        prove(
                            self._transport,
                            draft,
                            entry.path,
                            passing.digest,
                            passing.size_bytes,
                            algorithm,
                        )
                refused = apply(self._transport, draft, entry, status)
                self._publish(draft, place, entry, replaces)
        return Written(bytes=passing.size_bytes, digest=passing.digest, refused=refused)

    def put_folder(self, entry: Entry, replaces: Entry | None) -> Written:
        """Make a folder, or set the attributes of the one that stands there."""
        place = absolute(self._root, entry.path)
        with classified(entry.path, "make"):
            present = self._transport.status(place)
            if present is not None and present.is_directory:
                return Written(refused=apply(self._transport, place, entry, present))
            self._require(entry.path, place, replaces)
            mode = PRIVATE_FOLDER if entry.attributes is not None and entry.attributes.mode else _NEW_FOLDER
            if present is None and entry.path == "":
                self._transport.make_folder(place, mode)
                return self._finished(place, entry)
            draft = self._beside(place)
            if present is None:
                return self._new_folder(draft, place, entry, mode)
            with self._removed_on_failure(draft):
                self._with_parents(draft, lambda: self._transport.make_folder(draft, mode))
                status = self._transport.status(draft)
                refused = () if status is None else apply(self._transport, draft, entry, status)
                self._publish(draft, place, entry, replaces)
        return Written(refused=refused)

    def _new_folder(self, draft: str, place: str, entry: Entry, mode: int) -> Written:
        """Where nothing stands a folder is simply made: others may make it in the same moment, as a parent."""
        self.make_parents(place)
        try:
            self._transport.make_folder(place, mode)
        except RemoteFault as fault:
            if fault.code in (EntryCode.STALE, EntryCode.KIND_CONFLICT):
                raise stale(entry.path, "something that is no folder stands there now") from fault
            raise
        return self._finished(place, entry)

    def _finished(self, place: str, entry: Entry) -> Written:
        status = self._transport.status(place)
        if status is None:
            raise stale(entry.path, "the new folder was removed at once")
        return Written(refused=apply(self._transport, place, entry, status))

    def make_parents(self, place: str) -> None:
        """Make the folders above `place`, private until the engine gives them what they should have."""
        parent = posixpath.dirname(place)
        if parent == "/" or parent in self._parents:
            return
        if self._transport.status(parent) is None:
            self._transport.make_folder(parent, PRIVATE_FOLDER)
        if len(self._parents) >= _MOST_PARENTS:
            self._parents.clear()
        self._parents.add(parent)

    # -- steps -----------------------------------------------------------------------------------------------

    def _beside(self, place: str) -> str:
        return posixpath.join(posixpath.dirname(place), self._names.next())

    def _write(self, draft: str, passing: Passing, entry: Entry) -> None:
        mode = _first_mode(entry)
        self._with_parents(draft, lambda: self._transport.write(draft, passing, mode), passing)

    def _with_parents(self, draft: str, make: Callable[[], None], passing: Passing | None = None) -> None:
        """Make something whose folder may be missing, or be gone although it stood there a moment ago."""
        self.make_parents(draft)
        try:
            make()
        except RemoteFault as fault:
            if fault.code is not EntryCode.NOT_FOUND:
                raise
            self._parents.clear()
            if passing is not None and passing.has_begun:
                # Content comes only once; the engine brings it anew.
                raise unreachable("its folder was removed meanwhile") from fault
            self.make_parents(draft)
            make()

    def _require(self, path: str, place: str, replaces: Entry | None) -> Status | None:
        """What stands at `place`, which must be as `replaces` says. Raises STALE."""
        present = self._transport.status(place)
        if present is None:
            if replaces is not None:
                raise stale(path, "nothing stands there any more")
        elif replaces is None:
            raise stale(path, "something stands there now")
        else:
            reason = difference(replaces, present)
            if reason is not None:
                raise stale(path, reason)
        return present

    def _publish(self, draft: str, place: str, entry: Entry, replaces: Entry | None) -> None:
        """Give the draft its name, provided that what stands there is still as expected."""
        present = self._require(entry.path, place, replaces)
        if present is None:
            self._transport.rename(draft, place, overwrite=False)
        elif not present.is_directory and entry.kind is Kind.FILE:
            self._transport.rename(draft, place, overwrite=True)
        elif present.is_directory:
            self._replace_folder(draft, place, entry.path, present)
        else:
            self._replace_by_folder(draft, place)

    def _replace_folder(self, draft: str, place: str, path: str, present: Status) -> None:
        """A file in the place of a folder, which is removed only when it is empty."""
        try:
            self._transport.delete(place)
        except RemoteFault as fault:
            if fault.code is EntryCode.STALE:
                raise stale(path, "the folder holds something") from fault
            raise
        try:
            self._transport.rename(draft, place, overwrite=False)
        except RemoteFault:
            with contextlib.suppress(RemoteFault):
                self._transport.make_folder(place, present.mode)
            raise

    def _replace_by_folder(self, draft: str, place: str) -> None:
        """A folder in the place of a file, which is gone only when the folder stands there."""
        aside = self._beside(place)
        self._transport.rename(place, aside, overwrite=False)
        try:
            self._transport.rename(draft, place, overwrite=False)
        except RemoteFault:
            with contextlib.suppress(RemoteFault):
                self._transport.rename(aside, place, overwrite=False)
            raise
        self._transport.delete(aside)

    @contextlib.contextmanager
    def _removed_on_failure(self, draft: str) -> Iterator[None]:
        """Nothing half-written stays after an exception: what cannot be removed now goes with the next write."""
        self._remove_abandoned()
        try:
            yield
        except BaseException:
            self._abandoned.append(draft)
            with contextlib.suppress(RemoteFault):
                self._remove_abandoned()
            raise

    def _remove_abandoned(self) -> None:
        while self._abandoned:
            self._transport.delete(self._abandoned[-1])
            self._abandoned.pop()


def _first_mode(entry: Entry) -> int:
    """The mode a file is created with: closed to others as long as it has not the owner that it is to have."""
    attributes = entry.attributes
    if attributes is None or attributes.mode is None:
        return _NEW_FILE
    if attributes.user is not None or attributes.group is not None or attributes.acls is not None:
        return _PRIVATE_FILE
    return attributes.mode & 0o777
