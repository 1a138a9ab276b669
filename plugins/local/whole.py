"""Reads and writes that go on until everything is there: each system call may do less than it was asked."""

from __future__ import annotations

import errno
import os

from runner.locations.protocol import Buffer


def write_all(fd: int, content: Buffer, offset: int) -> None:
    """Write everything at `offset`; OSError(EIO) when nothing more is taken."""
    size = len(content)
    done = os.pwrite(fd, content, offset)
    while done < size:
        more = os.pwrite(fd, memoryview(content)[done:], offset + done)
        if more == 0:
            raise OSError(errno.EIO, "nothing more could be written")
        done += more


def read_all(fd: int, piece: memoryview, offset: int) -> int:
    """Read as much as there is for `piece`; how many bytes that were."""
    got = os.preadv(fd, [piece], offset)
    while 0 < got < len(piece):
        more = os.preadv(fd, [piece[got:]], offset + got)
        if more == 0:
            break
        got += more
    return got
