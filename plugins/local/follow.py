"""Symbolic links followed by the runner itself, for `symlinks: follow`, and never out of the root.

The kernel is not asked to follow: each link's text is read and resolved to a path without links, which is
then opened without following. A link swapped meanwhile makes that open fail; it cannot lead anywhere.
"""

from __future__ import annotations

import errno
import os
import stat

from runner.errors import EntryCode, EntryError

from .faults import shown
from .handles import Handles, check_name

_LINKS_AT_MOST = 40  # as the kernel: path_resolution(7)


class Follower:
    """Resolves paths below one root."""

    def __init__(self, handles: Handles) -> None:
        self._handles = handles

    def real(self, path: str, base: str = "") -> tuple[str, bool]:
        """(`path` without links and without a trailing slash, whether its last name was a link).

        `path` starts at the real directory `base` ("" or ending in "/"). Raises EntryError LINK_ESCAPES,
        LINK_BROKEN or LINK_LOOP, and FileNotFoundError when, links apart, nothing is there.
        """
        asked = base + path
        current = base
        pending = path.removesuffix("/").split("/")
        for name in pending:
            check_name(name, asked)
        pending.reverse()
        own_names = len(pending)  # names still to come that are not from a link's text
        links = 0
        last_was_link = False
        while pending:
            name = pending.pop()
            if len(pending) < own_names:
                own_names = len(pending)
                last_was_link = False
            if name in ("", "."):
                continue
            if name == "..":
                if current == "":
                    raise _escapes(asked)
                current = current[: current.rstrip("/").rfind("/") + 1]
                continue
            try:
                directory_fd = self._handles.directory(current)
                facts = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
                is_link = stat.S_ISLNK(facts.st_mode)
                target = os.readlink(name, dir_fd=directory_fd) if is_link else ""
            except (FileNotFoundError, NotADirectoryError) as error:
                if links == 0:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), asked) from error
                raise EntryError(
                    EntryCode.LINK_BROKEN, asked, f"{shown(asked)}: the link points to nothing"
                ) from error
            if not is_link:
                current += name + "/"
                continue
            links += 1
            last_was_link = True
            if target.startswith("/"):
                raise _escapes(asked)
            if links > _LINKS_AT_MOST:
                raise EntryError(EntryCode.LINK_LOOP, asked, f"{shown(asked)}: the link leads back to itself")
            pending.extend(reversed(target.split("/")))
        return current.removesuffix("/"), last_was_link


def _escapes(path: str) -> EntryError:
    return EntryError(
        EntryCode.LINK_ESCAPES, path, f"{shown(path)}: the link points outside the location's root"
    )
