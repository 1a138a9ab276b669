from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from local_support import NOBODY, close_opened


@pytest.fixture(autouse=True)
def close_locations() -> Iterator[None]:
    yield
    close_opened()


@pytest.fixture
def nobody_folder() -> Iterator[Path]:
    """A folder that an unprivileged user owns and can reach (pytest's own are closed to others)."""
    folder = Path(tempfile.mkdtemp(prefix="sync-runner-test-"))
    try:
        os.chown(folder, NOBODY, NOBODY)
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def mount_tmpfs(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts small file systems below tmp_path; all are gone afterwards."""
    mounted: list[Path] = []

    def mount(name: str, options: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], check=True)
        mounted.append(folder)
        return folder

    try:
        yield mount
    finally:
        close_opened()
        for folder in reversed(mounted):
            subprocess.run(["umount", str(folder)], check=True)
