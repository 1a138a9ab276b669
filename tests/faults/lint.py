"""The system calls of one run, held against rules of order: flushed before it is named, nothing written in place.

A rule needs no fault to happen and no power to go: a run that breaks one is found even where luck kept its files whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from . import strace
from .scenes import Place, Scene
from .zygote import Zygote

DESTINATION_TEMPORARY = re.compile(r"\.sync-runner-[0-9a-f]{12}-[0-9a-z]+\.part")

_LINE = re.compile(r"^(?P<thread>\d+) +(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)(?P<rest>.*)$")
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$")
_HANDLE = re.compile(r"^(\d+)<(.*?)>(\(deleted\))?(?:,|$)")
_OPENED = re.compile(r"<(?P<path>.*?)>(\(deleted\))?$")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_FOLDER = re.compile(r"(?:AT_FDCWD|\d+)<(.*?)>")

_WRITES = frozenset(
    {
        "write",
        "pwrite64",
        "pwritev",
        "pwritev2",
        "writev",
        "ftruncate",
        "copy_file_range",
        "sendfile",
        "ioctl",
    }
)
_FLUSHES = frozenset({"fsync", "fdatasync"})
_NAMES = frozenset(
    {
        "link",
        "linkat",
        "rename",
        "renameat",
        "renameat2",
        "symlink",
        "symlinkat",
        "mkdir",
        "mkdirat",
        "mknodat",
    }
)


class Broken(NamedTuple):
    """A rule that was not kept, and by which call."""

    rule: str
    line: str


class _Call(NamedTuple):
    thread: str
    name: str
    arguments: str
    result: int
    rest: str
    line: str


def broken_rules(
    trace: str, folder: str, *, is_temporary: re.Pattern[str], names: bool = True
) -> list[Broken]:
    """What a run did below `folder` against the rules, from what `strace -f -y` wrote of it:

    - in place: a file that has a name, and no temporary one, is not opened to be written, nor cut to nothing;
    - content: a file gets its name only after all that was written to it was flushed;
    - name (with `names`): a folder in which a name was given or taken over is flushed afterwards.
    """
    broken = []
    waiting: dict[str, str] = {}
    named: dict[str, str] = {}
    handles: dict[tuple[str, str], str] = {}
    for call in _calls(trace):
        handle = _HANDLE.match(call.arguments)
        if handle is not None:
            handles[call.thread, handle[1]] = handle[2]
        if call.result < 0:
            continue
        if call.name == "openat":
            broken += _opened(call, folder, is_temporary)
        elif call.name in _WRITES and (path := _written_path(call)) and _below(path, folder):
            waiting[path] = call.line
        elif call.name in _FLUSHES and handle is not None:
            waiting.pop(handle[2], None)
            named.pop(handle[2], None)
        elif call.name in _NAMES and (place := _place(call)) and _below(place[0], folder):
            given = _given(call, handles, place)
            if given in waiting:
                broken.append(Broken("content", f"{waiting[given]}\n  was not flushed before\n  {call.line}"))
                del waiting[given]
            if not is_temporary.search(place[1]):
                named[place[0]] = call.line
    if names:
        broken += [Broken("name", line) for line in named.values()]
    return broken


def _calls(trace: str) -> Iterator[_Call]:
    """Whole calls, in the order in which they ended."""
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        if line.endswith(_UNFINISHED):
            begun[line.split(" ", 1)[0]] = line.removesuffix(_UNFINISHED)
            continue
        if resumed := _RESUMED.match(line):
            line = begun.pop(resumed[1], "") + resumed[2]
        if found := _LINE.match(line):
            yield _Call(
                found["thread"], found["name"], found["arguments"], int(found["result"]), found["rest"], line
            )


def _opened(call: _Call, folder: str, is_temporary: re.Pattern[str]) -> Iterable[Broken]:
    opened = _OPENED.search(call.rest.strip())
    if opened is None or not _below(opened["path"], folder) or is_temporary.search(opened["path"]):
        return
    flags = call.arguments
    writes = "O_WRONLY" in flags or "O_RDWR" in flags
    if (writes and not ("O_TMPFILE" in flags or "O_EXCL" in flags)) or "O_TRUNC" in flags:
        yield Broken("in place", call.line)


def _written_path(call: _Call) -> str | None:
    arguments = call.arguments
    if call.name == "ioctl" and "FICLONE" not in arguments:
        return None
    if call.name == "copy_file_range":
        # The third argument is what is written to.
        arguments = arguments.split(", ", 2)[2]
    handle = _HANDLE.match(arguments)
    return handle[2] if handle is not None else None


def _place(call: _Call) -> tuple[str, str] | None:
    """The folder and the name that a call gives; the last path of its arguments."""
    quoted = list(_QUOTED.finditer(call.arguments))
    if not quoted:
        return None
    name = quoted[-1][1]
    if name.startswith("/"):
        return name.rpartition("/")[0], name.rpartition("/")[2]
    folders = _FOLDER.findall(call.arguments[: quoted[-1].start()])
    if not folders:
        return None
    inner = name.rpartition("/")
    return "/".join(filter(None, (folders[-1], inner[0]))), inner[2]


def _given(call: _Call, handles: dict[tuple[str, str], str], place: tuple[str, str]) -> str | None:
    """What gets the name, as its writes called it."""
    quoted = _QUOTED.findall(call.arguments)
    first = quoted[0]
    if first.startswith("/proc/self/fd/"):
        return handles.get((call.thread, first.rpartition("/")[2]))
    if len(quoted) < 2:
        return None
    if first.startswith("/"):
        return str(first)
    folders = _FOLDER.findall(call.arguments)
    return f"{folders[0]}/{first}" if folders else None


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def traced_run(scene: Scene, folder: Path) -> tuple[str, str]:
    """What strace wrote of one run of a scene, and where its destination is."""
    place = Place(folder / "place", scene)
    place.make()
    log = folder / "trace"
    with Zygote(folder / "output", scene.environment) as zygote:
        run = zygote.start(place.folder, ("run", "t"))
        with strace.traced(run, log, ("-y", "-s", "4096")):
            pass
        ended = run.wait()
    assert ended.code == 0, ended
    return log.read_text("utf-8", "replace"), str(place.destination.resolve())
