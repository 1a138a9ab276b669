"""One writer per destination: among processes, after a kill, and whatever the file of a dead one says."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import LockHeldError, UsageError
from runner.history.lock import DestinationLock, LockOwner, lock_file, lock_owner
from runner.history.process import process_is_gone, process_key

OWNER = LockOwner(
    execution_id="65a000000001",
    task="photos",
    host="nas",
    pid=4711,
    started_at="2026-03-01T12:00:00.000Z",
    command="sync-runner run photos",
)

HOLDER = """
import sys, os
from runner.history.lock import DestinationLock, LockOwner
since = "2026-03-01T11:00:00.000Z"
owner = LockOwner("65a0000000ff", "other", "nas", os.getpid(), since, "sync-runner run other")
with DestinationLock(sys.argv[1], sys.argv[2], owner):
    print("held", flush=True)
    sys.stdin.read()
print("free", flush=True)
"""


def start_holder(folder: Path, key: str) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), key],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with start_holder(tmp_path, "nas:/media") as holder:
        with pytest.raises(LockHeldError) as caught:
            DestinationLock(str(tmp_path), "nas:/media", OWNER).__enter__()
        assert str(caught.value) == (
            "execution 65a0000000ff of task 'other' writes to this destination: "
            f"process {holder.pid} on nas, since 2026-03-01T11:00:00.000Z (sync-runner run other)\n"
            "Wait until it has ended. To see it: sync-runner status"
        )
        with DestinationLock(str(tmp_path), "nas:/music", OWNER):
            pass
        assert holder.communicate("")[0] == "free\n"
    with DestinationLock(str(tmp_path), "nas:/media", OWNER):
        pass


def test_it_is_free_at_once_after_kill_9_although_the_file_stays(tmp_path: Path) -> None:
    with start_holder(tmp_path, "key") as holder:
        os.kill(holder.pid, signal.SIGKILL)
    left = lock_owner(str(tmp_path), "key")
    assert left is not None and left.task == "other"
    with DestinationLock(str(tmp_path), "key", OWNER):
        assert lock_owner(str(tmp_path), "key") == OWNER


def test_a_second_lock_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with DestinationLock(str(tmp_path), "key", OWNER):
        with pytest.raises(LockHeldError, match="task 'photos'"):
            DestinationLock(str(tmp_path), "key", OWNER).__enter__()
    assert lock_owner(str(tmp_path), "key") is None


def test_a_stopped_process_keeps_it(tmp_path: Path) -> None:
    with start_holder(tmp_path, "key") as holder:
        os.kill(holder.pid, signal.SIGSTOP)
        with pytest.raises(LockHeldError):
            DestinationLock(str(tmp_path), "key", OWNER).__enter__()
        os.kill(holder.pid, signal.SIGCONT)
        holder.communicate("")


def test_a_forked_child_does_not_give_it_up(tmp_path: Path) -> None:
    lock = DestinationLock(str(tmp_path), "key", OWNER)
    with lock:
        child = os.fork()
        if child == 0:
            lock.__exit__(None, None, None)
            os._exit(0)
        os.waitpid(child, 0)
        with pytest.raises(LockHeldError):
            DestinationLock(str(tmp_path), "key", OWNER).__enter__()


@pytest.mark.parametrize("content", [b"", b"not json", b"{}", b"\xff" * 100])
def test_whatever_a_lock_file_holds_is_no_obstacle(tmp_path: Path, content: bytes) -> None:
    Path(lock_file(str(tmp_path), "key")).write_bytes(content)
    assert lock_owner(str(tmp_path), "key") is None
    with DestinationLock(str(tmp_path), "key", OWNER):
        assert lock_owner(str(tmp_path), "key") == OWNER


def test_the_holder_may_not_have_written_its_name_yet(tmp_path: Path) -> None:
    with DestinationLock(str(tmp_path), "key", OWNER) as lock:
        Path(lock.path).write_bytes(b"")
        with pytest.raises(LockHeldError, match="has not written its name yet"):
            DestinationLock(str(tmp_path), "key", OWNER).__enter__()


def test_the_file_is_private_and_hides_the_key(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with DestinationLock(str(tmp_path), "s3://secret-bucket/\udcff", OWNER) as lock:
            assert stat.S_IMODE(os.stat(lock.path).st_mode) == 0o600
            assert "secret" not in lock.path
    finally:
        os.umask(old)


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    os.symlink(victim, lock_file(str(tmp_path), "key"))
    with pytest.raises(UsageError, match="cannot be opened"):
        DestinationLock(str(tmp_path), "key", OWNER).__enter__()
    assert victim.read_text() == "precious"


def test_no_locks_folder_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be opened: No such file"):
        DestinationLock(str(tmp_path / "none"), "key", OWNER).__enter__()


def test_a_process_is_known_by_more_than_its_pid(tmp_path: Path) -> None:
    own = process_key(os.getpid())
    assert own is not None
    assert not process_is_gone(os.getpid(), own)
    assert not process_is_gone(os.getpid(), None)
    assert process_is_gone(os.getpid(), "another-boot:1")
    child = subprocess.Popen([sys.executable, "-c", ""])
    key = process_key(child.pid) or "it was quick"
    child.wait()
    assert process_is_gone(child.pid, key)
    assert process_is_gone(child.pid, None)


def test_a_zombie_has_ended(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    try:
        assert process_key(child) is None
        assert process_is_gone(child, "boot:1")
    finally:
        os.waitpid(child, 0)
