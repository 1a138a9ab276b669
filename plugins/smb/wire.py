"""One connection to one share: requests out, answers in, several at a time, each within a deadline.

Not thread-safe: a wire belongs to the location object that made it. After a ConnectionFault it is closed for good,
and its owner makes another one. Imported only when a location is opened.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from . import faults
from .faults import ConnectionFault, Silence
from .handshake import Handshake
from .messages import HEADER_BYTES, TREE_DISCONNECT, Request
from .sealing import Cipher, Signer

CHUNK_BYTES = 1 << 20
"""Content is moved in pieces of this size, where the server allows it."""

_HEADER = struct.Struct("<4sHHIHHIIQIIQ16s")
_CREDIT_BYTES = 65_536
_WANTED_CREDITS = 512
_SIGNED, _RELATED, _ASYNC, _FROM_SERVER = 0x8, 0x4, 0x2, 0x1
_UNASKED = 0xFFFFFFFFFFFFFFFF  # the message id of what the server sends of its own accord
_LARGEST_FRAME = 1 << 24


class Answer(NamedTuple):
    """A status, and the whole message that carried it."""

    status: int
    message: memoryview

    @property
    def ok(self) -> bool:
        return self.status == faults.SUCCESS

    def require(self) -> memoryview:
        """The message. Raises StatusError unless the request was granted."""
        if self.status != faults.SUCCESS:
            raise faults.StatusError(self.status)
        return self.message


class Wire:
    """An authenticated connection with its share. Use `connected` to make one."""

    def __init__(self, timeout_seconds: float) -> None:
        self.is_open = False
        self.timeout_seconds = timeout_seconds
        self.server_id = ""
        self.server_ticks = 0
        self.dialect = 0
        self.connected_at = 0.0
        self._socket: socket.socket | None = None
        self._handshake: Handshake | None = None
        self._answers: dict[int, memoryview] = {}
        self._waiting: dict[int, int] = {}  # message id -> credits it took
        self._abandoned: set[int] = set()
        self._next_id = 0
        self._credits = 0
        self._many_credits = False
        self._largest = CHUNK_BYTES
        self._session_id = 0
        self._tree_id = 0
        self._signer: Signer | None = None
        self._cipher: Cipher | None = None
        self._must_be_signed = False

    @property
    def chunk_bytes(self) -> int:
        """How much content one request may move now."""
        if not self._many_credits:
            return min(self._largest, _CREDIT_BYTES)
        granted = self._credits + sum(self._waiting.values())
        return min(self._largest, max(1, granted // 4) * _CREDIT_BYTES)

    # -- asking ----------------------------------------------------------------------------------------------

    def ask(self, *requests: Request) -> list[Answer]:
        """The answers to one compound, whose requests share the file that the first one opens."""
        return self.finish(self.begin(requests))

    def begin(self, requests: Sequence[Request], *, related: bool = True) -> list[int]:
        """Send a compound; `finish` later. Takes answers meanwhile when the server wants no more at once."""
        costs = [self._cost(request) for request in requests]
        total = sum(costs)
        while self._credits < total:
            if not self._waiting:
                raise self._broken(ConnectionFault("the server grants too few credits"))
            self._take_frame()
        parts: list[bytes] = []
        ids: list[int] = []
        wanted = max(0, _WANTED_CREDITS - self._credits - sum(self._waiting.values()))
        for number, (request, cost) in enumerate(zip(requests, costs, strict=True)):
            is_last = number == len(requests) - 1
            message_id = self._next_id
            self._next_id += cost
            self._credits -= cost
            padding = b"" if is_last else bytes(-len(request.body) % 8)
            following = 0 if is_last else HEADER_BYTES + len(request.body) + len(padding)
            flags = (_RELATED if related and number else 0) | (_SIGNED if self._signs else 0)
            header = _HEADER.pack(
                b"\xfeSMB", 64, cost if self._many_credits else 0, 0, request.command,
                cost + (wanted if number == 0 else 0), flags, following, message_id, 0xFEFF,
                self._tree_id, self._session_id, bytes(16),
            )  # fmt: skip
            message = b"".join((header, request.body, padding))
            if self._signs and self._signer is not None:
                message = self._signer.signed(message, message_id)
            parts.append(message)
            ids.append(message_id)
            self._waiting[message_id] = cost
        frame = b"".join(parts) if len(parts) > 1 else parts[0]
        if self._cipher is not None:
            frame = self._cipher.sealed(frame)
        self._send(frame)
        return ids

    def finish(self, ids: Sequence[int]) -> list[Answer]:
        """The answers to a compound that was begun."""
        found = []
        for message_id in ids:
            message = self.answer(message_id)
            found.append(Answer(int.from_bytes(message[8:12], "little"), message))
        if any(one.status in faults.BROKEN_SESSION for one in found):
            self.close()
        return found

    def abandon(self, ids: Sequence[int]) -> None:
        """Drop the answers to a compound that was begun, whenever they come."""
        for message_id in ids:
            if self._answers.pop(message_id, None) is None:
                self._abandoned.add(message_id)

    def answer(self, message_id: int) -> memoryview:
        """The answer to one message, as soon as it is there. Raises ConnectionFault."""
        while message_id not in self._answers:
            self._take_frame()
        return self._answers.pop(message_id)

    def close(self) -> None:
        """Drop the connection: the server closes what was open, and deletes what was marked. Harmless twice."""
        self.is_open = False
        handshake, self._handshake, self._socket = self._handshake, None, None
        if handshake is not None and handshake.transport is not None:
            # Its own way of closing waits for nothing here, for no thread of it is reading.
            with contextlib.suppress(OSError):
                handshake.transport.close()

    def disconnect(self) -> None:
        """Take leave, then close. A server that does not listen any more is not waited for."""
        if self.is_open and not self._waiting:
            with contextlib.suppress(ConnectionFault):
                self.begin([Request(TREE_DISCONNECT, struct.pack("<HH", 4, 0))])
        self.close()

    # -- the handshake ---------------------------------------------------------------------------------------

    def negotiate(self, handshake: Handshake, connect_seconds: float) -> None:
        """Connect and negotiate. Raises ConnectionFault, or the library's exceptions."""
        self._handshake = handshake
        patience, self.timeout_seconds = self.timeout_seconds, connect_seconds
        try:
            handshake.start(self, connect_seconds)
        finally:
            self.timeout_seconds = patience
        self.connected_at = time.monotonic()
        self.server_ticks = handshake.server_ticks
        self.dialect = handshake.dialect
        self.server_id = str(handshake.server_guid)

    def take_over(self, transport: Any) -> None:
        """Read from the socket that the library opened."""
        if self._socket is None:
            self._socket = transport._sock
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.settimeout(self.timeout_seconds)

    def authenticated(self, session: Any) -> None:
        """Sign as the session says, from the next message on."""
        handshake = self._require_handshake()
        self._session_id = session.session_id
        if session.signing_key:
            algorithm = handshake.signing_algorithm_id
            self._signer = Signer(session.signing_key, handshake.dialect, algorithm)
        self._must_be_signed = bool(session.signing_required)

    def attached(self, session: Any, tree: Any) -> None:
        """Take over from the library: its share is connected. Encrypt when session or share ask for it."""
        handshake = self._require_handshake()
        self._tree_id = tree.tree_connect_id
        if session.encrypt_data or tree.encrypt_data:
            algorithm = handshake.cipher_id if handshake.dialect >= 0x0311 else 0x0001
            self._cipher = Cipher(
                session.session_id, session.encryption_key, session.decryption_key, algorithm
            )
        window = handshake.sequence_window
        self._next_id = window["low"]
        self._credits = window["high"] - window["low"]
        self._many_credits = bool(handshake.supports_multi_credit)
        self._largest = min(CHUNK_BYTES, handshake.max_read_size, handshake.max_write_size)
        self.largest_answer = min(CHUNK_BYTES, handshake.max_transact_size)
        self.is_open = True

    @property
    def is_encrypted(self) -> bool:
        return self._cipher is not None

    def _require_handshake(self) -> Handshake:
        if self._handshake is None:
            raise ConnectionFault("the connection is closed")
        return self._handshake

    # -- frames ----------------------------------------------------------------------------------------------

    @property
    def _signs(self) -> bool:
        return self._must_be_signed and self._cipher is None

    def _cost(self, request: Request) -> int:
        if not self._many_credits:
            return 1
        return max(1, -(-request.payload_bytes // _CREDIT_BYTES))

    def _send(self, frame: bytes) -> None:
        if self._socket is None:
            raise ConnectionFault("the connection is closed")
        try:
            self._socket.settimeout(self.timeout_seconds)
            self._socket.sendall(b"".join((len(frame).to_bytes(4, "big"), frame)))
        except TimeoutError as error:
            raise self._broken(self._silence()) from error
        except OSError as error:
            raise self._broken(ConnectionFault(f"the connection broke: {error.strerror or error}")) from error

    def _take_frame(self) -> None:
        """Read what the server sends next and sort its messages in."""
        frame = self._read_frame()
        try:
            self._sort_in(frame)
        except ConnectionFault as fault:
            raise self._broken(fault) from fault.__cause__

    def _sort_in(self, frame: memoryview) -> None:
        is_sealed = bytes(frame[:4]) == b"\xfdSMB"
        if is_sealed:
            if self._cipher is None and self._handshake is not None:
                frame = memoryview(_opened_by_library(self._handshake, frame))
            elif self._cipher is not None:
                frame = memoryview(self._cipher.opened(frame))
        elif self._cipher is not None:
            raise ConnectionFault("an answer is not encrypted, though the share is")
        while True:
            if len(frame) < HEADER_BYTES or bytes(frame[:4]) != b"\xfeSMB":
                raise ConnectionFault("an answer is no SMB2 message")
            following = int.from_bytes(frame[20:24], "little")
            if following and not HEADER_BYTES <= following <= len(frame) - HEADER_BYTES:
                raise ConnectionFault("an answer's messages overlap")
            self._sort_in_one(frame[:following] if following else frame, is_sealed=is_sealed)
            if not following:
                return
            frame = frame[following:]

    def _sort_in_one(self, message: memoryview, *, is_sealed: bool) -> None:
        _, _, _, status, _, credit, flags, _, message_id, _, _, _, _ = _HEADER.unpack_from(message)
        is_interim = status == faults.PENDING and bool(flags & _ASYNC)
        if message_id == _UNASKED:
            return
        if not is_sealed and self._must_be_signed and not is_interim:
            if not flags & _SIGNED or self._signer is None:
                raise ConnectionFault(
                    f"an answer ({faults.status_name(status)}) is not signed, though signing is required"
                )
            self._signer.check(message, message_id)
        self._credits += credit
        if is_interim:
            return
        self._waiting.pop(message_id, None)
        if message_id in self._abandoned:
            self._abandoned.discard(message_id)
        else:
            self._answers[message_id] = message

    def _read_frame(self) -> memoryview:
        head = self._read_exactly(4)
        length = int.from_bytes(head, "big")
        if length >= _LARGEST_FRAME:
            raise self._broken(ConnectionFault("an answer is no SMB2 message"))
        return self._read_exactly(length)

    def _read_exactly(self, length: int) -> memoryview:
        """Raises Silence when nothing comes for `timeout_seconds`."""
        if self._socket is None:
            raise ConnectionFault("the connection is closed")
        buffer = memoryview(bytearray(length))
        done = 0
        try:
            self._socket.settimeout(self.timeout_seconds)
            while done < length:
                got = self._socket.recv_into(buffer[done:])
                if got == 0:
                    raise self._broken(ConnectionFault("the server closed the connection"))
                done += got
        except TimeoutError as error:
            raise self._broken(self._silence()) from error
        except OSError as error:
            raise self._broken(ConnectionFault(f"the connection broke: {error.strerror or error}")) from error
        return buffer

    def _silence(self) -> Silence:
        return Silence(f"the server did not answer within {self.timeout_seconds:g} s")

    def _broken(self, fault: ConnectionFault) -> ConnectionFault:
        self.close()
        return fault


def _opened_by_library(handshake: Handshake, frame: memoryview) -> bytes:
    """Decrypt an answer to the library's own request (a share is connected inside an encrypted session)."""
    from smbprotocol.connection import SMB2TransformHeader

    header = SMB2TransformHeader()
    header.unpack(bytes(frame))
    opened: bytes = handshake._decrypt(header)
    return opened
