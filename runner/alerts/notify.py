"""Messages to channels, through Apprise.

A channel is any URL that Apprise knows. It holds secrets, and Apprise logs what it does, so its log is caught here and
never shown as it is: of a failure only what cannot hold a part of the URL is told. Sending may block longer than anybody
wants to wait (a mail server that does not answer): each channel has a thread of its own that ends with the process.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from runner.alerts.messages import Message
from runner.clock import Clock
from runner.errors import MissingExtraError
from runner.model.secret import Secret

DEADLINE_SECONDS = 30.0
_GENERIC = "the service did not take it"
_PIECE = re.compile(r"[^/?&=:@#;,+]+")
_SHORTEST_SECRET = 3


@dataclass(frozen=True)
class Sent:
    """What became of one message: `error` is None when the service took it. It never holds a part of the URL."""

    channel: str
    error: str | None


def require_apprise() -> None:
    """Raises MissingExtraError when Apprise is not installed. Looks without importing it."""
    import importlib.util

    if importlib.util.find_spec("apprise") is None:
        raise MissingExtraError(
            "notifications need the package apprise, which is not installed",
            remedy="Install the extra: pip install 'sync-runner[notify]'",
        )


class Sending:
    """Messages on their way. `wait` says what became of each; what takes longer is given up, never waited for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self._results: dict[str, Sent] = {}
        self._threads: list[tuple[str, threading.Thread]] = []

    def send(self, channel: str, url: Secret, message: Message, kind: str) -> None:
        """Begin to send. `kind`: info, success, warning or failure, which many services show as a colour."""

        def deliver() -> None:
            self._results[channel] = Sent(channel, _deliver(url, message, kind))

        thread = threading.Thread(target=deliver, name=f"notify-{channel}", daemon=True)
        self._threads.append((channel, thread))
        thread.start()

    def wait(self, deadline_seconds: float = DEADLINE_SECONDS) -> list[Sent]:
        """What became of all, in the order of sending, at most that long after this object was made."""
        results = []
        for channel, thread in self._threads:
            left = self._began + deadline_seconds - self._clock.monotonic()
            thread.join(max(0.0, left))
            given_up = Sent(channel, f"the service did not answer within {deadline_seconds:g} s")
            results.append(self._results.get(channel, given_up))
        return results


def send_to(
    names: Sequence[str], channels: Mapping[str, Secret], message: Message, kind: str, clock: Clock
) -> list[Sent]:
    """Send one message to several channels at once and wait, DEADLINE_SECONDS at most. Never raises."""
    sending = Sending(clock)
    for name in names:
        sending.send(name, channels[name], message, kind)
    return sending.wait()


def _deliver(url: Secret, message: Message, kind: str) -> str | None:
    """None when the service took it. Never raises."""
    try:
        require_apprise()
        with _CaughtLog() as log:
            accepted = _notify(url.reveal(), message, kind)
        if accepted is None:
            return "Apprise does not know such an address, or it lacks a part"
        return None if accepted else _without_secrets(log.last, url.reveal())
    except MissingExtraError as error:
        return str(error).replace("\n", ". ")
    except Exception as error:
        # A plugin's defect. Its text may hold anything.
        return f"{_GENERIC} ({type(error).__name__})"


def _notify(url: str, message: Message, kind: str) -> bool | None:
    """Whether the service took it; None for a URL that is none."""
    import apprise

    wanted: dict[str, Any] = {
        "app_id": "sync-runner",
        "app_desc": "sync-runner",
        "async_mode": False,
        "interpret_escapes": False,
        "interpret_emojis": False,
        "pem_autogen": False,
        "pgp_autogen": False,
        "secure_logging": True,
    }
    asset = apprise.AppriseAsset(
        **{key: value for key, value in wanted.items() if hasattr(apprise.AppriseAsset, key)}
    )
    if hasattr(asset, "_service_timeout"):
        # Apprise's own time limit works through threads that the end of the process would wait for.
        asset._service_timeout = 0
    service = apprise.Apprise.instantiate(url, asset=asset)
    if service is None:
        return None
    sender = apprise.Apprise(asset=asset)
    sender.add(service)
    return bool(
        sender.notify(
            title=message.subject,
            body=message.body,
            notify_type=kind,
            body_format="text",
        )
    )


class _CaughtLog(logging.Handler):
    """While in here, what Apprise logs in this thread goes nowhere but to `last`. Several threads may be in here."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""
        self._thread = 0

    def __enter__(self) -> _CaughtLog:
        self._thread = threading.get_ident()
        logger = logging.getLogger("apprise")
        logger.propagate = False
        logger.setLevel(logging.WARNING)
        if not any(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            # It stays: a thread that was given up may still log, and logging's last resort is standard error.
            logger.addHandler(logging.NullHandler())
        logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("apprise").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.last = record.getMessage()


def _without_secrets(text: str, url: str) -> str:
    """What Apprise said, or something that says less where that might hold a part of the URL."""
    line = " ".join(text.split()).rstrip(". ")
    status = re.search(r"error=(\d{3})\b", line)
    generic = f"{_GENERIC} (HTTP {status[1]})" if status else _GENERIC
    if "connection error" in line.casefold():
        generic = f"{_GENERIC}: no connection came about"
    if not line:
        return generic
    pieces = {piece for found in _PIECE.findall(url.partition("://")[2]) for piece in (found, unquote(found))}
    folded = line.casefold()
    if any(piece.casefold() in folded for piece in pieces if len(piece) >= _SHORTEST_SECRET):
        return generic
    return line[:300]
