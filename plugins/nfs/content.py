"""The content of files: read with several calls under way, written and committed, read back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from runner.errors import Disposition, EntryCode, EntryError
from runner.locations.protocol import Buffer, OpenSettings, Throttle
from runner.model.entry import Entry
from runner.model.task import Integrity

from ..local.content import checksum_failure, new_hasher
from ..local.faults import changed, shown
from .calls import FILE_SYNC, UNSTABLE, Calls, Facts, Piece, Stored, Wish
from .facts import same_content
from .session import Session, Ticket

_UNDER_WAY = 4
_ZEROS = memoryview(bytes(1 << 20))


class Reader:
    """Reads files by handle."""

    def __init__(self, session: Session, calls: Calls) -> None:
        self._session = session
        self._calls = calls

    def chunks(self, handle: bytes, facts: Facts, path: str, offset: int) -> Iterator[bytes]:
        """Content from `offset` to the end of the file that is as `facts` say.

        Raises CHANGED_DURING_TRANSFER when it is not, or not to the end; NfsError and SessionError.
        """
        size, step = facts.size, self._session.read_bytes
        questions: deque[tuple[int, int, Ticket[Piece]]] = deque()
        position = asked = min(offset, size)
        last: Facts | None = None
        while position < size:
            while asked < size and len(questions) < _UNDER_WAY:
                count = min(step, size - asked)
                questions.append((asked, count, self._calls.read(handle, asked, count)))
                asked += count
            start, count, question = questions.popleft()
            piece = question.result()
            self._check(path, facts, piece)
            last = piece.facts
            got = len(piece.content)
            if got == 0 or got > count:
                raise changed(path, f"{start} bytes could be read of {size}")
            if got < count:
                # Servers may answer with less than was asked for: the rest is asked for next.
                questions.appendleft(
                    (start + got, count - got, self._calls.read(handle, start + got, count - got))
                )
            position = start + got
            yield piece.content
        if last is None or size - offset > step:
            # What was asked for ahead may be older than the chunks' use.
            last = self._calls.getattr(handle).result()
        if not same_content(facts, last):
            raise changed(path, "the file was written to while it was read")

    @staticmethod
    def _check(path: str, facts: Facts, piece: Piece) -> None:
        if piece.facts is not None and not same_content(facts, piece.facts):
            raise changed(path, "the file was written to while it was read")


class Writer:
    """Fills new files, as one task's settings ask."""

    def __init__(self, session: Session, calls: Calls, settings: OpenSettings) -> None:
        self._session = session
        self._calls = calls
        self._algorithm = settings.digest
        self._read_back = settings.integrity is Integrity.READ_BACK
        self._sparse = settings.sparse
        self._observer = settings.observer

    def fill(
        self, handle: bytes, entry: Entry, content: Iterable[Buffer], throttle: Throttle
    ) -> tuple[str, int]:
        """Write `content` into an empty file, and have the server put it on its disk. (algorithm:hex, size).

        Blocks of zeros are left out where the source has holes. The server holds everything on stable storage
        afterwards, or an error is raised: RFC 1813, 4.8, leaves a client that has no copy no other way.
        """
        path = entry.path
        holes = (
            self._sparse
            and (entry.allocated_bytes or 0) < (entry.size_bytes or 0)
            and (entry.allocated_bytes is not None)
        )
        hasher = self._observer.hashing(new_hasher(self._algorithm))
        step = self._session.write_bytes
        under_way: deque[tuple[int, bytes, Ticket[Stored]]] = deque()
        verifiers: set[bytes] = set()
        position, written, is_stable = 0, 0, True
        for chunk in content:
            view = memoryview(chunk)
            throttle.take(len(view))
            hasher.update(view)
            for start in range(0, len(view), step):
                piece = bytes(view[start : start + step])
                if not (holes and piece == _ZEROS[: len(piece)]):
                    # What comes in one piece needs no COMMIT of its own.
                    alone = position == 0 and len(piece) == entry.size_bytes
                    stable = FILE_SYNC if alone else UNSTABLE
                    under_way.append((position, piece, self._calls.write(handle, position, piece, stable)))
                    written = position + len(piece)
                position += len(piece)
                while len(under_way) > _UNDER_WAY:
                    is_stable &= self._settle(handle, path, under_way, verifiers)
        while under_way:
            is_stable &= self._settle(handle, path, under_way, verifiers)
        if written < position:
            self._calls.setattr(handle, Wish(size=position)).result()
        if not is_stable:
            verifiers.add(self._calls.commit(handle).result().verifier)
        if len(verifiers) > 1:
            raise EntryError(
                EntryCode.UNAVAILABLE,
                path,
                f"cannot write {shown(path)}: the server restarted meanwhile and lost some of it",
                disposition=Disposition.RETRY,
            )
        return f"{self._algorithm.value}:{hasher.hexdigest()}", position

    def _settle(
        self,
        handle: bytes,
        path: str,
        under_way: deque[tuple[int, bytes, Ticket[Stored]]],
        verifiers: set[bytes],
    ) -> bool:
        """Wait for the oldest write; what the server did not take is sent again. True when all is stable."""
        position, piece, ticket = under_way.popleft()
        stored = ticket.result()
        is_stable = True
        while True:
            verifiers.add(stored.verifier)
            is_stable = is_stable and stored.committed == FILE_SYNC
            position, piece = position + stored.length, piece[stored.length :]
            if not piece:
                return is_stable
            if stored.length == 0:
                raise EntryError(
                    EntryCode.IO_ERROR,
                    path,
                    f"cannot write {shown(path)}: the server takes no more bytes and does not say why",
                )
            stored = self._calls.write(handle, position, piece, UNSTABLE).result()

    def check(
        self, handle: bytes, facts: Facts, path: str, size_bytes: int, digest: str, reader: Reader
    ) -> None:
        """Before the file gets its name. Raises CHECKSUM_FAILURE when the server holds something else."""
        if facts.size != size_bytes:
            raise EntryError(
                EntryCode.CHECKSUM_FAILURE,
                path,
                f"{shown(path)}: {size_bytes} bytes were sent, the server has {facts.size}; nothing was published",
            )
        if not self._read_back:
            return
        hasher = new_hasher(self._algorithm)
        for chunk in reader.chunks(handle, facts, path, 0):
            hasher.update(chunk)
        actual = f"{self._algorithm.value}:{hasher.hexdigest()}"
        if actual != digest:
            raise checksum_failure(path, digest, actual)
