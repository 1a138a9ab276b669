"""The compiled module `_native`, where it was built: a folder's names and facts, and small files, in few calls.

Without it (no C compiler at installation, or SYNC_RUNNER_PURE_PYTHON set to anything) the Python beside it does the
same with the same results, slower.
"""

from __future__ import annotations

import os
from types import ModuleType

PURE_PYTHON = "SYNC_RUNNER_PURE_PYTHON"


def _imported() -> ModuleType | None:
    if os.environ.get(PURE_PYTHON):
        return None
    try:
        from . import _native
    except ImportError:
        return None
    return _native


native = _imported()
"""The module, or None."""
