"""Lines are decoded by several threads from the first one on."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import enum, threading
from runner.model.action import Action, ActionKind, Stage
from runner.model.difference import Reason
from runner.model.entry import Attributes, Entry, Kind
from runner.model.wire import decode_line, encode_line

entry = Entry("x", Kind.FILE, attributes=Attributes(mode=1))
line = encode_line(Action(1, ActionKind.COPY, Stage.WRITE, "x", entry, entry, (Reason.KIND,)))
plain, inside, go = enum.EnumType.__setattr__, threading.Event(), threading.Event()

def slow(cls, name, value):
    if cls is Kind:  # msgspec notes on the enum how to decode it
        inside.set()
        go.wait(0.2)
    plain(cls, name, value)

enum.EnumType.__setattr__ = slow
first = threading.Thread(target=decode_line, args=(line, Action))
first.start()
inside.wait()
decode_line(line, Action)
go.set()
first.join()
"""


def test_a_second_thread_waits_for_the_first_look_into_a_type() -> None:
    """Without that, msgspec 0.22 follows a NULL: the process is gone."""
    assert subprocess.run([sys.executable, "-c", SCRIPT]).returncode == 0
