"""What only Google Cloud Storage has: sessions, generations, content encodings, service accounts."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runner_plugins.gcs.client import GOOGLE, OTHER, GcsClient, GcsSettings
from runner_plugins.gcs.credentials import token_source
from runner_plugins.gcs.driver import DRIVER
from runner_plugins.gcs.requests import Requests
from runner_plugins.gcs.resources import ObjectResource, digests_of, instant_ns, patched
from runner_plugins.objects.client import Condition, ConditionFailedError, Description, ObjectFacts
from runner_plugins.objects.rest import Rest
from servers.real_pair import opened
from servers.serve_fake_gcs import FakeGcs

from runner.errors import EntryCode, EntryError, LocationUnavailableError
from runner.model.entry import Attributes, Entry, Kind
from runner.model.task import LocationSettings, Secret
from runner.testing.conformance_base import Meter, content_of, file_entry, listed, put_file, stated

ALL = DRIVER.capabilities(LocationSettings("x", "gcs", {"bucket": "xxx"}, "/")).attributes
KIB = 1024


@pytest.fixture
def client(fake_gcs: FakeGcs) -> Iterator[GcsClient]:
    rest = Rest(fake_gcs.endpoint, timeout_seconds=30)
    made = GcsClient(Requests(rest, lambda: None, fake_gcs.new_bucket()), GcsSettings())
    yield made
    made.close()


def content(client: GcsClient, key: str) -> bytes:
    with client.get(key) as stream:
        return b"".join(bytes(chunk) for chunk in stream)


@pytest.mark.servers
@pytest.mark.parametrize(
    "sizes",
    [
        [0],
        [1],
        [256 * KIB],
        [256 * KIB, 1],
        [300 * KIB, 300 * KIB, 5],
        [512 * KIB, 512 * KIB],
        [100, 100, 100],
    ],
)
def test_sessions_take_parts_of_any_size(client: GcsClient, sizes: list[int]) -> None:
    """Google wants multiples of 256 KiB: what is over waits for the next part."""
    bodies = [os.urandom(size) for size in sizes]
    upload = client.begin_upload("a", Description(metadata=(("k", "v"),)), Condition(absent=True))
    parts = [client.put_part(upload, number, body) for number, body in enumerate(bodies, 1)]
    assert client.head("a") is None
    client.complete_upload(upload, parts, Description(metadata=(("k", "v"),)), Condition(absent=True))
    assert content(client, "a") == b"".join(bodies)
    facts = client.head("a")
    assert facts is not None and facts.metadata == (("k", "v"),)


@pytest.mark.servers
def test_a_session_that_is_given_up_leaves_nothing(client: GcsClient) -> None:
    upload = client.begin_upload("a", Description())
    client.put_part(upload, 1, b"x" * 300 * KIB)
    client.abort_upload(upload)
    client.abort_upload(upload)
    assert client.head("a") is None
    with pytest.raises(EntryError) as caught:
        list(client.list_parts(upload))
    assert caught.value.entry_code is EntryCode.NOT_FOUND


@pytest.mark.servers
def test_conditions_hold_also_where_the_server_ignores_them(client: GcsClient) -> None:
    client.put("a", b"content", Description())
    facts = client.head("a")
    assert facts is not None
    other = Condition(etag="1.1")
    upload = client.begin_upload("a", Description())
    part = client.put_part(upload, 1, b"part")
    for attempt in (
        lambda: client.put("a", b"new", Description(), Condition(absent=True)),
        lambda: client.put("a", b"new", Description(), other),
        lambda: client.complete_upload(upload, [part], Description(), Condition(absent=True)),
        lambda: client.complete_upload(upload, [part], Description(), other),
        lambda: client.delete("a", "1.1"),
        lambda: client.describe(facts, Description(metadata=(("x", "1"),)), other),
        lambda: client.copy(client, facts, "a", None, Condition(absent=True)),
        lambda: client.get("a", if_etag="1.1"),
    ):
        with pytest.raises(ConditionFailedError):
            attempt()
    assert content(client, "a") == b"content"


@pytest.mark.servers
def test_content_that_is_stored_packed_comes_as_it_is_stored(fake_gcs: FakeGcs) -> None:
    """Google unpacks `Content-Encoding: gzip` for clients that do not ask for gzip."""
    import gzip

    packed = gzip.compress(b"content" * 1000)
    headers = (("content-encoding", "gzip"), ("content-type", "text/plain"))
    with opened(fake_gcs.location(), create=True, attributes=ALL) as location:
        entry = file_entry("a", packed, Attributes(content_headers=headers))
        location.put(entry, [packed], None, Meter())
        assert content_of(location, "a") == packed
        found = stated(location, "a")
        assert found.attributes is not None and found.attributes.content_headers == headers
        assert b"".join(bytes(chunk) for chunk in location.read(found, 10)) == packed[10:]


@pytest.mark.servers
@pytest.mark.parametrize("key", ["../e", "ok/../../e", "//x", "a//b", "a/./c", ".", "..", "/abs"])
def test_keys_that_are_no_paths_are_problems_and_never_files(fake_gcs: FakeGcs, key: str) -> None:
    bucket = fake_gcs.new_bucket()
    fake_gcs.put(bucket, key, b"hostile")
    fake_gcs.put(bucket, "fine", b"fine")
    with opened(fake_gcs.location(bucket=bucket)) as location:
        found = list(location.scan())
        assert [one.path for one in found if isinstance(one, Entry) and one.kind is Kind.FILE] == ["fine"]
        problems = [one for one in found if not isinstance(one, Entry)]
        assert [one.code for one in problems] == [EntryCode.NAME_NOT_ALLOWED]


@pytest.mark.servers
def test_the_listing_is_in_the_order_of_utf_8(fake_gcs: FakeGcs) -> None:
    bucket = fake_gcs.new_bucket()
    names = ["\U0001f600", "\ue000x", "\uffee", "z", "z-", "z/a", "\u00e9", "a b", "%2e", "a?b", "a#b", "a+b"]
    for name in names:
        fake_gcs.put(bucket, name, b"x")
    with opened(fake_gcs.location(bucket=bucket)) as location:
        assert listed(location) == sorted(["z/", *names], key=str.encode)
        assert [one.path for one in location.scan()][1:] == sorted(["z/", *names], key=str.encode)


@pytest.mark.servers
def test_a_session_elsewhere_is_not_followed(client: GcsClient) -> None:
    with pytest.raises(EntryError, match="another address"):
        client._requests.session_target("http://127.0.0.2:1/upload?upload_id=x", "a")


@pytest.mark.servers
def test_a_bucket_is_made_when_that_is_allowed(fake_gcs: FakeGcs) -> None:
    options = fake_gcs.location(bucket=f"made-{os.getpid()}", create_bucket=True, project="p")
    with opened(options, create=True) as location:
        put_file(location, "a")
    with opened(options) as location:
        assert listed(location) == ["a"]


# -- without a server ----------------------------------------------------------------------------------------


def service_account() -> dict[str, Any]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "k1",
        "private_key": pem.decode(),
        "client_email": "runner@p.iam.gserviceaccount.com",
        "client_id": "1",
        # Whoever asked for a token there would fail.
        "token_uri": "http://127.0.0.1:9/token",
    }


def settings(**options: Any) -> LocationSettings:
    return LocationSettings("cloud", "gcs", {"bucket": "bbb", **options}, "/")


def test_a_service_account_signs_for_itself(tmp_path: Path) -> None:
    account = service_account()
    file = tmp_path / "key.json"
    file.write_text(json.dumps(account))
    for one in (
        settings(service_account_file=str(file)),
        settings(service_account_key=Secret(json.dumps(account), "test")),
    ):
        token, whose = token_source(one)
        text = token()
        assert text is not None and token() == text
        head, claims, _ = text.split(".")
        said = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        assert said["iss"] == said["sub"] == whose == account["client_email"]
        assert said["scope"] == "https://www.googleapis.com/auth/cloud-platform"
        assert json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"] == "k1"


@pytest.mark.parametrize("text", ["{", "{}", '{"type": "service_account", "private_key": "hush"}'])
def test_a_key_that_is_none_is_told_without_showing_it(text: str) -> None:
    with pytest.raises(LocationUnavailableError, match="not the JSON") as caught:
        token_source(settings(service_account_key=Secret(text, "test")))
    assert caught.value.__cause__ is None and "hush" not in str(caught.value)


def test_a_key_file_that_is_missing() -> None:
    with pytest.raises(LocationUnavailableError, match="cannot read"):
        token_source(settings(service_account_file="/none/such.json"))


@pytest.mark.parametrize(
    ("url", "features"),
    [
        ("https://storage.googleapis.com", GOOGLE),
        ("https://storage-private.p.googleapis.com", GOOGLE),
        ("https://storage.googleapis.com.evil.example", OTHER),
        ("https://evilgoogleapis.com", OTHER),
        ("http://127.0.0.1:4443", OTHER),
    ],
)
def test_only_google_is_trusted_to_keep_conditions(url: str, features: object) -> None:
    client = GcsClient(Requests(Rest(url, timeout_seconds=1), lambda: None, "b"), GcsSettings())
    assert client.features is features
    client.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-22T22:32:20.870175Z", 1795386740_870175000),
        ("2026-11-22T22:32:20.1Z", 1795386740_100000000),
        ("2026-11-22T22:32:20.123456789Z", 1795386740_123456789),
        ("2026-11-22T23:32:20+01:00", 1795386740_000000000),
        ("", None),
        (None, None),
        ("yesterday", None),
    ],
)
def test_instants(text: str | None, expected: int | None) -> None:
    assert instant_ns(text) == expected


def test_a_patch_says_only_what_differs() -> None:
    present = ObjectFacts(
        "a",
        1,
        metadata=(("gone", "1"), ("same", "2")),
        headers=(("content-type", "a/b"), ("cache-control", "x")),
    )
    described = Description(metadata=(("new", "3"), ("same", "2")), headers=(("content-type", "c/d"),))
    assert patched(present, described) == {
        "cacheControl": None,
        "contentType": "c/d",
        "metadata": {"gone": None, "new": "3"},
    }
    assert patched(present, Description(present.metadata or (), present.headers or ())) == {}


def test_a_resource_tells_no_secret() -> None:
    assert "hush" not in repr(settings(access_token=Secret("hush", "test")))
    assert ObjectResource("a").size == "0"


def test_a_digest_that_is_no_base64_is_none() -> None:
    assert digests_of(ObjectResource("a", md5_hash="AQI=", crc32c="AQ*I=")) == (("md5", "0102"),)
