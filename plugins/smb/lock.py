"""The lock of a destination: an open file that nobody else may open, and that the server deletes with its handle."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from runner.errors import LocationUnavailableError

from . import faults, messages
from .faults import ConnectionFault, StatusError
from .folders import Folders
from .messages import Facts
from .names import LOCK_FILE

if TYPE_CHECKING:
    from .wire import Wire


class RootLock:
    """Held by one object at a time. Nothing is left of it, also when the process or the connection dies."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._held: tuple[Wire, bytes] | None = None

    def is_lost(self, wire: Wire) -> bool:
        """True when it was taken on another connection, which broke."""
        return self._held is not None and self._held[0] is not wire

    def take(self, wire: Wire) -> bool:
        """True when it is held now, on this connection. Raises StatusError."""
        if self._held is not None and self._held[0] is wire:
            return True
        self._folders.make_root(wire)
        before = self._folders.root_facts(wire)
        answer = wire.ask(
            messages.create(
                self._folders.name(LOCK_FILE),
                messages.READ_DATA | messages.WRITE_DATA | messages.DELETE,
                messages.SHARE_NONE,
                messages.OPEN_OR_MAKE,
                messages.NON_DIRECTORY_FILE | messages.DELETE_ON_CLOSE | messages.OPEN_REPARSE_POINT,
                messages.HIDDEN,
                file_id=False,
            )
        )[0]
        if answer.status in (faults.SHARING_VIOLATION, faults.DELETE_PENDING):
            return False
        self._held = (wire, messages.opened(answer.require(), "").file)
        self._keep_root_time(wire, before)
        return True

    def _keep_root_time(self, wire: Wire, before: Facts | None) -> None:
        """The lock's file comes and goes in the root, whose modification time is content to others."""
        if before is not None:
            wire.ask(
                messages.create(
                    self._folders.name(""),
                    messages.READ_ATTRIBUTES | messages.WRITE_ATTRIBUTES,
                    messages.SHARE_ALL,
                    messages.OPEN,
                    messages.DIRECTORY_FILE,
                    file_id=False,
                ),
                messages.set_basic(written=before.written),
                messages.close(),
            )

    def release(self) -> None:
        held, self._held = self._held, None
        if held is not None and held[0].is_open:
            # Waited for: who opens next shall find it free.
            with contextlib.suppress(ConnectionFault, StatusError, LocationUnavailableError):
                before = self._folders.root_facts(held[0])
                held[0].ask(messages.close(held[1]))
                self._keep_root_time(held[0], before)
