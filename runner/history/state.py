"""The state folder: executions, locks and history, private to the user the runner works as."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable

from runner.clock import Clock
from runner.durable import sync_folder
from runner.errors import StateUnavailableError, UsageError
from runner.model.hashing import sha256_hex

_EXECUTION_ID = re.compile(r"[0-9a-f]{12}\Z")
_ATTEMPTS = 100


class StateDirectory:
    """The `.sync-runner` folder. Folders are 0700 and files 0600, whatever the umask; all is made on demand.

    Several processes may use it at once. `random_number(n)` gives a number below n; tests put a known one
    here.
    """

    def __init__(self, path: str, *, random_number: Callable[[int], int] | None = None) -> None:
        self.path = os.path.abspath(path)
        self._random_number = random_number or _random_below

    @property
    def executions_folder(self) -> str:
        return os.path.join(self.path, "executions")

    @property
    def locks_folder(self) -> str:
        return os.path.join(self.path, "locks")

    @property
    def tasks_folder(self) -> str:
        """How each task stands, what guards know of its last success, and which copies are in doubt."""
        return os.path.join(self.path, "tasks")

    def task_file(self, task: str, suffix: str) -> str:
        """Where a task keeps one of these; the name fits any task's."""
        name = sha256_hex(task.encode("utf-8", "surrogateescape"))[:32]
        return os.path.join(self.tasks_folder, name + suffix)

    @property
    def cache_folder(self) -> str:
        """What drivers remember to work faster; may be deleted at any time."""
        return os.path.join(self.path, "cache")

    @property
    def history_file(self) -> str:
        return os.path.join(self.path, "history.sqlite")

    @property
    def budget_file(self) -> str:
        """Where executions tell one another how much bandwidth they could use."""
        return os.path.join(self.locks_folder, "bandwidth")

    @property
    def concurrency_file(self) -> str:
        """Where executions tell one another how much they do at once, and what that brings."""
        return os.path.join(self.locks_folder, "concurrency")

    @property
    def ledger_file(self) -> str:
        """What became of every scheduled time, as the service knows it."""
        return os.path.join(self.path, "schedule.sqlite")

    @property
    def service_socket(self) -> str:
        """Where a running service is spoken to."""
        return os.path.join(self.path, "service.sock")

    @property
    def service_lock(self) -> str:
        """Held by the one service of this folder."""
        return os.path.join(self.locks_folder, "service")

    def prepare(self) -> None:
        """Make the folder and its subfolders, and make them private.

        Raises:
            UsageError: it cannot be made, or belongs to another user (who could plant links in it).
        """
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            made = [
                _make_private_folder(folder)
                for folder in (
                    self.path,
                    self.executions_folder,
                    self.locks_folder,
                    self.cache_folder,
                    self.tasks_folder,
                )
            ]
            self._keep_out_of_git()
            if any(made):
                # What is put into them is to outlive a power cut.
                sync_folder(self.path)
                sync_folder(os.path.dirname(self.path))
        except OSError as error:
            raise UsageError(
                f"the state folder {self.path} cannot be used: {error.strerror or error}",
                remedy="Give the runner a folder it may write: set settings.state in sync.yaml.",
            ) from error

    def new_execution_id(self, clock: Clock) -> str:
        """A new id, its folder made: 8 hex digits of the second, 4 that are random but rise within a second.

        So ids sort by start. Unique among processes because mkdir is.
        """
        self.prepare()
        for _ in range(_ATTEMPTS):
            second = f"{int(clock.now().timestamp()) & 0xFFFFFFFF:08x}"
            taken = [int(one[8:], 16) for one in self.execution_ids() if one.startswith(second)]
            lowest = max(taken) + 1 if taken else 0
            # Half of what is left: later ids of the same second find room above.
            room = max(1, (0x10000 - lowest) // 2)
            number = lowest + self._random_number(room)
            execution_id = f"{second}{number:04x}"
            if number > 0xFFFF:
                clock.sleep(1.0)
                continue
            try:
                os.mkdir(self.execution_folder(execution_id), 0o700)
            except FileExistsError:
                continue
            except OSError as error:
                raise UsageError(
                    f"no execution can be recorded in {self.executions_folder}: {error.strerror or error}",
                    remedy="Free space there, or set settings.state in sync.yaml to another folder.",
                ) from error
            return execution_id
        raise UsageError(f"no free execution id was found in {self.executions_folder}")

    def execution_folder(self, execution_id: str, create: bool = False) -> str:
        """The folder of an execution; `create` makes it. Refuses whatever is not an id: ids come from
        users."""
        if _EXECUTION_ID.match(execution_id) is None:
            raise UsageError(
                f"{execution_id!r} is not an execution id",
                remedy="An id has 12 hexadecimal digits. To see them: sync-runner history",
            )
        folder = os.path.join(self.executions_folder, execution_id)
        if create:
            self.prepare()
            _make_private_folder(folder)
        return folder

    def execution_ids(self) -> list[str]:
        """Ids of all execution folders, oldest first; empty when there is no state yet.

        Raises StateUnavailableError: what is unknown is not the same as nothing.
        """
        try:
            with os.scandir(self.executions_folder) as folders:
                return sorted(
                    folder.name
                    for folder in folders
                    if _EXECUTION_ID.match(folder.name) and folder.is_dir(follow_symlinks=False)
                )
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StateUnavailableError(
                f"the executions in {self.executions_folder} cannot be listed: {error.strerror or error}",
                remedy="Make the state folder (settings.state) readable, then run again.",
            ) from error

    def resolve_execution(self, text: str) -> str:
        """The id that `text` means: a whole id, the only one that starts with it, or `latest`.

        Raises:
            UsageError: none or several; the remedy suggests.
        """
        ids = self.execution_ids()
        if not ids:
            raise UsageError(f"there is no execution yet in {self.path}", remedy="Start one: sync-runner run")
        if text == "latest":
            return ids[-1]
        found = [one for one in ids if one.startswith(text)] if text else []
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
            raise UsageError(
                f"{len(found)} executions start with {text!r}: {listed}", remedy="Give more digits."
            )
        # Only a mistake needs it.
        import difflib

        close = difflib.get_close_matches(text, [*ids, "latest"], n=1)
        raise UsageError(
            f"there is no execution {text!r}",
            remedy=f"Did you mean {close[0]}?" if close else "To see all: sync-runner history",
        )

    def discard_execution(self, execution_id: str) -> None:
        """Remove an execution's folder with all in it; harmless when it is not there."""
        # Every command loads this module, few remove anything.
        import shutil

        try:
            shutil.rmtree(self.execution_folder(execution_id))
        except FileNotFoundError:
            return

    def _keep_out_of_git(self) -> None:
        # Reports hold names of private files; the folder stands beside a version-controlled sync.yaml.
        try:
            descriptor = os.open(
                os.path.join(self.path, ".gitignore"),
                os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW,
                0o600,
            )
        except FileExistsError:
            return
        with os.fdopen(descriptor, "w") as file:
            file.write("*\n")


def _random_below(limit: int) -> int:
    return int.from_bytes(os.urandom(8), "big") % limit


def _make_private_folder(folder: str) -> bool:
    """Make a folder 0700 (then True), or make an existing one of ours so.

    Raises:
        UsageError: another user owns it, or something else stands there.
    """
    made = True
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        made = False
    status = os.stat(folder)
    if not stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{folder} is not a folder", remedy="Move it away, or change settings.state.")
    if status.st_uid != os.geteuid():
        raise UsageError(
            f"the state folder {folder} belongs to another user (uid {status.st_uid})",
            remedy="Run as that user, or set settings.state in sync.yaml to a folder of your own.",
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        os.chmod(folder, 0o700)
    return made
