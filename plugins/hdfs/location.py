"""An open HDFS location."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from runner.errors import EntryCode, EntryError, LocationUnavailableError
from runner.locations.protocol import (
    Buffer,
    Capabilities,
    Identity,
    OpenSettings,
    Space,
    Throttle,
    Written,
)
from runner.model.entry import Entry, Kind, Problem

from .address import HdfsOptions
from .attributes import AttributeReader, apply
from .facts import difference, entry_of
from .faults import RemoteFault, changed, classified, shown, stale
from .names import TemporaryNames, absolute, problem_with, require_allowed, temporary_execution
from .publish import Publisher
from .scan import Walk
from .transport import Status, Transport
from .webhdfs import WebTransport


class HdfsLocation:
    """Six methods and the roles that both transports can do. Connects when first used."""

    def __init__(
        self,
        transport: Transport,
        options: HdfsOptions,
        open_settings: OpenSettings,
        capabilities: Capabilities,
        *,
        create: bool,
        token: str,
    ) -> None:
        """`token`: random hex digits for the names of temporary files.

        Raises LocationUnavailableError when the cluster cannot be reached or used, or (unless `create`) has no
        such folder.
        """
        self.capabilities = capabilities
        self._transport = transport
        self._options = options
        self._root = options.path
        self._create = create
        self._attributes = AttributeReader(transport, open_settings.attributes & capabilities.attributes)
        self._leftovers: dict[str, str] = {}
        self._publisher = Publisher(
            transport, self._root, open_settings, TemporaryNames(open_settings.execution_id, token)
        )
        self._require_root()

    # -- the six ---------------------------------------------------------------------------------------------

    def scan(
        self, prefix: str = "", descend: Callable[[Entry], bool] | None = None
    ) -> Iterator[Entry | Problem]:
        if problem_with(prefix, self._root) is not None:
            return
        walk = Walk(self._transport, self._root, self._attributes, descend, self._leftovers)
        yield from walk.below(prefix, root_may_be_missing=self._create)

    def stat(self, path: str) -> Entry | None:
        if problem_with(path, self._root) is not None:
            return None
        place = absolute(self._root, path)
        with classified(path, "look at"):
            status = self._transport.status(place)
            if status is None or (path.endswith("/") and not status.is_directory):
                return None
            try:
                attributes = self._attributes.of(place, status)
            except RemoteFault as fault:
                if fault.code is EntryCode.NOT_FOUND:
                    return None
                raise
        return entry_of(path, status, attributes)

    def read(self, entry: Entry, offset: int = 0) -> Iterator[Buffer]:
        require_allowed(entry.path, self._root)
        place = absolute(self._root, entry.path)
        with classified(entry.path, "read"):
            before = self._expected(entry, place)
            received = offset
            for chunk in self._transport.read(place, offset, before.length - offset):
                received += len(chunk)
                yield chunk
            after = self._expected(entry, place)
            if (after.mtime_ms, after.file_id) != (before.mtime_ms, before.file_id):
                raise changed(entry.path, "the file was written to while it was read")
            if received != max(before.length, offset):
                raise RemoteFault(
                    EntryCode.IO_ERROR, f"{received} bytes came of {before.length}, and the file is the same"
                )

    def put(
        self, entry: Entry, content: Iterable[Buffer] | None, replaces: Entry | None, throttle: Throttle
    ) -> Written:
        if entry.kind not in self.capabilities.kinds:
            raise EntryError(
                EntryCode.KIND_NOT_SUPPORTED,
                entry.path,
                f"{shown(entry.path)}: HDFS holds no {entry.kind.value.replace('_', ' ')}",
            )
        require_allowed(entry.path, self._root)
        if entry.kind is Kind.DIRECTORY:
            return self._publisher.put_folder(entry, replaces)
        return self._publisher.put_file(entry, content or (), replaces, throttle)

    def remove(self, entry: Entry) -> None:
        require_allowed(entry.path, self._root)
        place = absolute(self._root, entry.path)
        with classified(entry.path, "remove"):
            self._standing(entry, place)
            if not self._transport.delete(place):
                raise EntryError(EntryCode.NOT_FOUND, entry.path, f"{shown(entry.path)}: nothing is there")

    def close(self) -> None:
        self._transport.close()

    # -- SetsAttributes --------------------------------------------------------------------------------------

    def set_attributes(self, entry: Entry, expected: Entry | None) -> Written:
        require_allowed(entry.path, self._root)
        place = absolute(self._root, entry.path)
        with classified(entry.path, "set the attributes of"):
            status = self._standing(expected or Entry(entry.path, entry.kind), place)
            if status.is_directory != (entry.kind is Kind.DIRECTORY):
                raise stale(entry.path, "it is of another kind now")
            return Written(refused=apply(self._transport, place, entry, status))

    # -- Renames ---------------------------------------------------------------------------------------------

    def rename(self, entry: Entry, path: str) -> None:
        for one in (entry.path, path):
            require_allowed(one, self._root)
        place, target = absolute(self._root, entry.path), absolute(self._root, path)
        with classified(entry.path, "move"):
            self._standing(entry, place)
            self._publisher.make_parents(target)
            self._transport.rename(place, target, overwrite=False)

    # -- Identifies ------------------------------------------------------------------------------------------

    def identity(self) -> Identity:
        return Identity((("cluster", self._options.cluster), ("folder", self._root)))

    def space(self) -> Space:
        """Unknown: the native client can only count everything below a folder, which burdens the NameNode."""
        return Space(None, None)

    # -- Sweeps ----------------------------------------------------------------------------------------------

    def leftovers(self) -> Iterator[tuple[str, str]]:
        yield from list(self._leftovers.items())

    def remove_leftover(self, path: str) -> None:
        """Remove a temporary file of ours; anything with another name is refused with NAME_NOT_ALLOWED."""
        require_allowed(path, self._root)
        if temporary_execution(path.rpartition("/")[2]) is None:
            raise EntryError(
                EntryCode.NAME_NOT_ALLOWED, path, f"{shown(path)} is no temporary file of sync-runner"
            )
        with classified(path, "remove"):
            self._transport.delete(absolute(self._root, path))
        self._leftovers.pop(path, None)

    # -- steps -----------------------------------------------------------------------------------------------

    def _require_root(self) -> None:
        name = self._options.name
        try:
            status = self._transport.status(self._root)
        except RemoteFault as fault:
            raise LocationUnavailableError(
                f'location "{name}": HDFS {self._options.cluster} cannot be used: {fault.message}',
                remedy=_remedy(fault, self._options),
            ) from fault
        if status is None and self._create:
            return
        if status is None or not status.is_directory:
            what = "is not there" if status is None else "is no folder"
            raise LocationUnavailableError(
                f'location "{name}": {shown(self._root)} {what} on HDFS {self._options.cluster}',
                remedy="Check `path`, or make the folder: hdfs dfs -mkdir -p",
            )

    def _standing(self, entry: Entry, place: str) -> Status:
        """What stands there, as `entry` says. Raises NOT_FOUND or STALE."""
        status = self._transport.status(place)
        if status is None:
            raise EntryError(EntryCode.NOT_FOUND, entry.path, f"{shown(entry.path)}: nothing is there")
        reason = difference(entry, status)
        if reason is not None:
            raise stale(entry.path, reason)
        return status

    def _expected(self, entry: Entry, place: str) -> Status:
        """As `_standing`, for a file being read."""
        status = self._transport.status(place)
        if status is None:
            raise EntryError(EntryCode.NOT_FOUND, entry.path, f"{shown(entry.path)}: nothing is there")
        reason = difference(entry, status)
        if reason is not None:
            raise changed(entry.path, reason)
        return status


class WebHdfsLocation(HdfsLocation):
    """What WebHDFS can tell besides: the cluster's identity, its free space, its time."""

    _transport: WebTransport

    def identity(self) -> Identity:
        with classified("", "identify"):
            about = self._transport.about()
        return Identity((*super().identity().facts, *sorted(about.items())))

    def space(self) -> Space:
        with classified("", "ask for the space of"):
            return Space(*self._transport.space(self._root))

    def server_time_ns(self) -> int:
        """Role TellsTime: the Date header, whole seconds."""
        with classified("", "ask for the time of"):
            return self._transport.clock_ns()


def _remedy(fault: RemoteFault, options: HdfsOptions) -> str:
    if fault.code is EntryCode.PERMISSION_DENIED:
        if options.kerberos_principal is not None:
            return (
                "Check kerberos_principal and its keytab or cache (klist -k, klist), and the cluster's rules."
            )
        return "Check user, authentication and the rights of the folders above the path."
    if fault.code in (EntryCode.UNAVAILABLE, EntryCode.TIMEOUT):
        return "Check that the NameNode runs, and namenodes: RPC port for native, HTTP port for webhdfs."
    return "Check namenodes, transport and authentication."
