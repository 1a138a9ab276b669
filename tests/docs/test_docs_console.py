"""What the pages show is what happens: every console block runs, and prints what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest
from docs_support import (
    PAGES,
    console_steps,
    expected_pattern,
    page_name,
    plain,
    run_shell,
    scratch_clone,
)

WITH_CONSOLE = [page for page in PAGES if "\n```console\n" in page.read_text("utf-8")]


@pytest.mark.parametrize("page", WITH_CONSOLE, ids=page_name)
def test_what_a_page_shows_is_what_happens(page: Path, tmp_path: Path) -> None:
    clone = scratch_clone(tmp_path)
    status = 0
    for step in console_steps(page.read_text("utf-8")):
        done = run_shell(step.command, clone, status)
        # A command that says nothing on standard output speaks through its error.
        printed = plain(done.stdout if done.stdout.strip() else done.stderr, clone)
        shown = plain(step.output, clone)
        matches = expected_pattern(step.output).fullmatch(printed) is not None
        told = shown if matches or not step.output.strip() else printed
        assert (page_name(page), step.line, step.command, told) == (
            page_name(page),
            step.line,
            step.command,
            shown,
        ), done.stderr
        status = done.returncode


def test_the_readme_shows_a_plan_and_a_run() -> None:
    readme = next(page for page in PAGES if page.name == "README.md" and page.parent == PAGES[0].parent)
    commands = [step.command for step in console_steps(readme.read_text("utf-8"))]
    assert commands[:2] == ["sync-runner plan photos", "sync-runner run photos"]


@pytest.mark.parametrize(
    ("description", "shown", "printed", "matches"),
    [
        ("the same", "all done\n", "all done", True),
        ("another word", "all done\n", "all gone", False),
        ("any duration", "took 0.42 s\n", "took 11.07 s", True),
        ("a duration is not any word", "took 0.42 s\n", "took long", False),
        ("any execution", "see 6b0348f56ecc\n", "see 0123456789ab", True),
        ("sizes are exact", "72.9 KiB\n", "72.8 KiB", False),
        ("three dots are anything", "first\n...\nlast\n", "first and so on last", True),
        ("but not a missing end", "first\n...\nlast\n", "first and so on", False),
    ],
)
def test_the_comparison_can_fail(description: str, shown: str, printed: str, matches: bool) -> None:
    assert (description, expected_pattern(shown).fullmatch(printed) is not None) == (description, matches)
