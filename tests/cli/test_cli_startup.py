"""What starting costs: nothing is imported before it is needed."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

import runner

HEAVY = (
    "rich",
    "sqlalchemy",
    "alembic",
    "jinja2",
    "jsonschema",
    "yaml",
    "runner_plugins.local.driver",
    "multiprocessing",
)


def imported_by(*words: str) -> set[str]:
    code = (
        f"import sys; sys.argv[1:] = {list(words)!r}\n"
        "from runner.__main__ import main\n"
        "code = main()\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ran.stderr.splitlines())


def test_the_version_needs_nothing_but_the_version():
    modules = imported_by("--version")

    assert {name for name in modules if name.split(".")[0] == "runner"} == {"runner", "runner.__main__"}
    assert "argparse" not in modules


@pytest.mark.parametrize("words", [["help"], ["help", "run"], ["run", "--help"], ["completion", "bash"]])
def test_help_loads_nothing_heavy(words):
    assert imported_by(*words) & set(HEAVY) == set()


@pytest.mark.parametrize("words", [["--version"], ["-V"], ["version"]])
def test_the_installed_module_prints_its_version(words):
    ran = subprocess.run([sys.executable, "-m", "runner", *words], capture_output=True, text=True, check=True)

    assert (ran.stdout, ran.stderr) == (f"sync-runner {runner.__version__}\n", "")


def test_the_version_within_twice_an_empty_python():
    def fastest(*words: str) -> float:
        def once() -> float:
            start = time.perf_counter()
            subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)
            return time.perf_counter() - start

        return min(once() for _ in range(7))

    assert fastest("-m", "runner", "--version") < 2 * fastest("-c", "pass")
