"""What a client may send, and what is made of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.web.request import Refusal, Request, is_ours, parse_request

HOST = b"Host: localhost\r\n"
ACCEPTED = [
    ("plain", b"GET /metrics HTTP/1.1\r\nHost: localhost:9469\r\n\r\n", ("GET", "/metrics", "localhost")),
    ("HTTP/1.0 without a host", b"GET /healthz HTTP/1.0\r\n\r\n", ("GET", "/healthz", None)),
    (
        "a query is dropped",
        b"GET /metrics?name[]=x HTTP/1.1\r\n" + HOST + b"\r\n",
        ("GET", "/metrics", "localhost"),
    ),
    ("IPv6", b"HEAD / HTTP/1.1\r\nhost:[::1]:9469\r\n\r\n", ("HEAD", "/", "::1")),
    (
        "a target with a host",
        b"GET http://localhost/readyz HTTP/1.1\r\n" + HOST + b"\r\n",
        ("GET", "/readyz", "localhost"),
    ),
    (
        "paths are taken as they are",
        b"GET /../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n",
        ("GET", "/../../etc/passwd", "localhost"),
    ),
    (
        "nothing is decoded",
        b"GET /%6detrics HTTP/1.1\r\n" + HOST + b"\r\n",
        ("GET", "/%6detrics", "localhost"),
    ),
    ("other methods", b"BREW /pot HTTP/1.1\r\n" + HOST + b"\r\n", ("BREW", "/pot", "localhost")),
]
REFUSED = [
    ("nothing", b"\r\n\r\n", 400),
    ("HTTP/0.9", b"GET /\r\n\r\n", 400),
    ("too many words", b"GET / x HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ("a method that is no token", b"G(T / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ("control characters in the target", b"GET /\x01 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ("bytes beyond ASCII in the target", b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ("another protocol", b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
    ("no host", b"GET / HTTP/1.1\r\n\r\n", 400),
    ("two hosts", b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    ("a header without colon", b"GET / HTTP/1.1\r\nHost\r\n\r\n", 400),
    ("a space before the colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    ("a folded header", b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", 400),
    ("a bare line feed", b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
    ("an asterisk", b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ("a target of another scheme", b"GET file:///etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ("a target that is no URL", b"GET http://[::1 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
]


@pytest.mark.parametrize(("description", "head", "expected"), ACCEPTED, ids=[row[0] for row in ACCEPTED])
def test_what_makes_sense(description: str, head: bytes, expected: tuple[str, str, str | None]) -> None:
    assert parse_request(head) == Request(*expected)


@pytest.mark.parametrize(("description", "head", "status"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_does_not(description: str, head: bytes, status: int) -> None:
    refused = parse_request(head)
    assert isinstance(refused, Refusal)
    assert refused.status == status


@given(
    st.binary(max_size=200)
    | st.lists(
        st.sampled_from([b"GET", b" ", b"/", b"HTTP/1.1", b"\r\n", b"Host:", b"[", b":", b"\n", b"x"])
    ).map(b"".join)
)
def test_nothing_makes_it_raise(noise: bytes) -> None:
    assert isinstance(parse_request(noise + b"\r\n\r\n"), (Request, Refusal))


@pytest.mark.parametrize(
    ("host", "configured", "expected"),
    [
        (None, "127.0.0.1", True),
        ("localhost", "127.0.0.1", True),
        ("127.0.0.1", "localhost", True),
        ("127.1.2.3", "127.0.0.1", True),
        ("::1", "::1", True),
        ("backup.local", "Backup.local", True),
        ("evil.example", "127.0.0.1", False),
        ("127.0.0.1.evil.example", "127.0.0.1", False),
        ("localhost.", "127.0.0.1", False),
        ("", "127.0.0.1", False),
    ],
)
def test_names_that_point_here_are_not_ours(host: str | None, configured: str, expected: bool) -> None:
    assert is_ours(host, configured) is expected
