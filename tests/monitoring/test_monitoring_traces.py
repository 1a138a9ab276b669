"""Traces as a real collector gets them: HTTP, headers, protobuf."""

from __future__ import annotations

import logging
import socket
import threading
import time
from typing import Any

import pytest
from monitoring_support import Receiver, receiver, report

from runner.model.automation import MonitoringSettings
from runner.model.entry import Phase
from runner.model.secret import Secret
from runner.monitoring import traces
from runner.monitoring.traces import export_report, parse_headers

NS = 1_000_000_000
BEGAN = 1_772_366_400 * NS + 250_000_000
"""2026-03-01T12:00:00.250Z"""


def export(one: Receiver, **settings: Any) -> list[str]:
    warnings: list[str] = []
    endpoint = f"http://127.0.0.1:{one.port}/v1/traces"
    settings.setdefault("told", report())
    told = settings.pop("told")
    export_report(told, MonitoringSettings(traces_endpoint=endpoint, **settings), {}, warnings.append)
    return warnings


def decoded(body: bytes) -> Any:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    request.ParseFromString(body)
    return request.resource_spans[0]


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


def test_one_trace_an_execution_with_a_span_a_phase() -> None:
    with receiver() as one:
        assert export(one) == []
    [(path, headers, body)] = one.taken
    assert path == "/v1/traces"
    assert headers["content-type"] == "application/x-protobuf"
    found = decoded(body)
    assert attributes(found.resource) == {
        "service.name": "sync-runner",
        "service.version": "0.1.0",
        "host.name": "backup",
    }
    root, *phases = found.scope_spans[0].spans
    assert [(root.name, root.start_time_unix_nano, root.end_time_unix_nano)] == [
        ("execution", BEGAN, BEGAN + 10_500_000_000)
    ]
    assert root.parent_span_id == b""
    assert {span.trace_id for span in phases} == {root.trace_id}
    assert {span.parent_span_id for span in phases} == {root.span_id}
    assert [
        (span.name, span.start_time_unix_nano - BEGAN, span.end_time_unix_nano - BEGAN) for span in phases
    ] == [
        ("launching", 0, NS // 2),
        ("preparing", NS // 2, NS // 2 + 2 * NS),
        ("transferring", NS // 2 + 2 * NS, NS // 2 + 10 * NS),
    ]
    assert {span.status.code for span in (root, *phases)} == {1}


def test_what_the_spans_tell() -> None:
    with receiver() as one:
        assert export(one) == []
    root, _, _, transferring = decoded(one.taken[0][2]).scope_spans[0].spans
    told = attributes(root)
    assert told["sync_runner.task"] == "mail"
    assert told["sync_runner.execution"] == "6b0000000001"
    assert told["sync_runner.trigger"] == "schedule"
    assert told["sync_runner.status"] == "SUCCESS"
    assert told["sync_runner.exit_code"] == 0
    assert told["sync_runner.destination.type"] == "s3"
    assert attributes(transferring)["sync_runner.bytes.transferred"] == 4096
    assert b"secret" not in one.taken[0][2]


def test_a_failure_is_an_error_in_its_phase_and_as_a_whole() -> None:
    with receiver() as one:
        assert export(one, told=report(Phase.ERROR, 4)) == []
    root, launching, _, transferring = decoded(one.taken[0][2]).scope_spans[0].spans
    assert [span.status.code for span in (root, launching, transferring)] == [2, 1, 2]
    assert root.status.message == "3 files transferred."


def test_an_execution_that_never_began_has_a_span_of_its_own() -> None:
    with receiver() as one:
        assert export(one, told=report(Phase.ERROR, 8, phases=())) == []
    assert [span.name for span in decoded(one.taken[0][2]).scope_spans[0].spans] == ["execution"]


def test_headers_come_from_the_secret_and_are_told_to_nobody_else() -> None:
    secret = Secret("authorization=Bearer%20abc, X-Scope=ops", "test")
    with receiver() as one:
        assert export(one, traces_headers=secret) == []
    headers = one.taken[0][1]
    assert (headers["authorization"], headers["x-scope"]) == ("Bearer abc", "ops")


def test_a_redirect_is_not_followed() -> None:
    with receiver() as other, receiver(307) as one:
        one.location = f"http://127.0.0.1:{other.port}/v1/traces"
        warnings = export(one, traces_headers=Secret("x-key=abc", "test"))
    assert other.taken == []
    assert warnings == [
        "the trace of execution 6b0000000001 was not taken: the endpoint answered with HTTP 307"
    ]


def test_what_refuses_is_told_once_and_without_the_address(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with receiver(401) as one:
        warnings = export(one, traces_headers=Secret("x-key=canary", "test"))
    assert warnings == [
        "the trace of execution 6b0000000001 was not taken: the endpoint answered with HTTP 401"
    ]
    assert "canary" not in caplog.text
    assert capfd.readouterr() == ("", "")


def test_nobody_there(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "WAIT_SECONDS", 1.0)
    with socket.socket() as taken:
        # Bound and not listening: nobody answers there, and nobody else comes to.
        taken.bind(("127.0.0.1", 0))
        warnings = export(Receiver(port=taken.getsockname()[1]))
    assert warnings == ["the trace of execution 6b0000000001 was not taken: the endpoint cannot be reached"]
    assert capfd.readouterr() == ("", "")


def test_who_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "WAIT_SECONDS", 1.0)
    with receiver() as one:
        one.delay = threading.Event()
        began = time.monotonic()
        warnings = export(one)
        assert time.monotonic() - began < 10
        one.delay.set()
        for thread in threading.enumerate():
            if thread.name == "trace":
                thread.join(20)
    assert len(warnings) == 1
    assert "was not taken" in warnings[0]


def test_nothing_is_sent_where_no_endpoint_is_declared() -> None:
    export_report(report(), MonitoringSettings(), {}, pytest.fail)


def test_a_proxy_that_the_environment_names_is_used() -> None:
    warnings: list[str] = []
    with receiver() as proxy:
        settings = MonitoringSettings(traces_endpoint="http://collector.invalid:4318/v1/traces")
        export_report(report(), settings, {"http_proxy": f"http://127.0.0.1:{proxy.port}"}, warnings.append)
    assert warnings == []
    assert proxy.taken[0][0] == "http://collector.invalid:4318/v1/traces"


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        __import__("sys").modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None
    )
    warnings = export(Receiver(port=1))
    assert len(warnings) == 1
    assert "pip install 'sync-runner[monitoring]'" in warnings[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=b", {"a": "b"}),
        ("Authorization=Basic%20eDp5, x=1", {"authorization": "Basic eDp5", "x": "1"}),
        ("token=a=b==", {"token": "a=b=="}),
        ("", {}),
        ("nonsense,=x,a=", {"a": ""}),
    ],
)
def test_headers_are_pairs(text: str, expected: dict[str, str]) -> None:
    assert parse_headers(text) == expected


def test_the_exporters_own_log_is_not_ours(caplog: pytest.LogCaptureFixture) -> None:
    with receiver(400) as one:
        export(one)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
