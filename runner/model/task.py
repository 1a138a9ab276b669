"""A task as sync.yaml declares it, checked and complete: every default is filled in, every unit converted."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from runner.model.automation import (
    Automation,
    MonitoringSettings,
    NotificationSettings,
    Retention,
    ScheduleSettings,
    ServiceSettings,
    SigningSettings,
)
from runner.model.entry import Kind
from runner.model.secret import Secret


class TransferMode(enum.StrEnum):
    CHANGED = "changed"
    ALL = "all"


class OverwriteMode(enum.StrEnum):
    ALWAYS = "always"
    NEVER = "never"
    IF_NEWER = "if_newer"


class Compare(enum.StrEnum):
    SIZE_AND_MTIME = "size+mtime"
    CHECKSUM = "checksum"
    SIZE_ONLY = "size_only"


class DeletedFiles(enum.StrEnum):
    PRESERVE = "preserve"
    QUARANTINE = "quarantine"
    REMOVE = "remove"


class VerifyMode(enum.StrEnum):
    NONE = "none"
    ONLY_FILES_TRANSFERRED = "only_files_transferred"
    POINT_IN_TIME_CONSISTENT = "point_in_time_consistent"


class SymlinkMode(enum.StrEnum):
    PRESERVE = "preserve"
    FOLLOW = "follow"
    SKIP = "skip"
    ERROR = "error"


class Durability(enum.StrEnum):
    """NONE: the kernel decides when data reaches the disk; FILE: fsync each file before its name appears;
    FULL: also fsync the folder, so that what is reported done survives a power cut."""

    NONE = "none"
    FILE = "file"
    FULL = "full"


class Integrity(enum.StrEnum):
    """What is checked before a file gets its name: nothing but errors, its length, or its bytes read back."""

    SIZE = "size"
    READ_BACK = "read_back"


class DigestAlgorithm(enum.StrEnum):
    XXH3_128 = "xxh3_128"
    SHA256 = "sha256"


class Owner(enum.StrEnum):
    """How owner and group are carried: as numbers, by name, or not at all."""

    IDS = "ids"
    NAMES = "names"
    NONE = "none"


class ReportFormat(enum.StrEnum):
    HTML = "html"
    JSON = "json"
    CSV = "csv"
    JUNIT = "junit"
    MARKDOWN = "md"


class SecurityDescriptor(enum.StrEnum):
    """What SMB locations carry of a file's security: DataSync's SecurityDescriptorCopyFlags."""

    NONE = "none"
    OWNER_DACL = "owner_dacl"
    OWNER_DACL_SACL = "owner_dacl_sacl"


class MarkerMode(enum.StrEnum):
    """Whether a location is known by a marker. AUTO: one that is there is heeded, and kept up to date at a destination.
    REQUIRED: nothing is done without one, and it is kept up to date at either end. NONE: none is read or written."""

    AUTO = "auto"
    REQUIRED = "required"
    NONE = "none"


class MetadataOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which metadata is carried. `owner_map` maps source owners to destination owners, each a name or a number
    in text: (("alice", "bob"), ("1000", "2000")); `group_map` likewise."""

    mtime: bool = True
    atime: bool = False
    mode: bool = True
    owner: Owner = Owner.IDS
    xattrs: bool = True
    acls: bool = True
    tags: bool = True
    content_headers: bool = True
    user_metadata: bool = True
    dos_attributes: bool = True
    creation_time: bool = True
    security_descriptor: SecurityDescriptor = SecurityDescriptor.OWNER_DACL
    owner_map: tuple[tuple[str, str], ...] = ()
    group_map: tuple[tuple[str, str], ...] = ()


class BandwidthWindow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A limit that holds from `start` to `end` (minutes after local midnight; end before start crosses midnight).

    None for both = at all other times. `limit_bytes_per_second` None = unlimited.
    """

    limit_bytes_per_second: int | None = None
    start_minute: int | None = None
    end_minute: int | None = None


class TaskOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a task compares, writes, deletes and checks."""

    transfer_mode: TransferMode = TransferMode.CHANGED
    overwrite_mode: OverwriteMode = OverwriteMode.ALWAYS
    compare: Compare = Compare.SIZE_AND_MTIME
    mtime_tolerance_ns: int = 0
    preserve_deleted_files: DeletedFiles = DeletedFiles.PRESERVE
    quarantine_keep_days: float = 30.0
    verify_mode: VerifyMode = VerifyMode.ONLY_FILES_TRANSFERRED
    integrity: Integrity = Integrity.READ_BACK
    digest: DigestAlgorithm = DigestAlgorithm.XXH3_128
    durability: Durability = Durability.NONE
    symlinks: SymlinkMode = SymlinkMode.PRESERVE
    hard_links: bool = True
    sparse: bool = True
    special_files: bool = True
    devices: bool = False
    metadata: MetadataOptions = MetadataOptions()
    bandwidth: tuple[BandwidthWindow, ...] = ()
    bandwidth_timezone: str | None = None
    attempts: int = 3
    retry_delay_seconds: float = 0.2
    workers: int | None = None

    @property
    def uses_quarantine(self) -> bool:
        """Whether anything is moved aside at the destination instead of being lost."""
        return self.preserve_deleted_files is DeletedFiles.QUARANTINE


class ManifestSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """A list of paths that restricts a task: `format` csv or jsonl; file None = standard input."""

    file: str | None
    format: str = "csv"


class FilterSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which paths matter. include/exclude: DataSync patterns; rules: gitignore-like, last match decides."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    min_size_bytes: int | None = None
    max_size_bytes: int | None = None
    older_than_seconds: float | None = None
    newer_than_seconds: float | None = None
    modified_before_ns: int | None = None
    modified_after_ns: int | None = None
    kinds: tuple[Kind, ...] = ()
    manifest: ManifestSettings | None = None
    delete_excluded: bool = False


class Limit(msgspec.Struct, frozen=True, omit_defaults=True):
    """A cap; None = no cap of that sort. `percent` counts only when more than `percent_from` entries are hit."""

    count: int | None = None
    percent: float | None = None
    size_bytes: int | None = None
    percent_from: int = 0


class Guards(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stops an execution before its first write."""

    max_deletions: Limit = Limit(percent=50.0, percent_from=10)
    max_overwrites: Limit = Limit()
    max_deletions_per_folder: Limit = Limit()
    allow_empty_source: bool = False
    allow_wide_root: bool = False
    endpoint_identity: bool = True
    filter_change: bool = True
    free_space: bool = True


class LocationSettings(msgspec.Struct, frozen=True):
    """An endpoint as declared. `options` passed the driver's own schema; secret values are Secret.

    `base_directory` is the folder of the declaring file: relative paths in options start there.
    `max_executions`: how many executions may use it at once; None = any number. `max_concurrency`: how many operations
    all executions together may have on their way; None = as many as the driver takes.
    """

    name: str
    type: str
    options: dict[str, Any]
    base_directory: str
    max_executions: int | None = None
    max_concurrency: int | None = None
    marker: MarkerMode = MarkerMode.AUTO


class Task(msgspec.Struct, frozen=True):
    """Source, destination and everything that holds between them. `config_digest` covers all that decides what a
    plan contains (locations without secret values, options, filters); `filter_digest` only the filters."""

    name: str
    source: LocationSettings
    destination: LocationSettings
    options: TaskOptions
    filters: FilterSettings
    guards: Guards
    schedule: ScheduleSettings | None
    reports: tuple[ReportFormat, ...]
    config_digest: str
    filter_digest: str
    description: str = ""
    enabled: bool = True
    automation: Automation = Automation()


class Configuration(msgspec.Struct, frozen=True):
    """One sync.yaml with all it includes. `state_directory` is absolute, `files` are all that were read.

    `bandwidth` is the budget that all executions of this state folder share."""

    file: str
    locations: dict[str, LocationSettings]
    tasks: dict[str, Task]
    state_directory: str
    history_url: str | None = None
    files: tuple[str, ...] = ()
    bandwidth: tuple[BandwidthWindow, ...] = ()
    bandwidth_timezone: str | None = None
    service: ServiceSettings = ServiceSettings()
    retention: Retention = Retention()
    signing: SigningSettings = SigningSettings()
    notifications: NotificationSettings = NotificationSettings()
    monitoring: MonitoringSettings = MonitoringSettings()


__all__ = [
    "Automation",
    "BandwidthWindow",
    "Compare",
    "Configuration",
    "DeletedFiles",
    "DigestAlgorithm",
    "Durability",
    "FilterSettings",
    "Guards",
    "Integrity",
    "Limit",
    "LocationSettings",
    "ManifestSettings",
    "MarkerMode",
    "MetadataOptions",
    "OverwriteMode",
    "Owner",
    "ReportFormat",
    "ScheduleSettings",
    "Secret",
    "SecurityDescriptor",
    "SymlinkMode",
    "Task",
    "TaskOptions",
    "TransferMode",
    "VerifyMode",
]
