"""The regular summary that the service sends, so that silence is noticed."""

from __future__ import annotations

import logging
import threading
from datetime import datetime

from runner.clock import Clock
from runner.model.automation import ScheduleSettings
from runner.model.task import Configuration
from runner.scheduling.timetable import Timetable, timetable_of

_log = logging.getLogger(__name__)


class DigestClock:
    """When the next digest is due. Those that were due while no service ran are not made up for."""

    def __init__(self, configuration: Configuration, now: datetime) -> None:
        settings = configuration.notifications.digest
        self._timetable: Timetable | None = None
        if settings is not None:
            self._timetable = timetable_of(ScheduleSettings(cron=settings.cron, timezone=settings.timezone))
        self._next = None if self._timetable is None else self._timetable.next_after(now)

    def is_due(self, now: datetime) -> bool:
        """True once for each time that has come."""
        if self._timetable is None or self._next is None or now < self._next:
            return False
        self._next = self._timetable.next_after(now)
        return True


def send_in_background(configuration: Configuration, history_file: str, clock: Clock) -> None:
    """Make and send a digest in a thread of its own: neither a database nor a mail server holds the service up."""
    threading.Thread(
        target=_send, args=(configuration, history_file, clock), name="digest", daemon=True
    ).start()


def _send(configuration: Configuration, history_file: str, clock: Clock) -> None:
    from runner.alerts.digest import ROWS_AT_MOST, current_digest, digest_period, send_digest
    from runner.errors import RunnerError
    from runner.history.records import HistoryUnavailable
    from runner.history.store import open_history

    now = clock.now()
    since = now - digest_period(configuration.notifications.digest, now)
    try:
        history = open_history(configuration.history_url or history_file, clock)
        try:
            rows = history.list(limit=ROWS_AT_MOST, since=since)
        except HistoryUnavailable:
            rows = None
        finally:
            history.close()
        message = current_digest(
            configuration, rows, now, since, lambda text: _log.warning("digest: %s", text)
        )
        for sent in send_digest(configuration, message, clock):
            if sent.error is not None:
                _log.error("the digest was not sent to %s: %s", sent.channel, sent.error)
            else:
                _log.info("the digest was sent to %s", sent.channel)
    except RunnerError as error:
        _log.error("the digest was not sent: %s", error)
    except Exception:
        _log.exception("the digest was not sent")
