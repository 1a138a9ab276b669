"""notify: try the channels out, and send the digest."""

from __future__ import annotations

import platform
from argparse import Namespace
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from runner.cli.session import Session
from runner.cli.text import Style, safe
from runner.errors import ExitCode, RunnerError, UsageError

if TYPE_CHECKING:
    from runner.alerts.notify import Sent
    from runner.history.records import HistoryRow


class ChannelResult(msgspec.Struct, frozen=True):
    """What became of one message; `error` is null when the service took it."""

    channel: str
    error: str | None


class Notified(msgspec.Struct, frozen=True):
    """notify --json. With --print nothing is sent and `results` is empty."""

    subject: str
    body: str
    results: tuple[ChannelResult, ...]


def notify(session: Session, arguments: Namespace) -> int:
    """`notify test [CHANNEL...]` and `notify digest [CHANNEL...]`."""
    from runner.alerts.messages import check_templates

    for fault in check_templates(session.configuration().notifications.templates):
        session.output.tell([f"warning: {safe(line)}" for line in fault.render().splitlines()])
    return _digest(session, arguments) if arguments.what == "digest" else _test(session, arguments)


def _test(session: Session, arguments: Namespace) -> int:
    from runner.alerts.messages import Template, compose
    from runner.alerts.notify import Sending

    if arguments.print:
        raise UsageError("--print is for the digest", remedy="Try it: sync-runner notify digest --print")
    configuration = session.configuration()
    settings = configuration.notifications
    names = _channels(session, arguments.channel) or list(settings.channels)
    if not names:
        raise UsageError(
            f"{session.config_file} declares no channel",
            remedy="Declare one under notifications.channels; docs/notifications.md shows how.",
        )
    _require_apprise()
    sending = Sending(session.clock)
    for name in names:
        facts = {"channel": name, "host": safe(platform.node()), "config_file": safe(configuration.file)}
        message = compose(Template.TEST, facts, settings.templates, _warn(session))
        sending.send(name, settings.channels[name], message, "info")
    return _show(session, message.subject, message.body, sending.wait())


def _digest(session: Session, arguments: Namespace) -> int:
    from runner.alerts.digest import current_digest, digest_period, send_digest

    configuration = session.configuration()
    settings = configuration.notifications
    names = _channels(session, arguments.channel) or list(settings.digest.to if settings.digest else ())
    if not names and not arguments.print:
        raise UsageError(
            f"{session.config_file} declares no digest, so nobody would get it",
            remedy="Name channels, see it with --print, or declare notifications.digest.",
        )
    if not arguments.print:
        _require_apprise()
    now = session.clock.now()
    since = now - digest_period(settings.digest, now)
    rows = _rows(session, since)
    message = current_digest(configuration, rows, now, since, _warn(session))
    if arguments.print:
        session.output.result([message.subject, "", *message.body.splitlines()])
        return _show(session, message.subject, message.body, [])
    return _show(
        session, message.subject, message.body, send_digest(configuration, message, session.clock, names)
    )


def _channels(session: Session, names: Sequence[str]) -> list[str]:
    declared = session.configuration().notifications.channels
    for name in names:
        if name not in declared:
            known = ", ".join(declared) or "none"
            raise UsageError(
                f"there is no channel {name!r} in {session.config_file}", remedy=f"Declared: {known}"
            )
    return list(dict.fromkeys(names))


def _require_apprise() -> None:
    from runner.alerts.notify import require_apprise

    require_apprise()


def _rows(session: Session, since: datetime) -> list[HistoryRow] | None:
    """The executions since then; None, and a warning, when history cannot be read."""
    from runner.alerts.digest import ROWS_AT_MOST

    configuration = session.configuration()
    try:
        store = session.services.history(configuration, session.clock)
        try:
            store.backfill(session.services.state(configuration))
            return store.list(limit=ROWS_AT_MOST, since=since)
        finally:
            store.close()
    except RunnerError as error:
        _warn(session)(error.message)
        return None


def _warn(session: Session) -> Callable[[str], None]:
    return lambda text: session.output.tell([f"warning: {safe(text)}"])


def _show(session: Session, subject: str, body: str, results: Sequence[Sent]) -> int:
    if session.output.json:
        told = tuple(ChannelResult(sent.channel, sent.error) for sent in results)
        session.output.value(Notified(subject, body, told))
    lines = []
    for sent in results:
        word = session.page.paint("sent", Style.GOOD)
        if sent.error is not None:
            word = f"{session.page.paint('not sent', Style.BAD)}: {safe(sent.error)}"
        lines.append(f"{safe(sent.channel)}: {word}")
    failed = any(sent.error is not None for sent in results)
    if failed or not session.output.quiet:
        session.output.result(lines)
    return ExitCode.ACTIONS_FAILED if failed else ExitCode.DONE
