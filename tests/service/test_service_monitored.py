"""The service as monitoring sees it: scrapes, health, and the digest, against real receivers."""

from __future__ import annotations

import http.server
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving import Serving

pytestmark = pytest.mark.slow


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture
def received() -> Iterator[tuple[int, list[dict[str, object]]]]:
    """A receiver of Apprise's JSON notifications: (port, what came)."""
    bodies: list[dict[str, object]] = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1], bodies
        server.shutdown()
        thread.join()


def test_a_scrape_and_the_health_of_a_running_service(serving: Serving) -> None:
    serving.fill(3, 1000)
    serving.configure("  a: {source: source, destination: one, schedule: {every: 1s}, max_age: 1h}\n")
    port = free_port()
    file = serving.folder / "sync.yaml"
    file.write_text(file.read_text().replace('http: "off"', f'http: "127.0.0.1:{port}"'))
    serving.start()
    serving.until(lambda: serving.history())
    assert get(port, "/healthz")[0] == 200
    assert get(port, "/readyz")[0] == 200
    status, text = get(port, "/metrics")
    assert status == 200
    samples = {
        (sample.name, sample.labels.get("task")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert any(name.startswith("sync_runner_") and task == "a" for name, task in samples)
    assert {labels for _, labels in samples} <= {None, "a"}
    assert serving.stop() == 0


def test_a_port_that_is_taken_stops_a_service_that_asked_for_it(serving: Serving) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        serving.configure("  a: {source: source, destination: one}\n")
        file = serving.folder / "sync.yaml"
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        file.write_text(file.read_text().replace('http: "off"', f'http: "{place}"'))
        ended = serving.command("serve")
    assert ended.returncode == 2
    assert f"nothing can listen at {place}" in ended.stderr


def test_the_digest_goes_out_by_itself_and_failures_are_told(
    serving: Serving, received: tuple[int, list[dict[str, object]]]
) -> None:
    port, bodies = received
    serving.configure(
        "  a: {source: gone, destination: one, schedule: {every: 1s}, notify: [{to: [ops]}]}\n",
        settings=", disable_after: 1",
        locations="  gone: {type: local, path: ./not-there}\n",
    )
    with (serving.folder / "sync.yaml").open("a") as file:
        file.write(f"notifications:\n  channels: {{ops: 'json://127.0.0.1:{port}/'}}\n")
    serving.start()
    serving.until(lambda: bodies)
    assert "a" in str(bodies[0]["title"])
    with (serving.folder / "sync.yaml").open("a") as file:
        file.write("  digest: {to: [ops], cron: '* * * * *'}\n")
    serving.until(
        lambda: any("1 of 1 task needs a look" in str(body) for body in bodies), patience_seconds=120
    )
