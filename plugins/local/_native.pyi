from collections.abc import Callable

from runner.locations.observer import Cells

INTERFACE: int
COMPARE_MODE: int
COMPARE_UID: int
COMPARE_GID: int
COMPARE_EXTENDED: int
COMPARE_MTIME: int
COMPARE_CONTENT: int

Row = tuple[str, int, int, int, str, int, int, int, int, int]
"""(key, mode, size, mtime_ns, version, uid, gid, nlink, blocks, extended).

`extended`: 0 = has no extended attributes that are carried, 1 = has some, 2 = cannot be told. Mode 0: the kernel refused;
size is the errno.
"""

class Folder:
    """The names of an open directory in canonical order; a folder's ends with a slash. Length: how many are left.

    `reserved(name, is_folder)` says which names with the tool's own prefix are left out. Memory: 17 bytes and its
    name an entry. The descriptor is the caller's; -1 when it has none any more. Raises OSError.
    """

    fd: int
    def __new__(cls, fd: int, reserved: Callable[[str, int], bool], /) -> Folder: ...
    def __len__(self) -> int: ...
    def facts(self, wants_extended: bool, /) -> list[Row]:
        """The next entries, looked at now; [] at the end. What has vanished is left out."""
    def leave_out(self, index: int, /) -> None:
        """An entry that `settle` told of does not come any more."""

def settle(
    source: Folder, destination: Folder, fields: int, tolerance_ns: int, tells: bool, /
) -> tuple[int, int, list[tuple[int, int, str, int, int]]]:
    """Ordinary files with one name each that are equal on both sides: (files, bytes, pairs).

    They do not come any more; with `tells` they do, and are told instead: (index in source, index in destination, name,
    size, mtime_ns). `fields` are COMPARE_ bits; size is always compared, content of
    files of up to 8 MiB with COMPARE_CONTENT, until 256 MiB were read: larger ones and what comes then are not settled.
    """

SmallFile = tuple[str, int, int, str, int, int, int, int, str | None, str | None]
"""(name, size, mtime_ns, version, mode, uid, gid, new_mtime_ns, replaced, temporary).

With `replaced`, an ordinary file of that version has to stand there, and makes room in one step; `temporary` is a name that
nobody else uses. Without, nothing may stand there.
"""

def copy_small(
    source: int,
    target: int,
    rows: tuple[SmallFile, ...],
    noatime: bool,
    flush: bool,
    content: memoryview,
    check: memoryview,
    cells: Cells | None,
    /,
) -> list[int]:
    """Make files of the directory `target` what the files of their names in `source` were listed as, in this order.

    The nanoseconds that each took which is so now: the first of the others, and all after it, are left to another way.
    A file has content and metadata, was read back and compared (and flushed to the disk when `flush`) before it gets its
    name; of one that is left nothing is there. `content` holds the files then, one after another; it is longer than all, and
    `check` longer than each: what does not fit is left. `cells` are an observer's, a buffer.
    """

def remove_files(directory: int, source: int, folder: str, rows: tuple[tuple[str, str], ...], /) -> list[int]:
    """Remove (name, version) in this order: exactly the entries, no folders, that were listed so, while nothing stands at
    their paths (`folder` with its slash, and the name) below the directory `source`.

    The nanoseconds that each took which is gone now; the first of the others, and all after it, are left.
    """

def read_expected(
    directory: int,
    rows: tuple[tuple[str, int, int, int, int, int], ...],
    tolerance_ns: int,
    noatime: bool,
    buffer: memoryview,
    /,
) -> int:
    """How many of these, from the first on, are ordinary files without extended attributes, and all that their row says:
    (name, size, mtime_ns, mode, uid, gid). Their content is in `buffer`, one after another, which is longer than all: what
    does not fit is not counted."""

def make_folder(source: int, target: int, name: str, /) -> bool:
    """Whether the folder `name` was made in the directory `target`, mode 0700, while `source` has one of that name.

    False: nothing was made. Raises OSError."""

def finish_folder(
    source: int, target: int, name: str, mode: int, uid: int, gid: int, mtime_ns: int, /
) -> bool:
    """Whether the folder `name` in the directory `target` has all that now, and no extended attributes, while `source` has a
    folder of that name. False, or OSError: it may have some of it."""
