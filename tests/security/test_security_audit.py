"""What the real commands do, as the interpreter's own audit events tell it: nothing is unpickled, no shell is started,
and only what was asked for is run or spoken to. The sources are read for the same in test_security_source.py; this
sees what the packages do that are loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HOOK = """
import os, sys
_path = os.environ["AUDIT_FILE"]
_EVENTS = {"pickle.find_class", "os.system", "subprocess.Popen", "os.posix_spawn", "os.exec", "socket.connect",
           "socket.bind", "socket.getaddrinfo", "urllib.Request", "ctypes.dlopen", "os.fork"}
def _hook(event, arguments):
    if event in _EVENTS:
        # Opened each time: workers close what they inherit.
        file = os.open(_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(file, f"{event} {arguments[:2]!r}\\n".encode("utf-8", "replace"))
        os.close(file)
sys.addaudithook(_hook)
"""
SHELLS = ("/sh'", "/bash'", "'sh'", "'bash'", "/dash'")


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """Where a Python that is started with PYTHONPATH=tmp_path/hook writes its audit events."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    return tmp_path / "events"


def python(folder: Path, events: Path, *words: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(folder / "hook"), "AUDIT_FILE": str(events)}
    ran = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert "Traceback" not in ran.stderr, ran.stderr
    assert ran.returncode == 0, ran.stdout + ran.stderr


def lines(events: Path, *names: str) -> list[str]:
    return [line for line in events.read_text().splitlines() if line.startswith(names)]


def test_the_events_are_seen(tmp_path: Path, events: Path) -> None:
    planted = "import pickle, os, socket; pickle.loads(pickle.dumps(os.getcwd)); os.system('true')"
    planted += "; socket.socket().bind(('127.0.0.1', 0))"
    python(tmp_path, events, "-c", planted)
    assert {line.split()[0] for line in lines(events, "pickle", "os.system", "socket")} == {
        "pickle.find_class", "os.system", "socket.bind",
    }  # fmt: skip


@pytest.mark.slow
def test_a_run_between_folders_unpickles_nothing_starts_no_shell_and_speaks_to_nobody(
    tmp_path: Path, events: Path
) -> None:
    for number in range(200):
        (tmp_path / "src" / f"d{number % 7}").mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / f"d{number % 7}" / f"$(touch {number})").write_bytes(b"x" * number)
    hook = tmp_path / "hook.py"
    hook.write_text("import sys; sys.exit(0)\n")
    document = {
        "version": 1,
        "locations": {name: {"type": "local", "path": str(tmp_path / name)} for name in ("src", "dst")},
        "tasks": {
            "t": {
                "source": "src",
                "destination": "dst",
                "options": {"workers": 2, "preserve_deleted_files": "quarantine"},
                "hooks": {"before": [{"run": [sys.executable, "-I", str(hook), "; touch pwned"]}]},
            }
        },
    }
    (tmp_path / "sync.yaml").write_text(json.dumps(document))
    python(tmp_path, events, "-m", "runner", "run", "t")
    (tmp_path / "src" / "d0" / "$(touch 0)").unlink()
    python(tmp_path, events, "-m", "runner", "run", "t")
    for command in (("verify", "t"), ("history",), ("report", "latest"), ("schedule",), ("status",)):
        python(tmp_path, events, "-m", "runner", *command)
    assert lines(events, "pickle", "os.system", "socket", "urllib") == []
    started = lines(events, "subprocess.Popen", "os.posix_spawn", "os.exec")
    assert len([line for line in started if "hook.py" in line]) == 2
    assert [line for line in started if any(shell in line for shell in SHELLS)] == []
    assert not (tmp_path / "pwned").exists()
