"""Servers that are not trusted: answers without an end, bombs, names that forge requests, redirects, false certificates."""

from __future__ import annotations

import base64
import datetime
import gzip
import ipaddress
import itertools
import ssl
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from runner_plugins.objects.client import Description
from runner_plugins.objects.rest import Rest
from runner_plugins.s3.wire import Address, Wire, WireError
from security_support import Asked, Peer, Ran, Workplace, chunked, reply, store

from runner.clock import SystemClock
from runner.errors import EntryCode, EntryError
from runner.locations.protocol import OpenSettings
from runner.locations.registry import Registry
from runner.model.secret import Secret
from runner.model.task import LocationSettings

CANARY = base64.b64encode(b"canary-of-the-peers").decode()
STORES = ("object_storage", "gcs", "azure_blob")
MIB = 1 << 20


@pytest.fixture
def serve() -> Iterator[Callable[..., Peer]]:
    """Starts peers, and ends them."""
    peers: list[Peer] = []

    def start(answer: Callable[[Asked], Iterator[bytes]], context: ssl.SSLContext | None = None) -> Peer:
        peers.append(Peer(answer, context))
        return peers[-1]

    yield start
    for peer in peers:
        peer.close()


def look(folder: Path, kind: str, url: str, **more: str) -> Ran:
    """Plan a task whose source is at the peer: whatever it answers, no other code than these, and no secret told."""
    options = {"retries": {"attempts": 1}}
    place = Workplace(
        folder,
        {"src": store(kind, url, **more)},
        {"options": options},
        environment={"CANARY": CANARY, "KEY_ID": "AKIDEXAMPLE"},
    )
    ran = place.run("plan", "t")
    assert ran.code in (4, 7), (ran.code, ran.err)
    assert CANARY not in ran.err + ran.out.decode()
    assert "internal" not in ran.err
    return ran


def endless() -> Iterator[bytes]:
    return chunked(itertools.repeat(b" " * MIB))


def bomb_of_entities() -> bytes:
    """Ten names, each ten times the one before."""
    lines = ['<!ENTITY a0 "aaaaaaaaaa">']
    lines += [f'<!ENTITY a{number + 1} "{(f"&a{number};") * 10}">' for number in range(9)]
    return f"<?xml version='1.0'?><!DOCTYPE x [{''.join(lines)}]><ListBucketResult>&a9;</ListBucketResult>".encode()


GZIPPED = gzip.compress(b" " * (100 * MIB))
BOMBS: dict[str, Callable[[], Iterator[bytes]]] = {
    "a body without an end": endless,
    "deep JSON": lambda: iter([reply(b"[" * MIB)]),
    "deep XML": lambda: iter([reply(b"<a>" * 2 * MIB)]),
    "wide XML": lambda: iter([reply(b"<a>" + b"<b/>" * MIB + b"</a>")]),
    "entities": lambda: iter([reply(bomb_of_entities())]),
    "a little gzip, a great deal of text": lambda: iter(
        [reply(GZIPPED, headers={"content-encoding": "gzip"})]
    ),
    "an error without an end": lambda: itertools.chain(
        [b"HTTP/1.1 403 Forbidden\r\nconnection: close\r\n\r\n"], itertools.repeat(b" " * MIB)
    ),
    "headers without an end": lambda: itertools.chain(
        [b"HTTP/1.1 200 OK\r\n"], (b"x-%d: %s\r\n" % (n, b"y" * 60_000) for n in itertools.count())
    ),
    "a number that is none": lambda: iter(
        [b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\nconnection: close\r\n\r\n"]
    ),
    "no HTTP at all": lambda: iter([b"SSH-2.0-OpenSSH_9.2\r\n" * 100]),
}


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("bomb", BOMBS)
def test_no_answer_fills_the_memory(
    tmp_path: Path, serve: Callable[..., Peer], monkeypatch: pytest.MonkeyPatch, kind: str, bomb: str
) -> None:
    """With the limit of an answer set to 8 MiB, so that the test is short, nothing needs ten times as much."""
    monkeypatch.setattr("runner_plugins.objects.rest.LARGEST_ANSWER_BYTES", 8 * MIB)
    monkeypatch.setattr("runner_plugins.gcs.requests.LARGEST_ANSWER_BYTES", 8 * MIB)
    monkeypatch.setattr("runner_plugins.s3.wire.Reply.body.__defaults__", (8 * MIB,), raising=True)
    peer = serve(lambda asked: BOMBS[bomb]())
    tracemalloc.start()
    try:
        look(tmp_path, kind, peer.url)
        assert tracemalloc.get_traced_memory()[1] < 80 * MIB
    finally:
        tracemalloc.stop()
    assert peer.asked


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize(
    "status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"]
)
def test_no_redirect_takes_the_credentials_along(
    tmp_path: Path, serve: Callable[..., Peer], kind: str, status: str
) -> None:
    elsewhere = serve(lambda asked: iter([reply(b"{}")]))
    peer = serve(
        lambda asked: iter([reply(b"", status, {"location": elsewhere.url + asked.line.split()[1]})])
    )
    look(tmp_path, kind, peer.url)
    assert peer.asked
    assert elsewhere.asked == []


# -- certificates ------------------------------------------------------------------------------------------------


def certificate(folder: Path, flaw: str) -> tuple[ssl.SSLContext, str]:
    """A server's context, and the file of the authority that its client trusts."""
    now = SystemClock().now()
    day = datetime.timedelta(days=1)

    def issue(
        name: str,
        issuer: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None,
        end: datetime.datetime,
        host: str | None = None,
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer[0] if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 10 * day)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        )
        if host is not None:
            address = x509.IPAddress(ipaddress.ip_address(host))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key

    authority, authority_key = issue("authority", None, now + day)
    stranger, stranger_key = issue("stranger", None, now + day)
    signer = (
        (stranger.subject, stranger_key)
        if flaw == "another authority"
        else (authority.subject, authority_key)
    )
    leaf, key = issue(
        "server",
        None if flaw == "signed by itself" else signer,
        now - day if flaw == "expired" else now + day,
        "127.0.0.2" if flaw == "another host" else "127.0.0.1",
    )
    chain, trusted = folder / "server.pem", folder / "ca.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    chain.write_bytes(private + leaf.public_bytes(pem))
    trusted.write_bytes(authority.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context, str(trusted)


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("flaw", ["", "another authority", "signed by itself", "expired", "another host"])
def test_only_the_right_certificate_is_spoken_to(
    tmp_path: Path, serve: Callable[..., Peer], kind: str, flaw: str
) -> None:
    context, trusted = certificate(tmp_path, flaw)
    peer = serve(lambda asked: iter([reply(b"", "403 Forbidden")]), context)
    ran = look(tmp_path, kind, peer.url, ca_file=trusted)
    assert bool(peer.asked) == (flaw == "")
    assert ("certificate" in ran.err.lower() or "TLS" in ran.err) == (flaw != ""), ran.err


@pytest.mark.parametrize("kind", STORES)
def test_without_a_ca_file_the_system_decides(tmp_path: Path, serve: Callable[..., Peer], kind: str) -> None:
    context, _ = certificate(tmp_path, "")
    peer = serve(lambda asked: iter([reply(b"", "403 Forbidden")]), context)
    look(tmp_path, kind, peer.url)
    assert peer.asked == []


# -- names that forge requests ---------------------------------------------------------------------------------

FORGERIES = [
    "x\r\nx-amz-acl: public-read",
    "x\nevil: 1",
    "x\r",
    "a\r\n\r\nDELETE /bucket/other HTTP/1.1",
    "a: b",
    "ä",
    "",
]


@pytest.mark.parametrize("name", FORGERIES)
def test_a_name_of_metadata_adds_no_line_to_a_request(serve: Callable[..., Peer], name: str) -> None:
    """Another store may tell of metadata with any name; S3 holds words only, and no other request goes out."""
    peer = serve(lambda asked: iter([reply(b"")]))
    options = {
        "bucket": "bucket", "endpoint_url": peer.url, "addressing": "path",
        "access_key_id": "id", "secret_access_key": Secret("secret", "secret"), "whole_bucket": True,
    }  # fmt: skip
    settings = LocationSettings("dst", "object_storage", options, "/")
    location = Registry().driver("object_storage").open(settings, OpenSettings(), create=True)
    client = location._client  # type: ignore[attr-defined]
    peer.asked.clear()
    with pytest.raises(EntryError, match="S3 holds no metadata") as refused:
        client.put("key", b"", Description(metadata=((name, "value"),)))
    assert refused.value.entry_code is EntryCode.ATTRIBUTES_REFUSED
    assert peer.asked == []
    client.put("key", b"", Description(metadata=(("name", "value\r\nevil: 1"),)))
    assert [("evil" in asked.headers, asked.headers["x-amz-meta-name"]) for asked in peer.asked] == [
        (False, "=?UTF-8?B?dmFsdWUNCmV2aWw6IDE=?=")
    ]
    location.close()


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/a HTTP/1.1\r\nevil: 1\r\n\r\n", {}),
        ("/a", {"if-match": '"x"\r\nevil: 1'}),
        ("/a", {"if-match": '"x"\revil: 1'}),
        ("/a", {"if-match": "x\0"}),
        ("/a", {"x\nevil": "1"}),
    ],
)
def test_a_line_end_in_a_request_is_refused_before_it_is_sent(
    serve: Callable[..., Peer], target: str, headers: dict[str, str]
) -> None:
    """Whatever a listing told (an etag, a version): the last place before the wire."""
    peer = serve(lambda asked: iter([reply(b"")]))
    wire = Wire(Address("127.0.0.1", peer.port, False), None, connect_seconds=5, timeout_seconds=5)
    with pytest.raises(WireError, match="a line end where none belongs"):
        wire.exchange("GET", target, headers)
    assert wire.exchange("GET", "/a", {"host": "b"}).body() == b""
    assert [asked.line for asked in peer.asked] == ["GET /a HTTP/1.1"]
    wire.close()


def test_an_answer_about_a_head_has_no_body_to_wait_for(serve: Callable[..., Peer]) -> None:
    """The length that such an answer tells is that of a body which does not come; a missing one is an error elsewhere."""
    peer = serve(
        lambda asked: iter([b"HTTP/1.1 404 Not Found\r\ncontent-length: 300\r\nconnection: close\r\n\r\n"])
    )
    rest = Rest(peer.url, timeout_seconds=5)
    answer = rest.ask("HEAD", "/a", {})
    assert (answer.status, answer.headers["content-length"], answer.data) == (404, "300", b"")
    with pytest.raises(EntryError, match="was lost"):
        rest.ask("GET", "/a", {})
    rest.close()
