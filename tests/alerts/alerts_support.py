"""Receivers on 127.0.0.1 that remember what they were sent, and reports and standings to tell of."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import Message as Mail
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
from aiosmtpd.controller import Controller

from runner.errors import EntryCode, ExitCode
from runner.history.standing import Standing, after_execution
from runner.model.action import Finding, Verdict
from runner.model.automation import Automation
from runner.model.entry import Phase, Problem
from runner.model.execution import (
    Counters,
    Counts,
    EndpointSummary,
    Execution,
    GuardVerdict,
    Report,
    Trigger,
)
from runner.model.task import FilterSettings, Guards, LocationSettings, Task, TaskOptions

EXECUTION = "6b0348f56ecc"
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOSTILE = "a\x1b[31m\n\u202egpj.<script>alert(1)</script>\udcff{{ 7*7 }}"


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def value(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """An HTTP server. `answers` are (status, headers) taken in turn, the last one for ever."""

    port: int = 0
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=lambda: [(200, {})])
    requests: list[Request] = field(default_factory=list)
    hold: threading.Event | None = None

    @property
    def base(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def seen(self) -> list[tuple[str, str]]:
        return [(request.method, request.path) for request in self.requests]


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver that listens while in here."""
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            state.requests.append(Request(self.command, self.path, dict(self.headers), body))
            if state.hold is not None:
                state.hold.wait(60)
            status, headers = state.answers.pop(0) if len(state.answers) > 1 else state.answers[0]
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()
            except OSError:
                # Whoever asked has given up.
                return

        do_GET = do_POST = do_HEAD = _answer

        def log_message(self, format: str, *arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        if state.hold is not None:
            state.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Controller(Controller):  # type: ignore[misc]
    def _trigger_server(self) -> None:
        # Port 0 was asked for; this is the one that came.
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def mail_server() -> Iterator[tuple[int, list[Mail]]]:
    """An SMTP server: its port, and the mails it has taken."""
    mails: list[Mail] = []

    class Handler:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            mails.append(message_from_bytes(envelope.content))
            return "250 taken"

    controller = _Controller(Handler(), hostname="127.0.0.1", port=0)
    controller.start()
    try:
        yield controller.port, mails
    finally:
        controller.stop()


def make_task(automation: Automation | None = None, name: str = "photos") -> Task:
    left = LocationSettings("here", "local", {"path": "/a"}, "/")
    right = LocationSettings("there", "local", {"path": "/b"}, "/")
    return Task(
        name, left, right, TaskOptions(), FilterSettings(), Guards(), None, (), "c", "f",
        description="Pictures", automation=automation or Automation(),
    )  # fmt: skip


def make_report(
    status: Phase = Phase.SUCCESS,
    exit_code: ExitCode = ExitCode.DONE,
    *,
    done: int = 0,
    problems: tuple[Problem, ...] = (),
    findings: tuple[Finding, ...] = (),
    guards: tuple[GuardVerdict, ...] = (),
    summary: str = "It ended.",
) -> Report:
    execution = Execution(
        execution_id=EXECUTION,
        task="photos",
        trigger=Trigger.SCHEDULE,
        status=status,
        exit_code=int(exit_code),
        summary=summary,
        started_at="2026-03-01T02:00:00.000Z",
        ended_at="2026-03-01T02:01:15.000Z",
        duration_seconds=75.0,
        host="nas",
        runner_version="1",
        config_file="/etc/sync runner.yaml",
        config_digest="c",
        filter_digest="f",
    )
    counters = Counters(
        actions_done=done, transferred=Counts(done, 0), listed=Counts(3, 1), bytes_transferred=done * 1024
    )
    return Report(
        1, execution, EndpointSummary("here", "local", "/a"), EndpointSummary("there", "local", "/b"), {}, (),
        counters, guards, problems, len(problems), findings, len(findings),
    )  # fmt: skip


def failed(**more: Any) -> Report:
    problem = Problem("a/b", Phase.TRANSFERRING, EntryCode.PERMISSION_DENIED, "not allowed")
    return make_report(Phase.ERROR, ExitCode.ACTIONS_FAILED, **{"problems": (problem,), **more})


def hostile() -> Report:
    problem = Problem(HOSTILE, Phase.TRANSFERRING, EntryCode.IO_ERROR, f"cannot read {HOSTILE}")
    return failed(
        problems=(problem,) * 12, findings=(Finding(HOSTILE, Verdict.CHECKSUM_FAILURE),), summary=HOSTILE
    )


def standings(*reports: Report, disable_after: int = 0) -> tuple[Standing, Standing]:
    """How the task stands before and after the last of these."""
    before = after = Standing("photos")
    for report in reports:
        before, after = after, after_execution(after, report, disable_after)
    return before, after


def with_problem(report: Report, problem: Problem) -> Report:
    return msgspec.structs.replace(report, problems=(problem,), problems_total=1)


Warn = Callable[[str], None]
