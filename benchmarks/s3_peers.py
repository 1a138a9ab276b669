"""Who takes part in the contest over S3, and how each is told what to do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

KEYS = {"AWS_ACCESS_KEY_ID": "SYNCRUNNERTEST", "AWS_SECRET_ACCESS_KEY": "sync-runner-test-secret"}
REGION = "us-east-1"
RUNNER = "sync-runner"


@dataclass(frozen=True)
class Contestant:
    """Commands; `{source}`, `{bucket}` and `{out}` are its folder, its bucket, its folder for what comes down."""

    name: str
    up: tuple[str, ...]
    down: tuple[str, ...]
    environment: Mapping[str, str]
    version: str

    def command(self, down: bool, source: Path, bucket: str, out: Path) -> list[str]:
        words = self.down if down else self.up
        return [one.format(source=source, bucket=bucket, out=out) for one in words]


def contestants(folder: Path, endpoint: str, concurrency: int) -> list[Contestant]:
    """The runner, and those of its peers that are installed (in PATH or beside this Python)."""
    beside = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    environment = {**KEYS, "AWS_DEFAULT_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true"}
    runner = (sys.executable, "-m", "runner")
    run = (*runner, "run")
    found = [
        Contestant(
            RUNNER, (*run, "up", "-q"), (*run, "down", "-q"), environment, version(*runner, "--version")
        )
    ]
    if rclone := shutil.which("rclone", path=beside):
        many = ("--transfers", str(concurrency), "--checkers", str(concurrency))
        remote = {
            **environment,
            "RCLONE_CONFIG": str(folder / "rclone.conf"),
            "RCLONE_CONFIG_S_TYPE": "s3",
            "RCLONE_CONFIG_S_PROVIDER": "Other",
            "RCLONE_CONFIG_S_ENV_AUTH": "true",
            "RCLONE_CONFIG_S_ENDPOINT": endpoint,
        }
        (folder / "rclone.conf").touch()
        up = (rclone, "sync", *many, "{source}", "s:{bucket}")
        down = (rclone, "sync", *many, "s:{bucket}", "{out}")
        found.append(Contestant("rclone sync", up, down, remote, version(rclone, "--version")))
    if aws := shutil.which("aws", path=beside):
        ours = (aws, "--endpoint-url", endpoint, "s3", "sync", "--only-show-errors")
        up, down = (*ours, "{source}", "s3://{bucket}"), (*ours, "s3://{bucket}", "{out}")
        found.append(Contestant("aws s3 sync", up, down, environment, version(aws, "--version")))
    if s5cmd := shutil.which("s5cmd", path=beside):
        ours = (s5cmd, "--endpoint-url", endpoint, "--numworkers", str(concurrency), "--log", "error", "sync")
        up, down = (*ours, "{source}/", "s3://{bucket}/"), (*ours, "s3://{bucket}/*", "{out}/")
        found.append(Contestant("s5cmd sync", up, down, environment, version(s5cmd, "version")))
    return found


def version(*command: str) -> str:
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return shown.splitlines()[0].strip() if shown else ""


def configure(work: Path, source: Path, endpoint: str, bucket: str, out: Path) -> None:
    """The runner's sync.yaml (JSON is YAML) in `work`."""
    locations = {
        "here": {"type": "local", "path": str(source)},
        "back": {"type": "local", "path": str(out)},
        "there": {
            "type": "object_storage",
            "endpoint_url": endpoint,
            "bucket": bucket,
            "whole_bucket": True,
            "credentials": "environment",
        },
    }
    options = {"reports": ["json"], "options": {"verify_mode": "none"}}
    tasks = {
        "up": {"source": "here", "destination": "there", **options},
        "down": {"source": "there", "destination": "back", **options},
    }
    (work / "sync.yaml").write_text(json.dumps({"version": 1, "locations": locations, "tasks": tasks}))
