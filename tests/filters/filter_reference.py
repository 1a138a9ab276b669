"""The filters' meaning, written as plainly as possible, without any care for speed: tests compare with it."""

from __future__ import annotations

import re

from runner.filters.selection import BUILT_IN
from runner.model.entry import Entry, Kind
from runner.model.task import FilterSettings


def slow_match(text: str, path: str) -> bool:
    """As documented, one step after the other: any pattern, on the path or any folder above, as a regex."""
    expressions: list[str] = [""]
    escaped = False
    for character in text:
        if escaped:
            expressions[-1] += re.escape(character)
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == "|":
            expressions.append("")
        else:
            expressions[-1] += ".*" if character == "*" else re.escape(character)
    levels = [""]
    for name in path.removesuffix("/").split("/"):
        levels.append(levels[-1] + "/" + name)
    for expression in expressions:
        if not expression:
            continue
        if not expression.startswith(("/", ".*")):
            expression = "/" + expression
        expression = expression.removesuffix("/")
        if any(re.fullmatch(expression, level, re.DOTALL) for level in levels):
            return True
    return False


def rule_matches(rule: str, path: str) -> bool:
    """One gitignore-like rule without `!` on this very path, by regex. No escapes, no classes."""
    if rule.endswith("/") and not path.endswith("/"):
        return False
    body = rule.removesuffix("/")
    if "/" not in body:
        body = "**/" + body
    expression = ""
    names = body.removeprefix("/").split("/")
    for position, name in enumerate(names):
        is_last = position == len(names) - 1
        if name == "**":
            expression += ".+" if is_last else "(?:[^/]+/)*"
            continue
        translated = re.escape(name).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
        translated = translated.replace(r"\[", "[").replace(r"\]", "]")
        expression += translated + ("" if is_last else "/")
    return re.fullmatch(expression, path.removesuffix("/"), re.DOTALL) is not None


def levels_of(path: str) -> list[str]:
    """a/b/c -> [a/, a/b/, a/b/c]"""
    parts = path.removesuffix("/").split("/")
    levels = ["/".join(parts[: end + 1]) + "/" for end in range(len(parts))]
    levels[-1] = path
    return levels


def path_included(
    settings: FilterSettings, path: str, listed: list[str] | None, built_in: tuple[str, ...]
) -> bool:
    """What the path rules say, level by level from the top."""
    for level in levels_of(path) if path else []:
        if any(rule_matches(rule, level) for rule in built_in):
            return False
        if listed is not None and not (
            level in listed
            or level.removesuffix("/") in listed
            or any(wanted.endswith("/") and level.startswith(wanted) for wanted in listed)
            or (level.endswith("/") and any(wanted.startswith(level) for wanted in listed))
        ):
            return False
        if any(slow_match(text, level) for text in settings.exclude):
            return False
        matching = [rule for rule in settings.rules if rule_matches(rule.removeprefix("!"), level)]
        if matching and not matching[-1].startswith("!"):
            return False
    if not settings.include or not path:
        return True
    if any(slow_match(text, path) for text in settings.include):
        return True
    # Includes in tests hold a star only at the end, and no escapes.
    starts = ["/" + each.lstrip("/").rstrip("*") for text in settings.include for each in text.split("|")]
    return path.endswith("/") and any(start.startswith("/" + path) for start in starts)


def facts_pass(settings: FilterSettings, now_ns: int, entry: Entry, *, unknown: bool) -> bool:
    """What size, age and kind say; `unknown` is the answer where a fact that is asked about is None."""
    if entry.kind is Kind.DIRECTORY:
        return True
    size, mtime = entry.size_bytes, entry.mtime_ns
    asks_size = settings.min_size_bytes is not None or settings.max_size_bytes is not None
    times = (
        settings.older_than_seconds,
        settings.newer_than_seconds,
        settings.modified_before_ns,
        settings.modified_after_ns,
    )
    answers = [not settings.kinds or entry.kind in settings.kinds]
    if asks_size and entry.kind is Kind.FILE:
        answers.append(
            unknown
            if size is None
            else (settings.min_size_bytes is None or size >= settings.min_size_bytes)
            and (settings.max_size_bytes is None or size <= settings.max_size_bytes)
        )
    if any(time is not None for time in times):
        if mtime is None:
            answers.append(unknown)
        else:
            age_ns = now_ns - mtime
            older, newer, before, after = times
            answers.append(older is None or age_ns >= older * 10**9)
            answers.append(newer is None or age_ns <= newer * 10**9)
            answers.append(before is None or mtime < before)
            answers.append(after is None or mtime >= after)
    return all(answers)


def is_built_in(path: str) -> bool:
    return any(rule_matches(rule, level) for level in levels_of(path) for rule in BUILT_IN)
