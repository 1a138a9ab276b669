"""Nodes against the schema -> one precise Diagnostic a fault. jsonschema finds, this module explains."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from typing import Any, Protocol

import msgspec

from runner.config.accept import acceptor
from runner.config.nodes import (
    Faults,
    Mapping,
    Member,
    Node,
    Place,
    Scalar,
    Sequence,
    close_match,
    plain,
    quoted,
    shown,
)
from runner.config.schema import Schema, inlined
from runner.config.template import convert

Path = tuple[str | int, ...]

_TYPE_WORDS = {
    "string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false",
    "object": "a map", "array": "a list", "null": "nothing",
}  # fmt: skip
_YAML_1_1_BOOLEANS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


class ValidationError(Protocol):
    """What is used of jsonschema's errors; its own annotations allow "unset" everywhere."""

    validator: Any
    validator_value: Any
    schema: Any
    instance: Any
    path: Any
    schema_path: Any
    context: Any

    @property
    def absolute_path(self) -> Any: ...

    @property
    def absolute_schema_path(self) -> Any: ...


class Checked(msgspec.Struct, frozen=True):
    """The document after the check: whole templates converted, and which parts are faulty.

    `faulty` holds paths of at most three steps, such as ("tasks", "photos", "options").
    """

    root: Mapping
    faulty: frozenset[Path]


def check_document(root: Mapping, schema: Schema, faults: Faults) -> Checked:
    """Check the whole document. A value that was one template becomes the number or boolean wanted there."""
    rules = inlined(schema)
    if acceptor(rules)(plain(root)):
        return Checked(root, frozenset())
    from jsonschema import Draft202012Validator
    from referencing import Registry as References

    # An empty reference registry: nothing is ever fetched.
    validator = Draft202012Validator(rules, registry=References())
    errors: list[Any] = list(validator.iter_errors(plain(root)))
    converted = _converted(root, errors)
    if converted is not root:
        root = converted
        errors = list(validator.iter_errors(plain(root)))
    sections = _section_of_keys(schema)
    faulty = set()
    for error in errors:
        faulty.add(tuple(error.absolute_path)[:3])
        _Explainer(root, sections, faults).explain(error)
    return Checked(root, frozenset(faulty))


def _converted(root: Mapping, errors: list[ValidationError]) -> Mapping:
    wanted: dict[Path, set[str]] = {}
    for error in errors:
        _collect_wanted_types(error, wanted)
    for path, types in wanted.items():
        node = _node_at(root, path)[1]
        if isinstance(node, Scalar) and node.whole and not node.secret:
            value = convert(node, frozenset(types))
            if type(value) is not type(node.value):
                root = _replaced(root, path, msgspec.structs.replace(node, value=value))
    return root


def _collect_wanted_types(error: ValidationError, wanted: dict[Path, set[str]]) -> None:
    """Which types the schema wants where it found another, in every branch of every alternative."""
    if error.validator == "type":
        names = error.validator_value
        wanted.setdefault(tuple(error.absolute_path), set()).update(
            [names] if isinstance(names, str) else names
        )
    for inner in error.context or ():
        _collect_wanted_types(inner, wanted)


def _replaced(node: Any, path: Path, scalar: Scalar) -> Any:
    if not path:
        return scalar
    step, rest = path[0], path[1:]
    if isinstance(node, Mapping):
        member = node.members[str(step)]
        changed = Member(member.key, _replaced(member.node, rest, scalar))
        return node.with_members({**node.members, str(step): changed})
    children = list(node.children)
    children[int(step)] = _replaced(children[int(step)], rest, scalar)
    return msgspec.structs.replace(node, children=tuple(children))


def _node_at(root: Mapping, path: Path) -> tuple[Scalar | None, Node]:
    """The key that leads to the node (None in a list and at the root), and the node."""
    key: Scalar | None = None
    node: Node = root
    for step in path:
        if isinstance(node, Mapping):
            member = node.members[str(step)]
            key, node = member.key, member.node
        elif isinstance(node, Sequence):
            key, node = None, node.children[int(step)]
    return key, node


def _section_of_keys(schema: Schema) -> dict[str, str]:
    """Keys that stand in exactly one section of a task: what to say when one is found elsewhere."""
    sections: dict[str, str] = {}
    repeated = set()
    for section in ("options", "filters", "guards", "schedule", "metadata"):
        for key in schema["$defs"][section]["properties"]:
            if key in sections:
                repeated.add(key)
            sections[key] = "options.metadata" if section == "metadata" else section
    return {key: section for key, section in sections.items() if key not in repeated}


class _Explainer:
    """Turns one error of jsonschema into Diagnostics. Never quotes what a template became."""

    def __init__(self, root: Mapping, sections: dict[str, str], faults: Faults) -> None:
        self._root = root
        self._sections = sections
        self._faults = faults

    def explain(self, error: ValidationError) -> None:
        path = tuple(error.absolute_path)
        key, node = _node_at(self._root, path)
        if "propertyNames" in error.absolute_schema_path and isinstance(node, Mapping):
            self._key_name(error, node, path)
            return
        explain = getattr(self, "_" + str(error.validator), None)
        if error.validator in ("anyOf", "oneOf"):
            self._alternatives(error, key, node, path)
        elif explain is not None:
            explain(error, key, node, path)
        else:
            self._add(node, path, f"{shown(node)} does not fit here ({error.validator})", _expected(error))

    def _add(
        self,
        place: Place,
        path: Path,
        message: str,
        expected: str | None = None,
        suggestion: str | None = None,
    ) -> None:
        pointer = "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)
        self._faults.add(place, message, expected=expected, suggestion=suggestion, pointer=pointer)

    def _key_name(self, error: ValidationError, node: Mapping, path: Path) -> None:
        name = str(error.instance)
        place: Place = node.members[name].key if name in node.members else node
        self._add(place, (*path, name), f"{quoted(name)} cannot be a name", _expected(error))

    def _additionalProperties(
        self, error: ValidationError, key: Scalar | None, node: Node, path: Path
    ) -> None:
        assert isinstance(node, Mapping)
        known: MappingABC[str, Any] = error.schema.get("properties", {})
        patterns = error.schema.get("patternProperties", {})
        for name, member in node.members.items():
            if name in known or any(name.startswith(pattern.removeprefix("^")) for pattern in patterns):
                continue
            free = [candidate for candidate in known if candidate not in node.members]
            section = self._sections.get(name)
            suggestion = close_match(name, free)
            if section is not None and suggestion is None and path[-1:] != (section,):
                suggestion = f"{name} belongs under {section}:"
            # Twenty keys are no help beside the one that was meant.
            words = None if suggestion and len(known) > 20 else "one of " + ", ".join(known)
            message = f"unknown key {quoted(name)}{_in(path)}"
            self._add(member.key, (*path, name), message, words, suggestion)

    def _required(self, error: ValidationError, key: Scalar | None, node: Node, path: Path) -> None:
        missing = [name for name in error.validator_value if name not in error.instance]
        for name in missing:
            wanted: MappingABC[str, Any] = error.schema.get("properties", {}).get(name, {})
            example = wanted.get("examples", (wanted.get("const"),))[0]
            expected = _expected(error) if example is None else f"a line such as {name}: {example}"
            self._add(key or node, path, f"the key {name!r} is missing{_in(path)}", expected)

    def _dependentRequired(self, error: ValidationError, key: Scalar | None, node: Node, path: Path) -> None:
        needed = [
            f"{name} needs {', '.join(others)}"
            for name, others in error.validator_value.items()
            if name in error.instance and any(other not in error.instance for other in others)
        ]
        self._add(node, path, "; ".join(needed) + _in(path), _expected(error))

    def _type(self, error: ValidationError, key: Scalar | None, node: Node, path: Path) -> None:
        suggestion = None
        if isinstance(node, Scalar) and isinstance(node.value, str) and error.validator_value == "boolean":
            word = _YAML_1_1_BOOLEANS.get(node.value.lower())
            suggestion = f"write {word}" if word else None
        # Where a unit is missing, quotes would not help.
        wants_text = error.validator_value == "string" and "x-expected" not in error.schema
        if wants_text and isinstance(node, Scalar) and node.value is not None:
            suggestion = f'write it in quotes: "{shown(node)}"'
        empty = isinstance(node, Scalar) and node.value is None
        message = f"{path[-1]} has no value" if empty and path else f"{shown(node)} does not fit {_at(path)}"
        self._add(key if empty and key else node, path, message, _expected(error), suggestion)

    def _enum(self, error: ValidationError, key: Scalar | None, node: Node, path: Path) -> None:
        words = [str(word) for word in error.validator_value]
        suggestion = close_match(str(error.instance), words) if isinstance(node, Scalar) else None
        what = f"unknown location type {shown(node)}" if path[-1:] == ("type",) else None
        message = what or f"{shown(node)} is not a value of {_at(path)}"
        self._add(node, path, message, "one of " + ", ".join(words), suggestion)

    def _const(self, error: ValidationError, key: Scalar | None, node: Node, path: Path) -> None:
        self._add(node, path, f"{shown(node)} does not fit {_at(path)}", str(error.validator_value))

    def _pattern(self, error: ValidationError, key: Scalar | None, node: Node, path: Path) -> None:
        self._add(node, path, f"{shown(node)} does not fit {_at(path)}", _expected(error))

    def _minimum(self, error: ValidationError, key: Scalar | None, node: Node, path: Path) -> None:
        self._add(node, path, f"{shown(node)} is too small for {_at(path)}", _bounds(error))

    def _maximum(self, error: ValidationError, key: Scalar | None, node: Node, path: Path) -> None:
        self._add(node, path, f"{shown(node)} is too large for {_at(path)}", _bounds(error))

    _exclusiveMinimum = _minimum
    _exclusiveMaximum = _maximum

    def _minLength(self, error: ValidationError, key: Scalar | None, node: Node, path: Path) -> None:
        self._add(node, path, f"the text for {_at(path)} is too short", _expected(error) or "text")

    def _maxLength(self, error: ValidationError, key: Scalar | None, node: Node, path: Path) -> None:
        self._add(
            node, path, f"the text for {_at(path)} is too long", f"at most {error.validator_value} characters"
        )

    def _minItems(self, error: ValidationError, key: Scalar | None, node: Node, path: Path) -> None:
        self._add(
            key or node, path, f"the list {_at(path)} is too short", f"at least {error.validator_value}"
        )

    def _maxItems(self, error: ValidationError, key: Scalar | None, node: Node, path: Path) -> None:
        self._add(key or node, path, f"the list {_at(path)} is too long", f"at most {error.validator_value}")

    def _minProperties(self, error: ValidationError, key: Scalar | None, node: Node, path: Path) -> None:
        known = ", ".join(error.schema.get("properties", {}))
        self._add(
            key or node, path, f"the map {_at(path)} is empty", f"at least one of {known}" if known else None
        )

    def _uniqueItems(self, error: ValidationError, key: Scalar | None, node: Node, path: Path) -> None:
        assert isinstance(node, Sequence)
        seen: list[Any] = []
        for child in node.children:
            value = plain(child)
            if value in seen:
                self._add(child, path, f"{shown(child)} is given twice{_in(path)}", "each once")
                return
            seen.append(value)

    def _alternatives(self, error: ValidationError, key: Scalar | None, node: Node, path: Path) -> None:
        """Explain only the branch that fits the value's type; without exactly one, all in one line."""
        branches: dict[Any, list[ValidationError]] = {}
        for inner in error.context or ():
            branches.setdefault(inner.schema_path[0], []).append(inner)
        fitting = [
            inner_errors
            for inner_errors in branches.values()
            if not any(inner.validator == "type" and not inner.path for inner in inner_errors)
        ]
        own = error.schema.get("x-expected")
        if len(fitting) == 1 and not (own and all(not inner.path for inner in fitting[0])
                                      and isinstance(node, Scalar)):  # fmt: skip
            for inner in fitting[0]:
                self.explain(inner)
            return
        wanted = own or " or ".join(dict.fromkeys(filter(None, map(_expected, error.context or ()))))
        empty = isinstance(node, Scalar) and node.value is None
        message = f"{path[-1]} has no value" if empty and path else f"{shown(node)} does not fit {_at(path)}"
        self._add(key if empty and key else node, path, message, wanted or None)


def _expected(error: ValidationError) -> str | None:
    """What the schema says a person should write, else what can be told from its keywords."""
    schema: Any = error.schema
    if not isinstance(schema, dict):
        return None
    if "x-expected" in schema:
        return str(schema["x-expected"])
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    types = schema.get("type")
    if types is not None:
        words = [_TYPE_WORDS.get(word, word) for word in ([types] if isinstance(types, str) else types)]
        pattern = schema.get("pattern")
        return " or ".join(words) + (f" like {pattern}" if pattern and error.validator == "pattern" else "")
    return None


def _bounds(error: ValidationError) -> str:
    schema: Any = error.schema
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{low} to {high}"
    relation = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than"}
    return f"{relation.get(str(error.validator), 'less than')} {error.validator_value}"


def _at(path: Path) -> str:
    """The name of what a path leads to, for a sentence: `options.workers`, `rules[2]`."""
    if not path:
        return "this file"
    steps = path[2:] if path[0] in ("tasks", "locations") and len(path) > 2 else path
    text = ""
    for step in steps:
        text += f"[{step + 1}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _in(path: Path) -> str:
    if len(path) == 2 and path[0] in ("tasks", "locations"):
        return f" in {str(path[0])[:-1]} {quoted(str(path[1]))}"
    return f" in {_at(path)}" if path else ""
