"""In which order a real run writes, flushes and names; and that runs which do it wrong are told from it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from servers.process import program

from .lint import DESTINATION_TEMPORARY, broken_rules, traced_run
from .scenes import SCENES, Scene


def scene_with(name: str, durability: str) -> Scene:
    scene = next(scene for scene in SCENES if scene.name == name)
    return dataclasses.replace(scene, options={**scene.options, "durability": durability})


@pytest.mark.slow
@pytest.mark.parametrize("name", [scene.name for scene in SCENES])
def test_all_is_flushed_before_it_is_named_and_nothing_is_written_in_place(name: str, tmp_path: Path) -> None:
    program("strace", "apt-get install strace")
    trace, destination = traced_run(scene_with(name, "full"), tmp_path)
    assert broken_rules(trace, destination, is_temporary=DESTINATION_TEMPORARY) == []
    # What names the files has to have been seen.
    assert len(re.findall(r"\blinkat\(.*/proc/self/fd/", trace)) > 10


@pytest.mark.slow
def test_a_run_that_flushes_nothing_is_told_from_one_that_does(tmp_path: Path) -> None:
    program("strace", "apt-get install strace")
    trace, destination = traced_run(scene_with("new", "none"), tmp_path)
    assert {one.rule for one in broken_rules(trace, destination, is_temporary=DESTINATION_TEMPORARY)} == {
        "content",
        "name",
    }


RIGHT = """\
1 openat(5</d>, ".", O_RDWR|O_CLOEXEC|O_TMPFILE, 0600) = 6</d/#11>(deleted)
1 pwrite64(6</d/#11>(deleted), "abc", 3, 0) = 3
1 fsync(6</d/#11>(deleted)) = 0
1 linkat(AT_FDCWD</x>, "/proc/self/fd/6", 5</d>, "f", AT_SYMLINK_FOLLOW) = 0
1 fsync(7</d>) = 0
"""


@pytest.mark.parametrize(
    ("mutant", "trace", "rules"),
    [
        ("none", RIGHT, []),
        ("no flush of the file", RIGHT.replace("1 fsync(6</d/#11>(deleted)) = 0\n", ""), ["content"]),
        ("no flush of the folder", RIGHT.replace("1 fsync(7</d>) = 0\n", ""), ["name"]),
        (
            "a flush that failed",
            RIGHT.replace("(deleted)) = 0", "(deleted)) = -1 EIO (Input/output error)"),
            ["content"],
        ),
        (
            "written to after the flush",
            RIGHT.replace("1 linkat", '1 pwrite64(6</d/#11>(deleted), "d", 1, 3) = 1\n1 linkat'),
            ["content"],
        ),
        (
            "a folder flushed too early",
            "1 fsync(7</d>) = 0\n" + RIGHT.replace("1 fsync(7</d>) = 0\n", ""),
            ["name"],
        ),
        ("written in place", '1 openat(5</d>, "f", O_WRONLY|O_CLOEXEC) = 6</d/f>\n', ["in place"]),
        (
            "cut to nothing",
            '1 openat(AT_FDCWD</x>, "/d/f", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 6</d/f>\n',
            ["in place"],
        ),
        (
            "a temporary name, renamed without a flush",
            '1 openat(5</d>, ".sync-runner-0123456789ab-1.part", O_WRONLY|O_CREAT|O_EXCL, 0600) ='
            " 6</d/.sync-runner-0123456789ab-1.part>\n"
            '1 write(6</d/.sync-runner-0123456789ab-1.part>, "abc", 3) = 3\n'
            '1 renameat(5</d>, ".sync-runner-0123456789ab-1.part", 5</d>, "f") = 0\n'
            "1 fsync(7</d>) = 0\n",
            ["content"],
        ),
        (
            "a flush that another thread's call interrupts",
            RIGHT.replace(
                "1 fsync(6</d/#11>(deleted)) = 0",
                "1 fsync(6</d/#11>(deleted) <unfinished ...>\n2 getpid() = 2\n1 <... fsync resumed>) = 0",
            ),
            [],
        ),
        ("somewhere else", RIGHT.replace("/d", "/e").replace("1 fsync(7</e>) = 0\n", ""), []),
    ],
)
def test_what_breaks_a_rule_is_found(mutant: str, trace: str, rules: list[str]) -> None:
    assert [one.rule for one in broken_rules(trace, "/d", is_temporary=DESTINATION_TEMPORARY)] == rules, (
        mutant
    )
