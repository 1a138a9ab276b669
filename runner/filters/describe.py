"""The active filters in words, one line each, for plans and reports."""

from __future__ import annotations

from runner.filters.datasync import split_patterns
from runner.filters.facts import FactRules
from runner.filters.gitignore import RuleFault, parse_rule
from runner.model.task import FilterSettings, ManifestSettings


def describe(settings: FilterSettings) -> tuple[str, ...]:
    """One line for each active rule, in the order in which they are asked; () when there are none.

    Rules are worded as in `Decision.rule`. Names in them are as written: whoever shows them escapes them.
    """
    lines = []
    if settings.manifest is not None:
        lines.append(_manifest_line(settings.manifest))
    lines += [f'exclude "{pattern.text}"' for pattern in split_patterns(settings.exclude)]
    lines += [f'rule "{text}"' for text in map(_rule_text, settings.rules) if text]
    lines += [f'include "{pattern.text}"' for pattern in split_patterns(settings.include)]
    # The instant only moves the bounds, not their words.
    lines += FactRules(settings, now_ns=0).describe()
    if settings.delete_excluded:
        lines.append("delete_excluded: what the filters exclude is deleted at the destination, too")
    return tuple(lines)


def _rule_text(line: str) -> str | None:
    """The rule without what says nothing; None for a comment or a blank line."""
    try:
        rule = parse_rule(line)
    except RuleFault:
        return line
    return None if rule is None else rule.text


def _manifest_line(manifest: ManifestSettings) -> str:
    where = "standard input" if manifest.file is None else manifest.file
    return f"manifest {where} ({manifest.format}): only listed paths, nothing is deleted"
