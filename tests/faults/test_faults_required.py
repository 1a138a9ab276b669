"""In CI no test that needs root may be left out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
LEFT_OUT = """
import pytest

@pytest.mark.root
def test_it(): pytest.skip("no tool")

@pytest.mark.root
@pytest.mark.xfail(strict=True)
def test_known(): raise AssertionError

def test_other(): pytest.skip("no tool")
"""

OF_THE_SUITE = """
import pytest

@pytest.mark.root
def test_a_role(): pytest.skip("is not offered")
"""


@pytest.mark.parametrize(("required", "failed"), [("", 0), ("required", 1)])
def test_a_test_that_needs_root_and_is_left_out_fails_where_it_is_required(
    tmp_path: Path, required: str, failed: int
) -> None:
    # The project's own rules, without the fixtures of its servers.
    rules = CONFTEST.read_text().split("pytest_plugins = [")[0] + "\nROOT_REQUIRED = "
    rules += CONFTEST.read_text().split("ROOT_REQUIRED = ", 1)[1].replace("os.geteuid() == 0", "True")
    (tmp_path / "conftest.py").write_text(rules)
    (tmp_path / "test_left_out.py").write_text(LEFT_OUT)
    suite = tmp_path / "runner" / "testing"
    suite.mkdir(parents=True)
    (suite / "test_suite.py").write_text(OF_THE_SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = root: needs root\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "SYNC_RUNNER_ROOT": required},
        capture_output=True,
        text=True,
    )
    assert done.returncode == failed, done.stdout
    assert ("it needs root, and was left out: no tool" in done.stdout) == bool(failed)
    assert f"{2 if failed else 3} skipped" in done.stdout
