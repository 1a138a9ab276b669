"""YAML without its traps: what is text stays text, and no input exhausts the process."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.config.load import decode, parse_document, resolve_plain
from runner.config.nodes import Faults, Mapping, plain


def parse(text: str | bytes) -> tuple[object, list[str]]:
    faults = Faults()
    source = decode("f.yaml", text.encode() if isinstance(text, str) else text, 0, faults)
    root = None if source is None else parse_document(source, faults)
    found = [f"{d.line}:{d.column} {d.message}" for d in faults.diagnostics()]
    return (None if root is None else plain(root)), found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("12", 12), ("-3", -3), ("1.5", 1.5), ("1e3", 1000.0), ("0", 0),
        ("yes", "yes"), ("on", "on"), ("no", "no"), ("y", "y"),
        ("012", "012"), ("0o14", "0o14"), ("0x1F", "0x1F"), ("1_000", "1_000"), ("+5", "+5"),
        ("1:30", "1:30"), ("08:30", "08:30"), ("2026-01-31", "2026-01-31"),
        (".inf", ".inf"), (".nan", ".nan"),
        ("9" * 5000, "9" * 5000), ("1e999", "1e999"), ("-", "-"), ("٣", "٣"),
    ],
)  # fmt: skip
def test_plain_scalars_mean_what_json_means(text: str, expected: object) -> None:
    actual = resolve_plain(text)
    assert (type(actual), actual) == (type(expected), expected)


@pytest.mark.parametrize(
    ("description", "text", "expected"),
    [
        ("python tag", "a: !!python/object/apply:os.system [id]", "1:4 the tag 'tag:yaml.org,2002:python"),
        ("binary", "a: !!binary aGk=", "1:4 the tag 'tag:yaml.org,2002:binary' is not allowed"),
        ("exclude rule unquoted", "a: !keep.log", "1:4 the tag '!keep.log' is not allowed"),
        ("star unquoted", "a: [*.tmp]", "1:5 a text that starts with * has to be quoted"),
        ("alias unknown", "a: *b", "1:4 there is no anchor '&b' before this alias"),
        ("alias of itself", "a: &x [*x]", "1:8 the alias 'x' refers to itself"),
        ("duplicate key", "a: 1\nb: 2\na: 3", "3:1 the key 'a' is given twice; first in line 1, column 1"),
        ("deep flow", "a: " + "[" * 5000, "1:53 nested more than 50 levels deep"),
        ("two documents", "a: 1\n---\nb: 2", "2:1 a second document starts here"),
        ("template unquoted", "a: {{ env.X }}", "1:4 a value that starts with {{ has to be quoted"),
        ("map as key", "? {a: 1}\n: 2", "1:3 a map or a list cannot be a key"),
        ("tab", "a:\n\tb: 1", "2:1 a tab is used to indent; YAML allows blanks only"),
        ("bad utf-8", b"a: 1\nb: \xff", "2:4 byte 0xff is not UTF-8"),
        ("utf-16", "a: 1".encode("utf-16"), "1:1 the file is UTF-16"),
        ("control character", "a: 1\nb: x\x1by", "2:5 the control character U+001B is not allowed"),
        ("empty", "", "1:1 the file is empty"),
        ("comment only", "# nothing\n", "1:1 the file is empty"),
        ("a list", "- a", "1:1 the file is not a map"),
        ("a text", "hello", "1:1 the file is not a map"),
        ("unclosed quote", 'a: "b', "1:4 the quote that starts here is never closed"),
        ("unclosed list", "a: [1, 2\n", "1:4 the list that starts here goes wrong: a , or ] is missing"),
        ("unclosed map", "a: {b: 1\nc: 2", "1:4 the map that starts here goes wrong: a , or } is missing"),
        ("colon in a value", "a: b: c", "1:5 ': ' is not allowed here"),
        ("no colon", "a: 1\nb\n", "2:1 a key without its ': '"),
        ("bad escape", 'a: "\\q"', "1:5 \"...\" knows no such escape"),
        ("bad indent", "a:\n  - b\n c: 1", "3:2 this line is not indented as its neighbours are"),
        ("at sign", "a: @x", "1:4 a text that starts with @ has to be quoted"),
        ("too large", b"#" * (5 * 1024 * 1024 + 1), "1:1 the file is larger than 5 MiB"),
    ],
)  # fmt: skip
def test_traps_are_refused_at_their_place(description: str, text: str | bytes, expected: str) -> None:
    value, found = parse(text)
    assert value is None
    assert [line[: len(expected)] for line in found] == [expected]


def test_an_alias_bomb_is_refused_before_it_grows() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [" + ", ".join([f"*a{i - 1}"] * 9) + "]" for i in range(1, 9)]
    value, found = parse("\n".join(lines))
    assert value is None
    assert [line.split(" ", 1)[1] for line in found] == ["more than 100,000 values, aliases expanded"]


def test_more_aliases_than_a_configuration_needs_are_refused() -> None:
    value, found = parse("a: &a 1\nb: [" + ", ".join(["*a"] * 101) + "]")
    assert (value, found) == (None, ["2:405 more than 100 aliases"])


def test_aliases_cannot_pass_the_depth_limit() -> None:
    deep = "[" * 30 + "]" * 30
    _, found = parse(f"a: &a {deep}\nb: " + "[" * 30 + "*a" + "]" * 30)
    assert found == ["2:34 nested more than 50 levels deep"]


def test_anchors_and_merge_keys_work() -> None:
    value, found = parse("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\nz: {<<: [*x, {c: 4}]}\n'<<': 5")
    assert found == []
    assert value == {"x": {"a": 1, "b": 2}, "y": {"b": 3, "a": 1}, "z": {"a": 1, "b": 2, "c": 4}, "<<": 5}


def test_keys_are_text_whatever_they_look_like() -> None:
    assert parse("1000: 2000\ntrue: no\n~: x")[0] == {"1000": 2000, "true": "no", "~": "x"}


def test_a_byte_order_mark_and_windows_lines_are_harmless() -> None:
    assert parse(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n") == ({"a": 1, "b": 2}, [])


def test_marks_count_characters_from_one() -> None:
    faults = Faults()
    source = decode("f.yaml", "ä: {ö: ü}\n".encode(), 0, faults)
    assert source is not None
    root = parse_document(source, faults)
    assert isinstance(root, Mapping)
    inner = root.members["ä"].node
    assert isinstance(inner, Mapping)
    member = inner.members["ö"]
    assert (member.key.line, member.key.column, member.node.column) == (1, 5, 8)


def test_python_parser_gives_the_same_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    text = "a: &x [1, {b: 'c'}]\nd: *x\ne: |\n  lines\n  here\nf: >-\n  folded\n"
    fast = parse(text)
    monkeypatch.setattr("runner.config.load._new_parser", yaml.SafeLoader)
    assert parse(text) == fast
    assert parse("a: [*.tmp]")[1] == ["1:5 a text that starts with * has to be quoted"]
    assert parse("a: " + "[" * 5000)[1] == ["1:53 nested more than 50 levels deep"]


@given(st.text(alphabet="ab:-[]{},&*!|>'\"#%@`\n\t {}~?<0x", max_size=60))
def test_any_text_is_read_or_refused_at_a_place(text: str) -> None:
    value, found = parse(text)
    assert (value is None) == bool(found)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_at_a_place(content: bytes) -> None:
    value, found = parse(content)
    assert (value is None) == bool(found)
