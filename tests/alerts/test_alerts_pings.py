"""Pings, against a real server."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator

import pytest
from alerts_support import Receiver, receiver

from runner.alerts import pings
from runner.alerts.pings import ping
from runner.model.secret import Secret
from runner.testing.fake_clock import FakeClock

SECRET = "d3adb33f-uuid"


@pytest.fixture
def service() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def url_of(service: Receiver, path: str = f"/ping/{SECRET}") -> Secret:
    return Secret(f"http://{service.base}{path}", "")


def test_a_ping_is_one_get(service: Receiver) -> None:
    clock = FakeClock()
    assert ping(url_of(service), {}, clock) is None
    assert service.seen == [("GET", f"/ping/{SECRET}")]
    assert service.requests[0].headers["User-Agent"].startswith("sync-runner/")
    assert clock.sleeps == []


def test_a_text_is_posted_and_never_long(service: Receiver) -> None:
    assert ping(url_of(service), {}, FakeClock(), "größe: \udcff " + "x" * 20_000) is None
    request = service.requests[0]
    assert (request.method, len(request.body)) == ("POST", pings.BODY_BYTES_AT_MOST)
    assert request.body.decode().startswith("größe: ? x")


def test_what_stands_before_the_host_is_basic_authentication(service: Receiver) -> None:
    assert ping(Secret(f"http://me:p%40ss@{service.base}/x?y=1#z", ""), {}, FakeClock()) is None
    assert service.seen == [("GET", "/x?y=1")]
    expected = base64.b64encode(b"me:p@ss").decode()
    assert service.requests[0].headers["Authorization"] == f"Basic {expected}"


@pytest.mark.parametrize(
    ("description", "answers", "failure", "tries"),
    [
        ("once busy", [(503, {}), (200, {})], None, 2),
        ("always busy", [(503, {})], "it answered with HTTP 503", 2),
        ("too many", [(429, {}), (204, {})], None, 2),
        ("unknown check", [(404, {})], "it answered with HTTP 404", 1),
    ],
)
def test_answers(
    description: str,
    answers: list[tuple[int, dict[str, str]]],
    failure: str | None,
    tries: int,
    service: Receiver,
) -> None:
    service.answers = answers
    clock = FakeClock()
    assert (description, ping(url_of(service), {}, clock)) == (description, failure)
    assert (len(service.requests), clock.sleeps) == (tries, [1.0] * (tries - 1))


def test_a_redirect_on_the_same_host_is_followed(service: Receiver) -> None:
    service.answers = [(302, {"Location": "/moved"}), (200, {})]
    assert ping(url_of(service), {}, FakeClock()) is None
    assert service.seen == [("GET", f"/ping/{SECRET}"), ("GET", "/moved")]


@pytest.mark.parametrize(
    "location", ["http://localhost:{port}/x", "http://127.0.0.1:1/x", "file:///etc/passwd", "//x/"]
)
def test_no_redirect_leads_elsewhere(location: str, service: Receiver) -> None:
    service.answers = [(302, {"Location": location.format(port=service.port)})]
    failure = ping(url_of(service), {}, FakeClock())
    assert failure == "it answered with a redirect to another host (HTTP 302), which is not followed"
    assert len(service.requests) == 1


def test_a_proxy_is_used_only_when_the_environment_names_one(service: Receiver) -> None:
    elsewhere = Secret(f"http://hc.invalid/ping/{SECRET}", "")
    proxy = {"http_proxy": f"http://{service.base}"}
    assert ping(elsewhere, proxy, FakeClock()) is None
    assert service.seen == [("GET", f"http://hc.invalid/ping/{SECRET}")]
    assert ping(elsewhere, {**proxy, "no_proxy": "hc.invalid"}, FakeClock()) is not None
    assert ping(elsewhere, {"HTTP_PROXY": f"http://{service.base}"}, FakeClock()) is not None
    assert len(service.requests) == 1


def test_a_service_that_does_not_answer_in_time(service: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    monkeypatch.setattr(pings, "TIMEOUT_SECONDS", 0.2)
    service.hold = threading.Event()
    assert ping(url_of(service), {}, FakeClock()) == "it did not answer within 0.2 s"
    assert len(service.requests) == 2


def test_nothing_that_goes_wrong_tells_the_url() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        urls = [
            f"http://127.0.0.1:{port}/{SECRET}",
            f"http://{SECRET}.invalid/",
            f"ftp://127.0.0.1/{SECRET}",
            f"file:///{SECRET}",
            f"http://127.0.0.1:{SECRET}/",
            f"http://[::{SECRET}/",
            f"http://{'x' * 70}{SECRET}/",
            f"http://127.0.0.1/{SECRET}\nHost: evil",
        ]
        failures = [ping(Secret(url, ""), {}, FakeClock()) for url in urls]
    assert failures[0] == "it cannot be reached: Connection refused"
    assert all(failures)
    assert not any(SECRET in str(failure) for failure in failures)


def test_a_server_that_does_not_speak_http() -> None:
    import threading

    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"SSH-2.0-OpenSSH_9\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        failure = ping(Secret(f"http://127.0.0.1:{server.getsockname()[1]}/", ""), {}, FakeClock())
        thread.join()
    assert failure == "it did not answer as HTTP says"
