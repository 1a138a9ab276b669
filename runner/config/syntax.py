"""PyYAML's syntax errors in words a person can act on. libyaml and PyYAML itself word them differently."""

from __future__ import annotations

from typing import Any

from runner.config.nodes import Source

_HAS_TO_BE_QUOTED = "@`%*&!|>"


def explain_syntax(source: Source, context: str, problem: str, mark: Any) -> tuple[str, str | None, bool]:
    """What is wrong, a hint, and whether it stands where the construct began instead of where it was noticed.

    `context` and `problem` are PyYAML's; `mark` is where it noticed (0-based line and column), or None.
    """
    line = (source.raw_line(mark.line + 1) or "") if mark is not None else ""
    column = mark.column if mark is not None else 0
    here, before = line[column : column + 1], line[:column]
    if "cannot start any token" in problem:
        if here == "\t" or (not before.strip() and "\t" in before):
            return "a tab is used to indent; YAML allows blanks only", None, False
        return f"a text that starts with {here} has to be quoted", f"write it in quotes: '{here}...'", False
    if "scanning an alias" in context or "scanning an anchor" in context:
        sign = "*" if "alias" in context else "&"
        return f"a text that starts with {sign} has to be quoted", f"write it in quotes: '{sign}...'", True
    if "mapping values are not allowed" in problem:
        return "': ' is not allowed here", "indent the line as its neighbours are, or quote the value", False
    if "expected ':'" in problem:
        return "a key without its ': '", "write key: value, with a blank after the colon", True
    if "parsing a flow" in context:
        what, end = ("map", "}") if "mapping" in context else ("list", "]")
        noticed = f" before line {mark.line + 1}" if mark is not None else ""
        return f"the {what} that starts here goes wrong: a , or {end} is missing{noticed}", None, True
    if "end of stream" in problem:
        return "the quote that starts here is never closed", None, True
    if "unknown escape" in problem:
        return '"..." knows no such escape', "write \\\\ for a backslash, or use '...' quotes", False
    if "parsing a block" in context:
        return "this line is not indented as its neighbours are", None, False
    return f"this is not YAML: {context + ', ' if context else ''}{problem}", None, False
