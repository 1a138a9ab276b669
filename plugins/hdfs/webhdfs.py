"""The WebHDFS transport: HTTP or HTTPS, names at the NameNode and content at DataNodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from runner.errors import EntryCode
from runner.locations.protocol import Buffer

from .address import HdfsOptions
from .faults import RemoteFault, timed_out, unreachable
from .http import NameNodes, read_all
from .transport import CHUNK_BYTES, Status


class WebTransport:
    """Requests one after another over kept connections."""

    def __init__(self, options: HdfsOptions, *, durable: bool) -> None:
        self._options = options
        self._durable = durable
        self._namenodes = NameNodes(options)
        self._lists_pages = True

    def close(self) -> None:
        self._namenodes.close()

    # -- looking ---------------------------------------------------------------------------------------------

    def status(self, path: str) -> Status | None:
        try:
            answer = self._namenodes.call("GET", "GETFILESTATUS", path)
        except RemoteFault as fault:
            if fault.code in (EntryCode.NOT_FOUND, EntryCode.KIND_CONFLICT):
                return None
            raise
        return _status(answer.get("FileStatus"), path.rpartition("/")[2])

    def children(self, path: str) -> Iterator[Status]:
        if not self._lists_pages:
            yield from self._children_at_once(path)
            return
        after: dict[str, str] = {}
        while True:
            try:
                answer = self._namenodes.call("GET", "LISTSTATUS_BATCH", path, **after)
            except RemoteFault as fault:
                if after or "LISTSTATUS_BATCH" not in fault.message:
                    raise
                # Older than Hadoop 2.9: it does not know the operation.
                self._lists_pages = False
                yield from self._children_at_once(path)
                return
            listing = _field(answer, "DirectoryListing", dict)
            remaining = _field(listing, "remainingEntries", int)
            page = _children(_field(listing, "partialListing", dict))
            yield from page
            if remaining == 0:
                return
            if not page or page[-1].name == after.get("startAfter"):
                raise unreachable(f"the listing ends {remaining} names early")
            after = {"startAfter": page[-1].name}

    def _children_at_once(self, path: str) -> Iterator[Status]:
        yield from _children(self._namenodes.call("GET", "LISTSTATUS", path))

    def acl(self, path: str) -> tuple[str, ...]:
        status = _field(self._namenodes.call("GET", "GETACLSTATUS", path), "AclStatus", dict)
        return tuple(str(entry) for entry in _field(status, "entries", list))

    def xattrs(self, path: str) -> tuple[tuple[str, bytes], ...]:
        answer = self._namenodes.call("GET", "GETXATTRS", path, encoding="hex")
        found = []
        for one in _field(answer, "XAttrs", list):
            name = _field(one, "name", str)
            if name.startswith("user."):
                found.append((name, bytes.fromhex((one.get("value") or "0x")[2:])))
        return tuple(sorted(found))

    # -- content ---------------------------------------------------------------------------------------------

    def read(self, path: str, offset: int, length: int) -> Iterator[Buffer]:
        from urllib3 import exceptions

        if length <= 0:
            # OPEN refuses an offset at the end of the file, also for a file without content.
            return
        address = self._namenodes.redirect("GET", "OPEN", path, offset=str(offset), length=str(length))
        response = self._namenodes.at_datanode("GET", address)
        whole = False
        try:
            yield from response.stream(CHUNK_BYTES, decode_content=False)
            whole = True
        except exceptions.TimeoutError as error:
            raise timed_out("the DataNode stopped sending half way") from error
        except exceptions.HTTPError as error:
            raise unreachable(f"the DataNode's answer ended early ({type(error).__name__})") from error
        finally:
            # A connection with half an answer in it is of no more use.
            if whole:
                response.release_conn()
            else:
                response.close()

    def write(self, path: str, content: Iterable[Buffer], mode: int) -> None:
        parameters = {"overwrite": "false", "createparent": "false", "permission": f"{mode:o}"}
        if self._options.block_size_bytes is not None:
            parameters["blocksize"] = str(self._options.block_size_bytes)
        if self._options.replication is not None:
            parameters["replication"] = str(self._options.replication)
        if self._durable:
            parameters["createflag"] = "CREATE,SYNC_BLOCK"
        address = self._namenodes.redirect("PUT", "CREATE", path, **parameters)
        body = _Body(content)
        try:
            read_all(self._namenodes.at_datanode("PUT", address, body))
        finally:
            if body.error is not None:
                # The source's own error passes as it is, whatever HTTP made of it.
                raise body.error

    # -- names -----------------------------------------------------------------------------------------------

    def make_folder(self, path: str, mode: int) -> None:
        answer = self._namenodes.call("PUT", "MKDIRS", path, permission=f"{mode:o}")
        if answer.get("boolean") is not True:
            raise RemoteFault(EntryCode.IO_ERROR, "the NameNode did not make the folder and does not say why")

    def rename(self, path: str, target: str, *, overwrite: bool) -> None:
        # With renameoptions, WebHDFS calls rename2, which never moves a file into a folder of the target's name.
        option = "OVERWRITE" if overwrite else "NONE"
        answer = self._namenodes.call("PUT", "RENAME", path, destination=target, renameoptions=option)
        if "boolean" in answer:
            raise RemoteFault(
                EntryCode.KIND_NOT_SUPPORTED,
                "the server renames in its own way (HttpFS?), which could replace what must stay",
            )

    def delete(self, path: str) -> bool:
        return self._namenodes.call("DELETE", "DELETE", path, recursive="false").get("boolean") is True

    # -- attributes ------------------------------------------------------------------------------------------

    def set_times(self, path: str, mtime_ms: int | None, atime_ms: int | None) -> None:
        mtime = -1 if mtime_ms is None else mtime_ms
        atime = -1 if atime_ms is None else atime_ms
        self._namenodes.call("PUT", "SETTIMES", path, modificationtime=str(mtime), accesstime=str(atime))

    def set_owner(self, path: str, user: str | None, group: str | None) -> None:
        parameters = {"owner": user, "group": group}
        self._namenodes.call(
            "PUT",
            "SETOWNER",
            path,
            **{name: value for name, value in parameters.items() if value is not None},
        )

    def set_mode(self, path: str, mode: int) -> None:
        self._namenodes.call("PUT", "SETPERMISSION", path, permission=f"{mode:o}")

    def set_acl(self, path: str, entries: tuple[str, ...]) -> None:
        self._namenodes.call("PUT", "SETACL", path, aclspec=",".join(entries))

    def remove_acl(self, path: str) -> None:
        self._namenodes.call("PUT", "REMOVEACL", path)

    def set_xattrs(self, path: str, wanted: tuple[tuple[str, bytes], ...]) -> None:
        present = dict(self.xattrs(path))
        for name in sorted(present.keys() - dict(wanted).keys()):
            self._namenodes.call("PUT", "REMOVEXATTR", path, **{"xattr.name": name})
        for name, value in wanted:
            if present.get(name) != value:
                flag = "REPLACE" if name in present else "CREATE"
                parameters = {"xattr.name": name, "xattr.value": "0x" + value.hex(), "flag": flag}
                self._namenodes.call("PUT", "SETXATTR", path, **parameters)

    # -- the cluster -----------------------------------------------------------------------------------------

    def clock_ns(self) -> int:
        return self._namenodes.clock_ns()

    def about(self) -> dict[str, str]:
        """What the NameNode says of its cluster."""
        self.status("/")  # finds the active NameNode
        return self._namenodes.about()

    def space(self, path: str) -> tuple[int | None, int | None]:
        """(free bytes, free entries) for new files below `path`, replication counted; None = unknown or unlimited."""
        copies = self._options.replication or self._default_replication()
        free = [_field_or(self._optional("GETSTATUS", "/"), "FsStatus", "remaining")]
        quota = self._optional("GETQUOTAUSAGE", path)
        limit, used = (
            _field_or(quota, "QuotaUsage", "spaceQuota"),
            _field_or(quota, "QuotaUsage", "spaceConsumed"),
        )
        if limit is not None and used is not None and limit >= 0:
            free.append(max(0, limit - used))
        known = [size // copies for size in free if size is not None]
        names = _field_or(quota, "QuotaUsage", "quota")
        count = _field_or(quota, "QuotaUsage", "fileAndDirectoryCount")
        # The root folder's own quota is Long.MAX_VALUE where nobody set one.
        limited = names is not None and count is not None and 0 <= names < 2**62
        return min(known, default=None), max(0, names - count) if limited and names and count else None

    def _default_replication(self) -> int:
        defaults = self._optional("GETSERVERDEFAULTS", "/")
        return max(1, _field_or(defaults, "FsServerDefaults", "replication") or 1)

    def _optional(self, operation: str, path: str) -> dict[str, Any]:
        """{} where the cluster is too old for the operation, or does not allow it, or nothing is at the path."""
        try:
            return self._namenodes.call("GET", operation, path)
        except RemoteFault as fault:
            if fault.code in (EntryCode.UNAVAILABLE, EntryCode.TIMEOUT):
                raise
            return {}


class _Body:
    """Content on its way into a request, in chunks of HTTP. When it breaks, the request still ends in good order:
    the DataNode may make the file only when it has seen all of it, and then the rest is removed in vain."""

    def __init__(self, content: Iterable[Buffer]) -> None:
        self._content = content
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[Buffer]:
        try:
            for chunk in self._content:
                if len(chunk):
                    yield chunk
        except Exception as error:
            self.error = error


def _children(listing: dict[str, Any]) -> list[Status]:
    statuses = [
        _status(one, _field(one, "pathSuffix", str))
        for one in _field(_field(listing, "FileStatuses", dict), "FileStatus", list)
    ]
    if len(statuses) == 1 and statuses[0].name == "":
        raise RemoteFault(EntryCode.STALE, "it is no folder any more")
    return statuses


def _status(found: Any, name: str) -> Status:
    kind = _field(found, "type", str)
    return Status(
        name=name,
        is_directory=kind == "DIRECTORY",
        length=_field(found, "length", int),
        mode=int(_field(found, "permission", str), 8) & 0o7777,
        user=_field(found, "owner", str),
        group=_field(found, "group", str),
        mtime_ms=_field(found, "modificationTime", int),
        atime_ms=_field(found, "accessTime", int),
        file_id=found.get("fileId"),
        has_acl=bool(found.get("aclBit", False)),
        link_target=str(found.get("symlink", "")) if kind == "SYMLINK" else None,
    )


def _field(holder: Any, name: str, kind: type[Any]) -> Any:
    """A field of an answer, which may come from anybody."""
    value = holder.get(name) if isinstance(holder, dict) else None
    if not isinstance(value, kind):
        raise RemoteFault(EntryCode.IO_ERROR, f"the answer lacks {name}: is this WebHDFS?")
    return value


def _field_or(answer: dict[str, Any], group: str, name: str) -> int | None:
    inner = answer.get(group)
    value = inner.get(name) if isinstance(inner, dict) else None
    return value if isinstance(value, int) else None
