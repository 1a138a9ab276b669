"""One writer per destination: among processes, after a kill, and whatever the file of a dead one says."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from runner.errors import LockHeldError, UsageError
from runner.history.lock import DestinationLock, LockOwner, break_lock, lock_file, lock_owner
from runner.history.process import process_is_gone, process_key
from runner.history.sharing import may_be_shared, type_of_mount

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


def leave(folder: Path, host: str) -> Path:
    """The lock file of an owner that went without giving it back."""
    path = Path(lock_file(str(folder), "key"))
    with DestinationLock(str(folder), "key", msgspec.structs.replace(OWNER, host=host)) as lock:
        written = Path(lock.path).read_bytes()
    path.write_bytes(written)
    return path


@pytest.mark.parametrize(
    ("description", "host", "shared", "refused"),
    [
        ("the kernel sees every process of this host", "nas", True, False),
        ("no other host has this file system", "other", False, False),
        ("nobody can prove that it is gone", "other", True, True),
    ],
)
def test_what_another_host_left(
    tmp_path: Path, description: str, host: str, shared: bool, refused: bool
) -> None:
    leave(tmp_path, host)
    lock = DestinationLock(str(tmp_path), "key", OWNER, shared=lambda folder: shared)
    if not refused:
        with lock:
            assert lock_owner(str(tmp_path), "key") == OWNER
        return
    with pytest.raises(LockHeldError) as caught:
        lock.__enter__()
    assert "on another host, other" in caught.value.message
    owner = break_lock(str(tmp_path), "key")
    assert owner is not None and owner.host == "other"
    with lock:
        pass


def test_a_heartbeat_tells_alive_from_silent(tmp_path: Path) -> None:
    path = leave(tmp_path, "other")
    lock = DestinationLock(str(tmp_path), "key", OWNER, shared=lambda folder: True)
    with pytest.raises(LockHeldError, match="last heartbeat is 0 s old") as caught:
        lock.__enter__()
    assert caught.value.remedy == "Wait until it has ended."
    now = path.stat().st_mtime
    os.utime(path, (now - 7200, now - 7200))
    with pytest.raises(LockHeldError, match="silent for 2 h") as caught:
        lock.__enter__()
    assert "sync-runner unlock photos" in (caught.value.remedy or "")
    # Looking at it does not keep it alive.
    assert path.stat().st_mtime == pytest.approx(now - 7200, abs=1)


def test_the_owner_says_that_it_is_alive(tmp_path: Path) -> None:
    with DestinationLock(str(tmp_path), "key", OWNER) as lock:
        os.utime(lock.path, (0, 0))
        lock.beat()
        assert Path(lock.path).stat().st_mtime > 1e9
    lock.beat()


def test_a_living_lock_is_never_given_up(tmp_path: Path) -> None:
    assert break_lock(str(tmp_path), "key") is None
    with start_holder(tmp_path, "key") as holder:
        with pytest.raises(LockHeldError):
            break_lock(str(tmp_path), "key")
        holder.kill()
    assert break_lock(str(tmp_path), "key") is not None


MOUNTS = """\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
40 22 0:50 / /srv rw shared:1 - nfs4 nas:/export rw
41 40 0:51 / /srv/own\\040disk rw - xfs /dev/sdb rw
"""


@pytest.mark.parametrize(
    ("path", "device", "kind"),
    [
        ("/", "8:1", "ext4"),
        ("/home/state", "8:1", "ext4"),
        ("/srv", "0:50", "nfs4"),
        ("/srv/x", "0:50", "nfs4"),
        ("/srvx", "8:1", "ext4"),
        ("/srv/own disk/y", "0:51", "xfs"),
        ("/srv/subvolume", "0:77", "nfs4"),
    ],
)
def test_the_type_of_a_mount(path: str, device: str, kind: str) -> None:
    assert type_of_mount(path, device, MOUNTS.splitlines()) == kind


def test_a_folder_of_this_test_is_not_shared(tmp_path: Path) -> None:
    assert not may_be_shared(str(tmp_path))
    assert may_be_shared(str(tmp_path / "none"))
