"""Manifests: both formats, their faults with line numbers, and what they hold."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import ConfigurationError
from runner.filters.manifest import Manifest, read_manifest
from runner.model.wire import encode_line


def read(content: bytes, form: str = "csv") -> list[tuple[str, str | None]]:
    manifest = read_manifest(io.BytesIO(content), form, "list")
    return [(path, manifest.version(path)) for path in manifest]


def faults(content: bytes, form: str = "csv") -> list[tuple[int, str]]:
    with pytest.raises(ConfigurationError) as caught:
        read_manifest(io.BytesIO(content), form, "list")
    assert {diagnostic.file for diagnostic in caught.value.diagnostics} == {"list"}
    return [(diagnostic.line, diagnostic.message) for diagnostic in caught.value.diagnostics]


CSV_ROWS = [
    ("nothing", b"", []),
    ("one line", b"a/b\n", [("a/b", None)]),
    ("no line break at the end", b"a\nb", [("a", None), ("b", None)]),
    ("CR", b"a\rb\r", [("a", None), ("b", None)]),
    ("CRLF", b"a\r\nb\r\n", [("a", None), ("b", None)]),
    ("mixed, with blank lines", b"a\n\nb\r\n\r\nc\rd", [("a", None), ("b", None), ("c", None), ("d", None)]),
    ("versions", b"a,v1\nb,\nc\n", [("a", "v1"), ("b", None), ("c", None)]),
    ("quoted comma", b'"a,b",v\n', [("a,b", "v")]),
    ("doubled quotes", b'"a""b"\n', [('a"b', None)]),
    ("line breaks in quotes", b'"a\nb\r\nc\rd",v\n', [("a\nb\r\nc\rd", "v")]),
    ("leading slashes", b"/a/b\n./c\n", [("a/b", None), ("c", None)]),
    ("folders", b"a/b/\n", [("a/b/", None)]),
    ("spaces belong to names", b" a \n", [(" a ", None)]),
    ("UTF-8", "é,ü\n".encode(), [("é", "ü")]),
    ("byte-order mark", b"\xef\xbb\xbfa\n", [("a", None)]),
    ("names that are not UTF-8", b"a\xff\n", [("a\udcff", None)]),
    ("dots inside names", b"..a\na..b/.c\n...\n", [("..a", None), ("a..b/.c", None), ("...", None)]),
    ("longest path", b"a" * 4096 + b"\n", [("a" * 4096, None)]),
]


@pytest.mark.parametrize(("what", "content", "expected"), CSV_ROWS, ids=[row[0] for row in CSV_ROWS])
def test_csv(what: str, content: bytes, expected: list[tuple[str, str | None]]) -> None:
    assert read(content) == expected


JSONL_ROWS = [
    ("nothing", b"", []),
    ("paths", b'{"path": "a/b"}\n{"path": "/c", "version": "v"}', [("a/b", None), ("c", "v")]),
    ("blank lines and CRLF", b'\r\n{"path": "a"}\r\n\n', [("a", None)]),
    ("other keys", b'{"path": "a", "size": 3, "version": null}\n', [("a", None)]),
    ("path_b64 is the truth", b'{"path": "a?", "path_b64": "Yf8="}\n', [("a\udcff", None)]),
    ("path_b64 alone", b'{"path_b64": "YQ=="}\n', [("a", None)]),
    ("line breaks", b'{"path": "a\\nb"}\n', [("a\nb", None)]),
    ("byte-order mark", b'\xef\xbb\xbf{"path": "a"}\n', [("a", None)]),
]


@pytest.mark.parametrize(("what", "content", "expected"), JSONL_ROWS, ids=[row[0] for row in JSONL_ROWS])
def test_jsonl(what: str, content: bytes, expected: list[tuple[str, str | None]]) -> None:
    assert read(content, "jsonl") == expected


FAULTS = [
    ("parent", b"ok\n../etc/passwd\na/../../b\n..\n", [(2, '".."'), (3, '".."'), (4, '".."')]),
    ("the root", b"/\n.\n./\n\"\"\n", [(1, "root"), (2, "root"), (3, "root"), (4, "root")]),
    ("empty names", b"//a\na//b\na/./b\na//\n", [(1, "empty"), (2, "empty"), (3, "empty"), (4, "empty")]),
    ("NUL", b"a\0b\n", [(1, "NUL")]),
    ("too long", b"x\n" + b"a" * 4097 + b"\n", [(2, "4097 characters; the limit is 4096")]),
    ("twice", b"a\nb\n/a\n", [(3, "line 1")]),
    ("too many fields", b"a,b,c\n", [(1, "3 fields")]),
    ("after a record of several lines", b'"a\nb"\n../x\n', [(3, '".."')]),
    ("quotes left open", b'a\n"b\nc', [(2, "not readable as CSV")]),
    ("text after quotes", b'"a"b\n', [(1, "not readable as CSV")]),
    ("endless line", b"a" * 600_000, [(1, "not readable as CSV")]),
    ("UTF-16", "a\n".encode("utf-16"), [(1, "NUL"), (2, "NUL")]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "content", "expected"), FAULTS, ids=[row[0] for row in FAULTS])
def test_faults_in_csv(what: str, content: bytes, expected: list[tuple[int, str]]) -> None:
    found = faults(content)
    assert [line for line, _ in found] == [line for line, _ in expected]
    assert [part in message for (_, message), (_, part) in zip(found, expected, strict=True)] == [True] * len(
        found
    )


@pytest.mark.parametrize(
    "line",
    [
        b"a",
        b"[]",
        b'"a"',
        b"{}",
        b'{"path": 3}',
        b'{"path": "a", "version": 3}',
        b'{"path": "a"',
        b'{"path": "\xff"}',
        b'{"path_b64": "Y"}',
        b'{"path_b64": 3}',
        b"[" * 200_000,
        b'{"path": "a"}' + b" " * 300_000,
    ],
)  # fmt: skip
def test_lines_that_are_no_json_object_with_a_path(line: bytes) -> None:
    ((number, message),) = faults(b'{"path": "ok"}\n' + line + b"\n", "jsonl")
    assert number == 2
    assert message.startswith(("not a JSON object", "not readable as JSON Lines"))


def test_a_lone_surrogate_is_no_name() -> None:
    ((number, _),) = faults(b'{"path": "\\ud800"}\n', "jsonl")
    assert number == 1


def test_faults_never_echo_the_file() -> None:
    secret = b"root:$6$hash:/../x\n" * 2
    for form in ("csv", "jsonl"):
        assert "hash" not in str(faults(secret, form))


def test_only_the_first_faults_are_kept() -> None:
    found = faults(b"..\n" * 1000)
    assert len(found) == 51
    assert found[-1][1] == "950 more faults in this manifest"


def test_an_unknown_format_is_named() -> None:
    assert faults(b"", "xml") == [(1, "unknown manifest format")]


def test_the_stream_stays_open() -> None:
    stream = io.BytesIO(b"a\n")
    read_manifest(stream, "csv")
    assert stream.closed is False


def test_what_a_manifest_holds() -> None:
    manifest = Manifest([("a/b/c", "v"), ("a/d/", None), ("e", None)])
    assert (len(manifest), list(manifest)) == (3, ["a/b/c", "a/d/", "e"])
    assert manifest.containers == {"a/", "a/b/"}
    assert ("a/b/c" in manifest, "a/b/" in manifest, "a/d/" in manifest) == (True, False, True)
    assert (manifest.version("a/b/c"), manifest.version("e"), manifest.version("x")) == ("v", None, None)


any_name = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=6).filter(
    lambda name: name not in (".", "..")
)
any_path = st.lists(any_name | st.just("\udcff"), min_size=1, max_size=3).map("/".join)
any_listing = st.dictionaries(
    any_path, st.none() | st.text(st.characters(codec="utf-8"), min_size=1, max_size=4)
)


@settings(deadline=None)
@given(any_listing)
def test_what_was_written_is_read(listing: dict[str, str | None]) -> None:
    text = io.StringIO()
    rows = [(path,) if version is None else (path, version) for path, version in listing.items()]
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    content = text.getvalue().encode("utf-8", "surrogateescape")
    assert read(content) == list(listing.items())
    lines = [encode_line({"path": path, "version": version}) for path, version in listing.items()]
    assert all(json.loads(line) for line in lines)
    assert read(b"\n".join(lines), "jsonl") == list(listing.items())
