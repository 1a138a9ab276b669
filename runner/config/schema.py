"""sync.schema.json with each driver's own options schema composed in."""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from runner.errors import MissingExtraError
from runner.locations.registry import Registry

Schema = dict[str, Any]

LIMIT_KEYS = ("max_executions", "max_concurrency")
COMMON_KEYS = (*LIMIT_KEYS, "marker")
"""What every location may say besides its type, whatever its driver."""
SCHEMA_ID = "urn:sync-runner:schema:sync:1"


def base_schema() -> Schema:
    """sync.schema.json as it is shipped: locations know only their type."""
    # Not importlib.resources: it costs every command 10 ms of imports.
    content = pkgutil.get_data("runner_schemas", "sync.schema.json")
    assert content is not None
    schema: Schema = json.loads(content)
    return schema


def composed_schema(registry: Registry) -> dict[str, Any]:
    """What `schema` prints and editors complete from: every known location type with its options.

    A type whose packages are not installed is listed, and its options are left open.
    """
    schema = base_schema()
    options: dict[str, Mapping[str, Any] | None] = {}
    for location_type in registry.types():
        try:
            options[location_type] = registry.driver(location_type).options_schema()
        except MissingExtraError:
            options[location_type] = None
    return compose(schema, options)


def compose(schema: Schema, options: Mapping[str, Mapping[str, Any] | None]) -> Schema:
    """`schema` (changed in place) whose locations are checked by the options schema that their type names.

    None = that type's schema is not at hand: it is allowed, and its options are not looked at.
    """
    definitions = schema["$defs"]
    location = definitions["location"]
    location["properties"]["type"] = {**location["properties"]["type"], "enum": list(options)}
    branches = []
    for location_type, driver_schema in options.items():
        if driver_schema is None:
            continue
        name = f"location_{location_type}"
        definitions[name] = _driver_definition(
            location_type,
            driver_schema,
            f"#/$defs/{name}",
            {key: location["properties"][key] for key in COMMON_KEYS},
        )
        branches.append(
            {
                "if": {"required": ["type"], "properties": {"type": {"const": location_type}}},
                "then": {"$ref": f"#/$defs/{name}"},
            }
        )
    if branches:
        location["allOf"] = branches
    return schema


def resolve(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """`node` with its local $ref followed; keywords beside the reference win."""
    seen = 0
    while "$ref" in node and seen < 20:
        target: Any = schema
        for part in str(node["$ref"]).removeprefix("#/").split("/"):
            target = target[part]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
        seen += 1
    return node


def secret_paths(driver_schema: Mapping[str, Any]) -> frozenset[tuple[str, ...]]:
    """Keys of a driver's options that hold secrets (`x-secret`, `writeOnly`), as paths from the location."""
    return frozenset(_secret_paths(driver_schema, driver_schema, (), 0))


def inlined(schema: Schema, keep: Iterable[str] = ("x-expected", "examples")) -> Schema:
    """The same rules without annotations and without local references, as fast to check as can be.

    A schema that refers to itself is returned as it is.
    """
    kept = frozenset(keep)
    try:
        inline: Schema = _inline(schema, schema, kept, (), is_schema=True)
    except _RecursiveSchema:
        return schema
    inline.pop("$defs", None)
    return inline


class _RecursiveSchema(Exception):
    pass


_ANNOTATIONS = frozenset({"title", "description", "default", "examples", "$comment", "$id", "$schema"})
_MAPS_OF_SCHEMAS = frozenset({"properties", "patternProperties", "$defs", "dependentSchemas"})
_PLAIN_VALUES = frozenset({"enum", "const", "required", "type", "dependentRequired"})


def _inline(
    node: Any, root: Schema, kept: frozenset[str], open_refs: tuple[str, ...], is_schema: bool
) -> Any:
    if isinstance(node, list):
        return [_inline(child, root, kept, open_refs, True) for child in node]
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref")
    if is_schema and isinstance(reference, str):
        if reference in open_refs:
            raise _RecursiveSchema
        open_refs = (*open_refs, reference)
        node = {**resolve(root, node)}
    inline = {}
    for key, value in node.items():
        annotation = key in _ANNOTATIONS or key.startswith("x-") or key == "$defs"
        if is_schema and annotation and key not in kept:
            continue
        if is_schema and (annotation or key in _PLAIN_VALUES):
            inline[key] = value
        else:
            inline[key] = _inline(value, root, kept, open_refs, not (is_schema and key in _MAPS_OF_SCHEMAS))
    return inline


def _driver_definition(
    location_type: str, driver_schema: Mapping[str, Any], prefix: str, common: Mapping[str, Any]
) -> Schema:
    """A driver's options as the schema of a whole location: with what every location has, references moved along."""
    definition = _moved({k: v for k, v in driver_schema.items() if k not in ("$schema", "$id")}, prefix)
    assert isinstance(definition, dict)
    type_schema = {
        "description": f"{location_type}: {driver_schema.get('description', 'this driver')}",
        "const": location_type,
        "examples": [location_type],
    }
    definition["properties"] = {
        "type": type_schema,
        **common,
        **definition.get("properties", {}),
    }
    definition["type"] = "object"
    return definition


def _moved(node: Any, prefix: str) -> Any:
    if isinstance(node, list):
        return [_moved(child, prefix) for child in node]
    if not isinstance(node, Mapping):
        return node
    moved = {key: _moved(value, prefix) for key, value in node.items()}
    reference = moved.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        moved["$ref"] = prefix + reference[1:]
    return moved


def _secret_paths(
    root: Mapping[str, Any], node: Mapping[str, Any], path: tuple[str, ...], depth: int
) -> Iterator[tuple[str, ...]]:
    if depth > 20:
        return
    node = resolve(root, node)
    if path and (node.get("x-secret") is True or node.get("writeOnly") is True):
        yield path
    for key, child in node.get("properties", {}).items():
        yield from _secret_paths(root, child, (*path, key), depth + 1)
    if isinstance(node.get("additionalProperties"), Mapping):
        yield from _secret_paths(root, node["additionalProperties"], (*path, "*"), depth + 1)
    if isinstance(node.get("items"), Mapping):
        yield from _secret_paths(root, node["items"], (*path, "*"), depth + 1)
    for keyword in ("allOf", "anyOf", "oneOf"):
        for child in node.get(keyword, ()):
            yield from _secret_paths(root, child, path, depth + 1)
    for keyword in ("then", "else"):
        if isinstance(node.get(keyword), Mapping):
            yield from _secret_paths(root, node[keyword], path, depth + 1)
