"""Reading one gitignore-like rule (gitignore(5), git 2.39: the sections on the pattern format).

The words of the format: blank lines and lines that start with `#` say nothing; trailing spaces go unless
escaped; `!` takes back what earlier rules excluded; a slash at the start or inside ties the rule to the root,
else it is tried on the name alone at every depth; a slash at the end means folders only; `*`, `?` and `[...]`
stay inside one name; `**` as a whole name stands for any number of folders; `\\` takes the meaning from the
next character.

Two differences to git: `?` and `[...]` take one character where git takes one byte, and `**` inside a longer
name is always a plain `*`, as the manual page says (git itself lets `a**/b` match `ab`).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence

import msgspec

from runner.filters.glob import ANY_ONE, STAR, Glob, OneOf, Star, Token

_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": " \\t\\n\\v\\f\\r",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


class Folders(enum.Enum):
    """The component that stands for any number of folders."""

    ANY_NUMBER = "**"


ANY_NUMBER = Folders.ANY_NUMBER

Component = Glob | Folders


class RuleFault(ValueError):
    """A rule that can never match; the message says why."""


class Rule(msgspec.Struct, frozen=True):
    """One rule. `text` is as written; `components` are the names of its path, in order.

    `anywhere`: a single component, tried on the last name at every depth. A rule whose path ends in
    ANY_NUMBER matches all that lies in the folder before it.
    """

    text: str
    negated: bool
    folders_only: bool
    anywhere: bool
    components: tuple[Component, ...]


def parse_rule(line: str) -> Rule | None:
    """The rule of one line, None for a blank line or a comment.

    Raises: RuleFault when it could never match.
    """
    if line.startswith("#"):
        return None
    text = _without_trailing_spaces(line)
    if not text:
        return None
    negated = text.startswith("!")
    body = text[1:] if negated else text
    folders_only = body.endswith("/")
    if folders_only:
        body = body[:-1]
    if not body:
        raise RuleFault("names nothing")
    anchored = "/" in body
    names = _split_names(body.removeprefix("/"))
    if any(not name for name in names):
        raise RuleFault("has an empty name between two slashes")
    components = tuple(_component(name) for name in names)
    if not anchored and components[0] is ANY_NUMBER:
        components = (Glob([STAR]),)
    elif len(components) == 2 and components[0] is ANY_NUMBER and components[1] is not ANY_NUMBER:
        # `**/name` is `name` at every depth, and that is the cheaper question.
        return Rule(text, negated, folders_only, True, components[1:])
    return Rule(text, negated, folders_only, not anchored, components)


def _without_trailing_spaces(line: str) -> str:
    """`a  ` -> `a`, but `a\\ ` keeps its escaped space."""
    end = len(line)
    while end and line[end - 1] == " ":
        backslashes = len(line[: end - 1]) - len(line[: end - 1].rstrip("\\"))
        if backslashes % 2:
            break
        end -= 1
    return line[:end]


def _split_names(body: str) -> list[list[Token]]:
    """The tokens of each name of a rule's path. A slash inside brackets does not part names."""
    names: list[list[Token]] = [[]]
    position = 0
    while position < len(body):
        character = body[position]
        if character == "\\":
            position += 1
            if position == len(body):
                raise RuleFault("ends in a backslash that escapes nothing")
            character = body[position]
            if character == "/":
                names.append([])
            else:
                names[-1].append(character)
        elif character == "/":
            names.append([])
        elif character == "*":
            names[-1].append(STAR)
        elif character == "?":
            names[-1].append(ANY_ONE)
        elif character == "[":
            one_of, position = _bracket(body, position)
            names[-1].append(one_of)
            continue
        else:
            names[-1].append(character)
        position += 1
    return names


def _component(name: Sequence[Token]) -> Component:
    if len(name) > 1 and all(isinstance(token, Star) for token in name):
        return ANY_NUMBER
    return Glob(name)


def _bracket(body: str, start: int) -> tuple[OneOf, int]:
    """The set that opens at `start`, and the position after its `]`.

    As in git: `!` or `^` negates, a `]` in first place is a member, `a-z` is a range, `[:alpha:]` a class.
    """
    position = start + 1
    negated = body[position : position + 1] in ("!", "^")
    position += negated
    members: list[str] = []
    previous = ""
    first = True
    while True:
        character = body[position : position + 1]
        if not character:
            raise RuleFault("has a [ without its ]")
        if character == "]" and not first:
            break
        first = False
        following = body[position + 1 : position + 2]
        if character == "[" and following == ":":
            end = body.find("]", position + 2)
            if end < 0:
                raise RuleFault("has a [ without its ]")
            # The shortest is "[::]": its colons are two.
            if end >= position + 3 and body[end - 1] == ":":
                name = body[position + 2 : end - 1]
                if name not in _CLASSES:
                    raise RuleFault(f"names an unknown class [:{name}:]")
                members.append(_CLASSES[name])
                previous, position = "", end + 1
                continue
        if character == "-" and previous and following not in ("", "]"):
            last, position = _member(body, position + 1)
            if previous <= last:
                members.append(f"{re.escape(previous)}-{re.escape(last)}")
            previous = ""
            continue
        previous, position = _member(body, position)
        members.append(re.escape(previous))
    # Every set has a member here: an empty range leaves the one before the dash.
    return OneOf(f"[{'^' if negated else ''}{''.join(members)}]"), position + 1


def _member(body: str, position: int) -> tuple[str, int]:
    """The (perhaps escaped) character at `position`, and the position after it."""
    if body[position] == "\\":
        position += 1
        if position == len(body):
            raise RuleFault("has a [ without its ]")
    return body[position], position + 1
