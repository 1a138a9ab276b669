"""The compiled module `_native`, where it was built: a folder's names and facts, and small files, in few calls.

Without it (no C compiler at installation, built from another source, or SYNC_RUNNER_PURE_PYTHON set to anything) the
Python beside it does the same with the same results, slower.
"""

from __future__ import annotations

import os
from types import ModuleType

PURE_PYTHON = "SYNC_RUNNER_PURE_PYTHON"
_INTERFACE = 8
"""What the source beside it defines: another number wherever a function takes or gives something else."""


def _imported() -> ModuleType | None:
    if os.environ.get(PURE_PYTHON):
        return None
    try:
        from . import _native
    except ImportError:
        return None
    # Built from an older source: an installation for development, updated and not built anew.
    return _native if getattr(_native, "INTERFACE", None) == _INTERFACE else None


native = _imported()
"""The module, or None."""
