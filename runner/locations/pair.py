"""Two locations of one task: what both can carry, what is lost on the way, and both opened together."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from runner.clock import Clock, SystemClock
from runner.locations.marker import SeenMarker, Sighting, read_marker
from runner.locations.observer import NOBODY, Observer, spent
from runner.locations.patience import Patience
from runner.locations.protocol import (
    Capabilities,
    CopiesMany,
    Driver,
    Identifies,
    Linking,
    Location,
    OpenSettings,
)
from runner.locations.registry import Registry, check_installed
from runner.model.activity import Activity
from runner.model.entry import DEVICE_KINDS, SPECIAL_KINDS, Kind
from runner.model.task import (
    LocationSettings,
    MarkerMode,
    Owner,
    SecurityDescriptor,
    SymlinkMode,
    Task,
    TaskOptions,
)
from runner.units import format_resolution

REMOTE_ATTEMPTS = 5
REMOTE_PAUSE_SECONDS = 1.0
"""What a lost connection or a busy server is granted at least: a server that is started anew takes some seconds."""

_FIELD_NAMES = {
    "mode": "permissions",
    "uid": "owner and group",
    "gid": "owner and group",
    "user": "owner and group",
    "group": "owner and group",
    "xattrs": "extended attributes",
    "acls": "POSIX ACLs",
    "mtime": "modification times",
    "atime_ns": "access times",
    "tags": "object tags",
    "content_headers": "content headers (Content-Type, ...)",
    "user_metadata": "user metadata",
    "dos_attributes": "DOS attributes",
    "created_ns": "creation times",
    "security": "owner and access list (SMB)",
    "sacl": "audit list (SMB)",
}


def asked_attributes(options: TaskOptions) -> frozenset[str]:
    """Fields of Attributes that the task wants carried."""
    metadata = options.metadata
    wanted: set[str] = {"device"}
    if metadata.mode:
        wanted.add("mode")
    if metadata.atime:
        wanted.add("atime_ns")
    if metadata.xattrs:
        wanted.add("xattrs")
    if metadata.acls:
        wanted.add("acls")
    if metadata.owner is Owner.IDS:
        wanted |= {"uid", "gid"}
    elif metadata.owner is Owner.NAMES:
        wanted |= {"user", "group"}
    wanted |= {name for name in ("tags", "content_headers", "user_metadata") if getattr(metadata, name)}
    if metadata.dos_attributes:
        wanted.add("dos_attributes")
    if metadata.creation_time:
        wanted.add("created_ns")
    if metadata.security_descriptor is not SecurityDescriptor.NONE:
        wanted.add("security")
    if metadata.security_descriptor is SecurityDescriptor.OWNER_DACL_SACL:
        wanted.add("sacl")
    return frozenset(wanted)


def losses(options: TaskOptions, source: Capabilities, destination: Capabilities) -> tuple[str, ...]:
    """What this pair cannot carry although the task asks for it, one line each, for people."""
    lines = []
    lost = asked_attributes(options) & source.attributes - destination.attributes
    names = dict.fromkeys(words for name, words in _FIELD_NAMES.items() if name in lost)
    if names:
        lines.append(f"not carried, for the destination cannot hold it: {', '.join(names)}")
    for kind in sorted(source.kinds - destination.kinds):
        if _takes_part(kind, options):
            lines.append(
                f"a {kind.value.replace('_', ' ')} is reported as a problem: the destination cannot hold it"
            )
    if options.metadata.mtime and "mtime" in source.attributes:
        if "mtime" not in destination.attributes or destination.mtime_resolution_ns is None:
            lines.append(
                "modification times are not carried: the destination keeps none; files are compared by size"
            )
        elif destination.mtime_resolution_ns > (source.mtime_resolution_ns or 1):
            lines.append(
                f"modification times are kept to {format_resolution(destination.mtime_resolution_ns)}"
            )
    if source.hard_links and options.hard_links and not destination.hard_links:
        lines.append("hard links become separate files: the destination has none")
    if source.empty_directories and not destination.empty_directories:
        lines.append("empty folders are not carried: the destination has none")
    return tuple(lines)


def _takes_part(kind: Kind, options: TaskOptions) -> bool:
    if kind in DEVICE_KINDS:
        return options.devices
    if kind in SPECIAL_KINDS:
        return options.special_files
    return kind is not Kind.SYMLINK or options.symlinks is SymlinkMode.PRESERVE


def waiting(clock: Clock, observer: Observer) -> Callable[[float], None]:
    """The clock's sleep, of which the observer hears: waiting for a storage to come back."""

    def sleep(seconds: float) -> None:
        with spent(observer, Activity.RETRIES):
            clock.sleep(seconds)

    return sleep


class Endpoints:
    """Both locations of a task, open. A context manager; opening may raise LocationUnavailableError.

    `attributes` are the metadata fields that the task wants and both sides hold.
    """

    def __init__(
        self,
        task: Task,
        registry: Registry,
        execution_id: str,
        cache_directory: str | None = None,
        clock: Clock | None = None,
        observer: Observer = NOBODY,
    ) -> None:
        """`observer`: for the drivers. Raises LocationUnavailableError, and MissingExtraError when a driver's packages are
        not installed."""
        self._task = task
        self._cache_directory = cache_directory
        self.observer = observer
        self._sightings: tuple[Sighting, Sighting] | None = None
        self.patience = Patience(
            max(task.options.attempts, REMOTE_ATTEMPTS) if task.options.attempts > 1 else 1,
            max(task.options.retry_delay_seconds, REMOTE_PAUSE_SECONDS)
            if task.options.retry_delay_seconds
            else 0.0,
            waiting(clock or SystemClock(), observer),
        )
        self.source_driver: Driver = registry.driver(task.source.type)
        self.destination_driver: Driver = registry.driver(task.destination.type)
        for driver in (self.source_driver, self.destination_driver):
            check_installed(driver)
        source_capabilities = self.source_driver.capabilities(task.source)
        destination_capabilities = self.destination_driver.capabilities(task.destination)
        self.losses = losses(task.options, source_capabilities, destination_capabilities)
        self.attributes = (
            asked_attributes(task.options)
            & source_capabilities.attributes
            & destination_capabilities.attributes
        )
        self.source_open = self._open_settings(task.options, execution_id, task.options.symlinks)
        # What stands at the destination is looked at as it is: a link there is a link.
        self.destination_open = self._open_settings(task.options, execution_id, SymlinkMode.PRESERVE)
        self.in_process_only = self.source_driver.in_process_only or self.destination_driver.in_process_only
        self.source: Location = self.source_driver.open(task.source, self.source_open, create=False)
        try:
            self.destination: Location = self.destination_driver.open(
                task.destination, self.destination_open, create=True
            )
        except BaseException:
            self.source.close()
            raise

    def _open_settings(self, options: TaskOptions, execution_id: str, symlinks: SymlinkMode) -> OpenSettings:
        return OpenSettings(
            attributes=self.attributes,
            symlinks=symlinks,
            durability=options.durability,
            integrity=options.integrity,
            digest=options.digest,
            sparse=options.sparse,
            execution_id=execution_id,
            cache_directory=self._cache_directory,
            observer=self.observer,
        )

    @property
    def preserves_hard_links(self) -> bool:
        return (
            self.source.capabilities.hard_links
            and self.destination.capabilities.hard_links
            and isinstance(self.destination, Linking)
        )

    @property
    def remote(self) -> bool:
        """Whether work waits for a network, so that more of it at once is faster."""
        return self.source.capabilities.remote or self.destination.capabilities.remote

    @property
    def copies_many(self) -> bool:
        """Whether the destination's driver copies many of this source's files in one go."""
        destination = self.destination
        return isinstance(destination, CopiesMany) and destination.copies_many_from(self.source)

    @property
    def carries_mtime(self) -> bool:
        return all(
            "mtime" in location.capabilities.attributes
            and location.capabilities.mtime_resolution_ns is not None
            for location in (self.source, self.destination)
        )

    @property
    def mtime_tolerance_ns(self) -> int:
        """Times closer than this cannot be told apart by both sides; 0 when both keep nanoseconds."""
        coarsest = max(
            location.capabilities.mtime_resolution_ns or 1 for location in (self.source, self.destination)
        )
        return 0 if coarsest <= 1 else coarsest

    def sightings(self) -> tuple[Sighting, Sighting]:
        """Both endpoints as they were when this was asked for the first time: before anything was listed."""
        if self._sightings is None:
            self._sightings = (
                self._seen(self._task.source, self.source),
                self._seen(self._task.destination, self.destination),
            )
        return self._sightings

    def look_again(self) -> tuple[Sighting, Sighting]:
        """Both endpoints as they are now, at their addresses: a disk that was mounted over the one that is open, or
        went from under it, shows. Raises LocationUnavailableError when one is not there any more."""
        return (
            self._looked_at_anew(self._task.source, self.source, self.source_driver, self.source_open),
            self._looked_at_anew(
                self._task.destination, self.destination, self.destination_driver, self.destination_open
            ),
        )

    def _looked_at_anew(
        self, settings: LocationSettings, location: Location, driver: Driver, open_settings: OpenSettings
    ) -> Sighting:
        if location.capabilities.remote:
            return self._seen(settings, location)  # there each question asks the address
        fresh = driver.open(settings, open_settings, create=location is self.destination)
        try:
            return self._seen(settings, fresh)
        finally:
            fresh.close()

    def _seen(self, settings: LocationSettings, location: Location) -> Sighting:
        marker: SeenMarker | None = None
        if settings.marker is not MarkerMode.NONE:
            marker = read_marker(location, self.patience)
        return Sighting(location.identity() if isinstance(location, Identifies) else None, marker)

    def __enter__(self) -> Endpoints:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.source.close()
        self.destination.close()
