"""The repository holds no traces of the machines that it was made on."""

from __future__ import annotations

import re
import subprocess

import pytest
from docs_support import ROOT

# Built from pieces, so that this file does not hold what it looks for.
TRACES = re.compile(
    "|".join(
        (
            r"(?<![\w.])/" + r"work/(main|shared|\.library)",
            r"/" + r"root/\.",
            r"/" + r"opt/wheels",
            r"/" + r"tmp/(venv|brief|welcome)",
            r"py" + r"env/versions",
            r"index-" + r"url",
            r"files\.python" + r"hosted\.org",
            r"https?://[a-z0-9.-]*(artifactory|nexus|pypi)[a-z0-9.-]*",
        )
    )
)


def tracked_files() -> list[str]:
    try:
        listed = subprocess.run(
            ["git", "-c", "safe.directory=*", "-C", str(ROOT), "ls-files", "-z"],
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs a git clone")
    return [name for name in listed.stdout.decode("utf-8").split("\0") if name]


def test_no_machine_path_and_no_registry_stands_in_the_repository() -> None:
    found = []
    for name in tracked_files():
        path = ROOT / name
        if path.is_symlink() or not path.is_file():
            continue
        for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").splitlines(), 1):
            if TRACES.search(line):
                found.append(f"{name}:{number}: {line.strip()[:100]}")
    assert found == []


@pytest.mark.parametrize(
    "trace", ["/" + "work/main/x", "see /" + "tmp/venv/bin", "https://py" + "pi.example.com/simple"]
)
def test_traces_are_seen(trace: str) -> None:
    assert TRACES.search(trace) is not None
