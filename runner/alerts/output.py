"""What a program prints, bounded: its first and its last part, and how much lay between them."""

from __future__ import annotations

from collections import deque

from runner.model.wire import terminal_safe

KEPT_AT_EACH_END = 64 * 1024
_LINE_AT_MOST = 300


class Kept:
    """Takes any amount of output and holds at most 128 KiB and one piece of it."""

    def __init__(self, at_each_end: int = KEPT_AT_EACH_END) -> None:
        self._at_each_end = at_each_end
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self.total_bytes = 0

    def add(self, piece: bytes) -> None:
        self.total_bytes += len(piece)
        room = self._at_each_end - len(self._head)
        if room > 0:
            self._head += piece[:room]
            piece = piece[room:]
        if piece:
            self._tail.append(piece)
            self._tail_bytes += len(piece)
            while self._tail_bytes - len(self._tail[0]) >= self._at_each_end:
                self._tail_bytes -= len(self._tail.popleft())

    def content(self) -> bytes:
        """What was kept, with a line in the middle that says how much is missing there."""
        tail = b"".join(self._tail)[-self._at_each_end :]
        missing = self.total_bytes - len(self._head) - len(tail)
        if missing <= 0:
            return bytes(self._head) + tail
        return bytes(self._head) + b"\n[... %d bytes left out ...]\n" % missing + tail

    def last_line(self) -> str:
        """The last line that is not blank, safe to show and not long; "" when there is none."""
        text = self.content()[-4 * _LINE_AT_MOST - 1024 :].decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        line = terminal_safe(lines[-1]) if lines else ""
        return line if len(line) <= _LINE_AT_MOST else line[: _LINE_AT_MOST - 3] + "..."
