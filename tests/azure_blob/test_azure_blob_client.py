"""What only Azure has: ways to sign in, tiers, tags, snapshots, metadata names, its order, blocks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from runner_plugins.azure_blob.client import AzureClient, AzureSettings
from runner_plugins.azure_blob.driver import DRIVER
from runner_plugins.azure_blob.requests import Requests
from runner_plugins.azure_blob.signing import SharedKey
from runner_plugins.objects.client import Condition, ConditionFailedError, Description
from runner_plugins.objects.rest import Rest
from servers.real_pair import opened
from servers.serve_azurite import Azurite

from runner.clock import SystemClock
from runner.errors import EntryCode, EntryError, LocationUnavailableError
from runner.locations.protocol import CopiesFrom, OpenSettings, SetsAttributes, TellsTime
from runner.model.entry import Attributes, Entry, Kind
from runner.model.task import LocationSettings, Secret
from runner.testing.conformance_base import Meter, content_of, file_entry, listed, put_file, stated

pytestmark = pytest.mark.servers

ALL = DRIVER.capabilities(LocationSettings("x", "azure_blob", {"container": "xxx"}, "/")).attributes


@pytest.fixture
def container(azurite: Azurite) -> str:
    return azurite.new_container()


@pytest.fixture
def client(azurite: Azurite, container: str) -> Iterator[AzureClient]:
    clock = SystemClock()
    rest = Rest(azurite.endpoint, timeout_seconds=30)
    signing = SharedKey(azurite.account, azurite.key, clock)
    made = AzureClient(Requests(rest, signing, container, clock), AzureSettings(tags=True))
    yield made
    made.close()


def without_key(azurite: Azurite, container: str, **options: Any) -> dict[str, Any]:
    given = azurite.location(container=container)
    return {name: value for name, value in given.items() if name != "account_key"} | options


# -- signing in ----------------------------------------------------------------------------------------------


def test_every_way_to_sign_in(azurite: Azurite) -> None:
    public = azurite.new_container(public=True)
    azurite.put(public, "a", b"content")
    string = (
        f"DefaultEndpointsProtocol=http;AccountName={azurite.account};"
        f"AccountKey={azurite.key};BlobEndpoint={azurite.endpoint};"
    )
    sas_string = f"BlobEndpoint={azurite.endpoint};SharedAccessSignature={azurite.sas()}"
    for options in (
        azurite.location(container=public),
        without_key(azurite, public, sas_token=Secret(azurite.sas(), "test")),
        without_key(azurite, public, sas_token=Secret("?" + azurite.sas("rlt"), "test")),
        without_key(azurite, public, credentials="anonymous", object_tags=False),
        {"type": "azure_blob", "container": public, "connection_string": Secret(string, "test")},
        {"type": "azure_blob", "container": public, "connection_string": Secret(sas_string, "test")},
    ):
        with opened(options) as location:
            assert listed(location) == ["a"]
            assert content_of(location, "a") == b"content"


@pytest.mark.parametrize(
    "secret",
    [
        {"account_key": Secret("d3Jvbmc=", "test")},
        {"account_key": Secret("no base64: !", "test")},
        {
            "sas_token": Secret(
                "sv=2021-12-02&ss=b&srt=sco&sp=rl&se=2099-01-01T00:00:00Z&sig=d3Jvbmc%3D", "test"
            )
        },
        {"sas_token": Secret("nonsense", "test")},
        {"credentials": "anonymous"},
    ],
)
def test_refused_credentials_say_so_and_tell_nothing(
    azurite: Azurite, container: str, secret: dict[str, Any]
) -> None:
    options = without_key(azurite, container, **secret)
    with pytest.raises(LocationUnavailableError) as caught:
        opened(options).__enter__()
    said = f"{caught.value} {caught.value.__cause__}"
    for value in secret.values():
        if isinstance(value, Secret):
            assert value.reveal() not in said
            assert "d3Jvbmc" not in said


def test_a_token_that_may_only_read(azurite: Azurite, container: str) -> None:
    azurite.put(container, "a", b"content")
    options = without_key(azurite, container, sas_token=Secret(azurite.sas("rlt"), "test"))
    with opened(options) as location:
        entry = stated(location, "a")
        for change in (
            lambda: put_file(location, "b"),
            lambda: location.remove(entry),
            lambda: location.put(file_entry("a", b"new"), [b"new"], entry, Meter()),
        ):
            with pytest.raises(EntryError) as caught:
                change()
            assert caught.value.entry_code is EntryCode.PERMISSION_DENIED
        assert content_of(location, "a") == b"content"


def test_a_token_without_the_right_to_tags_is_told_of_the_option(azurite: Azurite, container: str) -> None:
    azurite.put(container, "a", b"content")
    options = without_key(azurite, container, sas_token=Secret(azurite.sas("rl"), "test"))
    with opened(options | {"object_tags": False}) as location:
        assert listed(location) == ["a"]


def test_the_service_s_clock(azurite: Azurite, container: str) -> None:
    with opened(azurite.location(container=container)) as location:
        assert isinstance(location, TellsTime)
        assert abs(location.server_time_ns() / 1e9 - SystemClock().now().timestamp()) < 60


# -- what blobs carry ----------------------------------------------------------------------------------------


def test_metadata_headers_and_tags_come_back(azurite: Azurite, container: str) -> None:
    attributes = Attributes(
        mode=0o640,
        uid=1000,
        gid=1000,
        tags=(("team", "blue and red"), ("x", "")),
        content_headers=(
            ("cache-control", "no-store"),
            ("content-disposition", 'attachment; filename="a.bin"'),
            ("content-encoding", "gzip"),
            ("content-language", "de"),
            ("content-type", "text/plain"),
        ),
        user_metadata=(("colour", "red  and blue"), ("my-key", "with-hyphen"), ("x.y", "1")),
    )
    with opened(azurite.location(container=container), attributes=ALL) as location:
        location.put(file_entry("a", b"not gzip", attributes), [b"not gzip"], None, Meter())
        for found in (stated(location, "a"), next(one for one in location.scan() if one.path == "a")):
            assert isinstance(found, Entry)
            assert found.attributes is not None
            for name in ("mode", "uid", "gid", "tags", "content_headers", "user_metadata"):
                assert getattr(found.attributes, name) == getattr(attributes, name), name
        assert content_of(location, "a") == b"not gzip"
    _, said = azurite.ask("GET", f"/{container}?restype=container&comp=list&include=metadata")
    for name in (b"<file_permissions>0100640<", b"<rename_my_key>", b"<rename_key_my_key>my-key<"):
        assert name in said


def test_changing_metadata_keeps_content_and_its_md5(azurite: Azurite, container: str) -> None:
    with opened(azurite.location(container=container), attributes=ALL) as location:
        assert isinstance(location, SetsAttributes)
        entry = put_file(location, "a", b"content")
        changed = Attributes(
            mode=0o600, content_headers=(("content-type", "image/png"),), tags=(("t", "v"),), user_metadata=()
        )
        location.set_attributes(Entry("a", Kind.FILE, attributes=changed), entry)
        after = stated(location, "a")
        assert after.attributes is not None
        assert (after.attributes.mode, after.attributes.tags) == (0o600, (("t", "v"),))
        assert after.attributes.content_headers == (("content-type", "image/png"),)
        assert after.mtime_ns == entry.mtime_ns
    _, said = azurite.ask("GET", f"/{container}?restype=container&comp=list")
    assert b"<Content-MD5>mgNkuembtIDdJeHwKEyFVQ==<" in said


@pytest.mark.parametrize("value", ["gr\u00fcn", " lead", "new\nline", "trail "])
def test_metadata_that_no_header_carries_is_refused_by_name(
    azurite: Azurite, container: str, value: str
) -> None:
    attributes = Attributes(user_metadata=(("colour", value),))
    with opened(azurite.location(container=container), attributes=ALL) as location:
        with pytest.raises(EntryError, match="colour") as caught:
            location.put(file_entry("a", b"x", attributes), [b"x"], None, Meter())
        assert caught.value.entry_code is EntryCode.ATTRIBUTES_REFUSED
        assert listed(location) == []


def test_the_access_tier_is_set(azurite: Azurite, container: str) -> None:
    with opened(
        azurite.location(container=container, access_tier="cool", multipart_threshold="1MiB")
    ) as location:
        put_file(location, "small")
        put_file(location, "big", b"x" * 2_000_000)
    _, said = azurite.ask("GET", f"/{container}?restype=container&comp=list")
    assert said.count(b"<AccessTier>Cool<") == 2


def test_an_archived_blob_is_an_error_of_its_own(azurite: Azurite, container: str) -> None:
    azurite.put(container, "a", b"content")
    status, _ = azurite.ask("PUT", f"/{container}/a?comp=tier", headers={"x-ms-access-tier": "Archive"})
    assert status in (200, 202)
    with opened(azurite.location(container=container)) as location:
        with pytest.raises(EntryError) as caught:
            content_of(location, "a")
        assert caught.value.entry_code in (EntryCode.IO_ERROR, EntryCode.KIND_NOT_SUPPORTED)


def test_snapshots_are_neither_listed_nor_removed_unasked(azurite: Azurite, container: str) -> None:
    azurite.put(container, "a", b"content")
    assert azurite.ask("PUT", f"/{container}/a?comp=snapshot")[0] == 201
    with opened(azurite.location(container=container)) as location:
        assert listed(location) == ["a"]
        with pytest.raises(EntryError) as caught:
            location.remove(stated(location, "a"))
        assert caught.value.entry_code is EntryCode.LOCKED
        assert listed(location) == ["a"]
    with opened(azurite.location(container=container, delete_snapshots=True)) as location:
        location.remove(stated(location, "a"))
        assert listed(location) == []


def test_a_leased_blob_is_locked(azurite: Azurite, container: str) -> None:
    azurite.put(container, "a", b"content")
    headers = {"x-ms-lease-action": "acquire", "x-ms-lease-duration": "-1"}
    assert azurite.ask("PUT", f"/{container}/a?comp=lease", headers=headers)[0] == 201
    with opened(azurite.location(container=container)) as location:
        entry = stated(location, "a")
        with pytest.raises(EntryError) as caught:
            location.put(file_entry("a", b"new"), [b"new"], entry, Meter())
        assert caught.value.entry_code is EntryCode.LOCKED
        assert content_of(location, "a") == b"content"


# -- names and order -----------------------------------------------------------------------------------------


def test_the_listing_is_in_the_order_of_utf_16_and_scanned_all_the_same(
    azurite: Azurite, container: str
) -> None:
    names = ["\U0001f600", "\ue000x", "\uffee", "z", "z/a", "\u00e9", "a b", "%2e", "a?b", "a#b", "a+b"]
    for name in names:
        azurite.put(container, name, b"x")
    with opened(azurite.location(container=container)) as location:
        assert location.capabilities.sorted_scan is False
        found = [one.path for one in location.scan()]
        assert sorted(found) == sorted(["", "z/", *names])
        assert found.index("\U0001f600") < found.index("\ue000x")


@pytest.mark.parametrize("key", ["../e", "ok/../../e", "//x", "a//b", "a/./c", ".", "..", "/abs"])
def test_keys_that_are_no_paths_are_problems_and_never_files(
    azurite: Azurite, container: str, key: str
) -> None:
    azurite.put(container, key, b"hostile")
    azurite.put(container, "fine", b"fine")
    with opened(azurite.location(container=container)) as location:
        found = list(location.scan())
        assert [one.path for one in found if isinstance(one, Entry) and one.kind is Kind.FILE] == ["fine"]
        problems = [one for one in found if not isinstance(one, Entry)]
        assert [one.code for one in problems] == [EntryCode.NAME_NOT_ALLOWED]


def test_the_mark_of_a_folder_is_no_file(azurite: Azurite, container: str) -> None:
    """As Hadoop and hierarchical accounts keep folders."""
    azurite.put(container, "d", b"", {"x-ms-meta-hdi_isfolder": "true"})
    azurite.put(container, "d/a", b"content")
    with opened(azurite.location(container=container)) as location:
        assert sorted(listed(location)) == ["d/", "d/a"]
        assert stated(location, "d").kind is Kind.DIRECTORY


def test_more_levels_than_azure_has_are_refused(azurite: Azurite, container: str) -> None:
    with opened(azurite.location(container=container)) as location:
        with pytest.raises(EntryError) as caught:
            put_file(location, "a/" * 254 + "b")
        assert caught.value.entry_code is EntryCode.NAME_NOT_ALLOWED
        # Folders on the way may have been made; nothing of another name.
        assert all(set(path) <= {"a", "/"} for path in listed(location))


# -- conditions and blocks -----------------------------------------------------------------------------------


def test_one_of_many_creators_wins(client: AzureClient) -> None:
    import threading

    wins: list[int] = []

    def create(number: int) -> None:
        try:
            client.put("raced", b"%d" % number, Description(), Condition(absent=True))
        except ConditionFailedError:
            return
        wins.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 1
    with client.get("raced") as stream:
        assert b"".join(bytes(chunk) for chunk in stream) == b"%d" % wins[0]


def test_every_condition_is_kept(client: AzureClient) -> None:
    stored = client.put("a", b"content", Description())
    facts = client.head("a")
    assert facts is not None and facts.etag == stored.etag
    other = Condition(etag="0x1")
    upload = client.begin_upload("a", Description())
    part = client.put_part(upload, 1, b"part")
    for attempt in (
        lambda: client.put("a", b"new", Description(), Condition(absent=True)),
        lambda: client.put("a", b"new", Description(), other),
        lambda: client.complete_upload(upload, [part], Description(), Condition(absent=True)),
        lambda: client.complete_upload(upload, [part], Description(), other),
        lambda: client.delete("a", "0x1"),
        lambda: client.describe(facts, Description(metadata=(("x", "1"),)), other),
        lambda: client.describe(facts, Description(headers=(("content-type", "x/y"),)), other),
        lambda: client.copy(client, facts, "a", None, Condition(absent=True)),
        lambda: client.copy(client, facts, "a", None, other),
        lambda: client.copy(client, msgspec.structs.replace(facts, etag="0x1"), "b", None),
        lambda: list(client.get("a", if_etag="0x1").__enter__()),
    ):
        with pytest.raises(ConditionFailedError):
            attempt()
    assert client.head("a") == msgspec.structs.replace(facts, served_ns=client.head("a").served_ns)  # type: ignore[union-attr]
    assert client.head("b") is None


def test_the_md5_of_blocks_is_that_of_the_whole(client: AzureClient) -> None:
    import hashlib

    bodies = [os.urandom(50_000) for _ in range(5)]
    upload = client.begin_upload("a", Description())
    parts = [client.put_part(upload, number, bodies[number - 1]) for number in (2, 1, 3, 5, 4)]
    assert client.head("a") is None
    client.complete_upload(upload, sorted(parts, key=lambda part: part.number), Description())
    facts = client.head("a")
    assert facts is not None
    assert dict(facts.digests or ())["md5"] == hashlib.md5(b"".join(bodies)).hexdigest()
    assert facts.size_bytes == 250_000


def test_an_upload_is_taken_up_again_by_what_the_blocks_hold(client: AzureClient) -> None:
    upload = client.begin_upload("a", Description())
    first = client.put_part(upload, 1, b"one" * 1000)
    stranger = client.begin_upload("a", Description())
    client.put_part(stranger, 1, b"not ours")
    assert [(part.number, part.etag, part.size_bytes) for part in client.list_parts(upload)] == [
        (1, first.etag, 3000)
    ]
    second = client.put_part(upload, 2, b"two")
    client.complete_upload(upload, [first, second], Description())
    with client.get("a") as stream:
        assert b"".join(bytes(chunk) for chunk in stream) == b"one" * 1000 + b"two"


def test_a_copy_inside_the_account_carries_everything(azurite: Azurite, client: AzureClient) -> None:
    described = Description(
        metadata=(("colour", "red"), ("my-key", "x")),
        headers=(("content-language", "de"), ("content-type", "text/plain")),
        tags=(("t", "v"),),
    )
    client.put("a + b/\u00fc%20", b"content", described)
    facts = client.head("a + b/\u00fc%20")
    assert facts is not None
    client.copy(client, facts, "copy", None)
    copied = client.head("copy")
    assert copied is not None
    assert (copied.metadata, copied.headers, client.tags("copy")) == (
        described.metadata,
        described.headers,
        described.tags,
    )
    new = Description(metadata=(("n", "1"),), headers=(("content-type", "image/png"),), tags=())
    client.copy(client, facts, "other", new)
    other = client.head("other")
    assert other is not None
    assert (other.metadata, other.headers) == (new.metadata, new.headers)
    assert dict(other.digests or ()) == dict(facts.digests or ())


def test_what_the_service_copies_by_a_token_of_our_own_making(azurite: Azurite, client: AzureClient) -> None:
    """The address given to the service is good for that blob, and only to read it."""
    import urllib3

    client.put("a + b/\u00fc%20", b"content", Description())
    address, _ = client._requests.source_address("a + b/\u00fc%20")
    with urllib3.PoolManager() as pool:
        assert pool.request("GET", address, retries=False).data == b"content"
        assert pool.request("DELETE", address, retries=False).status == 403
        assert pool.request("GET", address.replace("%2520?", "x?"), retries=False).status in (403, 404)


def test_a_copy_larger_than_the_service_takes_goes_through_us(
    client: AzureClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner_plugins.azure_blob.client.MAX_COPY_BYTES", 1000)
    monkeypatch.setattr("runner_plugins.azure_blob.client.COPY_PART_BYTES", 700)
    content = os.urandom(5000)
    client.put("a", content, Description(metadata=(("k", "v"),)))
    facts = client.head("a")
    assert facts is not None
    client.copy(client, facts, "b", None, Condition(absent=True))
    with client.get("b") as stream:
        assert b"".join(bytes(chunk) for chunk in stream) == content
        assert stream.facts.metadata == (("k", "v"),)


def test_copies_between_containers_of_one_account(azurite: Azurite) -> None:
    with opened(azurite.location()) as source, opened(azurite.location()) as target:
        entry = put_file(source, "a", b"content")
        assert isinstance(target, CopiesFrom) and target.copies_from(source)
        target.copy(source, entry, file_entry("a", b"content"), None, Meter())
        assert content_of(target, "a") == b"content"
        assert stated(target, "a").mtime_ns == entry.mtime_ns


def test_a_container_is_made_when_that_is_allowed(azurite: Azurite, tmp_path: Path) -> None:
    options = azurite.location(container=f"made-{os.getpid()}", create_container=True)
    with opened(options, create=True) as location:
        put_file(location, "a")
    with opened(options) as location:
        assert listed(location) == ["a"]


def test_only_the_options_of_opening_ask_for_tags(azurite: Azurite, container: str) -> None:
    azurite.put(container, "a", b"x", {"x-ms-tags": "t=v"})
    location = DRIVER.open(
        LocationSettings(
            "x",
            "azure_blob",
            {k: v for k, v in azurite.location(container=container).items() if k != "type"},
            "/",
        ),
        OpenSettings(attributes=frozenset({"mode"})),
        create=False,
    )
    try:
        entry = stated(location, "a")
        assert entry.attributes is None or entry.attributes.tags is None
    finally:
        location.close()
