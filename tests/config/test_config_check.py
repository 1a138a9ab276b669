"""Schema faults as a person sees them, and the quick yes against jsonschema."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from config_cases import Diagnose, task
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from runner.config.accept import acceptor
from runner.config.schema import base_schema, compose, composed_schema, inlined
from runner.locations.registry import Registry

GOLDEN = Path(__file__).with_name("golden_faults.txt")

CASES = [
    ("unknown key", "options: {transfer_mod: all}"),
    ("key of another section", "verify_mode: none"),
    ("key of another section, inside one", "options: {max_size: 4GiB}"),
    ("wrong word", "options: {transfer_mode: chnged}"),
    ("no unit", "filters: {max_size: 4}"),
    ("wrong unit", "options: {bandwidth: 20Mib}"),
    ("yaml 1.1 boolean", "options: {sparse: yes}"),
    ("number out of bounds", "options: {workers: 0}"),
    ("fraction", "options: {workers: 1.5}"),
    ("nothing", "options:"),
    ("a list for a map", "options: []"),
    ("a map for a text", "source: {}"),
    ("empty map", "guards: {max_deletions: {}}"),
    ("wrong word for a map", "guards: {max_deletions: none}"),
    ("fault inside an alternative", "guards: {max_deletions: {percent: 101}}"),
    ("missing key", "filters: {manifest: {format: csv}}"),
    ("half a window", "options: {bandwidth: [{from: 08:00, limit: 1MB/s}]}"),
    ("time of day", "options: {bandwidth: [{from: 8:00, to: 25:00, limit: 1MB/s}]}"),
    ("given twice", "reports: [html, html]"),
    ("word in a list", "reports: [html, cvs]"),
    ("pattern is a number", "filters: {exclude: [3]}"),
    ("empty pattern", "filters: {exclude: ['']}"),
    ("unknown type", "source: {type: foldr, path: x}"),
    ("no type", "source: {path: x}"),
    ("missing option", "source: {type: folder}"),
    ("unknown option", "source: {type: folder, path: x, pth: y}"),
    ("option out of bounds", "source: {type: vault, url: u, port: 70000}"),
    ("long text", f"description: {'x' * 2001}"),
]


def test_faults_look_as_committed(diagnose: Diagnose) -> None:
    """Golden: after a wanted change, delete the file, run this test once and read the difference."""
    pieces = []
    for title, body in CASES:
        text = task(body)
        if body.startswith("source:"):
            text = text.replace("    source: a\n", "", 1)
        rendered = "\n".join(d.render() for d in diagnose(text))
        folder = rendered[: rendered.index("sync.yaml")]
        pieces.append(f"## {title}\n{rendered.replace(folder, '')}\n")
    actual = "\n".join(pieces)
    if not GOLDEN.exists():
        GOLDEN.write_text(actual)
        pytest.fail("the golden file is new: read it, then run again")
    assert actual == GOLDEN.read_text()


def test_top_level_faults(diagnose: Diagnose) -> None:
    found = diagnose("versoin: 1\nlocations: {'a b': {type: folder, path: x}}\ntasks: {}\n")
    assert [(d.line, d.column, d.message, d.pointer) for d in found] == [
        (1, 1, "the key 'version' is missing", ""),
        (1, 1, "unknown key 'versoin'", "/versoin"),
        (2, 13, "'a b' cannot be a name", "/locations/a b"),
    ]


def test_a_driver_that_is_not_installed_is_one_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runner.config.build import load_configuration
    from runner.errors import ConfigurationError, MissingExtraError

    class Missing(Registry):
        def types(self) -> list[str]:
            return ["cloud", "local"]

        def driver(self, location_type: str) -> Any:
            raise MissingExtraError("location type 'cloud' needs x", remedy="Install it: pip install y")

    path = tmp_path / "sync.yaml"
    path.write_text(
        "version: 1\nlocations: {c: {type: cloud, bucket: b}}\ntasks: {t: {source: c, destination: d}}\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(str(path), Missing(), {})
    assert [(d.line, d.message) for d in caught.value.diagnostics] == [
        (2, "location type 'cloud' needs x"),
        (3, "the destination of task 't' names a location that is not declared: 'd'"),
    ]
    assert composed_schema(Missing())["$defs"]["location"]["properties"]["type"]["enum"] == ["cloud", "local"]


DRIVER_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["url"],
    "properties": {"url": {"type": "string"}, "port": {"$ref": "#/$defs/port"}},
    "$defs": {"port": {"type": "integer", "minimum": 1, "maximum": 65535}},
}
COMPOSED = compose(base_schema(), {"local": DRIVER_SCHEMA, "other": None})
RULES = inlined(COMPOSED)

DOCUMENT: dict[str, Any] = {
    "version": 1,
    "x-note": [1],
    "vars": {"a": 1, "b": "x", "c": True},
    "settings": {"state": "s", "history": "sqlite:///x"},
    "locations": {"a": {"type": "local", "url": "x", "port": 3}, "b": {"type": "other", "any": []}},
    "defaults": {"options": {"workers": 3}, "reports": ["csv"]},
    "tasks": {
        "t": {
            "source": "a",
            "destination": {"type": "local", "url": "u"},
            "enabled": False,
            "options": {
                "transfer_mode": "all",
                "compare": "size+mtime",
                "mtime_tolerance": "2s",
                "bandwidth": [{"from": "08:00", "to": "09:00", "limit": "1MB/s"}, {"limit": "unlimited"}],
                "metadata": {"mtime": True, "owner": "ids", "owner_map": {"a": 1, "b": "c"}},
                "retries": {"attempts": 3, "delay": "1s"},
            },
            "filters": {
                "include": "/a|/b", "exclude": ["*.tmp"], "max_size": "4GiB", "kinds": ["file", "symlink"],
                "modified_after": "2020-01-01", "manifest": {"file": "x"},
            },
            "guards": {"max_deletions": {"count": 3, "percent": 2.5}, "max_overwrites": "unlimited"},
            "schedule": {"cron": "0 2 * * *", "timezone": "UTC", "rate": "2 hours"},
            "reports": ["html"],
        }
    },
}  # fmt: skip

odd_values = st.sampled_from(
    [
        *(
            None,
            True,
            False,
            0,
            1,
            -1,
            1.0,
            1.5,
            70000,
            10**30,
            "",
            "x",
            "unlimited",
            "4GiB",
            "1MB/s",
            "08:00",
        ),
        *(
            "local",
            "other",
            "all",
            "html",
            "2020-01-01",
            [],
            ["html", "html"],
            ["x"],
            [1],
            [None],
            [[]],
            [{}],
        ),
        *({}, {"type": "local"}, {"type": "other"}, {"x": 1}, {"file": "y"}, {"limit": "1MB/s"}),
        {"from": "08:00", "limit": "1B/s"},
    ]
)
odd_keys = st.sampled_from(
    ["type", "url", "port", "source", "options", "workers", "x-y", "a b", "count", "from", "file", "<<", ""]
)


@st.composite
def documents(draw: st.DrawFn) -> Any:
    """The valid document with a few members replaced, removed or added anywhere."""
    root = {"root": copy.deepcopy(DOCUMENT)}
    for _ in range(draw(st.integers(0, 3))):
        here: Any = root
        while True:
            keys = list(here) if isinstance(here, dict) else list(range(len(here)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            child = here[key]
            if isinstance(child, (dict, list)) and child and draw(st.integers(0, 5)):
                here = child
                continue
            action = draw(st.sampled_from(["replace", "remove", "add"]))
            if here is root:
                action = "replace" if action == "remove" else action
            if action == "replace":
                here[key] = copy.deepcopy(draw(odd_values))
            elif action == "remove":
                del here[key]
            elif isinstance(here, dict) and here is not root:
                here[draw(odd_keys)] = copy.deepcopy(draw(odd_values))
            break
    return root["root"]


@settings(max_examples=200, deadline=None)
@given(documents())
def test_the_quick_yes_agrees_with_jsonschema(document: Any) -> None:
    assert ACCEPTS(document) == VALIDATOR.is_valid(document)


ACCEPTS = acceptor(RULES)
VALIDATOR = Draft202012Validator(COMPOSED)


def test_the_quick_yes_is_a_yes() -> None:
    assert ACCEPTS(DOCUMENT)


@pytest.mark.parametrize(
    "schema",
    [
        {"oneOf": [{}, {}]},
        {"not": {}},
        {"contains": {"type": "integer"}},
        {"unevaluatedProperties": False},
        {"$ref": "#/x"},
        {"enum": [[1]]},
        {"type": "unknown"},
        False,
    ],
)
def test_the_quick_yes_never_guesses(schema: Any) -> None:
    assert [acceptor(schema)(value) for value in ({}, [1], 1, "a", None)] == [False] * 5


KEYWORD_SCHEMAS: list[Any] = [
    {"type": ["integer", "null"]},
    {"enum": [1, "a", None, False]},
    {"const": True},
    {"const": 0},
    {"minimum": 1},
    {"exclusiveMinimum": 1},
    {"maximum": 1},
    {"exclusiveMaximum": 1},
    {"minLength": 2},
    {"maxLength": 1},
    {"pattern": "b"},
    {"items": {"type": "integer"}},
    {"minItems": 2},
    {"maxItems": 1},
    {"required": ["a"]},
    {"properties": {"a": {"type": "string"}}},
    {"properties": {"a": True}, "additionalProperties": False},
    {"additionalProperties": {"type": "null"}},
    {"patternProperties": {"^a": {"type": "integer"}}},
    {"propertyNames": {"const": "a"}},
    {"minProperties": 1},
    {"maxProperties": 1},
    {"dependentRequired": {"a": ["b"]}},
    {"anyOf": [{"type": "string"}, {"minimum": 1}]},
    {"allOf": [{"type": "array"}, {"maxItems": 2}]},
    {"if": {"required": ["a"], "properties": {"a": {"const": "a"}}}, "then": {"required": ["b"]}},
]

scalars = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([1.0, 0.5, "a", "ab"])


@given(
    st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner)
    )
)
def test_single_keywords_agree_with_jsonschema(value: Any) -> None:
    for schema in KEYWORD_SCHEMAS:
        assert (schema, acceptor(schema)(value)) == (schema, Draft202012Validator(schema).is_valid(value))
