"""Python imports this at its start, where PYTHONPATH leads here: the command is spoiled as the environment asks for."""

from __future__ import annotations

import sys

if sys.orig_argv[1:3] == ["-m", "runner"]:
    from tests.faults.mutations import mutate

    mutate()
