"""The command `sync-runner`, also `python -m runner`.

Asked only for its version, it answers before anything else is imported: scripts ask often.
"""

from __future__ import annotations

import gc
import sys

from runner import __version__


def main() -> int:
    """Run the command line of this process; the result is the exit code."""
    if sys.argv[1:] in (["--version"], ["-V"], ["version"]):
        print(f"sync-runner {__version__}")  # noqa: T201
        return 0
    try:
        # Nearly all that is made while modules are imported stays: looking through it again and again finds nothing.
        gc.set_threshold(20_000, 20, 50)
        _import_msgspec_lightly()
        from runner.cli.main import run_process

        return run_process()
    except KeyboardInterrupt:
        # Ctrl-C while modules are still being imported, or once more at the very end.
        return 130


def _import_msgspec_lightly() -> None:
    """msgspec takes two names from typing_extensions when that is installed, and else from typing, which has both since
    Python 3.11. Its import, with inspect and ast, costs every command as much as the start of the interpreter."""
    absent = "typing_extensions" not in sys.modules
    if absent:
        sys.modules["typing_extensions"] = None  # type: ignore[assignment]
    try:
        import msgspec  # noqa: F401
    finally:
        if absent:
            del sys.modules["typing_extensions"]


if __name__ == "__main__":
    sys.exit(main())
