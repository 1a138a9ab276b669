"""What is generated from the schema: it loads, it is complete, and the committed page is up to date."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from config_cases import Load
from jsonschema import Draft202012Validator

from runner.config.build import load_configuration
from runner.config.reference import render_reference
from runner.config.sample import sample_configuration
from runner.config.schema import base_schema, composed_schema, resolve
from runner.locations.registry import Registry

ROOT = Path(__file__).parents[2]
SCHEMA = base_schema()


def properties() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key of the schema with its place."""
    for key, node in SCHEMA["properties"].items():
        yield key, node
        for inner, child in node.get("properties", {}).items():
            if key != "defaults":
                yield f"{key}.{inner}", child
    for name, definition in SCHEMA["$defs"].items():
        for key, node in definition.get("properties", {}).items():
            yield f"{name}.{key}", node


def test_the_schemas_are_valid() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator.check_schema(composed_schema(Registry()))


@pytest.mark.parametrize(("place", "node"), [pytest.param(*case, id=case[0]) for case in properties()])
def test_every_key_is_described_and_its_examples_fit(place: str, node: dict[str, Any]) -> None:
    resolved = dict(resolve(SCHEMA, node))
    assert resolved.get("description", "").endswith(".")
    assert resolved.get("examples")
    validator = Draft202012Validator({**resolved, "$defs": SCHEMA["$defs"]})
    values = [*resolved["examples"], *([resolved["default"]] if "default" in resolved else [])]
    if "{{" not in str(values):
        assert [error.message for value in values for error in validator.iter_errors(value)] == []


def test_the_reference_is_up_to_date() -> None:
    """After a change of the schema: `python -c "from runner.config.reference import *;
    print(render_reference(Registry()), end='')" > docs/sync-yaml.md`"""
    assert (ROOT / "docs" / "sync-yaml.md").read_text(encoding="utf-8") == render_reference(Registry())


def test_the_sample_loads_and_says_where_its_schema_is(tmp_path: Path) -> None:
    text = sample_configuration(Registry())
    path = tmp_path / "sync.yaml"
    path.write_text(text)
    configuration = load_configuration(str(path), Registry(), {})
    assert list(configuration.tasks) == ["example"]
    assert text.startswith("# yaml-language-server: $schema=sync.schema.json\n")
    assert sample_configuration(Registry(), "https://x/y.json").startswith(
        "# yaml-language-server: $schema=https://x/y.json\n"
    )
    assert max(len(line) for line in text.splitlines()) <= 110


def test_every_key_stands_in_the_sample() -> None:
    keys = re.findall(r"^ *#?([a-z_]+):", sample_configuration(Registry()), re.MULTILINE)
    sections = {"task", "options", "metadata", "filters", "guards", "schedule", "retries", "settings"}
    places = [place.split(".") for place, _ in properties()]
    wanted = {place[1] for place in places if place[0] in sections and len(place) == 2}
    assert wanted - set(keys) == set()


def switched_on(leave_off: set[str]) -> str:
    """The sample with every line on that is off, but those of `leave_off` (their indented line starts)."""
    lines = []
    for line in sample_configuration(Registry()).splitlines():
        on = re.sub(r"^( *)#([a-z_]+:)", r"\1\2", line)
        lines.append(line if any(on.startswith(start) for start in leave_off) else on)
    return "\n".join(lines)


ALWAYS_OFF = {"include:", "  history:", "      after:"}
"""They name files and tasks that are not there."""
MANIFEST = {"      manifest:", "        file:", "        format:"}
PATTERNS = {"      include:", "      exclude:", "      rules:"}
TRIGGERS = {"      cron:", "      every:", "      rate:", "      at:"}
ENVIRONMENT = {"OPS_URL": "json://127.0.0.1/", "OTLP_TOKEN": "token"}


@pytest.mark.parametrize(
    ("description", "off"),
    [(f"{key.strip()} with patterns", MANIFEST | TRIGGERS - {key}) for key in sorted(TRIGGERS)]
    + [("a manifest", PATTERNS | TRIGGERS - {"      cron:"})],
)
def test_every_line_that_is_off_can_be_switched_on(tmp_path: Path, description: str, off: set[str]) -> None:
    text = switched_on(ALWAYS_OFF | off)
    if off >= PATTERNS:
        text = text.replace("      exclude: ", "      #exclude: ")
    path = tmp_path / "sync.yaml"
    path.write_text(text)
    read = load_configuration(str(path), Registry(), ENVIRONMENT).tasks["example"]
    assert read.schedule is not None
    assert (read.filters.manifest is None) == (off >= MANIFEST)


def test_secrets_of_a_driver_are_found_in_its_schema(load: Load) -> None:
    from config_cases import VAULT_SCHEMA

    from runner.config.schema import secret_paths

    assert secret_paths(VAULT_SCHEMA) == {("password",), ("key",), ("headers", "*")}
