"""The real command with an encrypted remote declared in sync.yaml: the secret comes by reference and shows nowhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SECRET = "a-Secret-that-must-not-be-seen"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runner", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "NO_COLOR": "1", "VAULT_PASSWORD": SECRET},
    )


def test_run_verify_and_restore_through_crypt(tmp_path: Path) -> None:
    source = tmp_path / "src"
    (source / "d").mkdir(parents=True)
    (source / "a").write_bytes(b"first")
    (source / "d/b").write_bytes(b"second")
    vault = {
        "type": "rclone",
        "backend": "crypt",
        "settings": {
            "remote": "disk:" + str(tmp_path / "vault"),
            "password": "{{ secret_env('VAULT_PASSWORD') }}",
        },
        "remotes": {"disk": {"backend": "local"}},
        "path": "in",
    }
    document = {
        "version": 1,
        "locations": {
            "src": {"type": "local", "path": str(source)},
            "vault": vault,
            "back": {"type": "local", "path": str(tmp_path / "back")},
        },
        "tasks": {
            "keep": {"source": "src", "destination": "vault", "reports": ["json", "html"]},
            "fetch": {"source": "vault", "destination": "back"},
        },
    }
    (tmp_path / "sync.yaml").write_text(json.dumps(document))
    for arguments in (
        ("run", "keep"),
        ("plan", "keep", "--detailed-exitcode"),
        ("verify", "keep"),
        ("run", "fetch"),
    ):
        done = run(tmp_path, *arguments)
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        assert SECRET not in done.stdout + done.stderr
    assert (tmp_path / "back/d/b").read_bytes() == b"second"
    assert (tmp_path / "back/a").stat().st_mtime_ns == (source / "a").stat().st_mtime_ns
    kept = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert kept
    assert not [file for file in kept if SECRET.encode() in file.read_bytes()]


def test_a_written_out_password_is_a_fault(tmp_path: Path) -> None:
    document = {
        "version": 1,
        "locations": {
            "src": {"type": "local", "path": str(tmp_path)},
            "dst": {
                "type": "rclone",
                "backend": "crypt",
                "settings": {"remote": "base:x", "password": SECRET},
                "remotes": {"base": {"backend": "sftp", "settings": {"host": "h", "pass": SECRET}}},
            },
        },
        "tasks": {"t": {"source": "src", "destination": "dst"}},
    }
    (tmp_path / "sync.yaml").write_text(json.dumps(document))
    done = run(tmp_path, "validate")
    assert done.returncode == 2
    assert done.stderr.count("is written out") == 2
    assert SECRET not in done.stdout + done.stderr
