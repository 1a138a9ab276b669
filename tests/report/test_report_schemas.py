"""What is written fits the published schemas, and the schemas say what the types say."""

from __future__ import annotations

import enum
import importlib.resources
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import msgspec
import pytest
from report_stories import HOSTILE_NAMES, Story, calm_story, hostile_story, make_outcome, troubled_story

from runner.errors import EntryCode
from runner.model.action import Action, ActionKind, Finding, Outcome, OutcomeStatus, Stage, Verdict
from runner.model.activity import Concurrency, TimeSpent
from runner.model.difference import Reason
from runner.model.entry import Attributes, Entry, Kind, Phase, Problem
from runner.model.execution import (
    Counters,
    Counts,
    EndpointSummary,
    Evidence,
    Execution,
    GuardVerdict,
    PhaseTiming,
    PreviousReport,
    Report,
    SideRoot,
    Trigger,
)
from runner.model.plan import ActionTotals, PlanHeader, PlanTrailer
from runner.model.task import ReportFormat
from runner.model.wire import encode_line
from runner.report.render import render

STRUCTS: tuple[type[msgspec.Struct], ...] = (
    Report,
    Evidence,
    SideRoot,
    PreviousReport,
    Execution,
    EndpointSummary,
    PhaseTiming,
    TimeSpent,
    Concurrency,
    Counts,
    Counters,
    GuardVerdict,
    Problem,
    Finding,
    Outcome,
    PlanHeader,
    Action,
    Entry,
    Attributes,
    PlanTrailer,
    ActionTotals,
)
ENUMS: tuple[type[enum.Enum], ...] = (
    Phase,
    Trigger,
    EntryCode,
    Verdict,
    ActionKind,
    OutcomeStatus,
    Stage,
    Kind,
    Reason,
)
STORIES = {"calm": calm_story(), "troubled": troubled_story(), "hostile": hostile_story()}
SCHEMAS = ("report", "outcome", "plan")


def load_schema(name: str) -> dict[str, Any]:
    resource = importlib.resources.files("runner_schemas").joinpath(f"{name}.schema.json")
    schema: dict[str, Any] = json.loads(resource.read_text(encoding="utf-8"))
    return schema


def closed(node: Any) -> Any:
    """The schema without room for unknown keys: readers tolerate them, our own writer must not make any."""
    if isinstance(node, dict):
        made = {key: closed(value) for key, value in node.items()}
        if "properties" in made:
            made["additionalProperties"] = False
        return made
    return [closed(value) for value in node] if isinstance(node, list) else node


def faults(name: str, value: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(
        closed(load_schema(name)), format_checker=jsonschema.FormatChecker()
    )
    return [error.message for error in validator.iter_errors(value)]


def definitions(schema: dict[str, Any], root: str) -> dict[str, Any]:
    found: dict[str, Any] = dict(schema["$defs"])
    if "properties" in schema:
        found[root] = schema
    return found


def plan_lines() -> Iterator[msgspec.Struct]:
    place = EndpointSummary("photos", "local", "/srv/photos", None)
    yield PlanHeader(
        task="t",
        config_digest="c",
        filter_digest="f",
        source=place,
        destination=place,
        options={"workers": None},
    )
    attributes = Attributes(
        mode=0o644, xattrs=(("user.\udcff", b"\x00\xff"),), acls=(("access", b"\x02"),), tags=()
    )
    for number, name in enumerate(HOSTILE_NAMES, start=1):
        entry = Entry(
            name, Kind.SYMLINK, mtime_ns=1, link_target=name, link_group=name, attributes=attributes
        )
        yield Action(number, ActionKind.LINK, Stage.LINK, name, entry, None, (Reason.MISSING,), link_to=name)
    yield Action(
        99,
        ActionKind.DELETE,
        Stage.REMOVE,
        "a",
        None,
        Entry("a", Kind.FILE, 3, digests=(("md5", "0"),)),
        (Reason.EXTRA,),
    )
    yield PlanTrailer(
        actions=1,
        stages=(0, 1, 0, 0, 0),
        totals=ActionTotals(),
        counters=Counters(),
        complete=False,
        problems=(Problem("p\udcff", Phase.PREPARING, EntryCode.NOT_LISTED, "m", side="source"),),
        problems_total=1,
        guards=(GuardVerdict("g", "m", "r"),),
        losses=("2 s mtime",),
        destination_entries=Counts(1, 2),
        destination_bytes=3,
        digest="d",
    )


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_valid_and_named(name: str) -> None:
    schema = load_schema(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:sync-runner:schema:{name}:1"


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_field_is_described(name: str) -> None:
    schema = load_schema(name)
    undescribed = [
        f"{title}.{field}"
        for title, definition in definitions(schema, name).items()
        for field, node in {**definition.get("properties", {}), "": definition}.items()
        if not node.get("description")
    ]
    assert undescribed == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_says_what_the_types_say(name: str) -> None:
    described = definitions(load_schema(name), {"report": "Report", "outcome": "Outcome"}.get(name, ""))
    checked = []
    for struct in STRUCTS:
        if struct.__name__ not in described:
            continue
        checked.append(struct.__name__)
        definition = described[struct.__name__]
        fields = msgspec.structs.fields(struct)
        always_written = [
            field.encode_name
            for field in fields
            if field.required or not struct.__struct_config__.omit_defaults
        ]
        assert list(definition["properties"]) == [field.encode_name for field in fields], struct
        assert definition.get("required", []) == always_written, struct
        _, components = msgspec.json.schema_components([struct])
        for field, node in components[struct.__name__]["properties"].items():
            expected, actual = shape(node), shape(definition["properties"][field])
            assert actual == expected, f"{struct.__name__}.{field}"
    for kinds in ENUMS:
        if kinds.__name__ in described:
            assert described[kinds.__name__]["enum"] == [member.value for member in kinds], kinds
    known = {*checked, *(kinds.__name__ for kinds in ENUMS), "Text"}
    assert set(described) <= known


def shape(node: dict[str, Any]) -> frozenset[str]:
    """The JSON types and references that a node allows, however it is spelled."""
    if "anyOf" in node:
        return frozenset().union(*(shape(choice) for choice in node["anyOf"]))
    if "$ref" in node:
        reference = node["$ref"].rsplit("/", 1)[1]
        return frozenset({"string" if reference == "Text" else reference})
    if "const" in node:
        return frozenset({"string" if isinstance(node["const"], str) else "integer"})
    kinds = node["type"] if isinstance(node["type"], list) else [node["type"]]
    if kinds == ["array"]:
        inner = node["prefixItems"] if "prefixItems" in node else [node["items"]]
        return frozenset(f"array of {' '.join(sorted(shape(item)))}" for item in inner)
    return frozenset(kinds)


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_reports_fit(story: Story, stored: Callable[[Story], str]) -> None:
    folder = stored(story)
    output = io.BytesIO()
    render(folder, ReportFormat.JSON, output)
    assert faults("report", json.loads(output.getvalue())) == []
    assert faults("report", json.loads(encode_line(story.report))) == []
    assert msgspec.json.format(encode_line(story.report), indent=2) + b"\n" == output.getvalue()


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_outcome_lines_fit(story: Story) -> None:
    for outcome in story.outcomes:
        assert faults("outcome", json.loads(encode_line(outcome))) == []


def test_plan_lines_fit() -> None:
    for line in plan_lines():
        assert faults("plan", json.loads(encode_line(line))) == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("outcome", {"action_id": 1, "kind": "copy", "path": "a"}, "'status' is a required property"),
        (
            "outcome",
            {"action_id": "1", "kind": "copy", "path": "a", "status": "done"},
            "'1' is not of type 'integer'",
        ),
        (
            "outcome",
            {"action_id": 1, "kind": "copy", "path": "a", "status": "fine"},
            "'fine' is not one of ['done', 'skipped', 'stale', 'failed', 'cancelled']",
        ),
        (
            "outcome",
            json.loads(encode_line(make_outcome(1, "a"))) | {"passwort": 1},
            "'passwort' does not match any of the regexes: '_b64$'",
        ),
    ],
)
def test_wrong_values_do_not_fit(name: str, value: Any, expected: str) -> None:
    assert faults(name, value) == [expected]


def test_unknown_fields_are_tolerated_by_readers() -> None:
    value = json.loads(encode_line(calm_story().report)) | {"previous_digest": "sha256:00"}
    assert list(jsonschema.Draft202012Validator(load_schema("report")).iter_errors(value)) == []
