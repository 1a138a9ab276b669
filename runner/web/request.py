"""What a client sent, taken apart (RFC 9112). Pure: bytes in, a Request or a Refusal out; never raises."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

import msgspec

HEAD_BYTES_AT_MOST = 8192
"""Request line and headers together."""
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VERSION = re.compile(rb"HTTP/1\.[01]\Z")
_TARGET = re.compile(rb"[\x21-\x7e]+\Z")


class Request(msgspec.Struct, frozen=True):
    """A request that makes sense. `host` is without port, lower case; None where HTTP/1.0 left it out."""

    method: str
    path: str
    host: str | None


class Refusal(msgspec.Struct, frozen=True):
    """Why it is not answered: an HTTP status and a sentence."""

    status: int
    text: str


def parse_request(head: bytes) -> Request | Refusal:
    """Request line and headers, up to and with the empty line. Queries are dropped, paths are not decoded."""
    line, *headers = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    words = line.split(b" ")
    if len(words) != 3 or not _TOKEN.match(words[0]) or not _TARGET.match(words[1]):
        return Refusal(400, "The request line makes no sense.")
    if not _VERSION.match(words[2]):
        return Refusal(505, "HTTP/1.0 and HTTP/1.1 are spoken here.")
    hosts = []
    for header in headers:
        name, colon, value = header.partition(b":")
        if not colon or not _TOKEN.match(name) or b"\n" in value or b"\r" in value or b"\0" in value:
            return Refusal(400, "A header makes no sense.")
        if name.lower() == b"host":
            hosts.append(value.strip(b" \t").decode("latin-1").lower())
    if len(hosts) > 1 or (not hosts and words[2] == b"HTTP/1.1"):
        return Refusal(400, "There has to be one Host header.")
    path = _path(words[1].decode("ascii"))
    if path is None:
        return Refusal(400, "The request's target makes no sense.")
    host = None if not hosts else _without_port(hosts[0])
    return Request(words[0].decode("ascii"), path, host)


def is_ours(host: str | None, configured: str) -> bool:
    """Whether a request for `host` may be meant for a server that only this machine reaches.

    A web page can have its own name point here and then read what is answered (DNS rebinding); it cannot do so with
    an address. None (HTTP/1.0) comes from no browser.
    """
    if host is None or host in ("localhost", configured.lower()):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _path(target: str) -> str | None:
    """Of `/path?query` and `http://host/path?query`."""
    if target.startswith("/"):
        return target.partition("?")[0].partition("#")[0]
    try:
        parts = urlsplit(target)
    except ValueError:
        return None
    return (parts.path or "/") if parts.scheme in ("http", "https") and parts.netloc else None


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
