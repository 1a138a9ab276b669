"""The documentation is complete and in step: every word a user can meet stands in it, every link leads somewhere."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import pytest
from docs_support import PAGES, ROOT, page_name

import runner
from runner.cli.commands import COMMANDS, GLOBAL_OPTIONS
from runner.cli.reference import all_pages, main
from runner.config.schema import composed_schema
from runner.errors import EntryCode, ExitCode, RunnerError
from runner.locations.registry import Registry
from runner.model.action import ActionKind, Verdict
from runner.model.difference import Reason
from runner.model.entry import Phase
from runner.plan.guards import GUARD_NAMES

DOCS = ROOT / "docs"
GENERATED = all_pages()
README = (ROOT / "README.md").read_text("utf-8")


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def code_words(text: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", text))


def schema_keys(node: object) -> set[str]:
    """Every property name anywhere in a schema."""
    if isinstance(node, list):
        return set().union(*map(schema_keys, node)) if node else set()
    if not isinstance(node, dict):
        return set()
    keys = set(node.get("properties", {})) if isinstance(node.get("properties"), dict) else set()
    return keys.union(*map(schema_keys, node.values()))


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_a_generated_page_is_what_its_source_says(name: str) -> None:
    assert page(name) == GENERATED[name], "run: python -m runner.cli.reference docs/"


def test_all_generated_pages_are_written_by_one_command(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 0
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.md")) == sorted(GENERATED)
    assert (tmp_path / "cli.md").read_text("utf-8") == page("cli.md")


def test_the_command_that_writes_them_names_its_argument(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err == "usage: python -m runner.cli.reference FOLDER\n"


def test_every_command_and_option_stands_in_the_reference() -> None:
    text = page("cli.md")
    missing = [command.name for command in COMMANDS if f"\n## {command.name}\n" not in text]
    options = [flag for command in COMMANDS for option in command.options for flag in option.flags]
    options += [flag for option in GLOBAL_OPTIONS for flag in option.flags]
    missing += [flag for flag in options if flag not in text]
    assert missing == []


@pytest.mark.parametrize(
    ("description", "words", "where"),
    [
        ("entry codes", {code.value for code in EntryCode}, "error-codes.md"),
        ("verdicts", {verdict.value for verdict in Verdict}, "error-codes.md"),
        ("guards", set(GUARD_NAMES), "error-codes.md"),
        ("guards explained", set(GUARD_NAMES), "plan-and-guards.md"),
        ("action kinds", {kind.value for kind in ActionKind}, "plan-and-guards.md"),
        ("reasons", {reason.value for reason in Reason}, "plan-and-guards.md"),
        ("verdicts explained", {verdict.value for verdict in Verdict}, "verification.md"),
        ("every code in troubleshooting", {code.value for code in EntryCode}, "troubleshooting.md"),
        ("phases", {phase.value for phase in Phase}, "glossary.md"),
    ],
)
def test_every_word_is_explained(description: str, words: set[str], where: str) -> None:
    assert (description, words - code_words(page(where))) == (description, set())


def test_every_error_of_a_command_is_explained() -> None:
    for module in pkgutil.walk_packages(runner.__path__, "runner."):
        if not module.name.startswith(("runner.testing", "runner.__main__")):
            importlib.import_module(module.name)
    codes, kinds = set(), [RunnerError]
    while kinds:
        kind = kinds.pop()
        kinds += [below for below in kind.__subclasses__() if below.__module__.startswith("runner.")]
        codes.add(kind.code)
    assert codes - {RunnerError.code} - code_words(page("error-codes.md")) == set()


def test_every_exit_code_is_explained() -> None:
    rows = set(re.findall(r"^\| (\d+) \|", page("exit-codes.md"), re.MULTILINE))
    assert rows == {str(int(code)) for code in ExitCode}


def test_every_key_of_the_schema_is_explained() -> None:
    keys = schema_keys(composed_schema(Registry()))
    pages = [page("sync-yaml.md"), *(page(name) for name in GENERATED if name.startswith("locations/"))]
    words = set().union(*map(code_words, pages))
    assert {key for key in keys if key not in words} == set()


# -- links ---------------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The fragments that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def leads_somewhere(link: str, page: Path, root: Path) -> bool:
    path, _, fragment = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists() or not target.is_relative_to(root):
        return False
    return not fragment or fragment in anchors(target.read_text("utf-8"))


def broken_links(page: Path, root: Path = ROOT) -> list[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`\n]*`", "", text)
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    return [
        link
        for link in links
        if not link.startswith(("https://", "mailto:")) and not leads_somewhere(link, page, root)
    ]


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_broken_links_are_seen(tmp_path: Path) -> None:
    planted = tmp_path / "page.md"
    planted.write_text("[a](nothing.md) [b](#nowhere) [c](#here) [d](../x)\n\n# Here\n", encoding="utf-8")
    assert broken_links(planted, tmp_path) == ["nothing.md", "#nowhere", "../x"]


def test_every_page_is_reached_from_the_index() -> None:
    # The index, and the overview of the locations, which names one page a type.
    linked = {
        link.partition("#")[0]
        for index in ("README.md", "locations.md")
        for link in re.findall(r"\]\(([^)\s]+)\)", page(index))
    }
    pages = {str(path.relative_to(DOCS)) for path in DOCS.glob("**/*.md")} - {"README.md"}
    assert pages - linked == set()


# -- the README's two commands ---------------------------------------------------------------------------------


def test_each_of_the_two_commands_stands_exactly_once() -> None:
    begins = [line for line in README.splitlines() if "python3 -m venv" in line]
    assert begins == [
        "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/sync-runner run",
        "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/python -m pytest",
    ]
    for page in PAGES:
        if page != ROOT / "README.md":
            assert "-m venv .venv" not in page.read_text("utf-8"), page_name(page)


def test_ci_takes_the_test_command_from_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    found = re.findall(r"grep -E '([^']+)' README\.md", script)
    assert len(found) == 1
    assert [line for line in README.splitlines() if re.search(found[0], line)] == [
        "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/python -m pytest"
    ]
    assert "pip install" not in script
    assert ".ci/run" in (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
