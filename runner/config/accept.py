"""A quick yes for documents that fit the schema, which nearly all do; every no is left to jsonschema.

jsonschema takes 50 ms to import and 100 ms for 200 tasks, which every command would pay. `acceptor` compiles
the same schema into nested closures. It may say no to what is right (a keyword it does not know: jsonschema
then decides), never yes to what is wrong: a property test holds it against jsonschema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Accepts = Callable[[Any], bool]

_TYPES: dict[str, Accepts] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "integer": lambda value: (
        (isinstance(value, int) and not isinstance(value, bool))
        or (isinstance(value, float) and value.is_integer())
    ),
}
_IGNORED = frozenset({"then", "else", "title", "description", "default", "$comment", "examples", "format"})


def acceptor(schema: Any) -> Accepts:
    """True only for values that fit `schema` (2020-12, its references inlined)."""
    if schema is True or schema == {}:
        return _yes
    if not isinstance(schema, Mapping):
        return _no
    tests: list[Accepts] = []
    for keyword, value in schema.items():
        if keyword in _IGNORED or keyword.startswith("x-"):
            continue
        if keyword in ("properties", "patternProperties", "additionalProperties"):
            continue
        compile_keyword = _KEYWORDS.get(keyword)
        if compile_keyword is None:
            return _no
        tests.append(compile_keyword(value, schema))
    if schema.keys() & {"properties", "patternProperties", "additionalProperties"}:
        tests.append(_members(schema))
    return tests[0] if len(tests) == 1 else _all(tests)


def _when_asked(schema: Any) -> Accepts:
    """`acceptor` of members: documents have few of those that a schema knows."""
    test: Accepts | None = None

    def accepts(value: Any) -> bool:
        nonlocal test
        if test is None:
            test = acceptor(schema)
        return test(value)

    return accepts


def _yes(_value: Any) -> bool:
    return True


def _no(_value: Any) -> bool:
    return False


def _all(tests: list[Accepts]) -> Accepts:
    def accepts(value: Any) -> bool:
        for test in tests:  # noqa: SIM110 - a generator for all() costs twice the time here
            if not test(value):
                return False
        return True

    return accepts


def _type(names: Any, _schema: Any) -> Accepts:
    if isinstance(names, str):
        return _TYPES.get(names, _no)
    tests = [_TYPES.get(name, _no) for name in names]
    return lambda value: any(test(value) for test in tests)


def _enum(words: Any, _schema: Any) -> Accepts:
    # True == 1 in Python and not in JSON: anything but text is compared with its type.
    texts = frozenset(word for word in words if isinstance(word, str))
    others = [word for word in words if not isinstance(word, str)]

    def accepts(value: Any) -> bool:
        if isinstance(value, str):
            return value in texts
        return any(_equal(value, word) for word in others)

    return accepts


def _equal(value: Any, word: Any) -> bool:
    if isinstance(value, (dict, list)) or isinstance(word, (dict, list)):
        return False  # jsonschema may decide.
    return isinstance(value, bool) == isinstance(word, bool) and bool(value == word)


def _number(test: Callable[[Any], bool]) -> Accepts:
    is_number = _TYPES["number"]
    return lambda value: not is_number(value) or test(value)


def _of(kind: type, test: Callable[[Any], bool]) -> Accepts:
    return lambda value: not isinstance(value, kind) or test(value)


def _pattern(pattern: str, _schema: Any) -> Accepts:
    search = re.compile(pattern).search
    return _of(str, lambda value: search(value) is not None)


def _items(items: Any, _schema: Any) -> Accepts:
    test = acceptor(items)
    return _of(list, lambda value: all(map(test, value)))


def _names(names: Any, _schema: Any) -> Accepts:
    test = acceptor(names)
    return _of(dict, lambda value: all(map(test, value)))


def _unique(wanted: Any, _schema: Any) -> Accepts:
    if not wanted:
        return _yes
    return _of(
        list,
        lambda value: all(isinstance(child, str) for child in value) and len(set(value)) == len(value),
    )


def _dependent(needs: Any, _schema: Any) -> Accepts:
    return _of(
        dict,
        lambda value: all(
            name not in value or all(other in value for other in others) for name, others in needs.items()
        ),
    )


def _any_of(branches: Any, _schema: Any) -> Accepts:
    tests = [acceptor(branch) for branch in branches]
    return lambda value: any(test(value) for test in tests)


def _if(condition: Any, schema: Any) -> Accepts:
    """Only conditions that this module decides exactly: "is a map whose key X is the text Y"."""
    then, otherwise = acceptor(schema.get("then", True)), acceptor(schema.get("else", True))
    wanted = _one_constant(condition)
    if wanted is None:
        return _all([then, otherwise])
    key, text = wanted

    def accepts(value: Any) -> bool:
        # A condition about members holds for everything that is no map.
        holds = not isinstance(value, dict) or value.get(key) == text
        return then(value) if holds else otherwise(value)

    return accepts


def _one_constant(condition: Any) -> tuple[str, str] | None:
    if not isinstance(condition, Mapping) or condition.keys() != {"required", "properties"}:
        return None
    properties = condition["properties"]
    if len(properties) != 1 or list(properties) != condition["required"]:
        return None
    (key, wanted), = properties.items()  # fmt: skip
    text = wanted.get("const") if isinstance(wanted, Mapping) and wanted.keys() == {"const"} else None
    return (key, text) if isinstance(text, str) else None


def _members(schema: Mapping[str, Any]) -> Accepts:
    known = {key: _when_asked(value) for key, value in schema.get("properties", {}).items()}
    patterns = [
        (re.compile(pattern).search, _when_asked(value))
        for pattern, value in schema.get("patternProperties", {}).items()
    ]
    rest = acceptor(schema.get("additionalProperties", True))
    closed = rest is _no

    def accepts(value: Any) -> bool:
        if not isinstance(value, dict):
            return True
        for key, child in value.items():
            test = known.get(key)
            matched = test is not None
            if test is not None and not test(child):
                return False
            for search, pattern_test in patterns:
                if search(key) is not None:
                    matched = True
                    if not pattern_test(child):
                        return False
            if not matched and (closed or not rest(child)):
                return False
        return True

    return accepts


_KEYWORDS: dict[str, Callable[[Any, Any], Accepts]] = {
    "type": _type,
    "enum": _enum,
    "const": lambda word, schema: _enum([word], schema),
    "pattern": _pattern,
    "minLength": lambda low, _: _of(str, lambda value: len(value) >= low),
    "maxLength": lambda high, _: _of(str, lambda value: len(value) <= high),
    "minimum": lambda low, _: _number(lambda value: value >= low),
    "maximum": lambda high, _: _number(lambda value: value <= high),
    "exclusiveMinimum": lambda low, _: _number(lambda value: value > low),
    "exclusiveMaximum": lambda high, _: _number(lambda value: value < high),
    "items": _items,
    "minItems": lambda low, _: _of(list, lambda value: len(value) >= low),
    "maxItems": lambda high, _: _of(list, lambda value: len(value) <= high),
    "uniqueItems": _unique,
    "required": lambda names, _: _of(dict, lambda value: all(name in value for name in names)),
    "dependentRequired": _dependent,
    "minProperties": lambda low, _: _of(dict, lambda value: len(value) >= low),
    "maxProperties": lambda high, _: _of(dict, lambda value: len(value) <= high),
    "propertyNames": _names,
    "anyOf": _any_of,
    "allOf": lambda branches, _: _all([acceptor(branch) for branch in branches]),
    "if": _if,
}
