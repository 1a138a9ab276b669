"""One remote of the daemon with its root: rclone's calls as small typed steps, errors classified by path.

Paths are ours; they are converted here and nowhere else.
"""

from __future__ import annotations

import http.client
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from runner.errors import EntryCode, EntryError
from runner.model.entry import parent_path

from .engine import Engine
from .faults import classify, is_bad_request, means_absent, shown, unavailable
from .names import to_rclone
from .times import parse_time
from .upload import BYTES_PER_SECOND, Upload
from .wire import Connections, RefusedError, WireError, refused, wire_error

NO_TIMES = 1 << 60
"""rclone's Precision where times of ours are not kept is 100 years; anything near it means that."""
_CHUNK = 1 << 20


class Listed(msgspec.Struct, gc=False):
    """One file or folder as rclone tells it."""

    Name: str
    Size: int = -1
    ModTime: str = ""
    IsDir: bool = False
    Hashes: dict[str, str] | None = None

    @property
    def mtime_ns(self) -> int | None:
        return parse_time(self.ModTime)


class _Listing(msgspec.Struct, rename={"held": "list"}):
    held: list[Listed]


class _Stated(msgspec.Struct):
    item: Listed | None = None


class Features(msgspec.Struct, frozen=True):
    """What the backend can do; rclone's own names."""

    BucketBased: bool = False
    CanHaveEmptyDirectories: bool = False
    CaseInsensitive: bool = False
    Copy: bool = False
    DuplicateFiles: bool = False
    Move: bool = False
    PartialUploads: bool = False
    PutStream: bool = False
    SlowModTime: bool = False
    WriteMetadata: bool = False
    About: bool = False


class Information(msgspec.Struct, frozen=True):
    """operations/fsinfo."""

    Features: Features
    Hashes: tuple[str, ...] = ()
    Precision: int = NO_TIMES

    @property
    def resolution_ns(self) -> int | None:
        """Granularity of times of ours; None = it keeps none."""
        return max(1, self.Precision) if self.Precision < NO_TIMES else None


class Result(msgspec.Struct):
    error: str | None = None
    item: Listed | None = None
    hash: str | None = None


class _Results(msgspec.Struct):
    results: list[Result] = []


class _Space(msgspec.Struct):
    free: int | None = None


# msgspec (0.22) crashes when two threads look into the same types for the first time at once: this is that time.
for _kind in (_Listing, _Stated, Result, _Space, _Results, Information):
    msgspec.json.Decoder(_kind)


class Remote:
    """rclone's view of one location. Thread-safe: it holds nothing that moves."""

    def __init__(self, engine: Engine, name: str, root: str, timeout_seconds: float) -> None:
        self.engine = engine
        self.name = name
        self.fs = f"{name}:{root}"
        self._root = root
        self.timeout_seconds = timeout_seconds

    # -- looking ---------------------------------------------------------------------------------------------

    def information(self) -> Information:
        return msgspec.json.decode(
            self.call("operations/fsinfo", "", "ask about", {"fs": self.fs}), type=Information
        )

    def listing(self, path: str, *, times: bool) -> list[Listed]:
        """What a folder holds, unsorted. Raises NOT_FOUND or KIND_CONFLICT where there is none."""
        answer = self.call("operations/list", path, "list", self.listing_request(path, times=times))
        return msgspec.json.decode(answer, type=_Listing).held

    def listing_request(self, path: str, *, times: bool = False) -> dict[str, Any]:
        return self._place(path) | {"opt": {"noMimeType": True, "noModTime": not times}}

    def file(self, path: str, hash_type: str | None = None) -> Listed | None:
        """The file at `path`, None when no file is there."""
        try:
            answer = self.call("operations/stat", path, "look at", self.file_request(path, hash_type))
        except EntryError as error:
            if means_absent(error):
                return None
            if is_bad_request(error) and self.leads_through_file(parent_path(path.removesuffix("/"))):
                return None
            raise
        return msgspec.json.decode(answer, type=_Stated).item

    def leads_through_file(self, path: str) -> bool:
        """True when `path` or a parent of it is a file: nothing can be below."""
        names = path.removesuffix("/").split("/") if path else []
        return any(self.file("/".join(names[: depth + 1])) is not None for depth in range(len(names)))

    def file_request(self, path: str, hash_type: str | None = None) -> dict[str, Any]:
        options: dict[str, Any] = {"filesOnly": True, "noMimeType": True}
        if hash_type is not None:
            options |= {"showHash": True, "hashTypes": [hash_type]}
        return self._place(path) | {"opt": options}

    def has_root(self) -> bool:
        try:
            answer = self.call("operations/stat", "", "look at", {"fs": self.fs, "remote": "", "opt": {}})
        except EntryError as error:
            if means_absent(error):
                return False
            raise
        return msgspec.json.decode(answer, type=_Stated).item is not None

    def hash(self, path: str, hash_type: str, *, download: bool, size_bytes: int) -> str | None:
        """The hash of a file's content, worked out now; None when the backend gives none."""
        parameters = self.hash_request(path, hash_type, download=download)
        answer = self.call("operations/hashsumfile", path, "read", parameters, size_bytes=size_bytes)
        return msgspec.json.decode(answer, type=Result).hash or None

    def hash_request(self, path: str, hash_type: str, *, download: bool) -> dict[str, Any]:
        return self._place(path) | {"hashType": hash_type, "download": download}

    def free_bytes(self) -> int | None:
        answer = self.call("operations/about", "", "ask the free space of", {"fs": self.fs})
        return msgspec.json.decode(answer, type=_Space).free

    # -- changing --------------------------------------------------------------------------------------------

    def make_folder(self, path: str) -> None:
        self.call("operations/mkdir", path, "make", self._place(path))

    def remove_folder(self, path: str) -> None:
        self.call("operations/rmdir", path, "remove", self._place(path))

    def remove_file(self, path: str) -> None:
        self.call("operations/deletefile", path, "remove", self._place(path))

    def move(self, path: str, target: str, *, checked: bool, size_bytes: int = 0) -> None:
        """Move a file onto `target`. Unless `checked`, the storage itself replaces what stands there, in one step
        where it can; `checked`: rclone removes that first."""
        parameters = self.move_request(path, target, checked=checked)
        self.call("operations/movefile", path, "move", parameters, also=(target,), size_bytes=size_bytes)

    def move_request(self, path: str, target: str, *, checked: bool) -> dict[str, Any]:
        # rclone drops the moved file when it holds it equal (by size and time) to what stands there: never here.
        config = {"IgnoreTimes": True, "NoCheckDest": not checked}
        return self._between(self, path, target) | {"_config": config}

    def take(
        self, source: Remote, path: str, target: str, size_bytes: int, config: dict[str, Any] | None = None
    ) -> None:
        """Copy a file of another remote (or this one) to `target`, where nothing is looked for before."""
        parameters = self.copy_request(source, path, target, config)
        self.call("operations/copyfile", target, "write", parameters, also=(path,), size_bytes=size_bytes)

    def copy_request(
        self, source: Remote, path: str, target: str, config: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        settings = {"NoCheckDest": True, "IgnoreTimes": True, "Inplace": True, **(config or {})}
        return self._between(source, path, target) | {"_config": settings}

    # -- content ---------------------------------------------------------------------------------------------

    def read(self, path: str, offset: int, size_bytes: int) -> Iterator[bytes]:
        """`size_bytes` bytes of a file from `offset`: exactly as many, or CHANGED_DURING_TRANSFER, or another
        error when the content ends early."""
        if size_bytes == 0:
            return
        connections = self.connections(path)
        connection = connections.take()
        whole = False
        try:
            connection.limit(self.timeout_seconds)
            wanted = {"Range": f"bytes={offset}-"} if offset else {}
            connection.request("GET", self._url(path), headers=connections.headers(**wanted))
            with connection.getresponse() as response:
                if response.status == 416:
                    raise EntryError(
                        EntryCode.CHANGED_DURING_TRANSFER, path, f"{shown(path)}: it is shorter now"
                    )
                if response.status != (206 if offset else 200):
                    raise self.classified(refused(response.read(), response.status), path, "read")
                if response.length != size_bytes:
                    raise EntryError(
                        EntryCode.CHANGED_DURING_TRANSFER,
                        path,
                        f"{shown(path)}: it has another length now",
                    )
                left = size_bytes
                while left:
                    chunk = response.read(min(_CHUNK, left))
                    if not chunk:
                        raise http.client.IncompleteRead(b"", left)
                    left -= len(chunk)
                    yield chunk
                response.read()
            whole = True
        except (OSError, http.client.HTTPException) as error:
            raise self.failed(wire_error(error, "read", self.timeout_seconds), path) from error
        finally:
            if whole:
                connections.give_back(connection)
            else:
                connection.close()

    def upload(self, path: str, name: str, config: dict[str, Any]) -> Upload:
        """Begin to stream a new file `name` into the folder at `path`."""
        return Upload(self, path, name, config)

    # -- many at once ----------------------------------------------------------------------------------------

    def batch(
        self, command: str, requests: Sequence[dict[str, Any]], *, concurrency: int, size_bytes: int = 0
    ) -> list[Result]:
        """One result for each request, in their order. Raises only when the whole batch failed."""
        if not requests:
            return []
        inputs = [{"_path": command, **request} for request in requests]
        # A batch waits for its slowest: each round of `concurrency` may need the time of one.
        rounds = 1 + len(inputs) // concurrency
        parameters = {"inputs": inputs, "concurrency": concurrency}
        answer = self.call(
            "job/batch", "", "work on", parameters, size_bytes=size_bytes, rounds=min(rounds, 20)
        )
        results = msgspec.json.decode(answer, type=_Results).results
        if len(results) != len(inputs):
            raise unavailable("", "rclone answered a batch with another number of results")
        return results

    def result_error(self, result: Result, path: str, doing: str, *names: str) -> EntryError | None:
        """The error of one result of a batch."""
        if result.error is None:
            return None
        return classify(
            self.engine.redacted(result.error),
            path,
            doing,
            names=(self._root, *(to_rclone(name) for name in (path, *names))),
        )

    # -- one call --------------------------------------------------------------------------------------------

    def call(
        self,
        command: str,
        path: str,
        doing: str,
        parameters: dict[str, Any],
        *,
        also: tuple[str, ...] = (),
        size_bytes: int = 0,
        rounds: int = 1,
    ) -> bytes:
        """The raw answer. Raises EntryError with `path`."""
        seconds = self.timeout_seconds * rounds + size_bytes / BYTES_PER_SECOND
        try:
            return self.connections(path).call(command, parameters, seconds)
        except RefusedError as error:
            raise self.classified(error, path, doing, *also) from error
        except WireError as error:
            self.engine.note_failure(error)
            raise self.failed(error, path) from error

    def connections(self, path: str) -> Connections:
        try:
            return self.engine.connections()
        except WireError as error:
            raise self.failed(error, path) from error

    def classified(self, error: RefusedError, path: str, doing: str, *also: str) -> EntryError:
        names = (self._root, *(to_rclone(name) for name in (path, *also)))
        return classify(self.engine.redacted(error.text), path, doing, names=names)

    def failed(self, error: WireError, path: str) -> EntryError:
        if error.timed_out:
            return EntryError(EntryCode.TIMEOUT, path, f"{shown(path)}: {error}")
        return unavailable(path, f"{shown(path)}: {error}")

    def _place(self, path: str) -> dict[str, Any]:
        return {"fs": self.fs, "remote": to_rclone(path)}

    def _between(self, source: Remote, path: str, target: str) -> dict[str, Any]:
        return {
            "srcFs": source.fs,
            "srcRemote": to_rclone(path),
            "dstFs": self.fs,
            "dstRemote": to_rclone(target),
        }

    def _url(self, path: str) -> str:
        return "/" + urllib.parse.quote(f"[{self.fs}]/{to_rclone(path)}", safe="/")
