"""The daemon: one for all locations, private, gone with its last user or its process, and replaced when it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from runner_plugins.rclone import binary
from runner_plugins.rclone.driver import DRIVER
from runner_plugins.rclone.location import RcloneLocation

from runner.errors import Disposition, EntryError, LocationUnavailableError
from runner.locations.protocol import OpenSettings
from runner.model.task import LocationSettings, Secret
from runner.testing.conformance_base import content_of, listed, put_file

PASSWORD = "a-Secret-that-must-not-be-seen"


def open_crypt(folder: Path) -> RcloneLocation:
    options: dict[str, Any] = {
        "backend": "crypt",
        "settings": {"remote": f"{folder}/vault", "password": Secret(PASSWORD, "test")},
        "path": "in",
    }
    location = DRIVER.open(LocationSettings("tested", "rclone", options, "/"), OpenSettings(), create=True)
    assert isinstance(location, RcloneLocation)
    return location


def process_of(location: RcloneLocation) -> int:
    found = location.remote.engine.process_id
    assert found is not None
    return found


def test_locations_of_all_threads_share_one_daemon(tmp_path: Path) -> None:
    found: list[RcloneLocation] = []
    threads = [threading.Thread(target=lambda: found.append(open_crypt(tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    process = process_of(found[0])
    folder = found[0].remote.engine.folder
    try:
        assert {process_of(location) for location in found} == {process}
        assert Path(folder).stat().st_mode & 0o777 == 0o700
    finally:
        for location in found[1:]:
            location.close()
        # It outlives the thread that started it, and all users but the last.
        put_file(found[0], "a")
        found[0].close()
    assert not Path(f"/proc/{process}").exists()
    assert not Path(folder).exists()


def test_secrets_are_in_no_command_line_file_or_message(tmp_path: Path) -> None:
    location = open_crypt(tmp_path)
    try:
        put_file(location, "a")
        process = process_of(location)
        seen = [
            Path(f"/proc/{process}/cmdline").read_bytes(),
            *(one.read_bytes() for one in Path(location.remote.engine.folder).rglob("*") if one.is_file()),
        ]
        assert all(PASSWORD.encode() not in one for one in seen)
        environment = Path(f"/proc/{process}/environ").read_bytes()
        assert PASSWORD.encode() not in environment
        assert not any(one.startswith(b"RCLONE_CONFIG") for one in environment.split(b"\0"))
        assert location.remote.engine.redacted(f"bad {PASSWORD}!") == "bad ***!"
    finally:
        location.close()


def test_the_user_s_own_rclone_settings_do_not_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RCLONE_DRY_RUN", "true")
    monkeypatch.setenv("RCLONE_CONFIG", str(tmp_path / "theirs.conf"))
    location = open_crypt(tmp_path)
    try:
        put_file(location, "a", b"written")
        assert content_of(location, "a") == b"written"
    finally:
        location.close()
    assert not (tmp_path / "theirs.conf").exists()


def test_a_daemon_that_died_is_replaced(tmp_path: Path) -> None:
    """The call that hits it may fail and says so; the next one works, and knows all remotes again."""
    location = open_crypt(tmp_path)
    try:
        put_file(location, "a", b"before")
        process = process_of(location)
        os.kill(process, signal.SIGKILL)
        try:
            put_file(location, "b")
        except EntryError as error:
            assert error.disposition is Disposition.RETRY
            put_file(location, "b")
        assert listed(location) == ["a", "b"]
        assert content_of(location, "a") == b"before"
        assert process_of(location) != process
    finally:
        location.close()


@pytest.mark.slow
def test_a_daemon_that_hangs_costs_one_timeout(tmp_path: Path) -> None:
    options: dict[str, Any] = {"backend": "local", "path": str(tmp_path / "root"), "timeout": "3s"}
    location = DRIVER.open(LocationSettings("tested", "rclone", options, "/"), OpenSettings(), create=True)
    assert isinstance(location, RcloneLocation)
    process = process_of(location)
    try:
        put_file(location, "a")
        os.kill(process, signal.SIGSTOP)
        with pytest.raises(EntryError) as caught:
            location.stat("a")
        assert caught.value.disposition is Disposition.RETRY
        os.kill(process, signal.SIGCONT)
        assert location.stat("a") is not None
    finally:
        os.kill(process, signal.SIGCONT)
        location.close()


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """Also when that is killed: nothing may be written once the lock's owner is gone."""
    script = (
        "import os, signal, sys\n"
        "from runner_plugins.rclone.driver import DRIVER\n"
        "from runner.locations.protocol import OpenSettings\n"
        "from runner.model.task import LocationSettings\n"
        "settings = LocationSettings('t', 'rclone', {'backend': 'local', 'path': sys.argv[1]}, '/')\n"
        "location = DRIVER.open(settings, OpenSettings(), create=True)\n"
        "print(location.remote.engine.process_id, location.remote.engine.folder, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    process, folder = done.stdout.split()
    assert done.returncode == -signal.SIGKILL
    pause = threading.Event()
    for _ in range(500):
        if not _runs(int(process)):
            break
        pause.wait(0.02)
    assert not _runs(int(process))
    # What a killed process leaves holds no secret.
    assert [one.name for one in Path(folder).iterdir() if one.is_file()] == []
    for one in Path(folder).iterdir():
        one.unlink()
    Path(folder).rmdir()


def test_an_old_rclone_is_refused() -> None:
    binary.check_version([1, 75, 1], "v1.75.1")
    binary.check_version([2, 0, 0], "v2.0.0")
    for old in ([1, 75, 0], [1, 60, 1], None):
        with pytest.raises(LocationUnavailableError, match="too old"):
            binary.check_version(old, "vX")


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
