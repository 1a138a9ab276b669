"""local -> S3 -> local by the real pipeline: what comes back is what went, and nothing is left to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from servers.real_pair import MIRROR, RealPair, local, with_options
from servers.s3_endpoint import S3Endpoint

from runner.model.entry import Phase
from runner.model.execution import Report
from runner.model.task import DeletedFiles
from runner.testing.manifest import manifest

pytestmark = pytest.mark.servers

PARTS = {"multipart_threshold": "5MiB", "part_size": "5MiB"}


def grow(root: Path) -> None:
    """All that an S3 location carries, and names it takes."""
    (root / "d" / "deep").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "empty").chmod(0o711)
    names = [
        "a",
        "d/a",
        "d-b",
        "d.c",
        "d/deep/x y+z%41&?#",
        "d/\u00e9",
        "d/new\nline",
        "d/ lead",
        "d/trail ",
        "d/-rf",
    ]
    for number, name in enumerate(names):
        (root / name).write_bytes(b"%d" % number * (number * 7))
        os.utime(root / name, ns=(1_600_000_000_000_000_001, 1_700_000_000_000_000_000 + number))
    (root / "d" / "a").chmod(0o4750)
    (root / "large").write_bytes(os.urandom(12 << 20))
    (root / "link").symlink_to("d/a")
    (root / "dangling").symlink_to("../nowhere")
    os.link(root / "a", root / "hard")
    os.utime(root / "empty", ns=(1, 1_500_000_000_000_000_002))


def done(report: Report) -> None:
    assert (report.execution.status, report.problems, report.findings) == (Phase.SUCCESS, (), ())


@pytest.mark.parametrize("server", ["ministack", "ceph"])
def test_a_tree_comes_back_as_it_was(server: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    endpoint: S3Endpoint = request.getfixturevalue(server)
    there = endpoint.location(prefix="some/folder", **PARTS)
    source, back = tmp_path / "source", tmp_path / "back"
    source.mkdir()
    grow(source)
    for folder in ("up", "down"):
        (tmp_path / folder).mkdir()
    up = RealPair(tmp_path / "up", local(source), there)
    done(up.run())
    assert up.second_plan() == []
    down = RealPair(tmp_path / "down", there, local(back))
    done(down.run())
    assert down.second_plan() == []
    assert manifest(back) == manifest(source)
    assert os.stat(back / "a").st_ino == os.stat(back / "hard").st_ino

    (source / "d" / "\u00e9").unlink()
    (source / "a").unlink()
    (source / "link").unlink()
    (source / "link").mkdir()
    (source / "link" / "now a folder").write_bytes(b"x")
    (source / "empty").rmdir()
    (source / "empty").write_bytes(b"now a file")
    (source / "d" / "deep").chmod(0o700)
    done(up.run())
    assert up.second_plan() == []
    done(down.run())
    assert manifest(back) == manifest(source)


def test_what_is_removed_can_be_had_back(ministack: S3Endpoint, tmp_path: Path) -> None:
    there = ministack.location()
    source = tmp_path / "source"
    (source / "d").mkdir(parents=True)
    (source / "d" / "kept").write_bytes(b"kept")
    (source / "d" / "gone").write_bytes(b"gone")
    (tmp_path / "state").mkdir()
    pair = RealPair(
        tmp_path / "state",
        local(source),
        there,
        with_options(MIRROR, preserve_deleted_files=DeletedFiles.QUARANTINE),
    )
    done(pair.run())
    (source / "d" / "gone").unlink()
    done(pair.run())
    assert pair.second_plan() == []
    with ministack.client() as client:
        keys = [one["Key"] for one in client.list_objects_v2(Bucket=there["bucket"])["Contents"]]
    assert [key for key in keys if key.endswith("/gone")] != []
    assert all(key.startswith(".sync-runner-quarantine/") for key in keys if key.endswith("/gone"))
