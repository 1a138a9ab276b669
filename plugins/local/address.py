"""What a declaration of a local location names, and what can be said of it before it is opened."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from runner.locations.names import NameRules
from runner.locations.protocol import Capabilities
from runner.model.entry import Kind
from runner.model.task import LocationSettings, Secret
from runner.model.wire import terminal_safe

_SYSTEM_FOLDERS = (
    *("/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/media", "/mnt", "/opt"),
    *("/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/bin", "/usr/lib"),  # noqa: S108
    *("/usr/local", "/usr/share", "/var", "/var/lib", "/var/log"),
)


class LocalOptions(msgspec.Struct, frozen=True):
    """The options of a local location, as options.schema.json declares them."""

    path: str

    @classmethod
    def of(cls, settings: LocationSettings) -> LocalOptions:
        value = settings.options["path"]
        return cls(path=value.reveal() if isinstance(value, Secret) else str(value))


def options_schema() -> Mapping[str, Any]:
    """The JSON Schema of the options."""
    schema: dict[str, Any] = json.loads(
        Path(__file__).with_name("options.schema.json").read_text(encoding="utf-8")
    )
    return schema


def root_path(settings: LocationSettings) -> str:
    """The root as an absolute path, its symbolic links not yet resolved. Reads the user database for `~`."""
    path = _expand_home(LocalOptions.of(settings).path)
    return os.path.normpath(os.path.join(os.path.abspath(settings.base_directory), path))


def _expand_home(path: str) -> str:
    if not path.startswith("~"):
        return path
    user, slash, rest = path[1:].partition("/")
    try:
        home = pwd.getpwnam(user).pw_dir if user else pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return path
    return home + slash + rest


def describe(settings: LocationSettings) -> str:
    """The address for people; a path that came from a secret stays hidden."""
    if isinstance(settings.options["path"], Secret):
        return "local ***"
    return f"local {terminal_safe(root_path(settings))}"


def capabilities(settings: LocationSettings) -> Capabilities:
    """What Linux file systems hold. What one of them lacks shows as `refused` in Written."""
    return Capabilities(
        kinds=frozenset(Kind),
        attributes=frozenset(
            {"mode", "uid", "gid", "user", "group", "atime_ns", "device", "xattrs", "acls", "mtime"}
        ),
        mtime_resolution_ns=1,
        hard_links=True,
        names=NameRules(max_name_bytes=255),
        # Files are written while other threads wait for the network; a disk alone is never what limits how many.
        max_concurrency=64,
    )


def overlaps(left: LocationSettings, right: LocationSettings) -> bool:
    """True when one root is the other or lies inside it, also through symbolic links and bind mounts."""
    paths = [os.path.realpath(root_path(settings)) for settings in (left, right)]
    if _inside(paths[0], paths[1]) or _inside(paths[1], paths[0]):
        return True
    return _shares_inode(paths[0], paths[1]) or _shares_inode(paths[1], paths[0])


def _inside(path: str, other: str) -> bool:
    return path == other or path.startswith(other.rstrip("/") + "/")


def _shares_inode(path: str, other: str) -> bool:
    """True when `other` is the same directory as `path` or as one of its parents (bind mounts)."""
    wanted = _inode(other)
    if wanted is None:
        return False
    while True:
        if _inode(path) == wanted:
            return True
        parent = os.path.dirname(path)
        if parent == path:
            return False
        path = parent


def _inode(path: str) -> tuple[int, int] | None:
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def wide_root(settings: LocationSettings) -> str | None:
    """Why this root holds more than one job's files should be trusted with, or None."""
    path = os.path.realpath(root_path(settings))
    if path == "/":
        return "it is the root of the file system"
    if path in _SYSTEM_FOLDERS:
        return f"{path} is a folder of the operating system"
    for account in pwd.getpwall():
        # Service accounts name places such as /bin or /nonexistent, which are judged above or do not exist.
        if account.pw_dir not in ("", "/") and os.path.realpath(account.pw_dir) == path:
            return f"it is the home folder of {account.pw_name}"
    return None
