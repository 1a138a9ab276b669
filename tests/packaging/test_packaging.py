"""What is installed is complete: every package folder, every data file, and a command that works without the clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"runner": "runner", "plugins": "runner_plugins", "schemas": "runner_schemas"}
DATA_ENDINGS = {".json", ".md", ".j2", ".css", ".js", ".html", ".typed"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
BUILD = """
import sys
from setuptools import build_meta
print(build_meta.build_wheel(sys.argv[1]))
"""


def source_files(endings: set[str]) -> set[str]:
    """Files of the packages as they should stand in a wheel."""
    found = set()
    for folder, package in FOLDERS.items():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix in endings and "__pycache__" not in path.parts:
                found.add(f"{package}/{path.relative_to(ROOT / folder)}")
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A wheel, built from a copy: the clone stays as it is."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, copy)
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUILD, str(target)],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    yield next(target.glob("*.whl"))


def test_every_package_folder_is_declared() -> None:
    packages = set()
    for folder, package in FOLDERS.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            below = init.parent.relative_to(ROOT / folder).parts
            packages.add(".".join((package, *below)))
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(packages)


def test_every_folder_with_code_is_a_package() -> None:
    without = {
        str(path.parent.relative_to(ROOT))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if not (path.parent / "__init__.py").exists()
    }
    assert without == set()


def test_the_wheel_holds_every_module_and_every_data_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = source_files({".py"} | DATA_ENDINGS)
    assert {name for name in wanted if name.endswith((".json", ".j2"))} != set()
    # The compiled module is there where this machine has a compiler.
    compiled = {name for name in inside if name.endswith(".so")}
    assert {name.split(".")[0] for name in compiled} <= {"runner_plugins/local/_native"}
    assert inside - compiled == wanted | source_files({".c", ".pyi"})


def test_no_data_file_has_an_ending_that_is_left_behind() -> None:
    endings = {
        path.suffix
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert endings - {".py", ".c", ".pyi", ".so"} - DATA_ENDINGS == set()


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode("utf-8")
        names = {name.partition(".dist-info/")[2] for name in archive.namelist()}
    assert "\nRequires-Python: >=3.11\n" in text
    assert "\nLicense-Expression: Apache-2.0\n" in text
    assert "\n# sync-runner\n" in text
    assert "licenses/LICENSE" in names


@pytest.mark.slow
def test_an_installed_wheel_works_without_the_clone(wheel: Path, tmp_path: Path) -> None:
    """The dependencies are those of this interpreter; sync-runner itself comes from the wheel alone."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    site = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    packages = [path for path in sys.path if path.endswith("site-packages")]
    # Only what lies in site-packages: an editable install's finder is not asked.
    (site / "others.pth").write_text("\n".join(packages) + "\n", encoding="utf-8")
    python = tmp_path / "venv" / "bin" / "python"
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.txt").write_text("a", encoding="utf-8")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(python), "-m", "runner", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    where = subprocess.run(
        [
            str(python),
            "-c",
            "import runner, runner_plugins, runner_schemas as s; print(runner.__file__, s.__file__)",
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [path.startswith(str(site)) for path in where.stdout.split()] == [True, True]
    for arguments in (("init",), ("validate",), ("schema",), ("run",), ("report", "--format", "html")):
        done = run(*arguments)
        assert (arguments, done.returncode, done.stderr if done.returncode else "") == (arguments, 0, "")
    assert (tmp_path / "destination" / "a.txt").read_text(encoding="utf-8") == "a"
