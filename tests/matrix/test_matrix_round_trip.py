"""There and back: a tree of this machine that went through another location is what it was, judged by the kernel."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matrix_support import Endpoints, first_tree, only_refusals, present_types, write
from servers.real_pair import RealPair, holding, local
from servers.s3_endpoint import S3Endpoint

from runner.testing.manifest import Row, manifest

pytestmark = [pytest.mark.servers, pytest.mark.root]

FULL = [name for name in ("s3", "azure_blob", "gcs", "nfs") if name in present_types()]
"""Types that keep mode, owner, times, symbolic links and empty folders."""


@pytest.mark.parametrize("location_type", FULL)
def test_mode_owner_times_links_and_empty_folders_come_back(
    location_type: str, endpoints: Endpoints, tmp_path: Path
) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    write(first_tree(), source)
    between = endpoints.fresh(location_type)
    for name, left, right in (("there", local(source), between), ("home", between, local(back))):
        (tmp_path / name).mkdir()
        run = RealPair(tmp_path / name, left, right)
        only_refusals(run.run())
        assert run.second_plan() == []
    before, after = comparable(manifest(str(source))), comparable(manifest(str(back)))
    assert set(after) <= set(before)
    assert {path: row for path, row in before.items() if path in after} == after
    expected = {os.fsencode(path) for path in holding(between)}
    assert {path.rstrip(b"/") for path in expected} == set(after)
    assert after[b"plain/empty-folder"].mode == 0o711
    assert (after[b"plain/big"].uid, after[b"plain/big"].gid) == (1234, 2345)
    assert after[b"plain/setuid"].mode == 0o4755
    assert after[b"plain/dangling"].link_target == b"/nowhere/at all"


def comparable(rows: dict[bytes, Row]) -> dict[bytes, Row]:
    """Without what object stores have no place for: extended attributes, which names are one file, what the root
    itself is; of links the time and the owner."""
    return {
        path: replace(
            row,
            xattrs=(),
            hard_link_of=None,
            mtime_ns=row.mtime_ns if row.kind != "l" else 0,
            uid=row.uid if row.kind != "l" else 0,
            gid=row.gid if row.kind != "l" else 0,
        )
        for path, row in rows.items()
        if path
    }


HOSTILE_KEYS = (
    "../escaped",
    "ok/../../escaped",
    "/absolute",
    "//double",
    "a//b",
    "a/./c",
    ".",
    "..",
    "clash",
    "clash/child",
    "..\\back",
    "C:\\x",
    "%2e%2e/x",
    "folder/",
    "folder/file",
    "x" * 300,
    "deep/" * 200 + "y",
    "fine",
)


def test_keys_that_no_path_can_be_stay_where_they_are(ministack: S3Endpoint, tmp_path: Path) -> None:
    """Each is refused by name or arrives as what it is; nothing leaves the root, and nothing is merged."""
    options: dict[str, Any] = ministack.location(type="s3")
    with ministack.client() as client:
        for key in HOSTILE_KEYS:
            client.put_object(
                Bucket=options["bucket"], Key=key, Body=b"" if key.endswith("/") else key.encode()
            )
    root = tmp_path / "one" / "two" / "root"
    (root / "a").mkdir(parents=True)
    (root / "kept").write_bytes(b"kept: an extra that a doubtful listing must not remove")
    (tmp_path / "state").mkdir()
    run = RealPair(tmp_path / "state", options, local(root))
    report = run.run()
    refused = {problem.path for problem in report.problems}
    arrived = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    for path, content in arrived.items():
        assert path == "kept" or content == path.encode(), f"{path!r} holds what belongs to {content!r}"
    assert "fine" in arrived and "folder/file" in arrived and "..\\back" in arrived and "%2e%2e/x" in arrived
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "state"]
    assert [path.name for path in (tmp_path / "one").rglob("*") if root not in path.parents] == [
        "two",
        "root",
    ]
    told = {key for key in HOSTILE_KEYS if key.rstrip("/") not in arrived and key != "folder/"}
    assert len(report.problems) >= 1 and refused
    assert all(any(key.startswith(path.rstrip("/")) or path in key for path in refused) for key in told), (
        told,
        refused,
    )
