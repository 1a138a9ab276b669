"""The S3 servers of the tests start, answer and tell which of S3's conditions they keep."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from servers.s3_endpoint import S3Endpoint, s3_client

pytestmark = pytest.mark.servers

SERVERS = ("ministack", "ceph", "rclone_s3")


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> S3Endpoint:
    endpoint: S3Endpoint = request.getfixturevalue(request.param)
    return endpoint


def test_an_object_comes_back_as_it_was_put(server: S3Endpoint) -> None:
    bucket = server.new_bucket()
    with server.client() as client:
        client.put_object(Bucket=bucket, Key="a/b", Body=b"content")
        assert client.get_object(Bucket=bucket, Key="a/b")["Body"].read() == b"content"
        assert [found["Key"] for found in client.list_objects_v2(Bucket=bucket)["Contents"]] == ["a/b"]


@pytest.mark.parametrize(("name", "keeps"), [("ministack", True), ("ceph", True), ("rclone_s3", False)])
def test_which_server_keeps_the_condition_that_nothing_stands_there(
    name: str, keeps: bool, request: pytest.FixtureRequest
) -> None:
    server: S3Endpoint = request.getfixturevalue(name)
    bucket = server.new_bucket()
    with server.client() as client:
        client.put_object(Bucket=bucket, Key="a", Body=b"first")
        try:
            client.put_object(Bucket=bucket, Key="a", Body=b"second", IfNoneMatch="*")
            refused = False
        except ClientError as error:
            refused = error.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert refused is keeps


@pytest.mark.parametrize(("name", "checks"), [("ministack", False), ("ceph", True), ("rclone_s3", True)])
def test_which_server_checks_signatures(name: str, checks: bool, request: pytest.FixtureRequest) -> None:
    server: S3Endpoint = request.getfixturevalue(name)
    client = s3_client(server.endpoint, server.access_key, "another-secret")
    try:
        if checks:
            with pytest.raises(ClientError, match=r"SignatureDoesNotMatch|AccessDenied|403"):
                client.list_buckets()
        else:
            client.list_buckets()
    finally:
        client.close()


def test_the_gateway_comes_back_with_its_objects(ceph: S3Endpoint) -> None:
    bucket = ceph.new_bucket()
    with ceph.client() as client:
        client.put_object(Bucket=bucket, Key="a", Body=b"kept")
    assert ceph.start_again is not None
    ceph.start_again()
    with ceph.client() as client:
        assert client.get_object(Bucket=bucket, Key="a")["Body"].read() == b"kept"
