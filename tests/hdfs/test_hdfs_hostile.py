"""WebHDFS answers as a hostile or broken server gives them: nothing is believed, followed or leaked. No cluster needed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hdfs_support import opened, refusal

from runner.errors import EntryCode, EntryError
from runner.model.entry import Entry, Kind, Problem
from runner.model.task import Secret
from runner.testing.conformance_base import Meter

Answer = tuple[int, dict[str, str], bytes]
FOLDER = {
    "type": "DIRECTORY",
    "length": 0,
    "permission": "755",
    "owner": "o",
    "group": "g",
    "modificationTime": 1,
    "accessTime": 0,
    "fileId": 1,
}
FILE = {**FOLDER, "type": "FILE", "length": 10, "fileId": 2}


class FakeNameNode:
    """Answers by operation; `heard` holds (method, path, headers) of every request."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[str], Answer]] = {"GETFILESTATUS": self.status}
        self.heard: list[tuple[str, str, dict[str, str]]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                fake.heard.append((self.command, self.path, dict(self.headers)))
                length = int(self.headers.get("Content-Length") or 0)
                self.rfile.read(length)
                operation = parse_qs(urlsplit(self.path).query).get("op", [""])[0]
                status, headers, body = fake.answers.get(operation, lambda path: (404, {}, b""))(self.path)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                if headers.get("Content-Length", str(len(body))) != str(len(body)):
                    self.close_connection = True

            do_GET = do_PUT = do_DELETE = _answer

            def log_message(self, format: str, *arguments: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()

    def status(self, path: str) -> Answer:
        """Names that begin with `file` are files, everything else is a folder."""
        name = urlsplit(path).path.rpartition("/")[2]
        if name.startswith((".sync-runner", "none")):
            return remote("FileNotFoundException", 404)
        return ok({"FileStatus": FILE if name.startswith("file") else FOLDER})

    def children(self, *names: str, remaining: int = 0) -> None:
        found = [{**FILE, "pathSuffix": name} for name in names]
        listing = {"partialListing": {"FileStatuses": {"FileStatus": found}}, "remainingEntries": remaining}
        self.answers["LISTSTATUS_BATCH"] = lambda path: ok({"DirectoryListing": listing})

    def redirects(self, operation: str, location: str) -> None:
        self.answers[operation] = lambda path: (307, {"Location": location}, b"")


def ok(found: dict[str, Any]) -> Answer:
    return 200, {"Content-Type": "application/json"}, json.dumps(found).encode()


def remote(name: str, status: int, message: str = "x") -> Answer:
    exception = {"exception": name, "javaClassName": f"org.apache.hadoop.{name}", "message": message}
    return status, {}, json.dumps({"RemoteException": exception}).encode()


@pytest.fixture
def fake() -> Iterator[FakeNameNode]:
    namenode = FakeNameNode()
    yield namenode
    namenode.close()


def options(*namenodes: FakeNameNode, **more: Any) -> dict[str, Any]:
    return {
        "transport": "webhdfs",
        "namenodes": [one.address for one in namenodes],
        "path": "/root",
        "user": "us",
        "timeout": "5s",
        **more,
    }


def codes(location: Any) -> list[tuple[str, EntryCode]]:
    return [(one.path, one.code) for one in location.scan() if isinstance(one, Problem)]


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../../etc/passwd", "a\0b", "\ud800"])
def test_a_listed_name_that_cannot_be_one(fake: FakeNameNode, name: str) -> None:
    """The folder counts as not listed: what else it holds is not known either."""
    fake.children("fine", name)
    with opened(options(fake)) as location:
        assert codes(location) == [("", EntryCode.NOT_LISTED)]
        assert [one.path for one in location.scan() if isinstance(one, Entry)] == [""]


def test_a_listing_that_never_moves_on_or_ends_early(fake: FakeNameNode) -> None:
    for names in [("a",), ()]:
        fake.children(*names, remaining=7)
        with opened(options(fake)) as location:
            assert codes(location) == [("", EntryCode.NOT_LISTED)]


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, b"<html>log in</html>"),
        (200, {}, b"[]"),
        (200, {}, b"{}"),
        (200, {}, b'{"DirectoryListing": {"remainingEntries": "0"}}'),
        (302, {"Location": "http://127.0.0.1:9/elsewhere"}, b""),
        (500, {}, b"<html>"),
        (503, {"Retry-After": "3"}, b""),
        (200, {"Content-Length": "1000"}, b'{"DirectoryListing": '),
    ],
)
def test_an_answer_that_is_no_listing(fake: FakeNameNode, answer: Answer) -> None:
    fake.answers["LISTSTATUS_BATCH"] = lambda path: answer
    with opened(options(fake)) as location:
        assert codes(location) == [("", EntryCode.NOT_LISTED)]


@pytest.mark.parametrize(
    "location",
    [
        "",
        "file:///etc/passwd",
        "https://127.0.0.1:1/webhdfs/v1/root/file?op=OPEN",
        "http://us:pw@127.0.0.1:1/webhdfs/v1/root/file?op=OPEN",
        "http://127.0.0.1:1/elsewhere?op=OPEN",
        "//127.0.0.1:1/webhdfs/v1/root/file",
    ],
)
def test_a_redirect_to_elsewhere_is_not_followed(fake: FakeNameNode, location: str) -> None:
    fake.redirects("OPEN", location)
    with opened(options(fake)) as opened_location:
        with pytest.raises(EntryError, match="not followed"):
            list(opened_location.read(opened_location.stat("file")))


def test_a_redirect_is_followed_once_and_without_what_is_ours(fake: FakeNameNode) -> None:
    """The DataNode gets what the NameNode put into the address, and none of our headers; it redirects nobody."""
    other = FakeNameNode()
    try:
        fake.redirects("OPEN", f"http://{other.address}/webhdfs/v1/x/y?op=OPEN&delegation=theirs")
        other.answers["OPEN"] = lambda path: (307, {"Location": f"http://{fake.address}/webhdfs/v1/z"}, b"")
        with opened(options(fake)) as location:
            with pytest.raises(EntryError):
                list(location.read(location.stat("file")))
        [(_, path, headers)] = other.heard
        assert urlsplit(path).path == "/webhdfs/v1/root/file"
        assert "user.name" not in path and not {"Cookie", "Authorization"} & headers.keys()
    finally:
        other.close()


@pytest.mark.parametrize(
    ("body", "headers"), [(b"short", {}), (b"short", {"Content-Length": "10"}), (b"", {}), (b"x" * 10, {})]
)
def test_a_body_that_is_not_the_file(fake: FakeNameNode, body: bytes, headers: dict[str, str]) -> None:
    """Fewer bytes than the file has are never a short file."""
    fake.redirects("OPEN", f"http://{fake.address}/webhdfs/v1/root/file?op=DATA")
    fake.answers["DATA"] = lambda path: (200, headers, body)
    with opened(options(fake)) as location:
        if len(body) == 10:
            assert b"".join(location.read(location.stat("file"))) == body
            return
        with pytest.raises(EntryError) as caught:
            list(location.read(location.stat("file")))
        assert caught.value.entry_code in (EntryCode.IO_ERROR, EntryCode.UNAVAILABLE)


def test_a_server_that_renames_in_its_own_way_is_refused(fake: FakeNameNode) -> None:
    """HttpFS ignores the option that keeps what stands there."""
    fake.answers["RENAME"] = lambda path: ok({"boolean": True})
    with opened(options(fake)) as location, pytest.raises(EntryError) as caught:
        location.rename(location.stat("file"), "none/x")
    assert caught.value.entry_code in (EntryCode.KIND_NOT_SUPPORTED, EntryCode.IO_ERROR)


def test_a_token_is_never_told(fake: FakeNameNode) -> None:
    """Neither in messages nor in what they came from."""
    fake.answers["GETFILESTATUS"] = lambda path: (401, {}, b"<html>no</html>")
    secret = {"authentication": "token", "delegation_token": Secret("tell-nobody", "test")}
    error = refusal(options(fake, **secret))
    assert "refuses the credentials" in error.message
    fake.close()
    later = refusal(options(fake, **secret))
    told: BaseException | None = later
    texts = [str(error)]
    while isinstance(told, Exception):
        texts.append(str(told))
        told = told.__cause__
    assert not any("tell-nobody" in text for text in texts)
    assert "delegation=tell-nobody" in fake.heard[0][1]


def test_a_standby_is_passed_over_and_writes_are_not_sent_twice(fake: FakeNameNode) -> None:
    standby = FakeNameNode()
    try:
        refuse = remote(
            "ipc.StandbyException", 403, "Operation category READ is not supported in state standby"
        )
        standby.answers["GETFILESTATUS"] = lambda path: refuse
        with opened(options(standby, fake)) as location:
            assert location.stat("file").kind is Kind.FILE
            before = len(standby.heard)
            location.stat("file")
            assert len(standby.heard) == before, "the active one is remembered"
            fake.answers["MKDIRS"] = lambda path: (200, {"Content-Length": "99"}, b"{")
            with pytest.raises(EntryError) as caught:
                location.put(Entry("none/", Kind.DIRECTORY), None, None, Meter())
            assert caught.value.entry_code is EntryCode.UNAVAILABLE
            made = [one for server in (standby, fake) for one in server.heard if "MKDIRS" in one[1]]
            assert len(made) == 1
    finally:
        standby.close()


def test_a_slow_down_says_when_to_come_back(fake: FakeNameNode) -> None:
    with opened(options(fake)) as location:
        fake.answers["GETFILESTATUS"] = lambda path: (503, {"Retry-After": "3"}, b"")
        with pytest.raises(EntryError) as caught:
            location.stat("file")
        assert (caught.value.entry_code, caught.value.retry_after_seconds) == (EntryCode.UNAVAILABLE, 3.0)
