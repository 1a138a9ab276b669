"""The command, real trees, real receivers: what is told when a run fails, is refused, and works again."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from alerts_support import Receiver, receiver

from runner.cli.main import run_command
from runner.cli.output import Output
from runner.cli.parser import wants_json
from runner.cli.services import Services
from runner.clock import SystemClock
from runner.execution.locking import destination_lock

# Apprise loads all its services at once; some of them, modules that later versions of Python drop.
pytestmark = pytest.mark.filterwarnings("ignore:.* is deprecated and slated for removal:DeprecationWarning")

COMMAND = [os.path.join(os.path.dirname(sys.executable), "sync-runner")]
SECRET = "tok3n-hunter2"


@dataclass
class Place:
    """A folder with a task between `src` and `dst`, and a receiver for what is told of it."""

    folder: Path
    service: Receiver
    task: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)

    def declare(self, **task: Any) -> None:
        configuration = {
            "version": 1,
            "locations": {
                "src": {"type": "local", "path": "./src"},
                "dst": {"type": "local", "path": "./dst"},
            },
            "tasks": {"t": {"source": "src", "destination": "dst", **self.task, **task}},
            **self.more,
        }
        (self.folder / "sync.yaml").write_text(json.dumps(configuration))

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "COLUMNS": "200",
            "OPS": f"json://user:{SECRET}@{self.service.base}/{SECRET}",
            "CHECK": f"http://{self.service.base}/check/{SECRET}",
        }

    def call(self, *words: str) -> tuple[int, str, str]:
        """The command in this process: its exit code and what it printed."""
        stdout, stderr, stdin = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(3))
        output = Output(stdout, stderr, stdin, self.environment(), json=wants_json(words, {}))
        code = run_command(words, output, self.environment(), Services(), SystemClock())
        return code, *(each.buffer.getvalue().decode() for each in (stdout, stderr))  # type: ignore[attr-defined, return-value]

    def told(self) -> list[tuple[str, str]]:
        """Titles and types of the messages since the last look."""
        posts = [request for request in self.service.requests if request.path == f"/{SECRET}"]
        self.service.requests.clear()
        return [(request.value["title"], request.value["type"]) for request in posts]

    def hook(self, name: str, *, then: str = "true") -> list[str]:
        """A hook that leaves its environment in a file."""
        return ["sh", "-c", f"env >> {name}.env; echo {name} >> order; {then}"]

    def variables(self, name: str) -> dict[str, str]:
        lines = (self.folder / f"{name}.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def order(self) -> list[str]:
        path = self.folder / "order"
        names = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return names


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.chdir(tmp_path)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "src").mkdir()
    for number in range(4):
        (tmp_path / "src" / f"{number}.txt").write_text(str(number))
    with receiver() as service:
        place = Place(tmp_path, service)
        place.more = {"notifications": {"channels": {"ops": "{{ secret_env('OPS') }}"}}}
        place.declare()
        yield place


def block(place: Place) -> None:
    """A file stands where the destination's folder has to be."""
    (place.folder / "dst").rename(place.folder / "kept") if (place.folder / "dst").is_dir() else None
    (place.folder / "dst").write_text("in the way")


def unblock(place: Place) -> None:
    (place.folder / "dst").unlink()
    (place.folder / "kept").rename(place.folder / "dst") if (place.folder / "kept").exists() else None


def test_failure_then_recovery_then_silence_then_a_guard(place: Place) -> None:
    place.task = {"notify": [{"to": "ops"}, {"to": "ops", "on": ["guard"]}]}
    place.declare()
    host = os.uname().nodename
    block(place)
    assert place.call("run")[0] == 7
    assert place.told() == [
        (f"[sync-runner] t failed on {host}: A location or the state folder cannot be used", "failure")
    ]
    unblock(place)
    assert place.call("run")[0] == 0
    assert place.told() == [(f"[sync-runner] t works again on {host}", "success")]
    assert place.call("run")[0] == 0
    assert place.told() == []
    for path in (place.folder / "src").iterdir():
        path.unlink()
    place.declare(options={"preserve_deleted_files": "remove"})
    assert place.call("run")[0] == 6
    ((title, kind),) = place.told()
    assert title.startswith(f"[sync-runner] t was refused by a guard on {host}: ")
    assert ("source_emptied" in title or "empty_source" in title, kind) == (True, "warning")


def test_a_disabled_task_says_how_it_is_enabled_again(place: Place) -> None:
    place.more["settings"] = {"service": {"disable_after": 2}}
    place.declare(notify=[{"to": "ops"}])
    block(place)
    place.call("run")
    place.told()
    place.call("run")
    assert place.service.requests[-1].value["title"].startswith("[sync-runner] t is disabled on ")
    assert "sync-runner resume t -c " in place.service.requests[-1].value["message"]


def test_pings_and_hooks_in_their_order(place: Place) -> None:
    place.declare(
        pings={name: f"{{{{ secret_env('CHECK') }}}}/{name}" for name in ("start", "success", "fail")},
        hooks={
            "before": [place.hook("before")],
            "after": [place.hook("after")],
            "on_error": [place.hook("on_error")],
        },
    )
    assert place.call("run")[0] == 0
    assert place.service.seen == [("GET", f"/check/{SECRET}/start"), ("GET", f"/check/{SECRET}/success")]
    assert place.order() == ["before", "after"]
    before, after = place.variables("before"), place.variables("after")
    expected = {
        "SYNC_RUNNER_TASK": "t",
        "SYNC_RUNNER_TRIGGER": "manual",
        "SYNC_RUNNER_MOMENT": "before",
        "SYNC_RUNNER_CONFIG": str(place.folder / "sync.yaml"),
        "HOME": str(place.folder),
    }
    assert {name: before[name] for name in expected} == expected
    assert before["SYNC_RUNNER_FOLDER"].endswith(before["SYNC_RUNNER_EXECUTION"])
    assert not {"OPS", "CHECK", "SYNC_RUNNER_STATUS"} & before.keys()
    assert json.loads(Path(after["SYNC_RUNNER_REPORT"]).read_text())["execution"]["status"] == "SUCCESS"
    outcome = {
        "SYNC_RUNNER_MOMENT": "after",
        "SYNC_RUNNER_STATUS": "SUCCESS",
        "SYNC_RUNNER_EXIT_CODE": "0",
        "SYNC_RUNNER_FILES_TRANSFERRED": "4",
        "SYNC_RUNNER_BYTES_TRANSFERRED": "4",
        "SYNC_RUNNER_ERROR": "",
    }
    assert {name: after[name] for name in outcome} == outcome
    place.service.requests.clear()
    block(place)
    code, stdout, _ = place.call("run")
    assert (code, place.order()) == (7, ["before", "on_error", "after"])
    assert place.service.seen == [("GET", f"/check/{SECRET}/start"), ("POST", f"/check/{SECRET}/fail")]
    assert (
        place.service.requests[1].body.decode() == "t: A location could not be opened; nothing was written."
    )
    assert place.variables("on_error")["SYNC_RUNNER_ERROR"] == "exit 7 unavailable"
    assert SECRET not in stdout


def test_a_hook_of_before_that_fails_stops_the_execution(place: Place) -> None:
    place.declare(
        hooks={
            "before": [place.hook("before", then="echo database is busy; exit 9"), place.hook("second")],
            "after": [place.hook("after")],
            "on_error": [place.hook("on_error")],
        },
        notify=[{"to": "ops"}],
    )
    code, stdout, _ = place.call("run", "--json")
    report = json.loads(stdout)
    assert (code, report["execution"]["status"], report["execution"]["exit_code"]) == (4, "ERROR", 4)
    assert report["execution"]["summary"] == "A hook failed before the start; nothing was listed or written."
    (problem,) = report["problems"]
    assert problem["code"] == "hook_failed"
    assert problem["message"].startswith("hook 1 of before, sh, ended with code 9: database is busy. ")
    assert report["counters"]["listed"] == {"files": 0, "folders": 0}
    assert not (place.folder / "dst").exists()
    assert place.order() == ["before", "on_error", "after"]
    assert place.told() == [
        (f"[sync-runner] t failed on {os.uname().nodename}: Stopped before the start", "failure")
    ]


def test_after_and_on_error_change_nothing(place: Place) -> None:
    place.declare(hooks={"after": [["sh", "-c", "echo thaw failed; exit 3"], ["no-such-program"]]})
    code, _, stderr = place.call("run")
    assert code == 0
    assert "warning: hook 1 of after, sh, ended with code 3: thaw failed (task t)" in stderr
    assert "warning: hook 2 of after, no-such-program, is not found in PATH" in stderr


def test_plan_check_and_verify_start_nothing_and_tell_nobody(place: Place) -> None:
    place.declare(
        hooks={"before": [place.hook("before")], "after": [place.hook("after")]},
        notify=[{"to": "ops", "on": ["always"]}],
        pings={"start": "{{ secret_env('CHECK') }}"},
    )
    # verify reads in processes of their own, which are told nothing of channels and pings.
    assert place.call("plan", "t", "-o", "p.jsonl")[0] == 0
    assert place.call("check", "t")[0] == 3
    (place.folder / "dst").mkdir()
    assert place.call("verify", "t")[0] == 5
    assert (place.order(), place.service.requests) == ([], [])
    assert place.call("apply", "p.jsonl")[0] == 0
    assert place.order() == ["before", "after"]
    assert place.variables("after")["SYNC_RUNNER_TRIGGER"] == "apply"
    assert [path for _, path in place.service.seen] == [f"/check/{SECRET}", f"/{SECRET}"]


def test_an_execution_that_finds_the_lock_held_thaws_nothing(place: Place) -> None:
    from runner.pipeline import Context

    place.declare(hooks={name: [place.hook(name)] for name in ("before", "after", "on_error")},
                  pings={"start": "{{ secret_env('CHECK') }}/start", "fail": "{{ secret_env('CHECK') }}/fail"})  # fmt: skip
    services = Services()
    registry = services.registry()
    configuration = services.load_configuration("sync.yaml", registry, place.environment())
    with destination_lock(
        configuration.tasks["t"], Context(configuration, registry, SystemClock()), "6b0000000000"
    ):
        assert place.call("run")[0] == 8
    assert place.order() == ["on_error"]
    assert place.service.seen == [("POST", f"/check/{SECRET}/fail")]


def test_a_receiver_that_hangs_holds_nothing_up_for_long(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runner.alerts import around

    monkeypatch.setattr(around, "WAIT_SECONDS", 0.5)
    place.service.hold = threading.Event()
    place.declare(notify=[{"to": "ops", "on": ["always"]}], pings={"success": "{{ secret_env('CHECK') }}"})
    code, _, stderr = place.call("run")
    assert code == 0
    assert "warning: channel ops was not told of task t: the service did not answer within 0.5 s" in stderr
    assert "warning: a ping of task t was given up after 0.5 s" in stderr
    assert SECRET not in stderr


def test_no_secret_is_printed_or_kept_by_the_real_command(place: Place) -> None:
    place.service.answers = [(403, {})]
    place.declare(
        notify=[{"to": "ops", "on": ["always"]}],
        pings={"start": "{{ secret_env('CHECK') }}", "success": "{{ secret_env('CHECK') }}"},
        hooks={"after": [["env"]]},
    )
    ran = subprocess.run(
        [*COMMAND, "run", "-vv"],
        cwd=place.folder,
        env=place.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0
    assert "channel ops was not told" in ran.stderr
    assert "the ping success of task t was not taken: it answered with HTTP 403" in ran.stderr
    assert SECRET not in ran.stdout + ran.stderr
    kept = [path for path in (place.folder / ".sync-runner").rglob("*") if path.is_file()]
    assert any(path.name == "hooks.log" for path in kept)
    assert [path.name for path in kept if SECRET.encode() in path.read_bytes()] == []
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in kept}
    assert modes["hooks.log"] == "0o600"


def test_a_task_without_any_of_it_loads_none_of_it(place: Place) -> None:
    script = (
        "import sys; from runner.__main__ import main; sys.argv = ['sync-runner', 'run', '-q']; assert main() == 0; "
        "print([name for name in sys.modules if name.startswith(('runner.alerts', 'apprise', 'urllib.request'))])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=place.folder, env=place.environment(), capture_output=True, text=True, timeout=60
    )  # fmt: skip
    assert (ran.stdout.strip(), ran.stderr) == ("[]", "")
