"""Where secret values come from: files that only we can read, systemd credentials, environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping

from runner.config.files import read_regular_file

LIMIT = 64 * 1024


class SecretFault(Exception):
    """A secret cannot be had. The message names the place, never the value."""

    def __init__(self, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.expected: str | None = None
        self.suggestion = suggestion


def from_file(path: str, directory: str) -> str:
    """The content of a file (relative to `directory`) without its last newline.

    The file has to be regular, ours or root's, and closed to group and others. Raises SecretFault.
    """
    full = os.path.join(directory, os.path.expanduser(path))
    return _read(full, path, private=True)


def from_credential(name: str, environment: Mapping[str, str]) -> str:
    """A credential that systemd passed to the service (LoadCredential=, systemd.exec(5)). Raises SecretFault.

    systemd guards these files itself, with ACLs that the mode bits do not show.
    """
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise SecretFault(
            f"there is no systemd credential {name!r}: CREDENTIALS_DIRECTORY is not set",
            "add LoadCredential= to the service, or use secret_file",
        )
    if not name or "/" in name or name in {".", ".."}:
        raise SecretFault(f"{name!r} is not the name of a systemd credential")
    return _read(os.path.join(directory, name), name, private=False)


def from_environment(name: str, environment: Mapping[str, str]) -> str:
    """An environment variable's value. Raises SecretFault when it is not set or empty."""
    value = environment.get(name)
    if not value:
        raise SecretFault(
            f"the environment variable {name} is not set" + (" or empty" if value == "" else "")
        )
    return value


def _read(full: str, shown: str, *, private: bool) -> str:
    try:
        content, status = read_regular_file(full, LIMIT)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise SecretFault(f"the secret file {shown!r} cannot be read: {reason}") from error
    if private and status.st_mode & 0o077:
        raise SecretFault(
            f"the secret file {shown!r} is open to others (mode {status.st_mode & 0o7777:04o})",
            f"close it: chmod 600 {shown}",
        )
    if private and status.st_uid not in (os.geteuid(), 0):
        raise SecretFault(
            f"the secret file {shown!r} belongs to user {status.st_uid}, not to us or root",
            f"take it over: chown {os.geteuid()} {shown}; chmod 600 {shown}",
        )
    if len(content) > LIMIT:
        raise SecretFault(f"the secret file {shown!r} is larger than {LIMIT // 1024} KiB")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        # Without a cause: the exception would carry the secret's bytes.
        raise SecretFault(f"the secret file {shown!r} is not UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise SecretFault(f"the secret file {shown!r} is empty")
    return text
