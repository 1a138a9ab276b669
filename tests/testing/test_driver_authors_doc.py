"""docs/driver-authors.md is true: its driver, installed as the page says, is found and passes the suite."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The page's files, laid out as an installer would."""
    page = (ROOT / "docs" / "driver-authors.md").read_text()
    driver, tests = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    project = tomllib.loads(re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0])["project"]
    (tmp_path / "sync_runner_shelf").mkdir()
    (tmp_path / "sync_runner_shelf" / "__init__.py").write_text("")
    (tmp_path / "sync_runner_shelf" / "driver.py").write_text(driver)
    (tmp_path / "test_shelf.py").write_text(tests)
    points = project["entry-points"]["runner.locations"]
    metadata = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    (metadata / "entry_points.txt").write_text(
        "[runner.locations]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
    )
    return tmp_path


def run(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(package)}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=package, env=environment
    )


def test_the_page_s_driver_is_found_by_its_entry_point(package: Path) -> None:
    code = "from runner.locations.registry import Registry; print(Registry().driver('shelf').title)"
    found = run(package, "-c", code)
    assert (found.stdout, found.stderr) == ("A shelf: one SQLite file\n", "")


@pytest.mark.slow
def test_the_page_s_driver_passes_the_suite(package: Path) -> None:
    tested = run(package, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--tb=short", "test_shelf.py")
    assert tested.returncode == 0, tested.stdout[-5000:]
    passed = re.search(r"(\d+) passed", tested.stdout)
    assert passed is not None and int(passed[1]) > 100


def test_the_page_s_driver_keeps_the_house_s_rules(package: Path) -> None:
    """It imports only what drivers may, and is typed."""
    driver = (package / "sync_runner_shelf" / "driver.py").read_text()
    allowed = {"errors", "locations", "model", "units", "clock"}
    assert set(re.findall(r"^from runner\.(\w+)", driver, re.MULTILINE)) <= allowed


def test_the_page_names_every_role() -> None:
    page = (ROOT / "docs" / "driver-authors.md").read_text()
    protocol = (ROOT / "runner" / "locations" / "protocol.py").read_text()
    roles = re.findall(r"@runtime_checkable\nclass (\w+)\(Protocol\)", protocol)
    assert [role for role in roles if f"`{role}`" not in page] == []
