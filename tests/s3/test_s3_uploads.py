"""Large files: in parts, all or nothing, taken up again after a crash, and never mixed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runner_plugins.s3.driver import OBJECT_STORAGE
from s3.s3_support import plain_options
from servers.s3_endpoint import S3Endpoint

from runner.errors import EntryCode, EntryError
from runner.locations.protocol import Location, OpenSettings
from runner.model.entry import Entry, Kind
from runner.model.task import LocationSettings
from runner.testing.conformance_base import MTIME_NS, Meter, content_of, file_entry, put_file, refused, stated

pytestmark = pytest.mark.servers

MIB = 1 << 20
CONTENT = random.Random(7).randbytes(12 * MIB + 12345)
PARTS = {"multipart_threshold": "5MiB", "part_size": "5MiB"}


class Bucket:
    """A bucket, locations in it, and what others see of it."""

    def __init__(self, server: S3Endpoint, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.options = plain_options(server, **PARTS)
        self._opened: list[Location] = []

    def open(self, **options: Any) -> Any:
        settings = LocationSettings("tested", "object_storage", {**self.options, **options}, "/")
        cache = str(self.folder / "cache")
        location = OBJECT_STORAGE.open(
            settings, OpenSettings(cache_directory=cache, execution_id="0123456789ab"), create=True
        )
        self._opened.append(location)
        return location

    def close(self) -> None:
        for location in self._opened:
            location.close()

    def uploads(self) -> list[str]:
        with self.server.client() as client:
            found = client.list_multipart_uploads(Bucket=self.options["bucket"])
            return [upload["Key"] for upload in found.get("Uploads", [])]

    def parts_sent(self, key: str) -> int:
        with self.server.client() as client:
            upload = client.list_multipart_uploads(Bucket=self.options["bucket"])["Uploads"][0]
            parts = client.list_parts(Bucket=self.options["bucket"], Key=key, UploadId=upload["UploadId"])
            return len(parts.get("Parts", []))


@pytest.fixture(params=["ministack", "ceph", "rclone_s3"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bucket]:
    made = Bucket(request.getfixturevalue(request.param), tmp_path)
    yield made
    made.close()


@pytest.fixture
def whole_bucket(ministack: S3Endpoint, tmp_path: Path) -> Iterator[Bucket]:
    made = Bucket(ministack, tmp_path)
    yield made
    made.close()


def chunks(content: bytes, size: int = MIB) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def test_a_large_file_arrives_in_parts(bucket: Bucket) -> None:
    location = bucket.open()
    written = location.put(file_entry("big", CONTENT), chunks(CONTENT, 700_001), None, Meter())
    assert written.bytes == len(CONTENT)
    assert content_of(location, "big") == CONTENT
    assert stated(location, "big").mtime_ns == MTIME_NS
    assert bucket.uploads() == []


def test_a_file_of_unknown_length_arrives(whole_bucket: Bucket) -> None:
    location = whole_bucket.open()
    location.put(Entry("big", Kind.FILE, mtime_ns=5), chunks(CONTENT), None, Meter())
    assert content_of(location, "big") == CONTENT


def test_broken_content_leaves_no_upload(bucket: Bucket) -> None:
    location = bucket.open()
    error = EntryError(EntryCode.IO_ERROR, "big", "the source broke")

    def broken() -> Iterator[bytes]:
        yield from chunks(CONTENT[: 11 * MIB])
        raise error

    with pytest.raises(EntryError) as raised:
        location.put(file_entry("big", CONTENT), broken(), None, Meter())
    assert raised.value is error
    assert (bucket.uploads(), location.stat("big")) == ([], None)


@pytest.mark.parametrize("sent", [CONTENT[:-1], CONTENT + b"x"])
def test_another_length_is_not_published(whole_bucket: Bucket, sent: bytes) -> None:
    location = whole_bucket.open()
    with refused(EntryCode.CHANGED_DURING_TRANSFER):
        location.put(file_entry("big", CONTENT), chunks(sent), None, Meter())
    assert (whole_bucket.uploads(), location.stat("big")) == ([], None)


def test_a_name_taken_while_parts_go_up_is_seen(bucket: Bucket) -> None:
    location, other = bucket.open(), bucket.open()

    def content() -> Iterator[bytes]:
        yield from chunks(CONTENT[: 11 * MIB])
        put_file(other, "big", b"someone else's")
        yield from chunks(CONTENT[11 * MIB :])

    with refused(EntryCode.STALE):
        location.put(file_entry("big", CONTENT), content(), None, Meter())
    assert content_of(location, "big") == b"someone else's"
    assert bucket.uploads() == []


def test_what_was_replaced_while_parts_go_up_stays(bucket: Bucket) -> None:
    location, other = bucket.open(), bucket.open()
    standing = put_file(location, "big", b"old")

    def content() -> Iterator[bytes]:
        yield from chunks(CONTENT[: 11 * MIB])
        other.put(file_entry("big", b"newer, other"), [b"newer, other"], other.stat("big"), Meter())
        yield from chunks(CONTENT[11 * MIB :])

    with refused(EntryCode.STALE):
        location.put(file_entry("big", CONTENT), content(), standing, Meter())
    assert content_of(location, "big") == b"newer, other"


_CRASHES = """
import os, signal, sys
from s3.test_s3_uploads import CONTENT, MIB, chunks
from runner.locations.protocol import OpenSettings
from runner.model.task import LocationSettings
from runner.testing.conformance_base import Meter, file_entry
from runner_plugins.s3.driver import OBJECT_STORAGE
import json
options, cache = json.loads(sys.argv[1]), sys.argv[2]
location = OBJECT_STORAGE.open(
    LocationSettings("t", "object_storage", {**options, "part_concurrency": 1}, "/"),
    OpenSettings(cache_directory=cache, execution_id="0123456789ab"), create=True)
def content():
    yield from chunks(CONTENT[:10 * MIB])
    os.kill(os.getpid(), signal.SIGKILL)
location.put(file_entry("big", CONTENT), content(), None, Meter())
"""


def crash(bucket: Bucket) -> None:
    """A process that is killed when it has sent two parts."""
    import json

    tests = str(Path(__file__).parent.parent)
    ended = subprocess.run(
        [sys.executable, "-c", _CRASHES, json.dumps(bucket.options), str(bucket.folder / "cache")],
        env={**os.environ, "PYTHONPATH": tests},
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    assert ended.returncode == -signal.SIGKILL


def test_an_upload_is_taken_up_again_after_a_crash(bucket: Bucket) -> None:
    crash(bucket)
    assert bucket.uploads() == ["big"]
    sent = bucket.parts_sent("big")
    location = bucket.open()
    put: list[int] = []
    client = location._client
    real = client.put_part
    client.put_part = lambda upload, number, *rest: put.append(number) or real(upload, number, *rest)  # type: ignore[func-returns-value]
    location.put(file_entry("big", CONTENT), chunks(CONTENT), None, Meter())
    assert len(put) == 3 - sent, "parts that are there are not sent again"
    assert content_of(location, "big") == CONTENT
    assert bucket.uploads() == []


def test_a_changed_file_is_never_mixed_with_the_parts_of_the_old_one(whole_bucket: Bucket) -> None:
    crash(whole_bucket)
    changed = bytes(reversed(CONTENT))
    location = whole_bucket.open()
    # As bad as it can be: same size, same time.
    location.put(file_entry("big", changed), chunks(changed), None, Meter())
    assert content_of(location, "big") == changed
    assert whole_bucket.uploads() == []


def test_an_upload_that_nobody_took_up_again_is_swept(whole_bucket: Bucket) -> None:
    crash(whole_bucket)
    assert list(whole_bucket.open().leftovers()) == []
    location = whole_bucket.open(keep_uploads="1ms")
    put_file(location, "other", b"kept")
    assert list(location.leftovers()) == [("big", "0123456789ab")]
    location.remove_leftover("big")
    assert (list(location.leftovers()), whole_bucket.uploads()) == ([], [])
    assert content_of(location, "other") == b"kept"


def test_sweeping_an_upload_leaves_the_object_of_that_name(whole_bucket: Bucket) -> None:
    crash(whole_bucket)
    location = whole_bucket.open(keep_uploads="1ms")
    put_file(location, "big", b"precious")
    location.remove_leftover("big")
    assert content_of(location, "big") == b"precious"
    assert whole_bucket.uploads() == []


def test_what_is_too_large_for_one_copy_is_copied_in_parts(
    whole_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner_plugins.s3.client.MAX_COPY_BYTES", 5 * MIB)
    monkeypatch.setattr("runner_plugins.s3.client.COPY_PART_BYTES", 5 * MIB)
    location = whole_bucket.open()
    location.put(file_entry("big", CONTENT), chunks(CONTENT), None, Meter())
    location.rename(stated(location, "big"), "moved")
    location.set_attributes(Entry("moved", Kind.FILE, mtime_ns=3), stated(location, "moved"))
    assert content_of(location, "moved") == CONTENT
    assert (stated(location, "moved").mtime_ns, location.stat("big")) == (3, None)
    assert whole_bucket.uploads() == []


@pytest.mark.parametrize("name", ["ministack", "ceph"])
def test_uploads_of_others_are_told_and_left_alone(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    made = Bucket(request.getfixturevalue(name), tmp_path)
    try:
        with made.server.client() as client:
            for key in ("p/theirs", "other/theirs"):
                client.create_multipart_upload(Bucket=made.options["bucket"], Key=key)
        location = made.open(prefix="p/", whole_bucket=False)
        (told,) = location.unfinished()
        assert told.path == "theirs"
        assert told.begun_ns is not None
        assert list(location.leftovers()) == []
        assert sorted(made.uploads()) == ["other/theirs", "p/theirs"]
    finally:
        made.close()
