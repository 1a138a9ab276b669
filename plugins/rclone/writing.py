"""Writing one file so that its name appears when all of it is there, proved, and nothing else stood in its place."""

from __future__ import annotations

import contextlib
import enum
import os
from collections.abc import Callable, Iterable

from runner.errors import EntryCode, EntryError
from runner.locations.protocol import Buffer, OpenSettings, Throttle, Written
from runner.model.entry import Entry, leaf_name, parent_path
from runner.model.task import Integrity

from .content import SMALL_BYTES, Passing, Spool, common_hash, encrypted_size, spooled
from .faults import changed, shown
from .remote import Information, Listed, Remote
from .times import format_time

_LARGEST_STREAM = 32 << 30
"""Object stores split a stream of unknown length into few enough parts only up to about this size."""


class Publishing(enum.Enum):
    """How a file gets its name."""

    MOVE = "move"  # written under a temporary name, then renamed onto the place
    UPDATE = "update"  # the storage shows an upload when it is complete, in the place of what was there
    UNIQUE = "unique"  # the same, but names are not unique: rclone has to look for what it updates


class SpoolRemotes:
    """The two remotes of a daemon over this process's open files: as they are, and for their length alone."""

    def __init__(self, plain: Remote, length: Remote) -> None:
        self.plain = plain
        self.length = length


class FileWriter:
    """Writes files of one location. `expect(path, replaces)` raises STALE unless the place is as it has to be; it also
    clears away an empty folder that is to be replaced."""

    def __init__(
        self,
        remote: Remote,
        information: Information,
        backends: tuple[str, ...],
        settings: OpenSettings,
        spools: SpoolRemotes,
        spool_folder: str | None,
        next_name: Callable[[], str],
        expect: Callable[[str, Entry | None], None],
    ) -> None:
        self.remote = remote
        self.publishing = publishing_of(information, backends)
        self.hash_type = common_hash(information.Hashes, settings.digest)
        self._information = information
        self._settings = settings
        self._spools = spools
        self._spool_folder = spool_folder or settings.cache_directory
        self._next_name = next_name
        self._expect = expect
        self._if_none_match = backends == ("s3",)
        features = information.Features
        # A stream of unknown length carries no time; webdav cannot set one later.
        self._streams = features.PutStream and "webdav" not in backends
        self._largest_stream = _LARGEST_STREAM if features.BucketBased else 1 << 62

    def write(
        self, entry: Entry, content: Iterable[Buffer], replaces: Entry | None, throttle: Throttle
    ) -> Written:
        size = entry.size_bytes
        passing = Passing(self._settings.digest, self.hash_type)
        if self._streams and size is not None and SMALL_BYTES < size <= self._largest_stream:
            refused = self._stream(entry, content, replaces, throttle, passing)
        else:
            refused = self._through_spool(entry, content, replaces, throttle, passing)
        return Written(passing.bytes, passing.digest, refused)

    # -- two ways there --------------------------------------------------------------------------------------

    def _through_spool(
        self,
        entry: Entry,
        content: Iterable[Buffer],
        replaces: Entry | None,
        throttle: Throttle,
        passing: Passing,
    ) -> tuple[str, ...]:
        folder = self._spool_folder if self._spool_folder and os.path.isdir(self._spool_folder) else None
        with spooled(entry.size_bytes, folder, entry.path) as spool:
            for chunk in content:
                throttle.take(len(chunk))
                passing.update(chunk)
                _keep(spool, chunk, entry.path)
            self._check_length(entry, passing)
            mtime_ns = self.wanted_time(entry)
            if mtime_ns is not None:
                spool.set_time(mtime_ns)

            def send(target: str) -> None:
                config: dict[str, object] = {}
                if target == entry.path:
                    self._expect(entry.path, replaces)
                    config["NoCheckDest"] = self.publishing is not Publishing.UNIQUE
                    if self._if_none_match and replaces is None:
                        config["UploadHeaders"] = [{"Key": "If-None-Match", "Value": "*"}]
                self.remote.take(self._spools.plain, spool.path, target, passing.bytes, config)

            return self.publish(entry, replaces, passing, send)

    def _stream(
        self,
        entry: Entry,
        content: Iterable[Buffer],
        replaces: Entry | None,
        throttle: Throttle,
        passing: Passing,
    ) -> tuple[str, ...]:
        config: dict[str, object] = {}
        mtime_ns = self.wanted_time(entry)
        if mtime_ns is not None and self._information.Features.WriteMetadata:
            config = {"Metadata": True, "MetadataSet": {"mtime": format_time(mtime_ns)}}

        def send(target: str) -> None:
            upload = self.remote.upload(parent_path(target), leaf_name(target), config)
            try:
                for chunk in content:
                    throttle.take(len(chunk))
                    passing.update(chunk)
                    upload.write(chunk)
                self._check_length(entry, passing)
                if target == entry.path:
                    self._expect(entry.path, replaces)
            except BaseException:
                upload.abandon()
                raise
            upload.finish(passing.bytes)

        return self.publish(entry, replaces, passing, send)

    # -- the steps -------------------------------------------------------------------------------------------

    def publish(
        self, entry: Entry, replaces: Entry | None, passing: Passing, send: Callable[[str], None]
    ) -> tuple[str, ...]:
        """Send, prove, set the time, give the name. Returns the metadata that was refused."""
        if self.publishing is not Publishing.MOVE:
            send(entry.path)
            try:
                return self._proved(entry.path, entry, passing)
            except EntryError as error:
                if error.entry_code is EntryCode.CHECKSUM_FAILURE:
                    self.clear_away(entry.path)
                raise
        temporary = parent_path(entry.path) + self._next_name()
        try:
            send(temporary)
            refused = self._proved(temporary, entry, passing)
            self._expect(entry.path, replaces)
            self.rename(temporary, entry.path, replaces, passing.bytes)
        except BaseException:
            self.clear_away(temporary)
            raise
        return refused

    def rename(self, temporary: str, path: str, replaces: Entry | None, size_bytes: int) -> None:
        """Give what stands at `temporary` its name, in one step where the storage can replace what is there."""
        try:
            self.remote.move(temporary, path, checked=False, size_bytes=size_bytes)
        except EntryError:
            if replaces is None or self.remote.file(temporary) is None:
                raise
            # This storage renames onto nothing only: what is there has to go first.
            self._expect(path, replaces)
            self.remote.move(temporary, path, checked=True, size_bytes=size_bytes)

    def clear_away(self, path: str) -> None:
        """Remove what a failed write left; what cannot be removed now is swept later."""
        with contextlib.suppress(EntryError):
            if self.remote.file(path) is not None:
                self.remote.remove_file(path)

    def wanted_time(self, entry: Entry) -> int | None:
        """The time to set, as coarse as the storage keeps it."""
        resolution = self._information.resolution_ns
        if resolution is None or entry.mtime_ns is None:
            return None
        return entry.mtime_ns - entry.mtime_ns % resolution

    def _proved(self, path: str, entry: Entry, passing: Passing) -> tuple[str, ...]:
        reads_back = self._settings.integrity is Integrity.READ_BACK
        listed = self.remote.file(path, passing.hash_type if reads_back else None)
        if listed is None or listed.Size != passing.bytes:
            found = "nothing" if listed is None else f"{listed.Size} bytes"
            raise _damaged(entry.path, f"{found} arrived where {passing.bytes} bytes were sent")
        if reads_back:
            self._compare(path, entry.path, listed, passing)
        return self._timed(path, entry, listed)

    def _compare(self, path: str, shown_path: str, listed: Listed, passing: Passing) -> None:
        """The stored bytes against those sent: by the storage's own hash, else by reading them."""
        told = (listed.Hashes or {}).get(passing.hash_type or "")
        if told:
            if told != passing.hash:
                raise _damaged(shown_path, f"the storage's {passing.hash_type} is not that of what was sent")
            return
        again = Passing(self._settings.digest, None)
        for chunk in self.remote.read(path, 0, passing.bytes):
            again.update(chunk)
        if again.digest != passing.digest:
            raise _damaged(shown_path, "what was read back is not what was sent")

    def _timed(self, path: str, entry: Entry, listed: Listed) -> tuple[str, ...]:
        wanted = self.wanted_time(entry)
        resolution = self._information.resolution_ns
        if wanted is None or resolution is None:
            return ()
        told = listed.mtime_ns
        if told is not None and told - told % resolution == wanted:
            return ()
        return () if self.set_time(path, wanted, listed.Size) else ("mtime",)

    def set_time(self, path: str, mtime_ns: int, size_bytes: int) -> bool:
        """Set a file's time; False when the storage keeps another one.

        rclone sets times only while it copies. It is given a source that has the right length and time, but no hash
        and no content that could be read (crypt over a file of zeros): it can do nothing but set the time, or fail.
        """
        fd = os.memfd_create("sync-runner", os.MFD_CLOEXEC)
        try:
            os.truncate(fd, encrypted_size(size_bytes))
            os.utime(fd, ns=(mtime_ns, mtime_ns))
            config = {"RefreshTimes": True, "NoCheckDest": False, "IgnoreTimes": False}
            try:
                self.remote.take(self._spools.length, str(fd), path, 0, config)
            except EntryError as error:
                if error.entry_code in (EntryCode.UNAVAILABLE, EntryCode.TIMEOUT):
                    raise
                return False
        finally:
            os.close(fd)
        listed = self.remote.file(path)
        resolution = self._information.resolution_ns or 1
        told = listed.mtime_ns if listed is not None else None
        return told is not None and told - told % resolution == mtime_ns

    def _check_length(self, entry: Entry, passing: Passing) -> None:
        if entry.size_bytes is not None and passing.bytes != entry.size_bytes:
            raise changed(entry.path, f"{passing.bytes} bytes came, {entry.size_bytes} were announced")


def publishing_of(information: Information, backends: tuple[str, ...]) -> Publishing:
    """PartialUploads is rclone's word for storages where others see a file while it is written; webdav lacks it."""
    features = information.Features
    if (features.PartialUploads or "webdav" in backends) and (features.Move or features.Copy):
        return Publishing.MOVE
    return Publishing.UNIQUE if features.DuplicateFiles else Publishing.UPDATE


def is_atomic(information: Information, backends: tuple[str, ...]) -> bool:
    """Whether readers see the old or the new content and never less."""
    if publishing_of(information, backends) is Publishing.MOVE:
        return True
    return not (information.Features.PartialUploads or "webdav" in backends)


def _damaged(path: str, message: str) -> EntryError:
    return EntryError(EntryCode.CHECKSUM_FAILURE, path, f"{shown(path)}: {message}")


def _keep(spool: Spool, chunk: Buffer, path: str) -> None:
    try:
        spool.write(chunk)
    except OSError as error:
        raise EntryError(
            EntryCode.IO_ERROR, path, f"the spool folder took no more: {error.strerror}. Set spool_folder."
        ) from error
