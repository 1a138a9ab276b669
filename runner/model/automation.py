"""What happens around executions when nobody watches: schedules, the service, hooks, pings, notifications.

Every value is as sync.yaml declares it, checked and complete: defaults filled in, units converted.
"""

from __future__ import annotations

import enum

import msgspec

from runner.model.secret import Secret


class QuietWindow(msgspec.Struct, frozen=True, omit_defaults=True):
    """Hours in which no execution starts: minutes after local midnight; end not after start crosses midnight.

    `days` are those on which the window begins, 0 = Monday; empty = every day.
    """

    start_minute: int
    end_minute: int
    days: tuple[int, ...] = ()


class ScheduleSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a task runs unattended. Exactly one of cron, every_seconds, at and after is set.

    `cron`: five fields as cron(8) reads them (@daily and its kin already written out), or EventBridge's `cron(...)`.
    `every_seconds`: at its multiples since `start`, or else since 1970-01-01T00:00:00Z.
    `at`: times of day (`02:00`), or local dates with times (`2026-12-24T18:00`) that come once.
    `after`: names of tasks after whose executions this one runs; `after_any`: also when those did not succeed.
    `start`, `end`: RFC 3339 UTC; slots before start and from end on do not exist.
    """

    cron: str | None = None
    every_seconds: float | None = None
    at: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    after_any: bool = False
    timezone: str = "UTC"
    jitter_seconds: float = 0.0
    catch_up: bool = False
    enabled: bool = True
    not_between: tuple[QuietWindow, ...] = ()
    start: str | None = None
    end: str | None = None


class Hook(msgspec.Struct, frozen=True, omit_defaults=True):
    """A program to start: `argv` without a shell, killed with all its children after `timeout_seconds`."""

    argv: tuple[str, ...]
    timeout_seconds: float = 300.0
    environment: dict[str, str] = {}


class Hooks(msgspec.Struct, frozen=True, omit_defaults=True):
    """before: before anything is listed; one that fails stops the execution. after: when it has ended, however.
    on_error: when it ended and not with success."""

    before: tuple[Hook, ...] = ()
    after: tuple[Hook, ...] = ()
    on_error: tuple[Hook, ...] = ()


class Occasion(enum.StrEnum):
    """What is worth telling about an execution that ended."""

    FAILURE = "failure"
    """It did not end with success, for whatever reason."""
    RECOVERY = "recovery"
    """The first success after a failure."""
    GUARD = "guard"
    """A guard refused."""
    PARTIAL = "partial"
    """Some was done and some failed."""
    ALWAYS = "always"


class NotifyRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which channels hear of which occasions."""

    to: tuple[str, ...]
    on: tuple[Occasion, ...] = (Occasion.FAILURE, Occasion.RECOVERY)


class Pings(msgspec.Struct, frozen=True, omit_defaults=True):
    """URLs of a health-check service that are fetched when an execution starts, succeeds, and does not."""

    start: Secret | None = None
    success: Secret | None = None
    fail: Secret | None = None


class Automation(msgspec.Struct, frozen=True, omit_defaults=True):
    """A task's own settings for unattended work. Nothing here changes what a plan contains."""

    priority: int = 0
    queueing: bool = True
    max_duration_seconds: float | None = None
    max_age_seconds: float | None = None
    hooks: Hooks = Hooks()
    notify: tuple[NotifyRule, ...] = ()
    pings: Pings = Pings()

    @property
    def acts_around(self) -> bool:
        """Whether anything is started or told around an execution: a hook, a ping, a notification."""
        return bool(self.notify) or self.hooks != Hooks() or self.pings != Pings()


class ServiceSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """How `serve` works. `http` is host:port, None = no HTTP. `disable_after` 0 = never."""

    executions: int = 4
    drain_seconds: float = 60.0
    disable_after: int = 5
    http: str | None = "127.0.0.1:9469"


class Retention(msgspec.Struct, frozen=True, omit_defaults=True):
    """How long executions are remembered; the latest `keep_last` of each task and its last success stay."""

    keep_days: float = 90.0
    keep_last: int = 20


class SigningSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """Absolute paths. `key`: the SSH key that signs reports (or, for a key that an agent holds, its public half).
    `allowed_signers`: who may have signed them, for those who check. None = neither."""

    key: str | None = None
    allowed_signers: str | None = None


class DigestSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """A regular summary of all tasks, so that silence is noticed: `cron` in `timezone`, to these channels."""

    to: tuple[str, ...]
    cron: str = "0 8 * * mon"
    timezone: str = "UTC"


class NotificationSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """Channels by name, each an Apprise URL. `templates`: an absolute folder of own message templates."""

    channels: dict[str, Secret] = {}
    digest: DigestSettings | None = None
    templates: str | None = None


class MonitoringSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """`metrics_file`: absolute path of a text file for node_exporter, written after every execution.
    `traces_endpoint`: where OpenTelemetry traces go (OTLP over HTTP); None = nowhere."""

    metrics_file: str | None = None
    traces_endpoint: str | None = None
    traces_headers: Secret | None = None
