"""integrity: size lets the kernel copy; what it makes is the same, and verification reads both sides."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from local_support import THROTTLE, entries_of, open_at

from runner.model.task import Integrity


@pytest.mark.parametrize("size", [0, 5, (1 << 20) - 1, 1 << 20, (9 << 20) + 3])
def test_the_kernel_copies_all_of_a_file(tmp_path: Path, size: int) -> None:
    (tmp_path / "src").mkdir()
    content = os.urandom(size)
    (tmp_path / "src" / "file").write_bytes(content)
    source = open_at(tmp_path / "src")
    destination = open_at(tmp_path / "dst", create=True, integrity=Integrity.SIZE)
    entry = entries_of(source)["file"]
    written = destination.copy(source, entry, entry, None, THROTTLE)
    assert (tmp_path / "dst" / "file").read_bytes() == content
    assert written.bytes == size
    assert (written.digest is None) == (size >= 1 << 20)
