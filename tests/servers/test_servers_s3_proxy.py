"""The S3 fault proxy passes everything through unchanged but what is scripted, and keeps signatures valid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from servers.s3_endpoint import S3Endpoint, s3_client
from servers.s3_fault_proxy import S3FaultProxy
from servers.s3_faults import (
    answers,
    backwards,
    cuts_body,
    doubled,
    edits,
    emptied,
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

pytestmark = pytest.mark.servers

BLOB = bytes(range(256)) * 4096


class Behind:
    """A bucket behind a proxy, and boto3 clients on both sides of it."""

    def __init__(self, server: S3Endpoint) -> None:
        self.server = server
        self.bucket = server.new_bucket()
        self.proxy = S3FaultProxy(server.port)
        self.proxy.__enter__()
        self.client = s3_client(self.proxy.endpoint, server.access_key, server.secret_key)

    def close(self) -> None:
        self.client.close()
        self.proxy.__exit__(None, None, None)

    def put(self, key: str, body: bytes = b"content", **more: Any) -> Any:
        return self.client.put_object(Bucket=self.bucket, Key=key, Body=body, **more)

    def get(self, key: str) -> bytes:
        body: bytes = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return body

    def keys(self) -> list[str]:
        page = self.client.list_objects_v2(Bucket=self.bucket)
        return [found["Key"] for found in page.get("Contents", [])]


@pytest.fixture
def behind(ministack: S3Endpoint) -> Iterator[Behind]:
    made = Behind(ministack)
    yield made
    made.close()


def test_signatures_stay_valid_and_every_byte_passes(ceph: S3Endpoint) -> None:
    made = Behind(ceph)
    try:
        made.put("a b/ü+%", BLOB, Metadata={"one": "two"})
        assert made.get("a b/ü+%") == BLOB
        assert made.keys() == ["a b/ü+%"]
        upload = made.client.create_multipart_upload(Bucket=made.bucket, Key="m")["UploadId"]
        part = made.client.upload_part(Bucket=made.bucket, Key="m", UploadId=upload, PartNumber=1, Body=BLOB)
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        made.client.complete_multipart_upload(
            Bucket=made.bucket, Key="m", UploadId=upload, MultipartUpload=parts
        )
        assert made.get("m") == BLOB
        made.client.copy_object(Bucket=made.bucket, Key="c", CopySource={"Bucket": made.bucket, "Key": "m"})
        made.client.delete_object(Bucket=made.bucket, Key="m")
        head = made.client.head_object(Bucket=made.bucket, Key="c")
        assert head["ContentLength"] == len(BLOB)
    finally:
        made.close()
    assert dict(made.proxy.counts()) == {
        "PutObject": 1,
        "GetObject": 2,
        "ListObjectsV2": 1,
        "CreateMultipartUpload": 1,
        "UploadPart": 1,
        "CompleteMultipartUpload": 1,
        "CopyObject": 1,
        "DeleteObject": 1,
        "HeadObject": 1,
    }


def test_slow_down_and_skew_are_answered_and_nothing_is_done(behind: Behind) -> None:
    behind.proxy.add(slow_down("PutObject", times=2), skewed("GetObject", key="a"))
    for _ in range(2):
        with pytest.raises(ClientError, match="SlowDown") as raised:
            behind.put("a")
        assert raised.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"
    assert behind.keys() == []
    behind.put("a")
    with pytest.raises(ClientError, match="RequestTimeTooSkewed"):
        behind.get("a")
    assert behind.get("a") == b"content"
    behind.proxy.assert_all_fired()


def test_a_lost_answer_has_been_carried_out(behind: Behind) -> None:
    behind.proxy.add(
        loses_answer("PutObject"), answers("DeleteObject", 500, "InternalError", carried_out=True)
    )
    with pytest.raises(BotoCoreError):
        behind.put("a")
    assert behind.keys() == ["a"]
    with pytest.raises(ClientError, match="InternalError"):
        behind.client.delete_object(Bucket=behind.bucket, Key="a")
    assert behind.keys() == []
    behind.proxy.assert_all_fired()


def test_bodies_that_end_early_or_lie_about_their_length(behind: Behind) -> None:
    behind.put("a", BLOB)
    behind.proxy.add(
        cuts_body(1000),
        misstates_length(-10, nth=2),
        misstates_length(10, nth=3),
        tells("HeadObject", {"ETag": '"x"'}),
    )
    with pytest.raises(BotoCoreError):
        behind.get("a")
    assert behind.get("a") == BLOB[:-10]
    with pytest.raises(BotoCoreError):
        behind.get("a")
    assert behind.get("a") == BLOB
    assert behind.client.head_object(Bucket=behind.bucket, Key="a")["ETag"] == '"x"'
    behind.proxy.assert_all_fired()


def test_listings_that_lie(behind: Behind) -> None:
    for key in ("a", "b", "c"):
        behind.put(key)
    lies = (doubled, backwards, emptied, outside)
    behind.proxy.add(*(edits("ListObjectsV2", lie, nth=number) for number, lie in enumerate(lies, 1)))
    assert behind.keys() == ["a", "a", "b", "b", "c", "c"]
    assert behind.keys() == ["c", "b", "a"]
    assert behind.keys() == []
    assert behind.keys() == ["!outside/key", "b", "c"]
    behind.proxy.add(edits("ListObjectsV2", without_token))
    page = behind.client.list_objects_v2(Bucket=behind.bucket)
    assert page["IsTruncated"] is True and "NextContinuationToken" not in page
    behind.proxy.add(edits("ListObjectsV2", unsized))
    assert behind.client.list_objects_v2(Bucket=behind.bucket)["Contents"][0]["Size"] == -1
    behind.proxy.add(edits("ListObjectsV2", truncated_xml))
    with pytest.raises((ClientError, BotoCoreError)):
        behind.keys()
    behind.proxy.assert_all_fired()


def test_completing_fails_inside_a_success(behind: Behind) -> None:
    behind.proxy.add(fails_inside_200())
    upload = behind.client.create_multipart_upload(Bucket=behind.bucket, Key="m")["UploadId"]
    part = behind.client.upload_part(Bucket=behind.bucket, Key="m", UploadId=upload, PartNumber=1, Body=b"x")
    with pytest.raises(ClientError, match="InternalError"):
        behind.client.complete_multipart_upload(
            Bucket=behind.bucket,
            Key="m",
            UploadId=upload,
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
        )
    assert behind.keys() == []
    behind.proxy.assert_all_fired()


def test_another_client_acts_in_between(behind: Behind) -> None:
    behind.put("a", b"old")

    def replace() -> None:
        with behind.server.client() as client:
            client.put_object(Bucket=behind.bucket, Key="a", Body=b"new")

    behind.proxy.add(meanwhile("GetObject", replace, nth=2))
    assert [behind.get("a"), behind.get("a")] == [b"old", b"new"]
    behind.proxy.assert_all_fired()


def test_a_fault_that_never_fired_fails_the_test(behind: Behind) -> None:
    behind.proxy.add(slow_down("CopyObject"))
    with pytest.raises(AssertionError, match="CopyObject"):
        behind.proxy.assert_all_fired()
