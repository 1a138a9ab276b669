"""Signatures, addresses, replies and refusals: nothing here needs a server."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner_plugins.objects.client import ConditionFailedError
from runner_plugins.s3 import replies
from runner_plugins.s3.credentials import Keys, key_source
from runner_plugins.s3.driver import OBJECT_STORAGE, S3
from runner_plugins.s3.faults import refusal
from runner_plugins.s3.options import S3Options
from runner_plugins.s3.signing import Signer, query_string, quote_key
from runner_plugins.s3.wire import Address

from runner.errors import Disposition, EntryCode, EntryError, LocationUnavailableError
from runner.locations.protocol import OpenSettings
from runner.model.task import LocationSettings, Secret
from runner.testing.fake_clock import FakeClock

KEYS = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


def settings(type_name: str = "s3", **options: Any) -> LocationSettings:
    return LocationSettings("tested", type_name, {"bucket": "acme", **options}, "/base")


class At(FakeClock):
    def now(self) -> datetime:
        return datetime(2013, 5, 24, tzinfo=UTC)


# -- signatures: the examples of the Amazon S3 API reference ---------------------------------------------------


def signed(method: str, path: str, query: str, headers: dict[str, str], body: bytes | None = None) -> str:
    sent = {"host": "examplebucket.s3.amazonaws.com", **headers}
    Signer("us-east-1", At()).sign(method, path, query, sent, KEYS, body, hash_body=True)
    return sent["authorization"].rpartition("Signature=")[2]


def test_a_get_is_signed_as_in_the_reference() -> None:
    assert (
        signed("GET", "/test.txt", "", {"range": "bytes=0-9"})
        == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


def test_a_put_is_signed_as_in_the_reference() -> None:
    headers = {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"}
    assert (
        signed("PUT", "/test%24file.text", "", headers, b"Welcome to Amazon S3.")
        == "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    )


def test_a_listing_is_signed_as_in_the_reference() -> None:
    query = query_string([("prefix", "J"), ("max-keys", "2")])
    assert signed("GET", "/", query, {}) == "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"


def test_an_anonymous_request_is_not_signed() -> None:
    sent = {"host": "h"}
    Signer("us-east-1", At()).sign("GET", "/", "", sent, None, None, hash_body=True)
    assert sent == {"host": "h"}


@given(st.text())
def test_every_key_has_a_request_line_of_its_own(key: str) -> None:
    quoted = quote_key(key)
    assert quoted.isascii() and not set(quoted) & set(" \r\n?#%") - {"%"}
    assert replies.unquoted_key(quoted.replace("+", "%2B")) == key.encode("utf-8", "surrogatepass").decode(
        "utf-8", "surrogateescape"
    )


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n")))
def test_metadata_values_come_back(value: str) -> None:
    text = replies.header_text(value)
    assert text.isascii() and "\n" not in text and "\r" not in text
    if "=?" not in value:
        assert replies.plain_text(text) == value


# -- addresses -------------------------------------------------------------------------------------------------

ADDRESSES = [
    ("Amazon", {}, Address("acme.s3.us-east-1.amazonaws.com", 443, True), "/"),
    (
        "another region",
        {"region": "eu-central-1"},
        Address("acme.s3.eu-central-1.amazonaws.com", 443, True),
        "/",
    ),
    ("dots", {"bucket": "a.b.c"}, Address("s3.us-east-1.amazonaws.com", 443, True), "/a.b.c/"),
    ("a server", {"endpoint_url": "http://h:9000"}, Address("h", 9000, False), "/acme/"),
    ("IPv6", {"endpoint_url": "http://[::1]:9000"}, Address("::1", 9000, False), "/acme/"),
    ("a folder", {"endpoint_url": "https://h/s3/"}, Address("h", 443, True), "/s3/acme/"),
    ("virtual", {"endpoint_url": "https://h", "addressing": "virtual"}, Address("acme.h", 443, True), "/"),
]


@pytest.mark.parametrize(
    ("options", "address", "base"), [row[1:] for row in ADDRESSES], ids=[row[0] for row in ADDRESSES]
)
def test_where_requests_go(options: dict[str, Any], address: Address, base: str) -> None:
    made = S3Options.of(settings(**options))
    assert (made.address, made.base_path) == (address, base)


def test_the_host_header_names_ports_only_where_needed() -> None:
    assert Address("h", 443, True).authority == "h"
    assert Address("h", 80, True).authority == "h:80"
    assert Address("::1", 9000, False).authority == "[::1]:9000"


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ({}, {}, True),
        ({"prefix": "a"}, {"prefix": "a/b"}, True),
        ({"prefix": "a"}, {"prefix": "ab"}, False),
        ({"prefix": "a"}, {"prefix": "b"}, False),
        ({}, {"endpoint_url": "http://h"}, False),
        ({"endpoint_url": "https://h"}, {"endpoint_url": "https://h:443/"}, True),
    ],
)
def test_overlaps(left: dict[str, Any], right: dict[str, Any], expected: bool) -> None:
    assert S3.overlaps(settings(**left), settings(**right)) is expected


def test_a_bucket_s_root_is_wide() -> None:
    assert S3.wide_root(settings()) is not None
    assert S3.wide_root(settings(prefix="a")) is None
    assert S3.wide_root(settings(whole_bucket=True)) is None


def test_secrets_are_shown_nowhere() -> None:
    secret = Secret("s3cr3t-value", "ref")
    one = settings(access_key_id=secret, secret_access_key=secret, endpoint_url="https://h")
    options = S3Options.of(one)
    shown = [
        repr(options),
        repr(Keys("s3cr3t-value", "s3cr3t-value")),
        S3.describe(one),
        str(S3.capabilities(one)),
    ]
    assert not any("s3cr3t" in text for text in shown)
    assert S3.describe(one) == "s3://acme/ at h"


# -- credentials -----------------------------------------------------------------------------------------------


@pytest.fixture
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No credentials anywhere, and a network that fails the test."""
    for name in (
        "ACCESS_KEY_ID",
        "SECRET_ACCESS_KEY",
        "SESSION_TOKEN",
        "PROFILE",
        "ROLE_ARN",
        "WEB_IDENTITY_TOKEN_FILE",
    ):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/asked")

    def asked(*_: object) -> None:
        raise AssertionError("a metadata service was asked")

    monkeypatch.setattr("socket.socket.connect", asked)
    return tmp_path


def source_of(**options: Any) -> Any:
    return key_source(S3Options.of(settings(**options)), "s3://acme/")


@pytest.mark.parametrize("credentials", ["auto", "environment", "profile", "web_identity"])
def test_without_credentials_nobody_is_asked(nothing_set: Path, credentials: str) -> None:
    with pytest.raises(LocationUnavailableError, match="no credentials"):
        source_of(credentials=credentials)


def test_keys_given_are_used(nothing_set: Path) -> None:
    keys = source_of(access_key_id=Secret("a", "r"), secret_access_key=Secret("b", "r"))()
    assert (keys.access_key_id, keys.secret_access_key, keys.session_token) == ("a", "b", None)
    assert source_of(credentials="anonymous")() is None


def test_the_environment_is_used(nothing_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "c")
    keys = source_of()()
    assert (keys.access_key_id, keys.secret_access_key, keys.session_token) == ("a", "b", "c")


def test_a_profile_is_used(nothing_set: Path) -> None:
    (nothing_set / "credentials").write_text(
        "[default]\naws_access_key_id = d\naws_secret_access_key = e\n"
        "[backup]\naws_access_key_id = x\naws_secret_access_key = y\n"
    )
    assert source_of()().access_key_id == "d"
    assert source_of(profile="backup")().access_key_id == "x"
    with pytest.raises(LocationUnavailableError):
        source_of(profile="no such profile")


# -- refusals --------------------------------------------------------------------------------------------------

REFUSALS = [
    ("no such key", 404, "NoSuchKey", EntryCode.NOT_FOUND, Disposition.SKIP),
    ("no right", 403, "AccessDenied", EntryCode.PERMISSION_DENIED, Disposition.SKIP),
    ("no body", 403, "", EntryCode.PERMISSION_DENIED, Disposition.SKIP),
    ("too many requests", 503, "SlowDown", EntryCode.TIMEOUT, Disposition.RETRY),
    ("a proxy's answer", 502, "", EntryCode.TIMEOUT, Disposition.RETRY),
    ("429", 429, "", EntryCode.TIMEOUT, Disposition.RETRY),
    ("an internal error", 500, "InternalError", EntryCode.TIMEOUT, Disposition.RETRY),
    ("archived", 403, "InvalidObjectState", EntryCode.LOCKED, Disposition.SKIP),
    ("damaged on the way", 400, "BadDigest", EntryCode.CHECKSUM_FAILURE, Disposition.RETRY),
    ("a long key", 400, "KeyTooLongError", EntryCode.NAME_NOT_ALLOWED, Disposition.SKIP),
    ("the quota", 403, "QuotaExceeded", EntryCode.NO_SPACE, Disposition.ABORT),
    ("one that is too large", 400, "EntityTooLarge", EntryCode.NO_SPACE, Disposition.SKIP),
    ("not made yet", 501, "NotImplemented", EntryCode.IO_ERROR, Disposition.SKIP),
    ("a bad range", 416, "InvalidRange", EntryCode.CHANGED_DURING_TRANSFER, Disposition.RETRY),
]


@pytest.mark.parametrize(
    ("status", "code", "expected", "disposition"),
    [row[1:] for row in REFUSALS],
    ids=[row[0] for row in REFUSALS],
)
def test_what_a_refusal_means(status: int, code: str, expected: EntryCode, disposition: Disposition) -> None:
    error = refusal(status, code, "", {}, "a\x1b[31m", "read")
    assert isinstance(error, EntryError)
    assert (error.entry_code, error.disposition) == (expected, disposition)
    assert "\x1b" not in error.message


@pytest.mark.parametrize("status", [304, 412])
def test_a_condition_that_fails(status: int) -> None:
    assert isinstance(refusal(status, "", "", {}, "a", "read"), ConditionFailedError)


def test_a_wait_that_is_told_is_passed_on() -> None:
    error = refusal(503, "SlowDown", "", {"retry-after": "7"}, "a", "read")
    assert isinstance(error, EntryError) and error.retry_after_seconds == 7.0


def test_another_region_is_named() -> None:
    error = refusal(301, "PermanentRedirect", "", {"x-amz-bucket-region": "eu-west-1"}, "", "list")
    assert isinstance(error, EntryError) and "region: eu-west-1" in error.message


# -- replies ---------------------------------------------------------------------------------------------------


def page(contents: str, more: str = "<IsTruncated>false</IsTruncated>") -> bytes:
    return (
        '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<EncodingType>url</EncodingType>{more}{contents}</ListBucketResult>"
    ).encode()


ONE = (
    "<Contents><Key>a%2Fb+c%0A</Key><Size>3</Size><ETag>&quot;e&quot;</ETag>"
    "<LastModified>2026-11-22T22:21:00.123Z</LastModified></Contents>"
)


def test_a_listing_is_read() -> None:
    found = replies.page_of(page(ONE), None)
    assert found.next is None
    assert [(one.key, one.size_bytes, one.etag) for one in found.objects] == [("a/b c\n", 3, "e")]
    assert found.objects[0].modified_ns == 1_795_386_060_123_000_000


def test_a_key_that_looks_like_a_namespace_stays() -> None:
    plain = page('<Contents><Key>a xmlns="b"</Key><Size>1</Size></Contents>')
    plain = plain.replace(b"<EncodingType>url</EncodingType>", b"").replace(
        b' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"', b""
    )
    assert replies.page_of(plain, None).objects[0].key == 'a xmlns="b"'


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html>",
        b"<html></html>",
        page(ONE)[:-20],
        page(ONE, ""),
        page(ONE, "<IsTruncated>true</IsTruncated>"),
        page("<Contents><Size>3</Size></Contents>"),
        page("<Contents><Key>a</Key></Contents>"),
        page("<Contents><Key>a</Key><Size>-3</Size></Contents>"),
        b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;">]><ListBucketResult>&undefined;</ListBucketResult>',
    ],
)
def test_what_is_no_listing_is_not_taken_for_one(document: bytes) -> None:
    with pytest.raises(replies.ReplyError):
        replies.page_of(document, None)


def test_archived_objects_are_known() -> None:
    headers = {"x-amz-storage-class": "GLACIER"}
    assert replies.facts_of_headers("a", headers, 1).readable is False
    headers["x-amz-restore"] = 'ongoing-request="true"'
    assert replies.facts_of_headers("a", headers, 1).readable is False
    headers["x-amz-restore"] = 'ongoing-request="false", expiry-date="Fri, 21 Dec 2029 00:00:00 GMT"'
    assert replies.facts_of_headers("a", headers, 1).readable is True


def test_no_route_is_told_at_once() -> None:
    options = {"endpoint_url": "http://127.0.0.1:1", "credentials": "anonymous"}
    with pytest.raises(LocationUnavailableError, match=r"127\.0\.0\.1:1"):
        OBJECT_STORAGE.open(settings("object_storage", **options), OpenSettings(), create=False)
