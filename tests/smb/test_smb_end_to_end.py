"""The installed command between folders and shares: plan, apply, verify, nothing left to do, deletions right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from runner_plugins.smb.security import canonical_security
from servers.serve_samba import PASSWORDS, Samba
from smb.smb_support import EVERYTHING, FREE, ace, descriptor, opened, put, stated

from runner.model.entry import Attributes, Entry, Kind
from runner.testing.manifest import manifest

pytestmark = pytest.mark.servers

CREATED_NS = 1_234_567_890_987_654_300


class Command:
    """A folder with a sync.yaml whose task `t` leads from `source` to `destination`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def configure(self, source: dict[str, Any], destination: dict[str, Any], **task: Any) -> None:
        document = {
            "version": 1,
            "locations": {"src": _written(source), "dst": _written(destination)},
            "tasks": {"t": {"source": "src", "destination": "dst", **task}},
        }
        (self.folder / "sync.yaml").write_text(json.dumps(document))

    def run(self, *arguments: str, expect: int = 0) -> Any:
        """The command's JSON."""
        done = subprocess.run(
            [sys.executable, "-m", "runner", *arguments, "--json"],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, "NO_COLOR": "1", "SHARE_PASSWORD": PASSWORDS["root"]},
            timeout=120,
        )
        # What went wrong stands at the end.
        assert done.returncode == expect, (
            f"{done.returncode}: {done.stdout.decode()[-3000:]}{done.stderr.decode()}"
        )
        assert PASSWORDS["root"].encode() not in done.stdout + done.stderr
        return json.loads(done.stdout)

    def is_in_sync(self) -> None:
        """A second plan is empty, and the whole destination holds what the source holds."""
        self.run("check", "t")
        self.run("verify", "t")


def _written(location: dict[str, Any]) -> dict[str, Any]:
    return {
        name: "{{ secret_env('SHARE_PASSWORD') }}" if name == "password" else value
        for name, value in location.items()
    }


def fill(folder: Path) -> None:
    for path, content in {
        "a.txt": b"a",
        "empty": b"",
        "big.bin": bytes(range(256)) * 12_000,
        "d/b.txt": b"b",
        "d/e/f/c.txt": b"c" * 70_000,
        "d-e/x": b"x",
        "Größe/日本.txt": b"unicode",
        " leading blank": b"1",
        "100% $(x) 'quoted'": b"2",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
        os.utime(folder / path, ns=(1_600_000_000_123_456_700, 1_600_000_000_123_456_700))
    (folder / "hollow/inside").mkdir(parents=True)


def contents(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    """path -> (mtime in 100 ns, content; None for folders)."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if ".sync-runner" in path.parts[len(folder.parts) :]:
            continue
        mtime = path.stat().st_mtime_ns // 100
        found[str(path.relative_to(folder))] = (mtime, None if path.is_dir() else path.read_bytes())
    return found


@pytest.mark.parametrize("share", ["plain", "sealed"])
def test_there_and_back_again(samba: Samba, tmp_path: Path, share: str) -> None:
    """local -> smb -> local: every byte and time comes back; deletions follow; nothing is left to do."""
    first, last = tmp_path / "first", tmp_path / "last"
    fill(first)
    on_share = samba.location(share)
    there, back = Command(tmp_path / "there"), Command(tmp_path / "back")
    options = {"preserve_deleted_files": "remove"}
    there.configure({"type": "local", "path": str(first)}, on_share, options=options)
    back.configure(on_share, {"type": "local", "path": str(last)}, options=options)
    for _ in range(2):
        there.run("plan", "t", "-o", "p.jsonl")
        there.run("apply", "p.jsonl")
        there.is_in_sync()
        back.run("run", "t")
        back.is_in_sync()
        assert contents(last) == contents(first)
        # The next round has something to delete, to replace, to make, and to turn from file into folder and back.
        (first / "d/e/f/c.txt").unlink(missing_ok=True)
        (first / "a.txt").write_bytes(b"another a")
        (first / "new").mkdir(exist_ok=True)
        (first / "new/n").write_bytes(b"n")
        if (first / "empty").is_file():
            (first / "empty").unlink()
            (first / "empty").mkdir()
            (first / "d-e/x").unlink()
            (first / "d-e").rmdir()
            (first / "d-e").write_bytes(b"was a folder")
    assert manifest(str(first)) == manifest(str(first))


def test_metadata_travels_from_share_to_share(samba: Samba, tmp_path: Path) -> None:
    """Attributes, creation time, owner and list; a second plan is empty, also after a change of metadata alone."""
    here, there = samba.location(), samba.location("second")
    left = samba.settings()
    left.options.update({name: value for name, value in here.items() if name != "type"})
    right = msgspec.structs.replace(left, options={n: v for n, v in there.items() if n != "type"})
    own = canonical_security(
        descriptor(
            owner="S-1-22-1-5", group="S-1-22-2-60", dacl=[ace(0, 0, 0x1F01FF, "S-1-22-1-5")], control=0x1004
        )
    )
    attributes = Attributes(created_ns=CREATED_NS, dos_attributes=0x3, security=own)
    with opened(left, EVERYTHING) as location:
        put(location, "d/file", attributes=attributes)
        put(location, "d/usual")
        location.put(Entry("d/folder/", Kind.DIRECTORY, attributes=attributes), None, None, FREE)
    command = Command(tmp_path / "command")
    command.configure(here, there)
    command.run("run", "t")
    command.is_in_sync()
    with opened(left, EVERYTHING) as location, opened(right, EVERYTHING) as copied:
        for path in ("d/", "d/file", "d/usual", "d/folder/"):
            assert stated(copied, path).attributes == stated(location, path).attributes
            assert stated(copied, path).mtime_ns == stated(location, path).mtime_ns
        entry = stated(location, "d/usual")
        location.set_attributes(
            msgspec.structs.replace(entry, attributes=Attributes(dos_attributes=0x22, security=own)), entry
        )
    assert command.run("run", "t")["counters"]["transferred"]["files"] == 1
    command.is_in_sync()
    with opened(right, EVERYTHING) as copied:
        found = stated(copied, "d/usual").attributes
        assert found is not None and (found.dos_attributes, found.security) == (0x22, own)


def test_names_that_differ_by_case_are_refused_in_the_plan(samba: Samba, tmp_path: Path) -> None:
    """Both are named; neither the other's content nor what stands there is touched."""
    source = tmp_path / "source"
    (source / "d").mkdir(parents=True)
    for name in ("Same", "same", "d/other", "a:b", "nul.txt", "dot."):
        (source / name).write_bytes(name.encode())
    on_share = samba.location()
    command = Command(tmp_path / "command")
    command.configure({"type": "local", "path": str(source)}, on_share)
    report = command.run("run", "t", expect=4)
    refused = {problem["path"]: problem["code"] for problem in report["problems"]}
    assert len({"Same", "same"} & set(refused)) == 1
    assert {"a:b", "nul.txt", "dot."} <= set(refused)
    assert set(refused.values()) == {"name_not_allowed"}
    root = samba.shares["plain"] / on_share["path"]
    arrived = {path: content for path, (_, content) in contents(root).items()}
    kept = ({"Same", "same"} - set(refused)).pop()
    assert arrived == {kept: kept.encode(), "d": None, "d/other": b"d/other"}


def test_quarantine_and_restore_work_on_a_share(samba: Samba, tmp_path: Path) -> None:
    """What goes is kept on the share, out of sight of every listing."""
    source = tmp_path / "source"
    fill(source)
    on_share = samba.location()
    command = Command(tmp_path / "command")
    command.configure(
        {"type": "local", "path": str(source)}, on_share, options={"preserve_deleted_files": "quarantine"}
    )
    command.run("run", "t")
    (source / "d/b.txt").unlink()
    command.run("run", "t")
    command.is_in_sync()
    root = samba.shares["plain"] / on_share["path"]
    assert not (root / "d/b.txt").exists()
    kept = list((root / ".sync-runner-quarantine").rglob("b.txt"))
    assert [one.read_bytes() for one in kept] == [b"b"]
