"""Reading a file that somebody named: regular files only, bounded, and no pipe can hang the command."""

from __future__ import annotations

import errno
import os
import stat


def read_regular_file(path: str, limit: int) -> tuple[bytes, os.stat_result]:
    """At most `limit` + 1 bytes of a regular file (links are followed), and its status.

    Raises OSError whose strerror says why; ValueError when `path` is no path at all (a NUL character).
    """
    # O_NONBLOCK: opening a named pipe without a writer would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "is a folder, not a file", path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", path)
        content = bytearray()
        while len(content) <= limit:
            chunk = os.read(descriptor, limit + 1 - len(content))
            if not chunk:
                break
            content += chunk
        return bytes(content), status
    finally:
        os.close(descriptor)
