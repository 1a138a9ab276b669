"""A project folder with a sync.yaml, and the installed command run in it as a user would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Ran:
    """How one run of the command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Project:
    """A folder with src/, dst/ and sync.yaml."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = folder / "src"
        self.destination = folder / "dst"
        self.source.mkdir()
        self.configure()

    def configure(self, **task: Any) -> None:
        """Write sync.yaml (JSON is YAML) with one task `t`; keyword arguments are its keys."""
        document = {
            "version": 1,
            "locations": {
                "src": {"type": "local", "path": str(self.source)},
                "dst": {"type": "local", "path": str(self.destination)},
            },
            "tasks": {"t": {"source": "src", "destination": "dst", **task}},
        }
        (self.folder / "sync.yaml").write_text(json.dumps(document))

    def run(self, *arguments: str, expect: int | None = 0, user: int | None = None) -> Ran:
        """Run the command in the folder; `expect` None takes any exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "runner", *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, "NO_COLOR": "1"},
            timeout=120,
        )
        ran = Ran(
            done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        )
        assert "Traceback" not in ran.err + ran.out, ran.err
        assert expect is None or ran.code == expect, f"{ran.code} != {expect}\n{ran.out}\n{ran.err}"
        return ran

    def outcomes(self, report: dict[str, Any]) -> list[dict[str, Any]]:
        """The outcomes of an execution, as its journal has them."""
        folder = self.folder / ".sync-runner" / "executions" / report["execution"]["execution_id"]
        return [json.loads(line) for line in (folder / "outcomes.jsonl").read_bytes().splitlines()]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)
