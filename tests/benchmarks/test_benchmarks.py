"""The benchmark runs, and everybody in it makes the same tree; how fast is not for a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from servers.process import module

from benchmarks.page import write_section
from benchmarks.s3 import Contest
from benchmarks.s3_peers import Contestant

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_contest_is_fair_and_writes_its_table(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks",
            "--files",
            "300",
            "--rounds",
            "2",
            "--check",
            "--folder",
            str(tmp_path),
            "--write",
            str(page),
        ],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    text = page.read_text()
    assert "| sync-runner |" in text
    assert "| cp -a |" in text
    assert "### Nothing to do" in text


@pytest.mark.servers
def test_the_contest_over_s3_writes_its_table(tmp_path: Path) -> None:
    module("ministack", "pip install ministack")
    page = tmp_path / "page.md"
    page.write_text("# Numbers\n\n<!-- s3: begin -->\nold\n<!-- s3: end -->\n\nThe end.\n")
    words = ["--files", "30", "--many", "50", "--big", "40000000", "--rounds", "1", "--write", str(page)]
    subprocess.run(
        [sys.executable, "-m", "benchmarks.s3", *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    text = page.read_text()
    assert text.startswith("# Numbers\n\n<!-- s3: begin -->\n## ")
    assert text.endswith("\n<!-- s3: end -->\n\nThe end.\n")
    jobs = [line for line in text.splitlines() if line.startswith("### ")]
    assert len(jobs) == 7
    assert text.count("| sync-runner |") == len(jobs)


def test_a_section_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    write_section(str(page), "one", "first")
    write_section(str(page), "two", "second\n")
    write_section(str(page), "one", "third")
    assert page.read_text() == (
        "<!-- one: begin -->\nthird\n<!-- one: end -->\n\n<!-- two: begin -->\nsecond\n<!-- two: end -->\n"
    )


def test_what_differs_is_told() -> None:
    contest = Contest("http://nowhere", 0, [])
    one = Contestant("peer", (), (), {}, "")
    contest.is_equal(one, "up", {"a": (1, "x")}, {"a": (1, "x")})
    for found in ({}, {"a": (1, "y")}, {"a": (2, "x")}, {"a": (1, "x"), "b": (1, "x")}):
        with pytest.raises(SystemExit, match="not the source's"):
            contest.is_equal(one, "up", found, {"a": (1, "x")})
