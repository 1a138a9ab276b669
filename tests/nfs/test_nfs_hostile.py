"""Answers that cannot be true, or are legal and rare, without a server: never a short listing, never a lost write."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pytest
from nfs_support import FREE
from runner_plugins.nfs import calls as c
from runner_plugins.nfs import structures as s
from runner_plugins.nfs.attributes import AttributeSetter
from runner_plugins.nfs.calls import Facts, Found, Listed, Page, Piece, Stored, Wish
from runner_plugins.nfs.content import Reader, Writer
from runner_plugins.nfs.facts import FactReader
from runner_plugins.nfs.faults import ACCES, NOENT, of_status
from runner_plugins.nfs.scan import Scanner
from runner_plugins.nfs.session import NfsError
from runner_plugins.nfs.walking import Walker

from runner.errors import EntryCode, EntryError
from runner.locations.protocol import OpenSettings
from runner.model.entry import Attributes, Entry, Kind, Problem
from runner.model.task import SymlinkMode
from runner.testing.conformance_base import file_entry

ROOT = Facts(c.DIRECTORY, 0o755, 2, 0, 0, 0, 0, 0, 0, 1, 1, 5, 5, 5)
FILE = ROOT._replace(kind=c.REGULAR, nlink=1, fileid=2, size=3, used=4096)


class Answer:
    """A ticket that is answered already."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def result(self) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class Calls:
    """A server that answers as it is told: `answers[procedure]` gets the call's arguments."""

    def __init__(self, **answers: Callable[..., Any]) -> None:
        self._answers = {"getattr": lambda handle: ROOT, **answers}

    def __getattr__(self, name: str) -> Callable[..., Answer]:
        return lambda *arguments: Answer(self._answers[name](*arguments))


class Session:
    read_bytes = write_bytes = 4


def scanned(pages: list[Page], lookup: Callable[..., Any] | None = None) -> list[Entry | Problem]:
    answers = iter(pages)
    calls: Any = Calls(
        list=lambda *_: next(answers),
        lookup=lookup or (lambda *_: NfsError(NOENT)),
        readlink=lambda handle: b"target",
    )
    walker = Walker(calls, ())
    walker.reconnected(b"root")
    reader = FactReader(frozenset(), link_times=True)
    return list(Scanner(calls, walker, reader, SymlinkMode.PRESERVE).scan("", None))


def page(*names: bytes, last: bool = True, cookie: int = 7, facts: Facts | None = FILE) -> Page:
    return Page([Listed(name, b"h", facts) for name in names], cookie, bytes(8), last)


# -- listings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("description", "pages", "said"),
    [
        ("a name twice", [page(b"a", b"a")], "listed twice"),
        ("a name twice on two pages", [page(b"a", last=False), page(b"a", cookie=8)], "listed twice"),
        ("a name with a slash", [page(b"../x")], "holds '/'"),
        ("an empty name", [page(b"")], "holds '/', or is empty"),
        ("no entries and no end", [page(last=False)], "stops before its end"),
        ("the same page for ever", [page(b"a", last=False), page(b"b", last=False)], "stops before its end"),
        ("a kind nobody knows", [page(b"a", facts=FILE._replace(kind=99))], "kind or a size"),
        ("a size no file has", [page(b"a", facts=FILE._replace(size=2**64 - 1))], "kind or a size"),
    ],
)
def test_a_listing_that_cannot_be_true_is_a_problem(description: str, pages: list[Page], said: str) -> None:
    root, *rest = scanned(pages)
    assert root.path == ""
    (problem,) = rest
    assert isinstance(problem, Problem)
    assert (problem.path, problem.code, problem.retryable) == ("", EntryCode.NOT_LISTED, True)
    assert said in problem.message


def test_what_a_server_does_not_list_is_asked_for() -> None:
    """Facts and handles are optional (RFC 1813, 3.3.17); what vanished meanwhile is no entry."""

    def lookup(directory: bytes, name: bytes) -> Any:
        return NfsError(NOENT) if name == b"gone" else Found(b"h-" + name, FILE)

    found = scanned([page(b".", b"..", b"a", b"gone", b"b", facts=None)], lookup)
    assert [one.path for one in found] == ["", "a", "b"]


def test_a_refused_lookup_is_no_missing_entry() -> None:
    (_, problem) = scanned([page(b"a", facts=None)], lambda *_: NfsError(ACCES))
    assert isinstance(problem, Problem)
    assert problem.code is EntryCode.NOT_LISTED


# -- writing -------------------------------------------------------------------------------------------------


def filled(verifiers: list[bytes], lengths: list[int] | None = None) -> tuple[str, int]:
    marks = iter(verifiers)
    takes = iter(lengths or [])
    calls: Any = Calls(
        write=lambda handle, offset, content, stable: Stored(
            next(takes, len(content)), c.UNSTABLE, next(marks)
        ),
        commit=lambda handle: Stored(0, c.FILE_SYNC, next(marks)),
    )
    writer = Writer(Session(), calls, OpenSettings())  # type: ignore[arg-type]
    return writer.fill(b"h", file_entry("a", b"12345678"), [b"12345678"], FREE)


def test_a_server_that_restarted_while_it_was_written_to_is_noticed() -> None:
    """RFC 1813, 3.3.21: another verifier says that unstable data may be lost."""
    assert filled([b"1"] * 3)[1] == 8
    for verifiers in ([b"1", b"1", b"2"], [b"1", b"2", b"2"]):
        with pytest.raises(EntryError, match="restarted") as caught:
            filled(verifiers)
        assert caught.value.entry_code is EntryCode.UNAVAILABLE


def test_what_a_server_did_not_take_is_sent_again() -> None:
    assert filled([b"1"] * 9, [1, 3, 2, 2])[1] == 8
    with pytest.raises(EntryError, match="takes no more"):
        filled([b"1"] * 9, [0])


def test_holes_are_left_out() -> None:
    written: list[tuple[int, bytes]] = []
    sizes: list[Wish] = []

    def write(handle: bytes, offset: int, content: bytes, stable: int) -> Stored:
        written.append((offset, content))
        return Stored(len(content), c.FILE_SYNC, b"1")

    def setattr_(handle: bytes, wish: Wish, *_: Any) -> Facts:
        sizes.append(wish)
        return FILE

    calls: Any = Calls(write=write, setattr=setattr_)
    writer = Writer(Session(), calls, OpenSettings())  # type: ignore[arg-type]
    entry = Entry("a", Kind.FILE, size_bytes=16, allocated_bytes=4)
    writer.fill(b"h", entry, [b"\0\0\0\0data\0\0\0\0\0\0\0\0"], FREE)
    assert written == [(4, b"data")]
    assert sizes == [Wish(size=16)]


# -- reading -------------------------------------------------------------------------------------------------


def pieces(content: bytes, short: int, after: Facts) -> list[bytes]:
    calls: Any = Calls(
        read=lambda handle, offset, count: Piece(content[offset : offset + min(count, short)], False, None),
        getattr=lambda handle: after,
    )
    facts = FILE._replace(size=10)
    return list(Reader(Session(), calls).chunks(b"h", facts, "a", 0))  # type: ignore[arg-type]


def test_a_server_that_answers_with_less_is_asked_for_the_rest() -> None:
    same = FILE._replace(size=10)
    for short in (1, 3, 4):
        assert b"".join(pieces(b"0123456789", short, same)) == b"0123456789"


def test_a_body_that_ends_early_is_no_short_file() -> None:
    with pytest.raises(EntryError, match="could be read") as caught:
        pieces(b"01234", 4, FILE._replace(size=10))
    assert caught.value.entry_code is EntryCode.CHANGED_DURING_TRANSFER
    with pytest.raises(EntryError, match="written to"):
        pieces(b"0123456789", 4, FILE._replace(size=10, ctime_ns=6))


# -- metadata ------------------------------------------------------------------------------------------------


def test_what_is_accepted_and_ignored_is_refused_by_name() -> None:
    """As rclone's server does: success, and nothing changes."""
    setter = AttributeSetter(Calls(setattr=lambda *_: FILE), 1)  # type: ignore[arg-type]
    entry = Entry("a", Kind.FILE, mtime_ns=9, attributes=Attributes(mode=0o640, uid=7, gid=8))
    assert set(setter.apply(b"h", entry, FILE)) == {"mode", "uid", "gid", "mtime"}


@pytest.mark.parametrize("mtime_ns", [-1, (1 << 32) * 1_000_000_000])
def test_times_that_nfs_cannot_tell_are_refused(mtime_ns: int) -> None:
    setter = AttributeSetter(Calls(), 1)  # type: ignore[arg-type]
    assert setter.apply(b"h", Entry("a", Kind.FILE, mtime_ns=mtime_ns), FILE) == ("mtime",)


@pytest.mark.parametrize("status", [*range(1, 100), *range(10001, 10009), 99999])
def test_every_status_has_a_meaning(status: int) -> None:
    error = of_status(NfsError(status), "a/b", "read")
    assert "a/b" in error.message
    assert "NFS3ERR_" in error.message
    assert error.entry_code in EntryCode


def test_structures_have_the_layout_of_the_library_s_header() -> None:
    """Sizes as gcc lays out libnfs-raw-nfs.h of libnfs 4.0.0 on x86-64."""

    if ctypes.sizeof(ctypes.c_void_p) != 8:
        pytest.skip("measured on 64 bits")
    measured = {
        s.Attributes: 88,
        s.WccData: 128,
        s.SetAttributes: 64,
        s.SetattrArgs: 96,
        s.CreateArgs: 96,
        s.MkdirArgs: 88,
        s.SymlinkArgs: 96,
        s.MknodArgs: 104,
        s.ReadArgs: 32,
        s.WriteArgs: 48,
        s.RenameArgs: 48,
        s.LinkArgs: 40,
        s.ReaddirplusArgs: 40,
        s.LookupOk: 208,
        s.CreateOk: 248,
        s.ReadOk: 120,
        s.WriteOk: 144,
        s.CommitOk: 136,
        s.ReadlinkOk: 104,
        s.FsstatOk: 152,
        s.PathconfOk: 120,
        s.DirectoryEntry: 152,
        s.ReaddirplusOk: 120,
    }
    assert {one: ctypes.sizeof(one) for one in measured} == measured
