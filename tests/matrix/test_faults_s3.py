"""An S3 service that fails and lies: nothing is deleted on doubt, no file is a mix, what failed is said, the next run
heals it, and no upload is left behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.real_pair import MIRROR, RealPair, contents, local, with_options
from servers.s3_endpoint import S3Endpoint
from servers.s3_fault_proxy import S3FaultProxy
from servers.s3_faults import (
    S3Fault,
    answers,
    backwards,
    cuts_body,
    doubled,
    edits,
    fails_inside_200,
    loses_answer,
    meanwhile,
    misstates_length,
    outside,
    skewed,
    slow_down,
    tells,
    truncated_xml,
    unsized,
    without_token,
)

from runner.errors import LocationUnavailableError
from runner.model.entry import Phase
from runner.model.execution import Report
from runner.testing.fault_proxy import FaultProxy, flips, resets

pytestmark = pytest.mark.servers

SECONDS = 60
"""No run of these tests may take longer, however the service behaves."""
SMALL = {f"d{number % 3}/file {number:02}": b"content %d" % number * 9 for number in range(30)}
BIG = bytes(range(256)) * 4096 * 11 + b"tail"
FILES = {**SMALL, "big": BIG}
PARTS = {"multipart_threshold": "5MiB", "part_size": "5MiB"}


def write(folder: Path, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


class Ground:
    """A folder, a bucket, and a proxy between the runner and the bucket's server."""

    def __init__(self, server: S3Endpoint, folder: Path, keys_a_page: int | None = 7) -> None:
        self.server = server
        self.folder = folder
        self.tree = folder / "tree"
        self.tree.mkdir()
        self.proxy = S3FaultProxy(server.port, keys_a_page=keys_a_page)
        self.proxy.__enter__()
        self.direct = server.location(type="s3", **PARTS)
        self.behind = {**self.direct, "endpoint_url": self.proxy.endpoint}
        self._pairs = 0

    def close(self) -> None:
        self.proxy.__exit__(None, None, None)

    def pair(self, source: dict[str, Any], destination: dict[str, Any], **options: Any) -> RealPair:
        self._pairs += 1
        state = self.folder / f"state{self._pairs}"
        state.mkdir()
        return RealPair(state, source, destination, with_options(MIRROR, **options))

    def up(self, **options: Any) -> RealPair:
        return self.pair(local(self.tree), self.behind, **options)

    def down(self, **options: Any) -> RealPair:
        return self.pair(self.behind, local(self.tree), **options)

    def fill_bucket(self, files: dict[str, bytes]) -> None:
        """Through the runner itself, past the proxy."""
        full = self.folder / f"full{self._pairs}"
        write(full, files)
        report = self.pair(local(full), self.direct).run()
        assert report.execution.status is Phase.SUCCESS, report.problems

    def bucket(self) -> dict[str, bytes]:
        """What is in the bucket, asked with boto3; folder markers left out."""
        with self.server.client() as client:
            keys: list[str] = []
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.direct["bucket"]):
                keys += [found["Key"] for found in page.get("Contents", [])]
            return {
                key: client.get_object(Bucket=self.direct["bucket"], Key=key)["Body"].read()
                for key in keys
                if not key.endswith("/")
            }

    def uploads(self) -> list[str]:
        with self.server.client() as client:
            found = client.list_multipart_uploads(Bucket=self.direct["bucket"])
            return [upload["Key"] for upload in found.get("Uploads", [])]

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.tree)): path.read_bytes()
            for path in self.tree.rglob("*")
            if path.is_file()
        }

    def put(self, key: str, body: bytes) -> None:
        """As another client does."""
        with self.server.client() as client:
            client.put_object(Bucket=self.direct["bucket"], Key=key, Body=body)


@pytest.fixture
def ground(ministack: S3Endpoint, tmp_path: Path) -> Iterator[Ground]:
    made = Ground(ministack, tmp_path)
    yield made
    made.close()


def run_bounded(pair: RealPair) -> Report:
    started = time.monotonic()
    report = pair.run()
    assert time.monotonic() - started < SECONDS
    return report


def assert_heals(pair: RealPair) -> None:
    """The next run, undisturbed, makes both sides equal."""
    report = pair.run()
    assert (report.execution.status, report.problems, report.findings) == (Phase.SUCCESS, (), ())
    assert pair.second_plan() == []


def whole(found: dict[str, bytes], *allowed: dict[str, bytes]) -> None:
    """Every file holds exactly one of its contents."""
    for path, content in found.items():
        assert content in [files.get(path) for files in allowed], f"{path} is neither old nor new"


# -- writing -------------------------------------------------------------------------------------------------

PASSING_WHEN_WRITING: list[tuple[str, list[S3Fault]]] = [
    ("503 SlowDown for a while", [slow_down("PutObject", retry_after="0", nth=3, times=4)]),
    ("500 for one file", [answers("PutObject", 500, "InternalError", nth=5)]),
    ("a put is done and its answer lost", [loses_answer("PutObject", key="d1/*")]),
    (
        "a put is done and answered with 500",
        [answers("PutObject", 500, "InternalError", key="d1/*", carried_out=True)],
    ),
    ("a part is refused once", [slow_down("UploadPart", retry_after="0", nth=2)]),
    ("a part arrives and its answer is lost", [loses_answer("UploadPart", nth=2)]),
    ("the end of an upload fails inside 200", [fails_inside_200()]),
    ("the end of an upload is done and lost", [loses_answer("CompleteMultipartUpload")]),
    ("the end of an upload is done and told as a failure", [fails_inside_200(carried_out=True)]),
    ("an upload cannot begin at once", [slow_down("CreateMultipartUpload", retry_after="0")]),
    ("looking at a file fails once", [answers("HeadObject", 503, "SlowDown", nth=1)]),
]


@pytest.mark.parametrize(
    "faults", [faults for _, faults in PASSING_WHEN_WRITING], ids=[name for name, _ in PASSING_WHEN_WRITING]
)
def test_what_passes_while_writing_is_tried_again(faults: list[S3Fault], ground: Ground) -> None:
    write(ground.tree, FILES)
    ground.proxy.add(*faults)
    pair = ground.up()
    report = run_bounded(pair)
    ground.proxy.assert_all_fired()
    assert (report.execution.status, report.problems, report.findings) == (Phase.SUCCESS, (), ())
    assert ground.bucket() == FILES
    assert ground.uploads() == []
    assert pair.second_plan() == []


LASTING_WHEN_WRITING: list[tuple[str, str, S3Fault]] = [
    ("503 for one key", "d1/file 04", slow_down("PutObject", retry_after="0", key="d1/file 04", times=None)),
    (
        "a connection reset for one key",
        "d1/file 04",
        S3Fault("PutObject", "d1/file 04", times=None, lost=True),
    ),
    (
        "403 for one key",
        "d1/file 04",
        answers("PutObject", 403, "AccessDenied", key="d1/file 04", times=None),
    ),
    ("a part is never taken", "big", slow_down("UploadPart", retry_after="0", key="big", times=None)),
    ("an upload never ends", "big", fails_inside_200(key="big", times=None)),
]


@pytest.mark.parametrize(
    ("path", "fault"),
    [row[1:] for row in LASTING_WHEN_WRITING],
    ids=[row[0] for row in LASTING_WHEN_WRITING],
)
def test_what_lasts_while_writing_is_given_up_and_told(path: str, fault: S3Fault, ground: Ground) -> None:
    write(ground.tree, FILES)
    ground.proxy.add(fault)
    pair = ground.up()
    report = run_bounded(pair)
    ground.proxy.assert_all_fired()
    assert report.execution.status is Phase.ERROR
    assert [problem.path for problem in report.problems] == [path]
    assert report.problems[0].message
    assert ground.bucket() == {other: content for other, content in FILES.items() if other != path}
    assert ground.uploads() == []
    asked = [one for one in ground.proxy.log if fault.matches(one.asked)]
    assert len(asked) <= 60, "attempts are bounded"
    ground.proxy.script = type(ground.proxy.script)()
    assert_heals(pair)
    assert ground.bucket() == FILES


def test_an_upload_that_could_not_be_given_up_is_swept_by_the_next_run(ground: Ground) -> None:
    write(ground.tree, FILES)
    ground.proxy.add(
        fails_inside_200(key="big", times=None),
        answers("AbortMultipartUpload", 500, "InternalError", key="big", times=None),
    )
    pair = ground.up()
    assert run_bounded(pair).execution.status is Phase.ERROR
    ground.proxy.assert_all_fired()
    assert "big" not in ground.bucket()
    ground.proxy.script = type(ground.proxy.script)()
    assert_heals(pair)
    assert (ground.bucket(), ground.uploads()) == (FILES, [])


def test_a_replaced_file_is_old_or_new(ground: Ground) -> None:
    ground.fill_bucket(FILES)
    newer = {path: content[::-1] + b"!" for path, content in FILES.items()}
    write(ground.tree, newer)
    ground.proxy.add(
        S3Fault("PutObject", "d0/*", times=None, lost=True),
        answers("UploadPart", 500, "InternalError", key="big", times=None),
    )
    pair = ground.up()
    report = run_bounded(pair)
    ground.proxy.assert_all_fired()
    assert report.execution.status is Phase.ERROR
    found = ground.bucket()
    assert set(found) == set(FILES)
    whole(found, FILES, newer)
    assert (found["big"], found["d1/file 01"]) == (FILES["big"], newer["d1/file 01"])
    ground.proxy.script = type(ground.proxy.script)()
    assert_heals(pair)
    assert (ground.bucket(), ground.uploads()) == (newer, [])


def test_a_bit_that_flips_on_the_way_up_is_never_published(ground: Ground) -> None:
    content = b"\0" * 100_000
    write(ground.tree, {"only": content})
    with FaultProxy(ground.server.port, [flips(said=b"\0" * 4000, after_bytes=10, upward=True)]) as wire:
        pair = ground.pair(
            local(ground.tree), {**ground.direct, "endpoint_url": f"http://127.0.0.1:{wire.port}"}
        )
        report = run_bounded(pair)
    wire.assert_all_fired()
    found = ground.bucket()
    if report.execution.status is Phase.SUCCESS:
        assert found == {"only": content}
    else:
        assert found == {}


# -- reading -------------------------------------------------------------------------------------------------

PASSING_WHEN_READING: list[tuple[str, list[S3Fault]]] = [
    ("503 SlowDown for a while", [slow_down("GetObject", retry_after="0", nth=3, times=4)]),
    ("a body that ends early", [cuts_body(20, key="d1/*")]),
    ("a big body that ends early", [cuts_body(3_000_000, key="big")]),
    ("a body that is short and seems whole", [misstates_length(-10, key="d1/*")]),
    ("a big body that is short and seems whole", [misstates_length(-10, key="big")]),
    ("a length that is never reached", [misstates_length(10, key="d1/*")]),
    ("an answer that never comes", [S3Fault("GetObject", "d1/*", lost=True)]),
    ("another ETag than listed", [tells("GetObject", {"ETag": '"0"'}, key="d1/*")]),
]


@pytest.mark.parametrize(
    "faults", [faults for _, faults in PASSING_WHEN_READING], ids=[name for name, _ in PASSING_WHEN_READING]
)
def test_what_passes_while_reading_is_tried_again(faults: list[S3Fault], ground: Ground) -> None:
    ground.fill_bucket(FILES)
    ground.proxy.add(*faults)
    pair = ground.down()
    report = run_bounded(pair)
    ground.proxy.assert_all_fired()
    assert (report.execution.status, report.problems, report.findings) == (Phase.SUCCESS, (), ())
    assert ground.files() == FILES
    assert pair.second_plan() == []


@pytest.mark.parametrize(
    "fault", [cuts_body(20, key="d1/file 04", times=None), misstates_length(-9, key="d1/file 04", times=None)]
)
def test_a_body_that_always_ends_early_is_never_a_short_file(fault: S3Fault, ground: Ground) -> None:
    ground.fill_bucket(FILES)
    older = {"d1/file 04": b"older", "d1/file 07": b"older"}
    write(ground.tree, older)
    ground.proxy.add(fault)
    pair = ground.down()
    report = run_bounded(pair)
    ground.proxy.assert_all_fired()
    assert report.execution.status is Phase.ERROR
    assert [problem.path for problem in report.problems] == ["d1/file 04"]
    assert ground.files() == {**FILES, "d1/file 04": b"older"}
    ground.proxy.script = type(ground.proxy.script)()
    assert_heals(pair)
    assert ground.files() == FILES


def test_an_object_that_changes_while_it_is_read_is_the_old_or_the_new_one(ground: Ground) -> None:
    ground.fill_bucket(FILES)
    newer = BIG[::-1]
    ground.proxy.add(meanwhile("GetObject", lambda: ground.put("big", newer), key="big"))
    pair = ground.down()
    run_bounded(pair)
    ground.proxy.assert_all_fired()
    assert ground.files().get("big") in (None, newer)
    assert_heals(pair)
    assert ground.files() == {**FILES, "big": newer}


@pytest.mark.parametrize(
    ("description", "at_once", "broken"),
    [
        ("one request after the other", 1, {1: 2_000_000, 2: 2_000_000}),
        ("ranges side by side", 4, {1: 200_000}),
    ],
)
def test_a_connection_that_breaks_again_and_again_is_taken_up_again(
    ground: Ground, description: str, at_once: int, broken: dict[int, int]
) -> None:
    ground.fill_bucket(FILES)
    said = f"GET /{ground.direct['bucket']}/big".encode()
    faults = [resets(said=said, after_bytes=after_bytes, nth=nth) for nth, after_bytes in broken.items()]
    with FaultProxy(ground.server.port, faults) as wire:
        there = {
            **ground.direct,
            "endpoint_url": f"http://127.0.0.1:{wire.port}",
            "part_concurrency": at_once,
        }
        report = run_bounded(ground.pair(there, local(ground.tree)))
    wire.assert_all_fired()
    assert (report.execution.status, report.problems) == (Phase.SUCCESS, ())
    assert ground.files() == FILES


# -- listing -------------------------------------------------------------------------------------------------

LISTING_LIES: list[tuple[str, S3Fault]] = [
    ("a page fails", answers("ListObjectsV2", 500, "InternalError", nth=3, times=None)),
    ("a page's connection is reset", S3Fault("ListObjectsV2", nth=3, times=None, lost=True)),
    ("a page ends in the middle of its XML", edits("ListObjectsV2", truncated_xml, nth=3, times=None)),
    ("a page's body is cut", cuts_body(300, "ListObjectsV2", nth=3, times=None)),
    ("a page does not say where it goes on", edits("ListObjectsV2", without_token, nth=3, times=None)),
    ("keys twice", edits("ListObjectsV2", doubled, nth=3, times=None)),
    ("keys in another order", edits("ListObjectsV2", backwards, nth=3, times=None)),
    ("a key outside of what was asked for", edits("ListObjectsV2", outside, nth=3, times=None)),
    ("a negative size", edits("ListObjectsV2", unsized, nth=3, times=None)),
    ("no right to list", answers("ListObjectsV2", 403, "AccessDenied", nth=3, times=None)),
]
LIES = pytest.mark.parametrize(
    "fault", [fault for _, fault in LISTING_LIES], ids=[name for name, _ in LISTING_LIES]
)


@LIES
def test_a_source_listing_that_fails_or_lies_deletes_nothing(fault: S3Fault, ground: Ground) -> None:
    ground.fill_bucket(SMALL)
    there = {**SMALL, "extra": b"goes when all is known"}
    write(ground.tree, there)
    ground.proxy.add(fault)
    pair = ground.down()
    run_bounded(pair)
    ground.proxy.assert_all_fired()
    found = ground.files()
    assert set(SMALL) <= set(found), "deleted on doubt"
    assert found.keys() <= there.keys(), "what the source never had"
    whole(found, there)
    ground.proxy.script = type(ground.proxy.script)()
    assert_heals(pair)
    assert ground.files() == SMALL


@LIES
def test_a_destination_listing_that_fails_or_lies_destroys_nothing(fault: S3Fault, ground: Ground) -> None:
    there = {**SMALL, "extra": b"goes when all is known"}
    ground.fill_bucket(there)
    write(ground.tree, {**SMALL, "new": b"new"})
    ground.proxy.add(fault)
    pair = ground.up()
    run_bounded(pair)
    ground.proxy.assert_all_fired()
    found = ground.bucket()
    assert set(SMALL) <= set(found)
    whole(found, there, {"new": b"new"})
    ground.proxy.script = type(ground.proxy.script)()
    assert_heals(pair)
    assert ground.bucket() == {**SMALL, "new": b"new"}


def test_one_failing_page_is_asked_for_again(ground: Ground) -> None:
    ground.fill_bucket(SMALL)
    write(ground.tree, {"extra": b"goes"})
    ground.proxy.add(
        answers("ListObjectsV2", 500, "InternalError", nth=3),
        slow_down("ListObjectsV2", nth=5, retry_after="0"),
    )
    report = run_bounded(ground.down())
    ground.proxy.assert_all_fired()
    assert (report.execution.status, report.problems) == (Phase.SUCCESS, ())
    assert ground.files() == SMALL


# -- the service as a whole ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (answers("*", 403, "InvalidAccessKeyId", times=None), "InvalidAccessKeyId"),
        (answers("*", 403, "SignatureDoesNotMatch", times=None), "SignatureDoesNotMatch"),
        (skewed(times=None), "clock"),
        (answers("*", 404, "NoSuchBucket", times=None), "bucket"),
    ],
)
def test_a_service_that_refuses_is_told_with_its_reason(fault: S3Fault, said: str, ground: Ground) -> None:
    write(ground.tree, SMALL)
    ground.proxy.add(fault)
    for pair in (ground.up(), ground.down()):
        with pytest.raises(LocationUnavailableError) as raised:
            pair.plan()
        assert said.lower() in str(raised.value).lower()
        assert ground.server.secret_key not in str(raised.value)
        report = run_bounded(pair)
        assert report.execution.exit_code == 7
    assert ground.files() == SMALL
    assert ground.bucket() == {}


def test_a_wrong_key_is_refused_by_a_server_that_checks(ceph: S3Endpoint, tmp_path: Path) -> None:
    from runner.model.task import Secret

    write(tmp_path / "tree", SMALL)
    wrong = {**ceph.location(type="s3"), "secret_access_key": Secret("not the right one", "test")}
    for number, (source, destination) in enumerate(
        ((local(tmp_path / "tree"), wrong), (wrong, local(tmp_path / "tree")))
    ):
        (tmp_path / f"state{number}").mkdir()
        report = run_bounded(RealPair(tmp_path / f"state{number}", source, destination))
        assert report.execution.exit_code == 7
        assert "not the right one" not in repr(report)
    assert {path.name for path in (tmp_path / "tree").rglob("file*")} == {Path(path).name for path in SMALL}


def test_a_gateway_that_is_killed_in_the_middle_and_comes_back(ceph: S3Endpoint, tmp_path: Path) -> None:
    ground = Ground(ceph, tmp_path, keys_a_page=None)
    try:
        files = {f"d{number % 5}/file {number:03}": b"%d" % number * 2000 for number in range(120)}
        write(ground.tree, files)
        assert ceph.start_again is not None
        ground.proxy.add(meanwhile("PutObject", ceph.start_again, nth=40))
        pair = ground.up(retry_delay_seconds=0.2)
        report = run_bounded(pair)
        ground.proxy.assert_all_fired()
        assert [problem.message for problem in report.problems] == []
        assert (report.execution.status, report.findings) == (Phase.SUCCESS, ())
        assert contents(ground.direct) == files
        assert pair.second_plan() == []
        assert ground.uploads() == []
    finally:
        ground.close()


def test_slow_down_is_answered_by_waiting_as_long_as_told(ground: Ground) -> None:
    write(ground.tree, {"only": b"only"})
    ground.proxy.add(slow_down("PutObject", retry_after="2", times=1))
    started = time.monotonic()
    report = run_bounded(ground.up())
    assert report.execution.status is Phase.SUCCESS
    assert time.monotonic() - started > 2
    assert ground.bucket() == {"only": b"only"}
