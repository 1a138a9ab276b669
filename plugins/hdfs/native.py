"""The native transport: Hadoop RPC and the DataNodes' data protocol, through hdfs-native."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from runner.errors import EntryCode
from runner.locations.protocol import Buffer

from .address import Authentication, HdfsOptions
from .clients import CLIENTS
from .deadline import Deadline
from .faults import RemoteFault, fault_of, timed_out, unreachable
from .identity import USERS
from .transport import CHUNK_BYTES, Status

if TYPE_CHECKING:
    from hdfs_native import AclEntry, Client, FileStatus, FileWriter

Result = TypeVar("Result")

_NOTHING_CONFIGURED = "/dev/null"
"""A folder without core-site.xml: otherwise the library looks for one where the environment says."""

_UNCHANGED = 2**64 - 1
"""-1 as the protocol's unsigned number: setTimes leaves that time alone."""

_REMOTE = re.compile(r'^(?:Fatal)?RPCError\("(?P<java>[^"]*)", "(?P<message>.*)"\)$', re.DOTALL)
_KIND = re.compile(r"^(?P<kind>[A-Za-z]+)(?:\((?P<rest>.*)\))?$", re.DOTALL)
_AUTHENTICATION_KINDS = frozenset({"SASLError", "GSSAPIError", "NoSASLMechanism"})
_CONNECTION_KINDS = frozenset({"DataTransferError"})


def configuration(options: HdfsOptions) -> tuple[str, dict[str, str]]:
    """(URL, Hadoop configuration) for the client."""
    configured = {
        "hadoop.security.authentication": options.authentication.value,
        "dfs.client.socket-timeout": str(max(1, int(options.timeout_seconds * 1000))),
        # Each NameNode is asked once; when to try again is for the engine to say.
        "dfs.client.failover.max.attempts": str(len(options.namenodes) - 1),
        "dfs.client.use.datanode.hostname": str(options.use_datanode_hostname).lower(),
    }
    if options.data_transfer_protection != "disabled":
        configured["dfs.data.transfer.protection"] = options.data_transfer_protection
    if options.kms_key_provider_uri is not None:
        configured["hadoop.security.key.provider.path"] = options.kms_key_provider_uri
    if len(options.namenodes) == 1 and options.nameservice is None:
        return f"hdfs://{options.namenodes[0]}", configured
    service = options.nameservice or "nameservice"
    identifiers = [f"nn{number}" for number in range(1, len(options.namenodes) + 1)]
    configured[f"dfs.ha.namenodes.{service}"] = ",".join(identifiers)
    for identifier, address in zip(identifiers, options.namenodes, strict=True):
        configured[f"dfs.namenode.rpc-address.{service}.{identifier}"] = address
    return f"hdfs://{service}", configured


class NativeTransport:
    """Calls of a client that all locations of the same options share; anew after a call that never came back."""

    def __init__(self, options: HdfsOptions, *, durable: bool) -> None:
        """Raises LocationUnavailableError when another user is at work (see `UserClaims`)."""
        self._options = options
        self._durable = durable
        self._deadline = Deadline(options.timeout_seconds)
        self._url, self._configuration = configuration(options)
        self._key = (
            self._url,
            *sorted(self._configuration.items()),
            options.user,
            options.kerberos_principal,
            options.kerberos_keytab,
            options.kerberos_cache,
        )
        self._client: Client | None = None
        if options.authentication is Authentication.SIMPLE:
            assert options.user is not None
            USERS.take(options.user, options.name)
        CLIENTS.hold(self._key)
        self._is_open = True

    def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._client = None
        self._deadline.close()
        CLIENTS.let_go(self._key)
        if self._options.authentication is Authentication.SIMPLE:
            USERS.give_back()

    # -- looking ---------------------------------------------------------------------------------------------

    def status(self, path: str) -> Status | None:
        try:
            return _status(self._call(self._connected().get_file_info, path), path.rpartition("/")[2])
        except RemoteFault as fault:
            if fault.code in (EntryCode.NOT_FOUND, EntryCode.KIND_CONFLICT):
                return None
            raise

    def children(self, path: str) -> Iterator[Status]:
        pages = iter(self._call(self._connected().list_status, path))
        start = path.rstrip("/") + "/"
        while True:
            batch = self._call(_take, pages, 500)
            for one in batch:
                if not one.path.startswith(start):
                    # A file lists itself.
                    raise RemoteFault(EntryCode.STALE, "it is no folder any more")
                yield _status(one, one.path[len(start) :])
            if len(batch) < 500:
                return

    def acl(self, path: str) -> tuple[str, ...]:
        status = self._call(self._connected().get_acl_status, path)
        return tuple(_spelt(entry) for entry in status.entries)

    # -- content ---------------------------------------------------------------------------------------------

    def read(self, path: str, offset: int, length: int) -> Iterator[Buffer]:
        reader = self._call(self._connected().read, path)
        length = min(length, len(reader) - offset)
        if length <= 0:
            return
        packets = iter(reader.read_range_stream(offset, length))
        while chunk := self._call(_take_bytes, packets):
            yield chunk

    def write(self, path: str, content: Iterable[Buffer], mode: int) -> None:
        from hdfs_native import WriteOptions

        options = WriteOptions(
            block_size=self._options.block_size_bytes,
            replication=self._options.replication,
            permission=mode,
            overwrite=False,
            create_parent=False,
        )
        writer: FileWriter = self._call(self._connected().create, path, options)
        for chunk in content:
            view = memoryview(chunk)
            for start in range(0, len(view), CHUNK_BYTES):
                # The library takes bytes by copying once, everything else number by number.
                self._call(writer.write, bytes(view[start : start + CHUNK_BYTES]))
        if self._durable:
            self._call(writer.hsync)
        self._call(writer.close)

    # -- names -----------------------------------------------------------------------------------------------

    def make_folder(self, path: str, mode: int) -> None:
        self._call(self._connected().mkdirs, path, mode, True)

    def rename(self, path: str, target: str, *, overwrite: bool) -> None:
        self._call(self._connected().rename, path, target, overwrite)

    def delete(self, path: str) -> bool:
        deleted: bool = self._call(self._connected().delete, path, False)
        return deleted

    # -- attributes ------------------------------------------------------------------------------------------

    def set_times(self, path: str, mtime_ms: int | None, atime_ms: int | None) -> None:
        mtime = _UNCHANGED if mtime_ms is None else mtime_ms
        atime = _UNCHANGED if atime_ms is None else atime_ms
        self._call(self._connected().set_times, path, mtime, atime)

    def set_owner(self, path: str, user: str | None, group: str | None) -> None:
        self._call(self._connected().set_owner, path, user, group)

    def set_mode(self, path: str, mode: int) -> None:
        self._call(self._connected().set_permission, path, mode)

    def set_acl(self, path: str, entries: tuple[str, ...]) -> None:
        self._call(self._connected().set_acl, path, [_entry(text) for text in entries])

    def remove_acl(self, path: str) -> None:
        self._call(self._connected().remove_acl, path)

    # -- calls -----------------------------------------------------------------------------------------------

    def _connected(self) -> Client:
        try:
            self._client = CLIENTS.get(self._key, self._made)
        except Exception as error:
            raise fault_from(error, self._options.cluster) from error
        return self._client

    def _made(self) -> Client:
        from hdfs_native import Client

        return Client(
            self._url,
            self._configuration,
            _NOTHING_CONFIGURED,
            kerberos_principal=self._options.kerberos_principal,
            kerberos_keytab=self._options.kerberos_keytab,
            kerberos_cache=self._options.kerberos_cache,
        )

    def _call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        try:
            return self._deadline(function, *arguments)
        except TimeoutError as error:
            self._drop_client()
            raise timed_out(f"{self._options.cluster}: {error}") from error
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            if not isinstance(error, Exception):
                if type(error).__name__ != "PanicException":
                    raise
                self._drop_client()
            raise fault_from(error, self._options.cluster) from error

    def _drop_client(self) -> None:
        if self._client is not None:
            CLIENTS.forget(self._key, self._client)
            self._client = None


def fault_from(error: BaseException, cluster: str) -> RemoteFault:
    """The fault for what hdfs-native raised.

    It has no exception classes of its own: Python's for the common cases, else RuntimeError with the Rust value's
    debug form, such as `RPCError("org.apache.hadoop...", "message")`.
    """
    text = str(error.args[0]) if error.args else str(error)
    if isinstance(error, FileNotFoundError):
        return fault_of("FileNotFoundException", text)
    if isinstance(error, FileExistsError):
        leased = "lease" in text or "being created" in text
        return fault_of("AlreadyBeingCreatedException" if leased else "FileAlreadyExistsException", text)
    if isinstance(error, IsADirectoryError):
        return fault_of("FileAlreadyExistsException", "it is a folder now")
    if isinstance(error, NotImplementedError):
        return RemoteFault(EntryCode.KIND_NOT_SUPPORTED, f"the native client does not offer this: {text}")
    if isinstance(error, OSError):
        if "timed out" in text.lower():
            return timed_out(f"{cluster}: {text}")
        return unreachable(f"{cluster}: {text}")
    remote = _REMOTE.match(text)
    if remote is not None:
        return fault_of(remote["java"], remote["message"].replace("\\n", "\n").replace('\\"', '"'))
    kind = _KIND.match(text)
    if kind is not None and kind["kind"] in _AUTHENTICATION_KINDS:
        return RemoteFault(EntryCode.PERMISSION_DENIED, f"{cluster}: authentication failed: {text[:300]}")
    if kind is not None and kind["kind"] in _CONNECTION_KINDS:
        return unreachable(f"{cluster}: a DataNode failed: {text[:300]}")
    return RemoteFault(EntryCode.IO_ERROR, f"{type(error).__name__}: {text[:300]}")


def _status(status: FileStatus, name: str) -> Status:
    return Status(
        name=name,
        is_directory=status.isdir,
        length=status.length,
        mode=status.permission & 0o7777,
        user=status.owner,
        group=status.group,
        mtime_ms=status.modification_time,
        atime_ms=status.access_time,
    )


def _take(statuses: Iterator[FileStatus], count: int) -> list[FileStatus]:
    """Up to `count` more; fewer at the end."""
    taken = []
    for status in statuses:
        taken.append(status)
        if len(taken) == count:
            break
    return taken


def _take_bytes(packets: Iterator[bytes]) -> bytes:
    """About a chunk more (packets hold 64 KiB); nothing at the end."""
    taken = []
    size = 0
    for packet in packets:
        taken.append(packet)
        size += len(packet)
        if size >= CHUNK_BYTES:
            break
    return b"".join(taken)


def _spelt(entry: AclEntry) -> str:
    scope = "default:" if entry.scope == "default" else ""
    return f"{scope}{entry.type}:{entry.name or ''}:{entry.permissions}"


def _entry(text: str) -> AclEntry:
    from hdfs_native import AclEntry

    default = text.startswith("default:")
    kind, name, permissions = text.removeprefix("default:").split(":")
    return AclEntry(kind, "default" if default else "access", permissions, name or None)  # type: ignore[arg-type]
