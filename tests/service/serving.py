"""A real `serve` in a process of its own, and commands beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.service.door import Client, Request

PATIENCE_SECONDS = 60.0


class Serving:
    """A folder with a sync.yaml, the service for it, and the command line. All of it ends with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = folder / "source"
        self.source.mkdir()
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "serve.log"
        self.environment = {**os.environ, "SYNC_RUNNER_LOG_FORMAT": "human", "COLUMNS": "200"}
        self.environment.pop("NOTIFY_SOCKET", None)

    @property
    def state(self) -> Path:
        return self.folder / ".sync-runner"

    def configure(self, tasks: str, settings: str = "", locations: str = "") -> None:
        """Write sync.yaml: tasks copy `source` to `one`, `two` or `three`."""
        text = f"""version: 1
settings: {{service: {{http: "off"{settings}}}}}
locations:
  source: {{type: local, path: ./source}}
  one: {{type: local, path: ./one}}
  two: {{type: local, path: ./two}}
  three: {{type: local, path: ./three}}
{locations}
tasks:
{tasks}
"""
        draft = self.folder / "draft.yaml"
        draft.write_text(text)
        draft.replace(self.folder / "sync.yaml")

    def fill(self, files: int, size_bytes: int) -> None:
        for number in range(files):
            (self.source / f"f{number:05}").write_bytes(os.urandom(size_bytes))

    def start(self, *arguments: str, ready: bool = True) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "runner", "serve", *arguments],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        if ready:
            self.until(lambda: self.status() is not None)
        return self.process

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "runner", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )

    def status(self) -> dict[str, Any] | None:
        client = Client.connect(str(self.state / "service.sock"))
        if client is None:
            return None
        try:
            return next(client.ask(Request("status")), None)
        except OSError:
            return None
        finally:
            client.close()

    def history(self, *arguments: str) -> list[dict[str, Any]]:
        """Executions, oldest first."""
        found = json.loads(self.command("history", "--json", *arguments).stdout)
        return list(reversed(found["executions"]))

    def until(self, condition: Callable[[], object], patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until that holds; fails with the service's log when it does not in time."""
        end = time.monotonic() + patience_seconds
        while not condition():
            if time.monotonic() > end or (self.process is not None and self.process.poll() not in (None, 0)):
                pytest.fail(f"it did not come to that; the service's log:\n{self.log.read_text()}")
            threading.Event().wait(0.02)

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
