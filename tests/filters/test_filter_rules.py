"""gitignore-like rules: a table for people, git itself as the judge on generated rules, and size."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from runner.filters.gitignore import RuleFault, parse_rule
from runner.filters.rules import RuleSet
from runner.filters.selection import Selection
from runner.model.task import FilterSettings

ROWS = [
    ("a name at every depth", ["x.o"], ["x.o", "a/x.o", "x.o/", "x.o/inside"], ["x.oo", "ax.o"]),
    ("a leading slash ties it to the root", ["/x"], ["x", "x/", "x/y"], ["a/x"]),
    ("an inner slash too", ["a/x"], ["a/x", "a/x/y"], ["b/a/x", "x"]),
    ("a slash at the end: folders only", ["x/"], ["x/", "x/y", "a/x/"], ["x", "a/x"]),
    ("a star stays inside a name", ["a/*.c"], ["a/x.c", "a/.c"], ["a/b/x.c", "x.c"]),
    ("two stars first", ["**/x/y"], ["x/y", "a/x/y", "a/b/x/y/z"], ["x", "x/a/y"]),
    ("two stars last", ["a/**"], ["a/x", "a/b/c/"], ["a/", "a", "ba/x"]),
    ("two stars between", ["a/**/b"], ["a/b", "a/x/b", "a/x/y/b/c"], ["ab", "b", "x/a/b"]),
    ("two stars inside a name are one", ["a**b"], ["ab", "axb", "x/ab"], ["a/b"]),
    ("three stars are two", ["a/***/b"], ["a/b", "a/x/y/b"], ["ab"]),
    ("only stars", ["**"], ["a", "a/b", "b/"], []),
    ("one character", ["a?c"], ["abc", "aéc", "a\udcffc", "a\nc"], ["ac", "abbc"]),
    ("sets", ["[a-cx]1"], ["a1", "b1", "x1"], ["d1", "-1", "1"]),
    ("sets, negated", ["[!a-c]1", "[^x]2"], ["d1", "-1", "a2"], ["a1", "x2", "1"]),
    (
        "sets with brackets and dashes",
        ["[]-]1", "[a-]2", "[[]3"],
        ["]1", "-1", "a2", "-2", "[3"],
        ["a1", "b2"],
    ),
    ("classes", ["[[:digit:]_]x"], ["0x", "9x", "_x"], ["ax", "[x", ":x"]),
    ("the last match decides", ["*.o", "!keep.o"], ["a.o"], ["keep.o", "d/keep.o"]),
    ("and the one after it", ["*.o", "!keep.o", "d/keep.o"], ["a.o", "d/keep.o"], ["keep.o"]),
    ("nothing comes back below an excluded folder", ["d/", "!d/keep"], ["d/", "d/keep"], ["keep"]),
    ("but it does when only the content was excluded", ["d/*", "!d/keep"], ["d/x"], ["d/", "d/keep"]),
    ("comments and blank lines", ["# x", "", "  ", "y"], ["y"], ["x", "# x", "  "]),
    ("escaped first characters", [r"\#x", r"\!y"], ["#x", "!y"], ["x", "y"]),
    ("trailing spaces go", ["x  "], ["x"], ["x  "]),
    ("unless escaped", ["x\\ "], ["x "], ["x"]),
    ("escaped wildcards", [r"\*x\?", r"[\]]"], ["*x?", "]"], ["axb", "ax?"]),
    ("case counts", ["Makefile"], ["Makefile"], ["makefile"]),
]


@pytest.mark.parametrize(("what", "rules", "inside", "outside"), ROWS, ids=[row[0] for row in ROWS])
def test_what_rules_exclude(what: str, rules: list[str], inside: list[str], outside: list[str]) -> None:
    selection = Selection(FilterSettings(rules=tuple(rules)), 0)
    excluded = {path: not selection.path_decision(path).included for path in inside + outside}
    assert excluded == {path: path in inside for path in inside + outside}


@pytest.mark.parametrize("line", ["[a", "a\\", "!", "/", "//", "a//b", "[[:nope:]]", "[[:alpha:]", "[a\\"])
def test_rules_that_can_never_match_are_faults(line: str) -> None:
    with pytest.raises(RuleFault):
        parse_rule(line)


FOLDERS = ("a", "foo", "ab.c", ".d")
FILES = ("b", "foo.o", "a c", "x[1]", "#h", "a*", "ba-]")
PARTS_TEXT = (
    "a|b|foo|ab.c|.d|foo.o|x[1]|#h|ba-]|*|**|***|?|??|*.o|f*|*o*|a?*|[ab]|[!a]|[^a-c]|[a-c]*|[a-]*|[[:alpha:]]|"
    r"[[:digit:][:upper:]x]*|[]-]*|*[]]|x[[]1]|x\[1]|\a|\*|a\*|[z-a]|[b-a]*|**|**|**o|f**o|*c|[/]|[a/b]|[|\|"
    r"*.*|.*|ab.*|????|foo*|\foo|\#h|#h|a c|a\ c|* *"
)
PARTS = PARTS_TEXT.split("|")


def generated_rule(choose: random.Random) -> str:
    rule = "/".join(choose.choices(PARTS, k=choose.choice((1, 1, 1, 2, 2, 3, 4))))
    if choose.random() < 0.2:
        rule = "/" + rule
    if choose.random() < 0.25:
        rule += "/"
    if choose.random() < 0.25:
        rule = "!" + rule
    if choose.random() < 0.05:
        rule += "  "
    return rule


def is_bent_by_git(rule: str) -> bool:
    """Rules that git's shortcut for the literal start of a pattern reads otherwise than its manual page.

    It cuts that start off, and the stars that follow then look as if they stood behind a slash: `a**/b`
    matches `ab`, but not `axb`.
    """
    body = rule.removeprefix("!").rstrip(" ").removeprefix("/")
    literal = len(body) - len(body.lstrip("".join(c for c in map(chr, range(32, 127)) if c not in "*?[\\")))
    after = body[literal:]
    stars = len(after) - len(after.lstrip("*"))
    bounded = after[stars:][:1] in ("", "/") or after[stars:].startswith("\\/")
    return stars > 1 and bounded and literal > 0 and body[literal - 1] != "/"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with the same names on three levels."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed: nothing to compare with")
    environment = {"HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1", "PATH": "/usr/bin:/bin"}
    subprocess.run([git, "init", "-q", tmp_path], env=environment, check=True)

    def fill(folder: Path, depth: int) -> None:
        for name in FILES:
            (folder / name).touch()
        for name in FOLDERS if depth else ():
            (folder / name).mkdir()
            fill(folder / name, depth - 1)

    fill(tmp_path, 2)
    return tmp_path


def ignored_by_git(repository: Path, rules: list[str], paths: list[str]) -> set[str]:
    (repository / ".gitignore").write_bytes("".join(rule + "\n" for rule in rules).encode())
    environment = {"HOME": str(repository), "GIT_CONFIG_NOSYSTEM": "1", "PATH": "/usr/bin:/bin"}
    # Without their slash: git would match it as part of the name, and finds out itself what a folder is.
    asked = b"".join(path.removesuffix("/").encode() + b"\0" for path in paths)
    command = ["git", "-C", str(repository), "check-ignore", "--no-index", "-z", "--stdin"]
    answer = subprocess.run(command, env=environment, input=asked, capture_output=True, check=False)
    assert (answer.returncode, answer.stderr) in ((0, b""), (1, b""))
    ignored = {path.decode() for path in answer.stdout.split(b"\0") if path}
    return {path for path in paths if path.removesuffix("/") in ignored}


def parsable(rule: str) -> bool:
    try:
        parse_rule(rule)
    except RuleFault:
        return False
    return True


@pytest.mark.parametrize(("seed", "rounds"), [(1, 120), pytest.param(2, 500, marks=pytest.mark.slow)])
def test_git_agrees(repository: Path, seed: int, rounds: int) -> None:
    choose = random.Random(seed)
    paths = [
        str(path.relative_to(repository)) + ("/" if path.is_dir() else "")
        for path in sorted(repository.rglob("*"))
        if ".git" not in path.relative_to(repository).parts
    ]
    told_apart = 0
    for _ in range(rounds):
        rules = [generated_rule(choose) for _ in range(choose.randint(1, 6))]
        rules = [rule for rule in rules if not is_bent_by_git(rule)]
        # Git gets the faulty ones too: that they never match is a claim of ours.
        expected = ignored_by_git(repository, rules, paths)
        selection = Selection(FilterSettings(rules=tuple(filter(parsable, rules))), 0, built_in=())
        actual = {path for path in paths if not selection.path_decision(path).included}
        assert sorted(actual) == sorted(expected), rules
        told_apart += 0 < len(expected) < len(paths)
    assert told_apart > rounds / 4


def test_many_rules_ask_little_of_each_entry() -> None:
    anchored = [f"/p{number}/x{number}/y" for number in range(1000)] + [
        f"**/q{number}/z" for number in range(1000)
    ]
    rules = RuleSet(anchored)
    below = rules.enter(rules.root, "p7")
    assert (len(below.named), len(below.globbed)) == (1001, 0)
    assert rules.last(rules.enter(below, "x7"), "y", False) == 7
    assert rules.last(rules.enter(rules.enter(below, "deep"), "q3"), "z", False) == 1003
    # Two thousand rules, and folders of the same standing share one state.
    assert rules.enter(rules.root, "other") is rules.enter(rules.enter(rules.root, "some"), "where")
