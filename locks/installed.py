"""Is exactly what a lock says installed, and nothing beside it? `.venv/bin/python -m locks.installed locks/test.txt`"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Mapping
from pathlib import Path

from locks.lock import Locked, normalised, read_lock

BESIDE = frozenset({"pip", "setuptools", "sync-runner"})
"""What no lock has to name: what Python brings into a new environment, and the project itself."""


def strangers(installed: Mapping[str, str], locked: tuple[Locked, ...]) -> tuple[str, ...]:
    """One line for each package that is installed (name and version) and not locked so, in order of names."""
    versions = {package.name: package.version for package in locked}
    found = []
    for name, version in sorted((normalised(name), version) for name, version in installed.items()):
        if versions.get(name) == version or (name in BESIDE and name not in versions):
            continue
        locked_as = f"locked is {versions[name]}" if name in versions else "in no lock"
        found.append(f"{name} {version}: {locked_as}")
    return tuple(found)


def main(arguments: list[str]) -> int:
    """0 when only locked packages are installed beside this interpreter, 1 otherwise."""
    locked = tuple(package for path in arguments for package in read_lock(Path(path).read_text("utf-8")))
    installed = {one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}
    found = strangers(installed, locked)
    for line in found:
        print(line)
    print(f"{len(installed)} packages installed, {len(found)} of them not as locked")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
