"""smbprotocol's part: negotiating, authenticating, the keys. Imported only when a location is opened.

The library reads answers in a thread of its own, without a limit of time, and takes answers that are not signed.
`Handshake` reads them itself, in the caller's thread, within a deadline, and checks them; everything after the
handshake goes past the library (see wire).
"""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING, Any

from smbprotocol.connection import Connection, SMB2NegotiateRequest
from smbprotocol.exceptions import SMBResponseException
from smbprotocol.header import Commands, NtStatus, SMB2HeaderResponse

from .faults import ConnectionFault

if TYPE_CHECKING:
    from .wire import Wire

# Where nobody configured logging, Python prints what libraries warn of: a driver prints nothing.
logging.getLogger("smbprotocol").addHandler(logging.NullHandler())

_FIRST_WITH_CONTEXTS = 0x0311


class Handshake(Connection):  # type: ignore[misc]
    """A connection whose answers are read by `frames`, once that is set, and whose dialects are chosen."""

    client_capabilities: Any

    def __init__(self, server: str, port: int, *, require_signing: bool, dialects: tuple[int, ...]) -> None:
        super().__init__(uuid.uuid4(), server, port, require_signing=require_signing)
        self.frames: Wire | None = None
        self.server_ticks = 0
        self._wanted_dialects = list(dialects)

    def start(self, frames: Wire, connect_seconds: float) -> None:
        """Negotiate. Raises ConnectionFault, or the library's exceptions."""
        self.frames = frames
        self.connect(timeout=connect_seconds)

    def _process_message_thread(self) -> None:
        """The library's reader: not needed, the thread ends at once."""

    def receive(
        self, request: Any, wait: bool = True, timeout: float | None = None, resolve_symlinks: bool = True
    ) -> Any:
        """The answer to a request of the library's own."""
        assert self.frames is not None
        message_id = request.message["message_id"].get_value()
        message = self.frames.answer(message_id)
        self.outstanding_requests.pop(message_id, None)
        header = SMB2HeaderResponse()
        header.unpack(bytes(message))
        status = header["status"].get_value()
        command = header["command"].get_value()
        granted = header["credit_response"].get_value()
        self.sequence_window["high"] += granted or (0 if self.supports_multi_credit else 1)
        # The hash over these messages goes into the keys of 3.1.1 ([MS-SMB2] 3.2.5.2, 3.2.5.3).
        if command == Commands.SMB2_NEGOTIATE:
            self.preauth_integrity_hash_value.append(bytes(message))
        elif command == Commands.SMB2_SESSION_SETUP and status == NtStatus.STATUS_MORE_PROCESSING_REQUIRED:
            self.preauth_integrity_session_hash_value[message_id].append(bytes(message))
        if status != NtStatus.STATUS_SUCCESS:
            raise SMBResponseException(header)
        return header

    def _send(self, messages: Any, *arguments: Any, **named: Any) -> Any:
        if messages[0].COMMAND == Commands.SMB2_NEGOTIATE:
            messages = [self._restricted(messages[0])]
        assert self.frames is not None
        self.frames.take_over(self.transport)
        session_id = named.get("session_id")
        session = self.session_table.get(session_id) if session_id else None
        if session is not None and session.signing_key and not session.encrypt_data:
            # 3.1.1 asks for it when a share is connected, whatever the session requires ([MS-SMB2] 3.2.4.1.1).
            named["force_signature"] = True
        try:
            return super()._send(messages, *arguments, **named)
        except OSError as error:
            raise ConnectionFault(f"the connection broke: {error}") from error

    def _restricted(self, asked: Any) -> Any:
        """The library's negotiation with our dialects only."""
        self.negotiated_dialects = self._wanted_dialects
        if _FIRST_WITH_CONTEXTS in self._wanted_dialects:
            asked["dialects"] = self._wanted_dialects
            # Contexts start at a multiple of eight; the library miscounts when the number of dialects is even.
            end = 100 + 2 * len(self._wanted_dialects)
            padding = -end % 8
            asked["padding"].size = padding
            asked["padding"] = bytes(padding)
            asked["negotiate_context_offset"] = end + padding
            return asked
        plain = SMB2NegotiateRequest()
        plain["dialects"] = self._wanted_dialects
        plain["security_mode"] = self.client_security_mode
        plain["client_guid"] = self.client_guid
        if max(self._wanted_dialects) >= 0x0300:
            plain["capabilities"] = self.client_capabilities
        else:
            self.client_capabilities = 0
        return plain

    def _send_smb2_negotiate(self, *arguments: Any, **named: Any) -> Any:
        answer = super()._send_smb2_negotiate(*arguments, **named)
        self.server_ticks = _ticks(answer)
        return answer


def _ticks(answer: Any) -> int:
    """The server's clock as it stands in the negotiate response, exactly."""
    packed: bytes = answer["system_time"].pack()
    return int.from_bytes(packed, "little")
