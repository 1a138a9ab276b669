"""A finished execution as one OpenTelemetry trace: a span for it, and one below it for each phase.

Made from the report when everything is written down: the engine knows nothing of it, and an execution ends as it
ends, whether or not somebody takes its trace. Sent with OTLP over HTTP (protobuf) by OpenTelemetry's own exporter.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote

from runner.model.automation import MonitoringSettings
from runner.model.entry import Phase
from runner.model.execution import Counters, Report
from runner.model.secret import Secret

if TYPE_CHECKING:
    import requests
    from opentelemetry.sdk.trace import ReadableSpan

WAIT_SECONDS = 5.0
"""How long the end of an execution waits for a trace to be taken, at most."""
_NANOSECONDS = 1_000_000_000
_Attributes = Mapping[str, str | int]


def export_report(
    report: Report,
    settings: MonitoringSettings,
    environment: Mapping[str, str],
    warn: Callable[[str], None],
) -> None:
    """Send the execution's trace to settings.traces_endpoint; does nothing where none is declared.

    Never raises, and takes no more than about WAIT_SECONDS; `warn` is told why a trace was not taken. `environment`
    may name a proxy (https_proxy, http_proxy, no_proxy).
    """
    if settings.traces_endpoint is None:
        return
    try:
        failure = _send(report, settings.traces_endpoint, settings.traces_headers, environment)
    except Exception as error:
        # Its text may hold the endpoint's address, or a header.
        failure = type(error).__name__
    if failure is not None:
        warn(f"the trace of execution {report.execution.execution_id} was not taken: {failure}")


def parse_headers(text: str) -> dict[str, str]:
    """`name=value` pairs joined by commas, values percent-encoded where need be: as OTEL_EXPORTER_OTLP_HEADERS.

    A pair without a name or `=` is left out.
    """
    pairs = (pair.partition("=") for pair in text.split(","))
    return {
        name.strip().lower(): unquote(value.strip())
        for name, equals, value in pairs
        if name.strip() and equals
    }


def spans_of(report: Report) -> list[ReadableSpan]:
    """The execution's span first, then one a phase, in order. Empty when OTEL_SDK_DISABLED says so."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON
    from opentelemetry.trace import Status, StatusCode, set_span_in_context

    execution = report.execution
    resource = Resource(
        {
            "service.name": "sync-runner",
            "service.version": execution.runner_version,
            "host.name": execution.host,
        }
    )
    provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
    tracer = provider.get_tracer("sync-runner", execution.runner_version)
    began = _nanoseconds(execution.started_at)
    root = tracer.start_span("execution", attributes=_of_execution(report), start_time=began)
    spans = [root]
    for timing in report.phases:
        started = _nanoseconds(timing.started_at)
        attributes = _of_phase(timing.phase, report.counters)
        name = timing.phase.value.lower()
        span = tracer.start_span(name, set_span_in_context(root), attributes=attributes, start_time=started)
        span.set_status(Status(StatusCode.OK if timing.status is Phase.SUCCESS else StatusCode.ERROR))
        span.end(started + round(timing.duration_seconds * _NANOSECONDS))
        spans.append(span)
    if execution.status is Phase.SUCCESS:
        root.set_status(Status(StatusCode.OK))
    else:
        root.set_status(Status(StatusCode.ERROR, execution.summary))
    root.end(began + round(execution.duration_seconds * _NANOSECONDS))
    return [span for span in spans if isinstance(span, ReadableSpan)]


def _of_execution(report: Report) -> _Attributes:
    """No paths and no locations' addresses: others may read traces."""
    execution, counters = report.execution, report.counters
    return {
        "sync_runner.task": execution.task,
        "sync_runner.execution": execution.execution_id,
        "sync_runner.trigger": execution.trigger.value,
        "sync_runner.status": execution.status.value,
        "sync_runner.exit_code": execution.exit_code,
        "sync_runner.source.type": report.source.type,
        "sync_runner.destination.type": report.destination.type,
        "sync_runner.files.listed": counters.listed.files,
        "sync_runner.files.transferred": counters.transferred.files,
        "sync_runner.files.deleted": counters.deleted.files + counters.quarantined.files,
        "sync_runner.files.failed": counters.failed.files,
        "sync_runner.bytes.transferred": counters.bytes_transferred,
        "sync_runner.problems": report.problems_total,
        "sync_runner.findings": report.findings_total,
    }


def _of_phase(phase: Phase, counters: Counters) -> _Attributes:
    """What a phase did, of the counters."""
    if phase is Phase.PREPARING:
        return {
            "sync_runner.files.listed": counters.listed.files,
            "sync_runner.folders.listed": counters.listed.folders,
            "sync_runner.actions.planned": counters.actions_planned,
            "sync_runner.bytes.planned": counters.bytes_planned,
            "sync_runner.files.failed": counters.failed_prepare.files,
        }
    if phase is Phase.TRANSFERRING:
        return {
            "sync_runner.actions.done": counters.actions_done,
            "sync_runner.actions.failed": counters.actions_failed,
            "sync_runner.files.transferred": counters.transferred.files,
            "sync_runner.bytes.transferred": counters.bytes_transferred,
        }
    if phase is Phase.VERIFYING:
        return {
            "sync_runner.files.verified": counters.verified.files,
            "sync_runner.files.failed": counters.failed_verify.files,
            "sync_runner.bytes.verified": counters.bytes_verified,
        }
    return {}


def _send(
    report: Report, endpoint: str, headers: Secret | None, environment: Mapping[str, str]
) -> str | None:
    """None, or why it was not taken."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import SpanExportResult
    except ImportError as error:
        return f"the package {error.name} is not installed. Install the extra: pip install 'sync-runner[monitoring]'"

    # The exporter writes to a log of its own what it did not get rid of: it is told once, by our warning.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
    spans = spans_of(report)
    if not spans:
        return None
    answered: list[int] = []
    session = _session(endpoint, environment, answered)
    exporter = OTLPSpanExporter(
        endpoint=endpoint,
        headers=parse_headers(headers.reveal()) if headers is not None else {},
        timeout=int(WAIT_SECONDS),
        session=session,
    )
    results: list[SpanExportResult] = []

    def deliver() -> None:
        # What it raises is told by the missing result.
        with contextlib.suppress(Exception):
            results.append(exporter.export(spans))

    thread = threading.Thread(target=deliver, name="trace", daemon=True)
    thread.start()
    thread.join(WAIT_SECONDS)
    gave_up = thread.is_alive()
    exporter.shutdown()
    if results and results[0] is SpanExportResult.SUCCESS:
        return None
    if answered:
        return f"the endpoint answered with HTTP {answered[-1]}"
    return f"no answer within {WAIT_SECONDS:g} s" if gave_up else "the endpoint cannot be reached"


def _session(endpoint: str, environment: Mapping[str, str], answered: list[int]) -> requests.Session:
    """A client that follows no redirect (the headers are for the endpoint alone) and reads no netrc file."""
    import requests

    session = requests.Session()
    session.trust_env = False
    session.max_redirects = 0
    proxy = environment.get("no_proxy") or environment.get("NO_PROXY")
    if not requests.utils.should_bypass_proxies(endpoint, no_proxy=proxy or ""):
        found = {
            "https": environment.get("https_proxy") or environment.get("HTTPS_PROXY"),
            "http": environment.get("http_proxy"),
        }
        session.proxies = {scheme: address for scheme, address in found.items() if address}

    def note(response: requests.Response, *_: object, **__: object) -> None:
        answered.append(response.status_code)

    session.hooks["response"].append(note)
    return session


def _nanoseconds(instant: str) -> int:
    """RFC 3339 -> nanoseconds since 1970, exactly."""
    since = datetime.fromisoformat(instant) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * _NANOSECONDS + since.microseconds * 1000
