"""The walk: one flat listing becomes files, links and folders in canonical order.

Folders are made up from the keys below them, or stand as markers of their own. What a listing does not tell of an
object is remembered, or asked for by several threads ahead of the consumer. Memory: two pages, the looks in flight,
one name a level.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec

from runner.errors import EntryCode, EntryError
from runner.model.entry import Entry, Kind, Phase, Problem, path_before
from runner.model.wire import terminal_safe

from .client import ObjectClient, ObjectFacts, Page
from .keys import fault_of, folders_of, is_reserved_folder, temporary_execution
from .listing import pages
from .looking import Looked, Looker
from .memory import Memory, Record

LOOKS_AHEAD = 1000
_BREAKS_OFF = frozenset({EntryCode.UNAVAILABLE, EntryCode.TIMEOUT})
Descend = Callable[[Entry], bool]
_Waiting = tuple[str, ObjectFacts, "Looked | Future[Looked | None] | None"]


def root(prefix: str) -> Entry:
    """The root folder as it is without a marker. That of a whole bucket has no key for one: a version says that it is
    complete as it is, so that no plan wants to mark it."""
    return Entry("", Kind.DIRECTORY, version=None if prefix else "bucket")


class Scanner:
    """Lists one location. `leftovers`: path -> execution id of temporary objects its scans have passed."""

    def __init__(
        self,
        client: ObjectClient,
        looker: Looker,
        memory: Memory,
        prefix: str,
        *,
        markers: bool,
        concurrency: int,
    ) -> None:
        """`prefix` of all keys; `markers`: whether folders stand as objects of their own."""
        self._client = client
        self._looker = looker
        self._memory = memory
        self._prefix = prefix
        self._markers = markers
        self._concurrency = concurrency
        self.leftovers: dict[str, str] = {}

    def scan(self, prefix: str, descend: Descend | None) -> Iterator[Entry | Problem]:
        """See Location.scan. Raises EntryError where the listing breaks off: no entry after it is known."""
        executor = ThreadPoolExecutor(self._concurrency, thread_name_prefix="look")
        looked: list[tuple[ObjectFacts, Record]] = []
        try:
            walk = _Walk(prefix, descend, root(self._prefix))
            yield from walk.entries(self._found(prefix, executor, looked, walk), self._looker)
        finally:
            executor.shutdown(wait=True, cancel_futures=True)
            self._memory.remember(looked)

    def _found(
        self,
        prefix: str,
        executor: ThreadPoolExecutor,
        looked: list[tuple[ObjectFacts, Record]],
        walk: _Walk,
    ) -> Iterator[tuple[str, ObjectFacts, Looked | EntryError | None]]:
        """(path, facts of the listing, what a look told) of every object, in order. An error stands for what one
        object alone refused; None: there is nothing to look for."""
        waiting: collections.deque[_Waiting] = collections.deque()
        for page in pages(self._client, self._prefix + prefix, executor):
            records = self._memory.known(page.objects) if self._looker.needs_look else {}
            for facts in page.objects:
                path = facts.key[len(self._prefix) :]
                if (execution := temporary_execution(path)) is not None:
                    self.leftovers[path] = execution
                    continue
                if walk.passes_over(path):
                    continue
                waiting.append((path, facts, self._ask(path, facts, records, page, executor)))
                while len(waiting) > LOOKS_AHEAD or (waiting and _is_ready(waiting[0])):
                    yield from self._answer(waiting.popleft(), looked)
            if len(looked) >= LOOKS_AHEAD:
                self._memory.remember(looked)
                looked.clear()
        while waiting:
            yield from self._answer(waiting.popleft(), looked)

    def _ask(
        self,
        path: str,
        facts: ObjectFacts,
        records: dict[str, Record],
        page: Page,
        executor: ThreadPoolExecutor,
    ) -> Looked | Future[Looked | None] | None:
        if path and fault_of(path) is not None:
            return None
        if not self._looker.needs_look:
            return Looked(facts)
        record = records.get(facts.key)
        if record is not None:
            recalled = self._looker.recalled(facts, record)
            if not self._looker.needs_tags:
                return recalled
            return executor.submit(self._looker.completed, recalled.facts)
        if facts.metadata is not None:
            return (
                executor.submit(self._looker.completed, facts)
                if self._looker.needs_more(facts)
                else Looked(facts)
            )
        return executor.submit(self._looker.look_patiently, facts.key)

    def _answer(
        self, waiting: _Waiting, looked: list[tuple[ObjectFacts, Record]]
    ) -> Iterator[tuple[str, ObjectFacts, Looked | EntryError | None]]:
        path, facts, answer = waiting
        if not isinstance(answer, Future):
            yield path, facts, answer
            return
        try:
            found = answer.result()
        except EntryError as error:
            if error.entry_code in _BREAKS_OFF:
                raise
            yield path, facts, error
            return
        if found is None:
            return  # gone since it was listed
        if (found.facts.etag, found.facts.size_bytes) == (facts.etag, facts.size_bytes):
            now = msgspec.structs.replace(facts, served_ns=found.facts.served_ns)
            looked.append((now, self._looker.record(found)))
        yield path, facts, found


def _is_ready(waiting: _Waiting) -> bool:
    answer = waiting[2]
    return not isinstance(answer, Future) or answer.done()


class _Walk:
    """One scan's way through the paths: which folders are open, which were refused, what is still to be told."""

    def __init__(self, prefix: str, descend: Descend | None, bare_root: Entry) -> None:
        self._bare_root = bare_root
        self._prefix = prefix
        self._descend = descend
        self._open: list[str] = []
        self._refused: str | None = None
        self._late: list[Problem] = []

    def passes_over(self, path: str) -> bool:
        """True for what is below a folder that was refused: it need not be looked at."""
        return self._refused is not None and path.startswith(self._refused)

    def entries(
        self, found: Iterator[tuple[str, ObjectFacts, Looked | EntryError | None]], looker: Looker
    ) -> Iterator[Entry | Problem]:
        began = self._prefix != ""
        if not began:
            # The root is there, whatever is in it; its marker, if any, comes first.
            first = next(found, None)
            if first is None or first[0] != "":
                yield from self._folder(self._bare_root)
            if first is not None:
                yield from self._one(first, looker)
        for one in found:
            yield from self._one(one, looker)
        yield from self._late
        self._late = []

    def _one(
        self, found: tuple[str, ObjectFacts, Looked | EntryError | None], looker: Looker
    ) -> Iterator[Entry | Problem]:
        path, facts, looked = found
        refused = self._refused
        if refused is not None:
            if path.startswith(refused):
                return
            self._refused = None
        if self._late:
            yield from self._due(path)
        fault = fault_of(path) if looked is None else None
        is_marker = path.endswith("/") or path == ""
        for folder in folders_of(path):
            if not self._is_new(folder):
                continue
            if is_marker and folder == path and fault is None:
                break
            if fault is not None and fault_of(folder) is not None:
                break
            yield from self._folder(Entry(folder, Kind.DIRECTORY))
            if self._refused is not None:
                return
        if fault is not None:
            yield _problem(path, EntryCode.NAME_NOT_ALLOWED, f"{terminal_safe(facts.key)}: {fault}")
        elif isinstance(looked, EntryError):
            if is_marker:
                yield from self._folder(Entry(path, Kind.DIRECTORY))
                self._late.append(Problem.from_error(_at(looked, f"{path}/"), Phase.PREPARING))
            else:
                yield Problem.from_error(_at(looked, path), Phase.PREPARING)
        elif is_marker:
            assert looked is not None
            yield from self._marker(path, looked, looker)
        else:
            assert looked is not None
            yield looker.entry(path, looked)

    def _marker(self, path: str, looked: Looked, looker: Looker) -> Iterator[Entry | Problem]:
        yield from self._folder(looker.entry(path, looked))
        if looked.facts.size_bytes:
            # Nothing may be said in the folder's own name: that would make all below it unknown.
            message = f"{terminal_safe(looked.facts.key)}: its key ends with `/` and yet it has content"
            self._late.append(_problem(f"{path}/", EntryCode.NAME_NOT_ALLOWED, message))

    def _is_new(self, folder: str) -> bool:
        """True for a folder of this scan that was not given yet."""
        if not folder.startswith(self._prefix):
            return False
        if folder in self._open:
            return False
        while self._open and not folder.startswith(self._open[-1]):
            self._open.pop()
        return True

    def _folder(self, entry: Entry) -> Iterator[Entry]:
        """Give a folder, unless it is one of ours; ask whether to go into it."""
        path = entry.path
        if path != self._prefix and path and is_reserved_folder(path):
            self._refused = path
            return
        self._open.append(path)
        yield entry
        if self._descend is not None and not self._descend(entry):
            self._refused = path

    def _due(self, path: str) -> Iterator[Problem]:
        """Problems whose place in the order has come, now that `path` follows."""
        due = [problem for problem in self._late if path_before(problem.path, path)]
        if due:
            self._late = [problem for problem in self._late if problem not in due]
            yield from sorted(due, key=lambda problem: problem.path.encode("utf-8", "surrogateescape"))


def _problem(path: str, code: EntryCode, message: str) -> Problem:
    return Problem(path, Phase.PREPARING, code, message)


def _at(error: EntryError, path: str) -> EntryError:
    return EntryError(error.entry_code, path, error.message, disposition=error.disposition)
