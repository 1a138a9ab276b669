"""One connection to an export: calls go out at once, answers are waited for, and every wait has an end.

libnfs connects, asks the portmapper and the mount service, and speaks XDR; this module drives its event loop. A
connection that breaks, or does not answer in time, is given up with all calls on it: nothing is sent twice behind
the caller's back. Not thread-safe; one session belongs to one location object.
"""

from __future__ import annotations

import ctypes
import select
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from .library import NFS_CALLBACK, RPC_CALLBACK, library

Answer = TypeVar("Answer")

_LIBRARY_TRANSFER_BYTES = 1 << 20  # libnfs 4 takes no larger packet
_PATIENCE = 10
"""A call may wait this many timeouts while others are answered: large writes queue on a slow line."""


class Endpoint(msgspec.Struct, frozen=True):
    """Where to connect, as whom, and how long to wait. `export` is as the server spells it."""

    server: str
    export: bytes
    nfs_port: int | None = None
    mount_port: int | None = None
    uid: int = 65534
    gid: int = 65534
    groups: tuple[int, ...] = ()
    timeout_seconds: float = 60.0
    connect_seconds: float = 10.0
    read_bytes: int = _LIBRARY_TRANSFER_BYTES
    write_bytes: int = _LIBRARY_TRANSFER_BYTES


class SessionError(Exception):
    """The connection is gone or was not made; the message says why. What was under way may have been done."""


class SessionTimeout(SessionError):
    """The server did not answer in time."""


class MountRefused(SessionError):
    """The server answered, and would not give the export."""


class NfsError(Exception):
    """The server answered a call with a status other than NFS3_OK (RFC 1813, 2.6)."""

    def __init__(self, status: int) -> None:
        super().__init__(f"NFSv3 status {status}")
        self.status = status


class Ticket(Generic[Answer]):
    """A call that was sent. `result()` waits for its answer."""

    __slots__ = ("_session", "answer", "decode", "failure", "keep", "last_moment", "status")

    def __init__(
        self, session: Session, decode: Callable[[int], Answer], keep: object, last_moment: float
    ) -> None:
        """`decode` reads an answer from its address; `keep` lives until then."""
        self._session = session
        self.decode = decode
        self.keep = keep
        self.last_moment = last_moment
        self.status: int | None = None
        self.answer: Answer | None = None
        self.failure: BaseException | None = None

    @property
    def is_settled(self) -> bool:
        return self.status is not None or self.failure is not None

    def result(self) -> Answer:
        """Raises NfsError when the server refused, SessionError when the connection did not last."""
        if not self.is_settled:
            self._session.serve(self)
        if self.failure is not None:
            raise self.failure
        if self.status:
            raise NfsError(self.status)
        return self.answer  # type: ignore[return-value]  # set together with status 0


class Session:
    """Connects with `connect`; after an error of the connection, `connect` may be called again."""

    def __init__(self, endpoint: Endpoint, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.endpoint = endpoint
        self._monotonic = monotonic
        self._library = library()
        self._context: int | None = None
        self._rpc: int | None = None
        self._tickets: dict[int, Ticket[Any]] = {}
        self._last_number = 0
        self._interrupt: BaseException | None = None
        self._lost: SessionError | None = None
        self._mounted: tuple[int, str] | None = None
        # Kept here: libnfs calls them as long as the context lives.
        self._on_answer = RPC_CALLBACK(self._answered)
        self._on_mount = NFS_CALLBACK(self._was_mounted)
        self._functions = {
            name: getattr(self._library, f"rpc_nfs3_{name}_async")
            for name in ("lookup", "getattr", "read", "write")
        }
        self.root = b""
        self.read_bytes = 0
        self.write_bytes = 0

    @property
    def is_connected(self) -> bool:
        return self._context is not None

    def connect(self) -> None:
        """Mount the export: `root` is its handle afterwards. Raises SessionError."""
        self.close()
        self._lost = None
        endpoint, lib = self.endpoint, self._library
        context = lib.nfs_init_context()
        if not context:
            raise SessionError("libnfs has no memory left")
        self._context = context
        try:
            self._configure(context)
            self._mounted = None
            server = (
                endpoint.server.encode("idna") if not endpoint.server.isascii() else endpoint.server.encode()
            )
            if lib.nfs_mount_async(context, server, endpoint.export, self._on_mount, None) != 0:
                raise SessionError(self._error_text())
            self._serve_until(
                lambda: self._mounted is not None, lambda: endpoint.connect_seconds, "to the connection"
            )
            assert self._mounted is not None
            number, text = self._mounted
            if number != 0:
                raise (MountRefused if "MNT3ERR" in text else SessionError)(_readable(text))
            handle = lib.nfs_get_rootfh(context).contents
            self.root = ctypes.string_at(handle.value, handle.length)
            self._rpc = lib.nfs_get_rpc_context(context)
            limit = _LIBRARY_TRANSFER_BYTES
            self.read_bytes = max(4096, min(lib.nfs_get_readmax(context), endpoint.read_bytes, limit))
            self.write_bytes = max(4096, min(lib.nfs_get_writemax(context), endpoint.write_bytes, limit))
        except BaseException:
            self.close()
            raise

    def _configure(self, context: int) -> None:
        endpoint, lib = self.endpoint, self._library
        # Sending again by itself could make a removal or a creation report the wrong thing.
        lib.nfs_set_autoreconnect(context, 0)
        lib.nfs_set_version(context, 3)
        options = "auto-traverse-mounts=0&dircache=0"
        if endpoint.nfs_port is not None:
            options += f"&nfsport={endpoint.nfs_port}"
        if endpoint.mount_port is not None:
            options += f"&mountport={endpoint.mount_port}"
        url = lib.nfs_parse_url_incomplete(context, f"nfs://server/export?{options}".encode())
        if not url:
            raise SessionError(self._error_text())
        lib.nfs_destroy_url(url)
        lib.nfs_set_autoreconnect(context, 0)
        groups = (ctypes.c_uint32 * len(endpoint.groups))(*endpoint.groups)
        lib.nfs_set_auth(
            context,
            lib.libnfs_authunix_create(
                b"sync-runner", endpoint.uid, endpoint.gid, len(endpoint.groups), groups
            ),
        )

    def close(self) -> None:
        """Give up the connection; calls that were not answered fail. Closing twice is harmless."""
        context, self._context, self._rpc = self._context, None, None
        if context is not None:
            # Calls each pending callback with "cancelled".
            self._library.nfs_destroy_context(context)
        self._fail_all(SessionError("the connection was closed"))

    def submit(
        self,
        procedure: str,
        arguments: ctypes.Structure,
        decode: Callable[[int], Answer],
        keep: object = None,
    ) -> Ticket[Answer]:
        """Send a call. `decode` gets the address of its result structure, valid during that call only.

        Raises SessionError when there is no connection.
        """
        if self._rpc is None:
            raise SessionError("there is no connection")
        last_moment = self._monotonic() + self.endpoint.timeout_seconds * _PATIENCE
        ticket = Ticket(self, decode, keep, last_moment)
        self._last_number += 1
        number = self._last_number
        self._tickets[number] = ticket
        function = self._functions.get(procedure)
        if function is None:
            function = self._functions[procedure] = getattr(self._library, f"rpc_nfs3_{procedure}_async")
        if function(self._rpc, self._on_answer, ctypes.addressof(arguments), number) != 0:
            del self._tickets[number]
            raise SessionError(self._error_text())
        return ticket

    def serve(self, ticket: Ticket[Any]) -> None:
        """Wait until `ticket` is settled."""
        timeout = self.endpoint.timeout_seconds
        self._serve_until(
            lambda: ticket.is_settled,
            lambda: min(timeout, ticket.last_moment - self._monotonic()),
            "to a call",
        )

    def _serve_until(self, is_done: Callable[[], bool], patience: Callable[[], float], what: str) -> None:
        """Run libnfs's event loop. The server has `patience()` seconds to say something, then again."""
        lib = self._library
        deadline = self._monotonic() + patience()
        poller, polled = select.poll(), -1
        while not is_done():
            if self._context is None:
                raise SessionError("there is no connection")
            fd = lib.nfs_get_fd(self._context)
            if polled not in (-1, fd):
                poller.unregister(polled)
            poller.register(fd, lib.nfs_which_events(self._context))
            polled = fd
            remaining = deadline - self._monotonic()
            ready = poller.poll(max(0.0, remaining) * 1000) if remaining > 0 else []
            if not ready:
                seconds = (
                    self.endpoint.connect_seconds if self._rpc is None else self.endpoint.timeout_seconds
                )
                error = SessionTimeout(
                    f"{self.endpoint.server} did not answer {what} within {seconds:g} seconds"
                )
                self._give_up(error)
                raise error
            answered = self._last_number, len(self._tickets)
            broken = lib.nfs_service(self._context, ready[0][1]) != 0
            if self._interrupt is not None:
                interrupt, self._interrupt = self._interrupt, None
                raise interrupt
            lost, self._lost = self._lost, None
            if broken and lost is None and not is_done():
                lost = SessionError(f"the connection to {self.endpoint.server} broke: {self._error_text()}")
            if lost is not None:
                self._give_up(lost)
                raise lost
            if self._rpc is not None and answered != (self._last_number, len(self._tickets)):
                deadline = self._monotonic() + patience()

    def _give_up(self, error: SessionError) -> None:
        """The connection is of no more use: every call on it fails alike."""
        self._fail_all(error)
        self.close()

    def _fail_all(self, error: SessionError) -> None:
        for ticket in self._tickets.values():
            if not ticket.is_settled:
                ticket.failure = error
        self._tickets.clear()

    def _error_text(self) -> str:
        text = self._library.nfs_get_error(self._context) if self._context is not None else None
        return _readable(text.decode("utf-8", "replace")) if text else "no reason was given"

    def _answered(self, _: int | None, status: int, result: int | None, number: int | None) -> None:
        """libnfs's callback. An exception would be lost in C: it is kept, and raised by who waits."""
        try:
            ticket = self._tickets.pop(number or 0, None)
            if ticket is None or ticket.is_settled:
                return
            if status != 0 or not result:
                # libnfs fails calls one by one when their connection breaks: none that follows has a chance.
                ticket.failure = self._lost = SessionError(f"the connection to {self.endpoint.server} broke")
                return
            code = ctypes.c_int.from_address(result).value
            if code == 0:
                ticket.answer = ticket.decode(result)
            ticket.status = code
        except BaseException as error:
            self._interrupt = error

    def _was_mounted(self, error: int, _: int | None, text: int | None, __: int | None) -> None:
        try:
            reason = ctypes.string_at(text).decode("utf-8", "replace") if error and text else ""
            self._mounted = (error, reason)
        except BaseException as raised:
            self._interrupt = raised


def _readable(text: str) -> str:
    """libnfs's words for the most common mistake tell how it noticed, not what it is."""
    return "the connection was refused or cut" if "POLLHUP" in text or "reconnect" in text else text
