"""The command `sync-runner`, also `python -m runner`.

Asked only for its version, it answers before anything else is imported: scripts ask often.
"""

from __future__ import annotations

import sys

from runner import __version__


def main() -> int:
    """Run the command line of this process; the result is the exit code."""
    if sys.argv[1:] in (["--version"], ["-V"], ["version"]):
        print(f"sync-runner {__version__}")  # noqa: T201
        return 0
    try:
        from runner.cli.main import run_process

        return run_process()
    except KeyboardInterrupt:
        # Ctrl-C while modules are still being imported, or once more at the very end.
        return 130


if __name__ == "__main__":
    sys.exit(main())
