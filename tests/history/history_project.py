"""A folder with a sync.yaml whose history is some database, and the installed command run in it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.cli.main import run_command
from runner.cli.output import Output
from runner.cli.parser import wants_json
from runner.cli.services import Services
from runner.clock import SystemClock

COMMAND = [os.path.join(os.path.dirname(sys.executable), "sync-runner")]


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Project:
    """Task `photos` from src/ to dst/; the database's URL comes from a secret, as it should."""

    def __init__(self, folder: Path, history: str | None, **task: Any) -> None:
        self.folder = folder
        self.history = history
        (folder / "src").mkdir()
        (folder / "src" / "a").write_bytes(b"a" * 1000)
        self.configure(**task)

    def configure(self, settings: dict[str, Any] | None = None, **task: Any) -> None:
        declared = dict(settings or {})
        if self.history is not None:
            declared["history"] = "{{ secret_env('HISTORY') }}"
        document = {
            "version": 1,
            "settings": declared,
            "locations": {
                "src": {"type": "local", "path": "src"},
                "dst": {"type": "local", "path": "dst"},
            },
            "tasks": {"photos": {"source": "src", "destination": "dst", "reports": ["json"], **task}},
        }
        (self.folder / "dst").mkdir(exist_ok=True)
        (self.folder / "sync.yaml").write_text(json.dumps(document))

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, *words],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "HISTORY": self.history or "", "NO_COLOR": "1"},
        )

    def run(self, *words: str) -> Ran:
        """In this process, which costs less than one of its own."""
        streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(3)]
        environment = {"COLUMNS": "100", "HISTORY": self.history or ""}
        output = Output(*streams, environment, json=wants_json(words, environment))
        began = time.monotonic()
        with contextlib.chdir(self.folder):
            code = run_command(words, output, environment, Services(), SystemClock())
        out, err = (stream.buffer.getvalue().decode() for stream in streams[:2])  # type: ignore[attr-defined]
        return Ran(code, out, err, time.monotonic() - began)

    def command(self, *words: str) -> Ran:
        """The installed command, as a user types it."""
        began = time.monotonic()
        process = self.start(*words)
        out, err = process.communicate(timeout=120)
        return Ran(process.returncode, out, err, time.monotonic() - began)

    def executions(self) -> list[tuple[str, str]]:
        """(id, status) as `history` has it, newest first."""
        ran = self.run("history", "--json")
        assert ran.code == 0, ran.err
        return [(row["execution_id"], row["status"]) for row in ran.json["executions"]]
