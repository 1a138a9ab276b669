"""Health-check pings: a URL fetched when an execution starts, succeeds, or does not.

Success and start are a GET; a failure is a POST whose body tells how it ended, which healthchecks.io and its kin show.
A ping is tried twice, ten seconds each. Redirects are followed only to the same host, or from http to https there.
A proxy is used when the environment names one (https_proxy, http_proxy, no_proxy), as everywhere. No error text
holds the URL: who knows it can ping.
"""

from __future__ import annotations

import base64
import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit, urlunsplit

import runner
from runner.clock import Clock
from runner.model.secret import Secret

TIMEOUT_SECONDS = 10.0
ATTEMPTS = 2
BODY_BYTES_AT_MOST = 10_000
_BETWEEN_ATTEMPTS_SECONDS = 1.0
_ANSWER_BYTES_READ = 4096


def ping(url: Secret, environment: Mapping[str, str], clock: Clock, body: str | None = None) -> str | None:
    """Fetch it; None when the service took it, else why not. Never raises. `body`: POST this text."""
    failure: str | None = None
    for attempt in range(ATTEMPTS):
        if attempt:
            clock.sleep(_BETWEEN_ATTEMPTS_SECONDS)
        try:
            failure, final = _fetch(url, environment, body)
        except Exception as error:
            failure, final = _words(error), False
        if failure is None or final:
            break
    return failure


def _fetch(url: Secret, environment: Mapping[str, str], body: str | None) -> tuple[str | None, bool]:
    """(why it failed or None, whether another try is pointless)."""
    request = _request(url.reveal(), body)
    try:
        with _opener(request, environment).open(request, timeout=TIMEOUT_SECONDS) as answer:
            answer.read(_ANSWER_BYTES_READ)
    except urllib.error.HTTPError as error:
        with error:
            if 300 <= error.code < 400:
                return (
                    f"it answered with a redirect to another host (HTTP {error.code}), which is not followed",
                    True,
                )
            return f"it answered with HTTP {error.code}", error.code < 500 and error.code not in (408, 429)
    return None, True


def _request(url: str, body: str | None) -> urllib.request.Request:
    parts = urlsplit(url)
    headers = {"User-Agent": f"sync-runner/{runner.__version__}"}
    user_info, _, host = parts.netloc.rpartition("@")
    if user_info:
        # urllib would take it for a part of the host's name.
        credentials = base64.b64encode(unquote(user_info).encode()).decode("ascii")
        headers["Authorization"] = f"Basic {credentials}"
    content = None
    if body is not None:
        content = body.encode("utf-8", "replace")[:BODY_BYTES_AT_MOST]
        headers["Content-Type"] = "text/plain; charset=utf-8"
    bare = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    return urllib.request.Request(bare, content, headers)  # noqa: S310 - _opener knows only http and https


def _opener(request: urllib.request.Request, environment: Mapping[str, str]) -> urllib.request.OpenerDirector:
    """Only http and https; no cookies, no files, no netrc."""
    opener = urllib.request.OpenerDirector()
    opener.add_handler(urllib.request.ProxyHandler(_proxies(request, environment)))
    opener.add_handler(urllib.request.HTTPHandler())
    opener.add_handler(urllib.request.HTTPSHandler())
    opener.add_handler(urllib.request.HTTPDefaultErrorHandler())
    opener.add_handler(_SameHost())
    opener.add_handler(urllib.request.HTTPErrorProcessor())
    opener.add_handler(urllib.request.UnknownHandler())
    return opener


def _proxies(request: urllib.request.Request, environment: Mapping[str, str]) -> dict[str, str]:
    # HTTP_PROXY in capitals is left out: under CGI a client could set it (httpoxy).
    found = {
        "https": environment.get("https_proxy") or environment.get("HTTPS_PROXY"),
        "http": environment.get("http_proxy"),
        "no": environment.get("no_proxy") or environment.get("NO_PROXY"),
    }
    proxies = {scheme: address for scheme, address in found.items() if address}
    if urllib.request.proxy_bypass_environment(request.host, proxies):  # type: ignore[attr-defined]
        return {}
    return {scheme: address for scheme, address in proxies.items() if scheme != "no"}


class _SameHost(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: object,
        code: int,
        msg: str,
        headers: object,
        newurl: str,
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        upgraded = (old.scheme, new.scheme) == ("http", "https") and old.port is None and new.port is None
        same = (old.scheme, old.port) == (new.scheme, new.port)
        if old.hostname != new.hostname or not (same or upgraded) or req.data is not None:
            # None makes the redirect's own status the answer.
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _words(error: Exception) -> str:
    """What went wrong, in words that cannot hold the URL."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return f"it did not answer within {TIMEOUT_SECONDS:g} s"
    if isinstance(reason, OSError) and reason.strerror:
        return f"it cannot be reached: {reason.strerror}"
    if isinstance(reason, http.client.HTTPException):
        return "it did not answer as HTTP says"
    return f"it cannot be fetched ({type(reason).__name__})"
