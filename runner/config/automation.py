"""Checked nodes -> what happens around executions: schedules, hooks, notifications, the service's settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Container
from datetime import UTC, datetime
from typing import TypeVar

from runner.config.nodes import Faults, Mapping, Node, Place, Scalar, Sequence, close_match, quoted, text_of
from runner.config.sections import Section, minute_of_day, texts, timezone_of
from runner.model.automation import (
    Automation,
    DigestSettings,
    Hook,
    Hooks,
    MonitoringSettings,
    NotificationSettings,
    NotifyRule,
    Occasion,
    Pings,
    QuietWindow,
    Retention,
    ScheduleSettings,
    ServiceSettings,
    SigningSettings,
)
from runner.model.secret import Secret

T = TypeVar("T")

TRIGGERS = ("cron", "every", "rate", "at", "after")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_SECONDS = 86_400


def build_schedule(section: Section) -> ScheduleSettings | None:
    """The schedule, or None where there is none. Exactly one of TRIGGERS has to be given."""
    node = section.node
    if node is None:
        return None
    from runner.scheduling.expressions import parse_cron, parse_rate_expression

    given = [key for key in TRIGGERS if key in node.members]
    if len(given) != 1:
        place: Place = node.members[given[1]].key if given else node
        both = "both" if len(given) == 2 else "all"
        message = f"{' and '.join(given)} are {both} given" if given else "the schedule says no time"
        section.faults.add(
            place, message, expected="one of " + ", ".join(TRIGGERS[:-1]) + f" and {TRIGGERS[-1]}"
        )
        return None
    every = section.seconds("every")
    rate = section.parsed("rate", lambda text: parse_rate_expression(text).total_seconds())
    every = rate if every is None else every
    if every is not None and every < 1:
        section.faults.add(node.members[given[0]].node, "the interval is shorter than a second")
    timezone = timezone_of(section, "timezone") or "UTC"
    start = section.parsed("start", lambda text: _instant(text, timezone))
    end = section.parsed("end", lambda text: _instant(text, timezone))
    if start is not None and end is not None and end <= start:
        section.fault_at("end", "the schedule ends before it starts")
    return ScheduleSettings(
        cron=section.parsed("cron", parse_cron),
        every_seconds=every,
        at=_each(section, "at", _time_to_run),
        after=names(section.get("after")),
        after_any=section.text("after_status") == "ended",
        timezone=timezone,
        jitter_seconds=section.seconds("jitter") or 0.0,
        catch_up=section.flag("catch_up", False),
        enabled=section.flag("enabled", True),
        not_between=_quiet_windows(section),
        start=start,
        end=end,
    )


def build_automation(sections: dict[str, Node | None], faults: Faults) -> Automation:
    """A task's own settings beside its schedule; `sections` holds them merged with the defaults."""
    whole = Section(None, faults)
    whole.node = _as_map(sections)
    priority = whole.number("priority")
    return Automation(
        priority=0 if priority is None else int(priority),
        queueing=whole.flag("queueing", True),
        max_duration_seconds=_positive(whole, "max_duration"),
        max_age_seconds=_positive(whole, "max_age"),
        hooks=_build_hooks(whole.section("hooks")),
        notify=tuple(_notify_rule(Section(child, faults)) for child in _children(whole.get("notify"))),
        pings=_build_pings(whole.section("pings")),
    )


def build_service(section: Section) -> ServiceSettings:
    """The service's settings."""
    default = ServiceSettings()
    executions, disable_after = section.number("executions"), section.number("disable_after")
    drain, http = section.seconds("drain"), section.text("http")
    if http is not None and http != "off" and int(http.rpartition(":")[2]) > 65535:
        section.faults.add(section.get("http") or section.node, "a port is at most 65535")  # type: ignore[arg-type]
    return ServiceSettings(
        executions=default.executions if executions is None else int(executions),
        drain_seconds=default.drain_seconds if drain is None else drain,
        disable_after=default.disable_after if disable_after is None else int(disable_after),
        http=default.http if http is None else None if http == "off" else http,
    )


def build_retention(section: Section) -> Retention:
    """How long executions are remembered."""
    default = Retention()
    keep, keep_last = section.seconds("keep"), section.number("keep_last")
    return Retention(
        keep_days=default.keep_days if keep is None else keep / _DAY_SECONDS,
        keep_last=default.keep_last if keep_last is None else int(keep_last),
    )


def build_signing(section: Section) -> SigningSettings:
    """Who signs reports, and whose signatures count."""
    return SigningSettings(key=_path(section, "key"), allowed_signers=_path(section, "allowed_signers"))


def build_notifications(section: Section) -> NotificationSettings:
    """Channels, the digest, and where own templates lie."""
    node = section.get("channels")
    channels = {}
    for name, member in (node.members if isinstance(node, Mapping) else {}).items():
        secret = _secret(member.node, section.faults, f"notifications.channels.{name}")
        if secret is not None:
            channels[name] = secret
    digest = section.section("digest")
    settings = None
    if digest.node is not None:
        from runner.scheduling.expressions import parse_cron

        settings = DigestSettings(
            to=channel_names(digest, "to", channels),
            cron=digest.parsed("cron", parse_cron) or DigestSettings(to=()).cron,
            timezone=timezone_of(digest, "timezone") or "UTC",
        )
    return NotificationSettings(channels=channels, digest=settings, templates=_path(section, "templates"))


def build_monitoring(section: Section) -> MonitoringSettings:
    """Where figures and traces go."""
    node = section.get("traces_headers")
    return MonitoringSettings(
        metrics_file=_path(section, "metrics_file"),
        traces_endpoint=section.text("traces_endpoint"),
        traces_headers=None if node is None else _secret(node, section.faults, "traces_headers"),
    )


def channel_names(section: Section, key: str, channels: Container[str]) -> tuple[str, ...]:
    """The channels that a key names; one that is not declared is a fault."""
    node = section.get(key)
    for child in _children(node):
        text = text_of(child)
        if text is not None and text not in channels:
            declared = list(channels) if isinstance(channels, dict) else []
            section.faults.add(
                child,
                f"there is no channel {quoted(text)}",
                expected="a channel declared under notifications.channels",
                suggestion=close_match(text, declared),
            )
    return names(node)


def names(node: Node | None) -> tuple[str, ...]:
    """One name or a list of them, each once."""
    text = text_of(node)
    return tuple(dict.fromkeys((text,) if text is not None else texts(node)))


def _as_map(sections: dict[str, Node | None]) -> Mapping | None:
    from runner.config.nodes import Member, scalar_at

    members = {key: Member(scalar_at(node, key), node) for key, node in sections.items() if node is not None}
    if not members:
        return None
    first = next(iter(members.values())).node
    return Mapping(first.source, first.line, first.column, first.width, members)


def _children(node: Node | None) -> tuple[Node, ...]:
    if node is None:
        return ()
    return tuple(node.children) if isinstance(node, Sequence) else (node,)


def _each(section: Section, key: str, parse: Callable[[str], T]) -> tuple[T, ...]:
    """`parse` of one text, or of each in a list."""
    found = []
    for child in _children(section.get(key)):
        text = text_of(child)
        if text is None:
            continue
        try:
            found.append(parse(text))
        except ValueError as error:
            section.faults.add(child, str(error))
    return tuple(dict.fromkeys(found))


def _time_to_run(text: str) -> str:
    """`02:00` as it is; `2026-12-24 18:00` -> `2026-12-24T18:00`."""
    if len(text) > 5:
        try:
            return datetime.fromisoformat(text.upper()).isoformat(timespec="minutes")
        except ValueError as error:
            raise ValueError(f"{text!r} is not a date that exists: {error}") from error
    return text


def _instant(text: str, timezone: str) -> str:
    """RFC 3339 UTC; without an offset in the zone; a date alone is its midnight."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        instant = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise ValueError(f"{text!r} is not a date that exists: {error}") from error
    if instant.tzinfo is None:
        try:
            instant = instant.replace(tzinfo=ZoneInfo(timezone))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            # The zone's own fault is told already.
            instant = instant.replace(tzinfo=UTC)
    return instant.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _quiet_windows(section: Section) -> tuple[QuietWindow, ...]:
    if section.get("not_between") is None:
        return ()
    from runner.scheduling.quiet import covers_all

    windows = []
    for child in _children(section.get("not_between")):
        window = Section(child, section.faults)
        start, end = window.parsed("from", minute_of_day), window.parsed("to", minute_of_day)
        if start is None or end is None:
            continue
        if start == end:
            section.faults.add(child, "the window is empty: from and to are the same time")
            continue
        days = tuple(sorted(_DAYS.index(day) for day in texts(window.get("days"))))
        windows.append(QuietWindow(start % 1440, end % 1440, days))
    if covers_all(windows):
        section.fault_at("not_between", "the windows leave no minute of the week to start in")
    return tuple(windows)


def _build_hooks(section: Section) -> Hooks:
    def hooks(key: str) -> tuple[Hook, ...]:
        return tuple(_build_hook(child, section.faults) for child in _children(section.get(key)))

    return Hooks(before=hooks("before"), after=hooks("after"), on_error=hooks("on_error"))


def _build_hook(node: Node, faults: Faults) -> Hook:
    section = Section(node, faults)
    run = node if isinstance(node, Sequence) else section.get("run")
    argv = texts(run)
    if argv and not argv[0]:
        faults.add(node, "the program's name is empty")
    if argv and "/" in argv[0] and not os.path.isabs(argv[0]):
        argv = (os.path.normpath(os.path.join(node.source.directory, argv[0])), *argv[1:])
    variables = section.get("environment")
    environment = {
        key: text_of(member.node) or ""
        for key, member in (variables.members if isinstance(variables, Mapping) else {}).items()
    }
    for name, member in (variables.members if isinstance(variables, Mapping) else {}).items():
        if name.startswith("SYNC_RUNNER_"):
            faults.add(
                member.key, f"{name} is set by the runner", expected="another name: SYNC_RUNNER_* is its own"
            )
        elif not name or "=" in name or "\0" in name:
            faults.add(member.key, "this is no name of an environment variable")
    timeout = section.seconds("timeout")
    return Hook(argv, Hook(()).timeout_seconds if timeout is None else timeout, environment)


def _notify_rule(section: Section) -> NotifyRule:
    on = tuple(Occasion(text) for text in texts(section.get("on")))
    return NotifyRule(to=names(section.get("to")), on=on or NotifyRule(()).on)


def _build_pings(section: Section) -> Pings:
    def url(key: str) -> Secret | None:
        node = section.get(key)
        return None if node is None else _secret(node, section.faults, f"pings.{key}")

    return Pings(start=url("start"), success=url("success"), fail=url("fail"))


def _secret(node: Node, faults: Faults, what: str) -> Secret | None:
    """An address that may hold a secret. A password that is written out is a fault."""
    text = text_of(node)
    if text is None or not isinstance(node, Scalar):
        return None
    if node.template is None and _has_password(text):
        node.source.mask(node)
        faults.add(
            node,
            f"the password in {what} is written out",
            expected="secrets by reference only, such as {{ secret_env('NAME') }}",
        )
    return Secret(text, node.template or "")


def _has_password(url: str) -> bool:
    address = url.partition("://")[2].partition("/")[0]
    return ":" in address.rpartition("@")[0]


def _positive(section: Section, key: str) -> float | None:
    seconds = section.seconds(key)
    if seconds is not None and seconds <= 0:
        node = section.get(key)
        assert node is not None
        section.faults.add(node, f"{key} has to be longer than nothing")
    return seconds


def _path(section: Section, key: str) -> str | None:
    node, text = section.get(key), section.text(key)
    if node is None or text is None:
        return None
    return os.path.normpath(os.path.join(node.source.directory, os.path.expanduser(text)))
