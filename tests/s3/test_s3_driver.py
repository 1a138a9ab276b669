"""What is particular to S3: foreign objects, hostile keys, versions, archives, tags, what is remembered, what is told
when the server is gone."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runner_plugins.objects import memory
from runner_plugins.s3.driver import OBJECT_STORAGE
from s3.s3_support import plain_options
from servers.s3_endpoint import S3Endpoint
from servers.serve_ministack import serve_ministack

from runner.errors import EntryCode, EntryError, LocationUnavailableError
from runner.locations.protocol import OpenSettings
from runner.model.entry import Attributes, Entry, Kind, Problem
from runner.model.task import LocationSettings
from runner.testing.conformance_base import (
    MTIME_NS,
    Meter,
    content_of,
    entries,
    file_entry,
    folder_entry,
    link_entry,
    listed,
    put_file,
    refused,
    stated,
)

pytestmark = pytest.mark.servers

WANTED = frozenset({"mode", "uid", "gid", "user_metadata", "content_headers", "tags", "atime_ns"})


class Bucket:
    """A bucket, locations in it, and a boto3 client beside them."""

    def __init__(self, server: S3Endpoint, folder: Path, **options: Any) -> None:
        self.server = server
        self.folder = folder
        self.options = plain_options(server, **options)
        self.name = self.options["bucket"]
        self._opened: list[Any] = []

    def open(self, create: bool = True, wanted: frozenset[str] = WANTED, **options: Any) -> Any:
        settings = LocationSettings("tested", "object_storage", {**self.options, **options}, "/")
        cache = OpenSettings(attributes=wanted, cache_directory=str(self.folder / "cache"))
        location = OBJECT_STORAGE.open(settings, cache, create=create)
        self._opened.append(location)
        return location

    def close(self) -> None:
        for location in self._opened:
            location.close()

    def put(self, key: str, body: bytes = b"x", **arguments: Any) -> None:
        with self.server.client() as client:
            client.put_object(Bucket=self.name, Key=key, Body=body, **arguments)

    def call(self, name: str, **arguments: Any) -> Any:
        with self.server.client() as client:
            return getattr(client, name)(Bucket=self.name, **arguments)

    def keys(self) -> list[str]:
        return [found["Key"] for found in self.call("list_objects_v2").get("Contents", [])]


@pytest.fixture(params=["ministack", "ceph"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bucket]:
    made = Bucket(request.getfixturevalue(request.param), tmp_path)
    yield made
    made.close()


@pytest.fixture
def stack(ministack: S3Endpoint, tmp_path: Path) -> Iterator[Bucket]:
    made = Bucket(ministack, tmp_path)
    yield made
    made.close()


# -- keys ------------------------------------------------------------------------------------------------------

HOSTILE = ["/abs", "a//b", "./x", "../y", "d/./z", "d/..", "e//", "full/"]


def test_each_key_that_is_no_path_is_named_and_the_rest_goes_on(bucket: Bucket) -> None:
    for key in HOSTILE:
        bucket.put(key)
    for key in ("a/ok", "full/!early", "full/late", "z", "k" * 1000):
        bucket.put(key)
    location = bucket.open()
    found = list(location.scan())
    problems = [one for one in found if isinstance(one, Problem)]
    assert {one.code for one in problems} == {EntryCode.NAME_NOT_ALLOWED}
    assert sorted(one.path for one in problems) == sorted([*HOSTILE[:-1], "full//"])
    assert [one.path for one in found if isinstance(one, Entry)] == sorted(
        ["", "a/", "a/ok", "d/", "e/", "full/", "full/!early", "full/late", "k" * 1000, "z"]
    )
    order = [one.path.encode() for one in found]
    assert order == sorted(order)


def test_a_folder_with_a_key_that_is_no_path_is_not_empty(bucket: Bucket) -> None:
    bucket.put("a//b")
    bucket.put("full/", b"content")
    location = bucket.open()
    for path in ("a/", "full/"):
        with refused(EntryCode.STALE):
            location.remove(stated(location, path))
        with refused():
            location.put(folder_entry("full/"), None, None, Meter())
    assert bucket.keys() == ["a//b", "full/"]
    assert bucket.call("get_object", Key="full/")["Body"].read() == b"content"


def test_a_file_beside_a_folder_of_its_name(bucket: Bucket) -> None:
    location = bucket.open()
    put_file(location, "clash", b"file")
    put_file(location, "clash/inside", b"inside")
    put_file(location, "clash-b", b"between")
    assert listed(location) == ["clash", "clash-b", "clash/", "clash/inside"]
    assert stated(location, "clash").kind is Kind.FILE
    assert stated(location, "clash/").kind is Kind.DIRECTORY
    location.remove(stated(location, "clash"))
    assert listed(location) == ["clash-b", "clash/", "clash/inside"]


# -- objects that others wrote -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "mtime_ns"),
    [
        ({"file-mtime": "1595002920000000123ns"}, 1_595_002_920_000_000_123),
        ({"file-mtime": "1595002920/123"}, 1_595_002_920_000_000_123),
        ({"file-mtime": "1595002920123"}, 1_595_002_920_123_000_000),
        ({"mtime": "1595002920.5"}, 1_595_002_920_500_000_000),
    ],
)
def test_times_of_datasync_and_rclone_are_read(
    stack: Bucket, metadata: dict[str, str], mtime_ns: int
) -> None:
    stack.put("a", Metadata={**metadata, "file-permissions": "0100640", "file-owner": "7", "colour": "red"})
    entry = stated(stack.open(), "a")
    assert entry.mtime_ns == mtime_ns
    assert entry.attributes is not None
    assert (entry.attributes.mode, entry.attributes.uid) == (0o640, 7)
    assert entry.attributes.user_metadata == (("colour", "red"),)


def test_an_object_of_others_has_the_time_of_its_last_write(bucket: Bucket) -> None:
    bucket.put("a")
    location = bucket.open()
    written = bucket.call("head_object", Key="a")["LastModified"]
    assert stated(location, "a").mtime_ns == int(written.timestamp()) * 1_000_000_000
    assert entries(location)["a"] == stated(location, "a")


def test_all_that_goes_with_an_object_is_kept(bucket: Bucket) -> None:
    attributes = Attributes(
        mode=0o4755,
        uid=1,
        gid=2,
        atime_ns=3,
        content_headers=(
            ("cache-control", "no-store"),
            ("content-language", "de"),
            ("content-type", "text/x"),
        ),
        user_metadata=(("colour", "r\u00f6t"), ("shape", "round")),
        tags=(("team", "blue & green"), ("x/y", "=")),
    )
    location = bucket.open(object_tags=True)
    location.put(file_entry("a", b"x", attributes), [b"x"], None, Meter())
    assert stated(location, "a").attributes == attributes
    assert entries(location)["a"].attributes == attributes
    location.set_attributes(Entry("a", Kind.FILE, mtime_ns=9), stated(location, "a"))
    after = stated(location, "a")
    assert (after.mtime_ns, after.attributes, content_of(location, "a")) == (9, attributes, b"x")
    location.set_attributes(Entry("a", Kind.FILE, attributes=Attributes(tags=())), after)
    assert stated(location, "a").attributes.tags == ()
    moved = stated(location, "a")
    location.rename(moved, "b")
    assert stated(location, "b").attributes == moved.attributes


def test_the_latest_version_counts_and_removing_leaves_a_marker(bucket: Bucket) -> None:
    bucket.call("put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"})
    location = bucket.open()
    first = put_file(location, "a", b"one")
    location.put(file_entry("a", b"two"), [b"two"], first, Meter())
    assert content_of(location, "a") == b"two"
    location.remove(stated(location, "a"))
    assert (listed(location), location.stat("a")) == ([], None)
    versions = bucket.call("list_object_versions")
    assert len([one for one in versions["Versions"] if one["Key"] == "a"]) == 2
    assert len([one for one in versions["DeleteMarkers"] if one["Key"] == "a"]) == 1
    put_file(location, "a", b"three")
    assert content_of(location, "a") == b"three"


def test_storage_class_and_encryption_are_asked_for(stack: Bucket) -> None:
    location = stack.open(storage_class="STANDARD_IA", sse="AES256")
    put_file(location, "a")
    told = stack.call("head_object", Key="a")
    assert (told.get("StorageClass"), told.get("ServerSideEncryption")) == ("STANDARD_IA", "AES256")


def test_nothing_is_left_of_trying_out_the_server(bucket: Bucket) -> None:
    location = bucket.open()
    put_file(location, "only")
    assert bucket.keys() == ["only"]
    assert bucket.call("list_multipart_uploads").get("Uploads", []) == []


# -- links -------------------------------------------------------------------------------------------------------


def test_links_are_as_datasync_keeps_them(bucket: Bucket) -> None:
    location = bucket.open()
    location.put(link_entry("link", "some/target"), None, None, Meter())
    told = bucket.call("get_object", Key="link")
    assert told["Body"].read() == b"some/target"
    assert told["Metadata"]["file-permissions"] == "0120777"
    assert stated(location, "link").link_target == "some/target"


def test_names_of_one_file_that_become_different_fall_apart(bucket: Bucket) -> None:
    location = bucket.open()
    put_file(location, "a", b"one")
    location.link("b", "a", None)
    location.link("c", "a", None)
    groups = [stated(location, path).link_group for path in "abc"]
    assert groups[0] is not None and len(set(groups)) == 1
    location.set_attributes(Entry("b", Kind.FILE, mtime_ns=7), stated(location, "b"))
    location.put(file_entry("c", b"two"), [b"two"], stated(location, "c"), Meter())
    assert len({stated(location, path).link_group for path in "abc"}) == 3


# -- copies inside the endpoint ------------------------------------------------------------------------------------


def test_copies_between_buckets_stay_inside_the_server(bucket: Bucket, tmp_path: Path) -> None:
    other = Bucket(bucket.server, tmp_path / "other")
    source, target = bucket.open(), other.open()
    entry = put_file(source, "a", b"content" * 1000)
    assert target.copies_from(source)
    meter = Meter()
    target.copy(source, entry, file_entry("a", b"content" * 1000, Attributes(mode=0o600)), None, meter)
    assert content_of(target, "a") == b"content" * 1000
    assert stated(target, "a").mtime_ns == MTIME_NS
    assert meter.taken == 7000
    other.close()


# -- what is remembered --------------------------------------------------------------------------------------------


class Counted:
    """Counts the looks at single objects."""

    def __init__(self, location: Any) -> None:
        self.keys: list[str] = []
        client = location._client
        head = client.head

        def counted(key: str) -> Any:
            self.keys.append(key)
            return head(key)

        client.head = counted


def test_a_second_listing_looks_at_nothing(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    # As if everything had been written long ago.
    monkeypatch.setattr(memory, "SETTLED_NS", -(10**12))
    location = bucket.open()
    for number in range(5):
        put_file(location, f"d/{number}")
    location.put(link_entry("link", "d/1"), None, None, Meter())
    first = list(location.scan())
    again = bucket.open()
    looks = Counted(again)
    assert list(again.scan()) == first
    assert looks.keys == []
    location.set_attributes(Entry("d/3", Kind.FILE, mtime_ns=1), stated(location, "d/3"))
    third = bucket.open()
    looks = Counted(third)
    assert {one.path: one for one in third.scan()}["d/3"].mtime_ns == 1
    assert looks.keys == ["d/3"]


def test_what_was_looked_at_to_verify_it_is_not_looked_at_by_the_next_plan(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "SETTLED_NS", -(10**12))
    location = bucket.open()
    for number in range(3):
        put_file(location, f"d/{number}")
        stated(location, f"d/{number}")
    location.close()
    again = bucket.open()
    looks = Counted(again)
    found = {one.path: one for one in again.scan()}
    assert looks.keys == []
    assert found["d/1"] == stated(again, "d/1")


def test_what_was_just_written_is_looked_at_again(stack: Bucket) -> None:
    """A change of metadata in the same moment leaves etag, size and time of a listing as they are."""
    location = stack.open()
    put_file(location, "a")
    list(location.scan())
    location.set_attributes(Entry("a", Kind.FILE, mtime_ns=1), stated(location, "a"))
    assert entries(stack.open())["a"].mtime_ns == 1


def test_a_refused_folder_is_not_looked_into(stack: Bucket) -> None:
    location = stack.open()
    stack.put("b/first")
    put_file(location, "a")
    list(location.scan())
    looks = Counted(location)
    found = [one.path for one in location.scan("", lambda entry: entry.path != "")]
    assert found == [""] and len(looks.keys) <= 2


# -- a server that is gone -----------------------------------------------------------------------------------------


def test_a_missing_bucket_is_told(stack: Bucket) -> None:
    for create in (True, False):
        with pytest.raises(LocationUnavailableError, match="no such bucket"):
            stack.open(create=create, bucket="no-such-bucket-here")


def test_a_missing_bucket_is_made_when_asked_for(stack: Bucket) -> None:
    location = stack.open(bucket=f"{stack.name}-made", create_bucket=True)
    assert list(location.scan()) == []
    assert location.stat("a") is None
    put_file(location, "a")
    assert listed(stack.open(create=False, bucket=f"{stack.name}-made")) == ["a"]


def test_refused_credentials_are_told_without_the_secret(ceph: S3Endpoint, tmp_path: Path) -> None:
    made = Bucket(ceph, tmp_path)
    with pytest.raises(LocationUnavailableError) as raised:
        made.open(secret_access_key="entirely-wrong")
    assert "SignatureDoesNotMatch" in str(raised.value)
    assert "entirely-wrong" not in str(raised.value)


def test_a_silent_server_ends_in_a_timeout(tmp_path: Path) -> None:
    with serve_ministack(tmp_path) as server:
        made = Bucket(server, tmp_path)
        # The server's first answers take their time; what it can do is remembered from here on.
        put_file(made.open(), "a", b"content")
        location = made.open(timeout="1s")
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            for attempt in (
                lambda: location.stat("a"),
                lambda: list(location.scan()),
                lambda: location.put(file_entry("b", b"x"), [b"x"], None, Meter()),
            ):
                with refused(EntryCode.TIMEOUT):
                    attempt()
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        assert content_of(location, "a") == b"content", "the same object goes on"
        made.close()


def test_a_killed_server_is_unavailable_and_may_come_back(tmp_path: Path) -> None:
    with serve_ministack(tmp_path) as server:
        made = Bucket(server, tmp_path)
        location = made.open()
        put_file(location, "a", b"content")
        port = server.port
    with refused(EntryCode.UNAVAILABLE):
        location.stat("a")
    with serve_ministack(tmp_path, port) as server:
        with server.client() as client:
            client.create_bucket(Bucket=made.name)
        assert location.stat("a") is None
        put_file(location, "a", b"again")
        assert content_of(location, "a") == b"again"
        made.close()


def test_several_threads_share_no_connection(stack: Bucket) -> None:
    location = stack.open()
    put_file(location, "a", b"a" * 100_000)
    failures: list[BaseException] = []

    def read(number: int) -> None:
        try:
            one = stack.open()
            for _ in range(10):
                assert content_of(one, "a") == b"a" * 100_000
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_an_entry_error_names_the_path_not_the_key(stack: Bucket) -> None:
    location = stack.open(prefix="some/folder")
    entry = put_file(location, "a")
    location.remove(entry)
    with pytest.raises(EntryError) as raised:
        location.remove(entry)
    assert raised.value.path == "a"
