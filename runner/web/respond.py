"""A request and its answer, as bytes. The answers themselves come from callables."""

from __future__ import annotations

import http
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from runner.errors import MissingExtraError
from runner.web.request import Refusal, Request

TEXT = "text/plain; charset=utf-8"
INDEX = """sync-runner

/metrics  for Prometheus
/healthz  200 while the service is alive
/readyz   200 while it starts executions
"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answers:
    """What is answered. Each is called from the server's threads, several at once; each returns within a second or so.

    `metrics`: (body, content type); raises MissingExtraError where they cannot be made. `health`, `ready`: (whether
    it is so, a sentence that says how things stand).
    """

    metrics: Callable[[], tuple[bytes, str]]
    health: Callable[[], tuple[bool, str]]
    ready: Callable[[], tuple[bool, str]]


@dataclass(frozen=True)
class Response:
    """An answer before it is written."""

    status: int
    body: bytes
    content_type: str = TEXT


def respond(request: Request | Refusal, answers: Answers) -> Response:
    """The answer. Never raises: a defect behind a callable is logged and answered with 500."""
    if isinstance(request, Refusal):
        return _text(request.status, request.text)
    if request.method not in ("GET", "HEAD"):
        return _text(405, "Only GET and HEAD are answered here.")
    try:
        if request.path == "/metrics":
            body, content_type = answers.metrics()
            return Response(200, body, content_type)
        if request.path in ("/healthz", "/readyz"):
            good, text = answers.health() if request.path == "/healthz" else answers.ready()
            return _text(200 if good else 503, text)
    except MissingExtraError as error:
        return _text(503, f"{error.message}. {error.remedy or ''}".rstrip())
    except Exception:
        _log.exception("%s cannot be answered", request.path)
        return _text(500, "This cannot be answered; the service's log says why.")
    return Response(200, INDEX.encode()) if request.path == "/" else _text(404, "There is nothing here.")


def encode(response: Response, now: datetime, *, body: bool) -> bytes:
    """The answer as it goes over the wire; without the body for HEAD."""
    lines = [
        f"HTTP/1.1 {response.status} {http.HTTPStatus(response.status).phrase}",
        f"Date: {format_datetime(now, usegmt=True)}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        "Cache-Control: no-store",
        "Content-Security-Policy: default-src 'none'",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    if response.status == 405:
        lines.append("Allow: GET, HEAD")
    head = "\r\n".join(lines).encode("ascii") + b"\r\n\r\n"
    return head + response.body if body else head


def _text(status: int, text: str) -> Response:
    return Response(status, text.encode("utf-8", "replace") + b"\n")
