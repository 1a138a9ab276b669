"""Tasks, standings, reports and a real receiver of traces for the tests of monitoring."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from runner.history.standing import Moved, Standing
from runner.model.automation import Automation, MonitoringSettings
from runner.model.entry import Phase
from runner.model.execution import (
    Counters,
    Counts,
    EndpointSummary,
    Execution,
    PhaseTiming,
    Report,
    Trigger,
)
from runner.model.task import Configuration, FilterSettings, Guards, LocationSettings, Task, TaskOptions
from runner.monitoring.figures import LiveState, RunningFigures

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def task(name: str, *, max_age_seconds: float | None = None, enabled: bool = True) -> Task:
    source = LocationSettings("source", "local", {}, "/")
    target = LocationSettings("target", "local", {}, "/")
    automation = Automation(max_age_seconds=max_age_seconds)
    return Task(
        name, source, target, TaskOptions(), FilterSettings(), Guards(), None, (), "", "",
        enabled=enabled, automation=automation,
    )  # fmt: skip


def configuration(*tasks: Task, state: str = "/nowhere", metrics_file: str | None = None) -> Configuration:
    return Configuration(
        "/etc/sync.yaml",
        {},
        {one.name: one for one in tasks},
        state,
        monitoring=MonitoringSettings(metrics_file=metrics_file),
    )


def succeeded(name: str, at: datetime = NOW) -> Standing:
    return Standing(
        name,
        last_execution="6b0000000001",
        last_status=Phase.SUCCESS,
        last_exit_code=0,
        last_duration_seconds=12.5,
        last_ended_at=at,
        last_success_at=at,
        last_moved=Moved(3, 1, 0, 4096),
        ended={Phase.SUCCESS: 5, Phase.ERROR: 2},
        moved=Moved(30, 4, 2, 40960),
    )


def live(*running: RunningFigures, queued: tuple[str, ...] = ()) -> LiveState:
    return LiveState(
        started_at=NOW,
        configuration_loaded_at=NOW,
        running=running,
        queued=queued,
        next_starts={"mail": NOW},
        slots={"RAN": 7, "SKIPPED": 1},
    )


def report(
    status: Phase = Phase.SUCCESS, exit_code: int = 0, phases: tuple[PhaseTiming, ...] | None = None
) -> Report:
    """An execution of 10.5 s: launching 0.5 s, preparing 2 s, transferring 8 s."""
    timings = (
        PhaseTiming(Phase.LAUNCHING, "2026-03-01T12:00:00.250Z", 0.5, Phase.SUCCESS),
        PhaseTiming(Phase.PREPARING, "2026-03-01T12:00:00.750Z", 2.0, Phase.SUCCESS),
        PhaseTiming(Phase.TRANSFERRING, "2026-03-01T12:00:02.750Z", 8.0, status),
    )
    return Report(
        1,
        Execution(
            "6b0000000001", "mail", Trigger.SCHEDULE, status, exit_code, "3 files transferred.",
            "2026-03-01T12:00:00.250Z", "2026-03-01T12:00:10.750Z", 10.5, "backup", "0.1.0", "/etc/sync.yaml", "", "",
        ),
        EndpointSummary("source", "local", "/home/ada/secret-folder"),
        EndpointSummary("target", "s3", "s3://bucket/secret-prefix"),
        {},
        timings if phases is None else phases,
        Counters(listed=Counts(4, 1), transferred=Counts(3, 0), actions_planned=3, actions_done=3, bytes_transferred=4096),
        (), (), 0, (), 0,
    )  # fmt: skip


@dataclass
class Receiver:
    """What was posted to it: (path, headers in lower case, body). Answers with `status` and `location`."""

    port: int = 0
    status: int = 200
    location: str | None = None
    delay: threading.Event | None = None
    taken: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def receiver(status: int = 200) -> Iterator[Receiver]:
    """A real HTTP server on a free port of the loopback; with `delay` set it answers only after that event."""
    one = Receiver(status=status)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            one.taken.append((self.path, {key.lower(): value for key, value in self.headers.items()}, body))
            if one.delay is not None:
                one.delay.wait(30)
            self.send_response(one.status)
            if one.location is not None:
                self.send_header("Location", one.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    one.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield one
    finally:
        if one.delay is not None:
            one.delay.set()
        server.shutdown()
        server.server_close()
        thread.join()
