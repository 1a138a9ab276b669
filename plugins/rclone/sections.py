"""Remotes as declared in sync.yaml or an rclone.conf: what they name checked, and told to the daemon.

Nothing here is passed through as rclone's own connection strings: those can start programs. A remote is a backend and
its settings; one that wraps another (crypt, alias, ...) may name only remotes declared beside it, or an absolute path
of this machine.
"""

from __future__ import annotations

import difflib
import hashlib
import hmac
import os
import re
import subprocess
from collections.abc import Mapping

import msgspec

from runner.errors import LocationUnavailableError

from . import binary
from .engine import Engine

# rclone's own rule, [\w.+@]+(?:[ -]+[\w.+@-]+)*, in a form that no text keeps busy for ages.
NAME = re.compile(r"(?![\w.+@]+-(?![\w.+@ -]))[\w.+@](?:[\w.+@ -]*[\w.+@-])?")
_KEY = re.compile(r"[a-z0-9_]+")
_REFERENCE = re.compile(rf"({NAME.pattern}):(.*)", re.DOTALL)
_COMMANDS = frozenset({("sftp", "ssh"), ("webdav", "bearer_token_command")})
"""Settings that start a program on this machine."""
WRAPPERS = {
    **dict.fromkeys(
        ("alias", "archive", "cache", "chunker", "compress", "crypt", "hasher"),
        "remote",
    ),
    **dict.fromkeys(("combine", "union"), "upstreams"),
}
"""Backends over other remotes, and the setting that names those."""
BUCKET_BACKENDS = frozenset(
    {
        "s3",
        "b2",
        "swift",
        "azureblob",
        "google cloud storage",
        "oracleobjectstorage",
        "qingstor",
        "storj",
        "memory",
    }
)
"""Backends where a folder is only what names of objects say."""
_CONFIG_SECONDS = 30.0


class Declared(msgspec.Struct, frozen=True):
    """One remote: rclone's backend and settings. `from_file`: its passwords are obscured as rclone.conf has them."""

    backend: str
    settings: dict[str, str]
    secrets: frozenset[str] = frozenset()
    from_file: bool = False


def declare(
    engine: Engine, remotes: Mapping[str, Declared], name: str, *, allow_commands: bool = False
) -> tuple[str, tuple[str, ...]]:
    """Tell the daemon of a remote and all it wraps.

    Returns its name in the daemon, and the backends on the way down, its own first.
    Raises LocationUnavailableError; RefusedError and WireError when the daemon does not answer.
    """
    return _Declaring(engine, remotes, allow_commands).declare(name, ())


def read_file(path: str, password: str | None) -> dict[str, Declared]:
    """All remotes of an rclone.conf, also an encrypted one. The file is only read.

    Raises LocationUnavailableError.
    """
    if not os.path.isfile(path):
        raise LocationUnavailableError(f"there is no rclone configuration {path}")
    environment = {"PATH": "/usr/bin:/bin", "HOME": os.path.dirname(path)}
    if password is not None:
        environment["RCLONE_CONFIG_PASS"] = password
    try:
        done = subprocess.run(
            [binary.find(), "config", "dump", "--config", path, "--ask-password=false"],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_CONFIG_SECONDS,
            check=False,
        )
        told = msgspec.json.decode(done.stdout, type=dict[str, dict[str, str]])
    except (OSError, subprocess.TimeoutExpired, msgspec.DecodeError, msgspec.ValidationError):
        # Without a cause: its text would hold what the file holds.
        raise LocationUnavailableError(
            f"the rclone configuration {path} cannot be read",
            remedy="Is it rclone's, and is config_password right if it is encrypted?",
        ) from None
    return {
        name: Declared(
            settings.get("type", ""),
            {key: text for key, text in settings.items() if key != "type"},
            from_file=True,
        )
        for name, settings in told.items()
    }


class _Declaring:
    """One walk down from a remote to the ones it wraps."""

    def __init__(self, engine: Engine, remotes: Mapping[str, Declared], allow_commands: bool) -> None:
        self._engine = engine
        self._remotes = remotes
        self._allow_commands = allow_commands

    def declare(self, name: str, above: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        remote = self._remotes.get(name)
        if remote is None:
            known = ", ".join(sorted(self._remotes)) or "none"
            raise LocationUnavailableError(f"there is no rclone remote {name!r}; declared are: {known}")
        if name in above:
            raise LocationUnavailableError(f"the rclone remote {name!r} wraps itself")
        known_settings = self._known(remote, name)
        settings, backends = self._checked(remote, name, above)
        unhidden = msgspec.json.encode([remote.backend, remote.from_file, sorted(settings.items())])
        # Equal remotes of two locations are one remote to rclone, which then copies inside the server.
        told = "sr" + hmac.new(self._engine.salt, unhidden, hashlib.sha256).hexdigest()[:24]
        for key in remote.secrets:
            self._engine.hide(remote.settings[key])
        if not remote.from_file:
            for key, text in settings.items():
                if known_settings.get(key) and text:
                    settings[key] = self._engine.obscured(text)
        for key, text in settings.items():
            if key in remote.secrets or known_settings.get(key):
                self._engine.hide(text)
        self._engine.declare(told, remote.backend, settings)
        return told, (remote.backend, *backends)

    def _known(self, remote: Declared, name: str) -> dict[str, bool]:
        """Setting -> whether it is a password, of the remote's backend; rclone ignores settings it does not know."""
        known = self._engine.settings_of(remote.backend)
        if known is None:
            from rclone_python.remote_types import RemoteTypes

            close = difflib.get_close_matches(remote.backend, [one.value for one in RemoteTypes], n=1)
            raise LocationUnavailableError(
                f"rclone has no backend {remote.backend!r}" + (f" (remote {name!r})" if name else ""),
                remedy=f"Did you mean {close[0]!r}?" if close else "`rclone help backends` lists them.",
            )
        unknown = remote.settings.keys() - known.keys() - {"description"}
        if unknown and not remote.from_file:
            raise LocationUnavailableError(
                f"rclone's backend {remote.backend!r} has no setting {sorted(unknown)[0]!r}",
                remedy=f"See https://rclone.org/{remote.backend}/ for its settings.",
            )
        return known

    def _checked(
        self, remote: Declared, name: str, above: tuple[str, ...]
    ) -> tuple[dict[str, str], tuple[str, ...]]:
        settings = {}
        backends: list[str] = []
        wraps = WRAPPERS.get(remote.backend)
        for key, text in remote.settings.items():
            if not _KEY.fullmatch(key):
                raise LocationUnavailableError(f"remote {name!r}: {key!r} is no setting of a remote")
            if any(character in text for character in "\0\r\n"):
                raise LocationUnavailableError(f"remote {name!r}: the setting {key!r} holds a line break")
            if (remote.backend, key) in _COMMANDS and not self._allow_commands:
                raise LocationUnavailableError(
                    f"remote {name!r}: the setting {key!r} starts a program on this machine",
                    remedy="If that is wanted, set allow_commands: true.",
                )
            if key == wraps:
                text, below = self._references(text, name, (*above, name), several=key == "upstreams")
                backends += below
            settings[key] = text
        return settings, tuple(backends)

    def _references(
        self, text: str, name: str, above: tuple[str, ...], *, several: bool
    ) -> tuple[str, list[str]]:
        """The same text with the daemon's names for the remotes in it, and their backends."""
        if several and '"' in text:
            raise LocationUnavailableError(f"remote {name!r}: quotes in `upstreams` are not supported")
        pieces, backends = [], []
        for piece in text.split() if several else [text]:
            folder, equals, rest = piece.partition("=") if several else ("", "", piece)
            if not equals:
                folder, rest = "", piece
            if rest.startswith("/"):
                pieces.append(folder + equals + rest)
                backends.append("local")
                continue
            match = _REFERENCE.fullmatch(rest)
            if match is None:
                raise LocationUnavailableError(
                    f"remote {name!r}: {piece!r} is neither `remote:path` nor an absolute path",
                    remedy="Connection strings are refused: declare the remote, and name it here.",
                )
            told, below = self.declare(match[1], above)
            pieces.append(f"{folder}{equals}{told}:{match[2]}")
            backends += below
        return " ".join(pieces), backends
