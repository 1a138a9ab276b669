"""Between two roots of one server the server copies by itself; between two servers it is not asked to."""

from __future__ import annotations

from pathlib import Path

import pytest
from servers.process import free_port
from servers.real_pair import MIRROR, RealPair, contents
from servers.serve_openssh import OpenSsh, started
from sftp_support import NOON_NS, opened, put

from runner.errors import EntryCode, EntryError
from runner.locations.protocol import OpenSettings
from runner.model.entry import Entry, Kind
from runner.model.task import Integrity
from runner.testing.conformance_base import Meter
from runner.testing.digests import digest_of

pytestmark = pytest.mark.servers

CONTENT = bytes(range(256)) * 8_000


@pytest.mark.parametrize("integrity", list(Integrity))
@pytest.mark.parametrize("content", [b"", b"small", CONTENT], ids=len)
def test_the_server_copies(openssh: OpenSsh, integrity: Integrity, content: bytes) -> None:
    """The digest is known where the bytes are read back, and is of what arrived."""
    left, right = openssh.options(openssh.new_root()), openssh.options(openssh.new_root())
    settings = OpenSettings(integrity=integrity)
    with opened(left) as source, opened(right, settings) as destination:
        entry = put(source, "a", content)
        assert destination.copies_from(source)
        target = Entry("a", Kind.FILE, size_bytes=len(content), mtime_ns=NOON_NS - 5 * 10**9)
        meter = Meter()
        written = destination.copy(source, entry, target, None, meter)
        assert (Path(right["path"]) / "a").read_bytes() == content
        assert (written.bytes, meter.taken) == (len(content), len(content))
        known = integrity is Integrity.READ_BACK
        assert written.digest == (digest_of(content, settings.digest) if known else None)
        assert destination.stat("a").mtime_ns == target.mtime_ns


def test_a_source_behind_a_link_is_not_copied(openssh: OpenSsh, tmp_path: Path) -> None:
    """The source's root binds here too, though the destination's connection asks."""
    left, right = openssh.options(openssh.new_root()), openssh.options(openssh.new_root())
    with opened(left) as source, opened(right) as destination:
        entry = put(source, "d/a", b"inside")
        root = Path(left["path"])
        (root / "d").rename(tmp_path / "outside")
        (root / "d").symlink_to(tmp_path / "outside")
        with pytest.raises(EntryError) as caught:
            destination.copy(source, entry, entry, None, Meter())
        assert caught.value.entry_code is EntryCode.STALE
        assert list(destination.scan()) == []


def test_two_servers_do_not_copy_for_each_other(openssh: OpenSsh, tmp_path: Path) -> None:
    with started(tmp_path, free_port()) as other:
        with opened(openssh.location()) as source, opened(other.location()) as destination:
            assert not destination.copies_from(source)


def test_the_pipeline_between_two_roots_of_one_server(openssh: OpenSsh, tmp_path: Path) -> None:
    left, right = openssh.location(), openssh.location()
    for name in ("a", "b", "c"):
        (Path(left["path"]) / name).write_bytes(CONTENT + name.encode())
    pair = RealPair(tmp_path, left, right, MIRROR)
    assert pair.run().execution.status.value == "SUCCESS"
    assert pair.second_plan() == []
    assert contents(right) == contents(left)
