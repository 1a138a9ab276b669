"""The benchmark runs, and everybody in it makes the same tree; how fast is not for a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from servers.process import module

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
    assert "## Nothing to do" in text


@pytest.mark.servers
def test_the_contest_over_s3_writes_its_table(tmp_path: Path) -> None:
    module("ministack", "pip install ministack")
    page = tmp_path / "page.md"
    words = ["--files", "30", "--rounds", "1", "--write", str(page)]
    subprocess.run(
        [sys.executable, "-m", "benchmarks.s3", *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    assert "runner" in page.read_text()
