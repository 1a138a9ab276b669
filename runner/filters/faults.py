"""What is wrong with filters, before anything is listed: a pattern that can never match protects nothing."""

from __future__ import annotations

from runner.filters.datasync import TEXT_LIMIT, PathPattern, split_patterns
from runner.filters.gitignore import RuleFault, parse_rule
from runner.filters.glob import Star
from runner.model.task import FilterSettings


def pattern_faults(settings: FilterSettings) -> list[tuple[str, str]]:
    """Every fault of include, exclude and rules, in that order, as (text as written, what is wrong with it).

    The text is the whole string as it stands in sync.yaml, so that a caller can find its place there; a fault
    of one pattern among several parted by `|` names that pattern.
    """
    faults = []
    for key, texts in (("include", settings.include), ("exclude", settings.exclude)):
        total = sum(len(text) for text in texts) + max(0, len(texts) - 1)
        if total > TEXT_LIMIT:
            faults.append((texts[0], f"{key} holds {total:,} characters; the limit is {TEXT_LIMIT:,}"))
            continue
        for text in texts:
            for pattern in split_patterns([text]):
                wrong = _path_pattern_fault(pattern, is_include=key == "include")
                if wrong:
                    named = "" if pattern.text == text else f'pattern "{pattern.text}" '
                    faults.append((text, f"{named}{wrong}"))
    for line in settings.rules:
        wrong = _rule_fault(line)
        if wrong:
            faults.append((line, wrong))
    return faults


def _path_pattern_fault(pattern: PathPattern, *, is_include: bool) -> str | None:
    characters = pattern.characters
    if not characters:
        return 'is empty; write "/" for everything'
    stars = [index for index, character in enumerate(characters) if isinstance(character, Star)]
    if is_include and stars and stars != [len(characters) - 1]:
        return (
            'may hold "*" only as its last character, as in DataSync; '
            'to pick names such as "*.txt" use rules: ["*", "!*/", "!*.txt"]'
        )
    # A star may hold slashes, so only what stands between two literal ones can be judged.
    names = "".join("*" if isinstance(character, Star) else character for character in characters).split("/")
    return _name_fault(names[1:] if names[0] == "" else names, pattern.text)


def _rule_fault(line: str) -> str | None:
    try:
        rule = parse_rule(line)
    except RuleFault as fault:
        return f"{fault}: it can never match"
    if rule is None:
        return None
    body = rule.text.removeprefix("!").removeprefix("/")
    return _name_fault(body.split("/"), line)


def _name_fault(names: list[str], text: str) -> str | None:
    """What keeps a path of these names from ever matching. A last empty name is a trailing slash."""
    if "\0" in text:
        return "holds a NUL character, which no path can"
    if text.endswith(("\n", "\r")):
        return "ends with a line break, which would be part of the name"
    if "." in names or ".." in names:
        return 'has "." or ".." for a name: it can never match, for paths are relative to the root'
    if "" in names[:-1]:
        return "has an empty name between two slashes: it can never match"
    return None
