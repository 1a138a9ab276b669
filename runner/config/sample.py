"""The schema -> a commented sync.yaml that loads as it is. What `init` writes.

`# text` explains; `#key: value` (no blank) is a setting at its default or an example, to be switched on.
Keys that the schema marks with `x-sample` are live.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from runner.config.schema import base_schema, resolve
from runner.locations.registry import Registry

WIDTH = 100
DEFAULT_SCHEMA_REFERENCE = "sync.schema.json"

_HEAD = """\
# Read more: docs/sync-yaml.md. Check this file: sync-runner validate. Lines like "#key: value" are off.
# Units are required (4GiB, 20MiB/s, 30d). Relative paths start at this file's folder.
# Values may hold templates: {{ env.NAME }}, {{ vars.name }}, and in locations {{ secret_file('path') }},
# {{ secret_env('NAME') }} and {{ credential('name') }}.
"""


def sample_configuration(registry: Registry, schema_reference: str = DEFAULT_SCHEMA_REFERENCE) -> str:
    """A complete sync.yaml with one task between two folders, `./source` and `./destination`.

    `schema_reference` is what editors complete from: a path relative to the file, or a URL.
    """
    schema = base_schema()
    properties = schema["properties"]
    lines = [f"# yaml-language-server: $schema={schema_reference}", *_HEAD.splitlines(), ""]
    for key in ("version", "include", "vars", "settings", "notifications"):
        lines += _property(schema, key, properties[key], 0)
        lines.append("")
    lines += _comment(properties["locations"]["description"], 0)
    lines += _comment("Types: " + ", ".join(registry.types()) + ".", 0)
    lines += [
        "locations:",
        "  source: {type: local, path: ./source}",
        "  destination: {type: local, path: ./destination}",
        "",
    ]
    lines += _property(schema, "defaults", {**properties["defaults"], "properties": {}}, 0)
    lines += ["", *_comment(properties["tasks"]["description"], 0), "tasks:", "  example:"]
    lines += _members(schema, schema["$defs"]["task"], 2)
    return "\n".join(lines) + "\n"


def _members(schema: dict[str, Any], node: Mapping[str, Any], depth: int) -> Iterator[str]:
    for key, child in node["properties"].items():
        yield from _property(schema, key, child, depth)


def _property(schema: dict[str, Any], key: str, node: Mapping[str, Any], depth: int) -> list[str]:
    """The key with its explanation. A map of known keys is written out key by key."""
    resolved = resolve(schema, node)
    lines = _comment(resolved.get("description", ""), depth)
    indent = "  " * depth
    inner = resolved.get("properties")
    if inner and resolved.get("type") == "object":
        members = list(_members(schema, resolved, depth + 1))
        live = any(not line.lstrip().startswith("#") for line in members)
        # A live key needs a live parent; a parent whose members are all off has to be off as well.
        return [*lines, f"{indent}{'' if live else '#'}{key}:", *members]
    if "x-sample" in resolved:
        return [*lines, f"{indent}{key}: {yaml_value(resolved['x-sample'])}"]
    value = resolved["default"] if "default" in resolved else resolved["examples"][0]
    return [*lines, f"{indent}#{key}: {yaml_value(value)}"]


def yaml_value(value: Any) -> str:
    """A value in YAML's flow style on one line, quoted where it could be read as something else."""
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{yaml_value(key)}: {yaml_value(child)}" for key, child in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(yaml_value, value)) + "]"
    if isinstance(value, str) and _is_unmistakable(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _is_unmistakable(text: str) -> bool:
    """Plain in YAML, and text for every parser, also one of YAML 1.1."""
    if not re.fullmatch(r"[A-Za-z0-9./][A-Za-z0-9_./+-]*", text):
        return False
    return text.lower() not in _WORDS and not re.fullmatch(r"[0-9.][0-9_.eE+-]*", text)


_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})


def _comment(text: str, depth: int) -> list[str]:
    indent = "  " * depth + "# "
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False,
        break_long_words=False,
    )  # fmt: skip
