"""Fixtures: stories stored in folders, and a headless browser."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from report_stories import Story, store


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[Story], str]:
    """Stores a story in a folder of its own and returns the folder."""

    def store_story(story: Story) -> str:
        folder = str(tmp_path / f"execution-{len(list(tmp_path.iterdir()))}")
        return store(
            folder, story.report, outcomes=story.outcomes, findings=story.findings, problems=story.problems
        )

    return store_story


@pytest.fixture(scope="session")
def chromium() -> Callable[..., str]:
    """Runs headless chromium on a page and returns the document after its scripts ran."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs chromium, which is not installed")

    def dump(address: str, profile: str, *options: str) -> str:
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        command += ["--disable-component-update", "--disable-sync", "--no-first-run"]
        command += [
            f"--user-data-dir={profile}",
            *options,
            "--dump-dom",
            address,
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

    return dump
