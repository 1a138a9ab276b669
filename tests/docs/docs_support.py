"""What the documentation's tests share: the pages, their fenced blocks, and a scratch clone to run them in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/*/README.md")])
HOME = "/home/ada/sync-runner"
"""Where the documentation says that its reader's clone is."""


class Step(NamedTuple):
    """One command of a console block and what the page says it prints."""

    line: int
    command: str
    output: str


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def console_steps(text: str) -> list[Step]:
    """Every `$ command` of the fenced console blocks of a page, in order."""
    steps: list[Step] = []
    for block in re.finditer(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        first = text.count("\n", 0, block.start()) + 2
        for number, line in enumerate(block[1].splitlines(), first):
            if line.startswith("$ "):
                steps.append(Step(number, line[2:], ""))
            else:
                assert steps, f"line {number}: a console block starts with a command"
                steps[-1] = steps[-1]._replace(output=f"{steps[-1].output}{line}\n")
    return steps


def expected_pattern(output: str) -> re.Pattern[str]:
    """Output as a page shows it, as a pattern: `...` stands for anything, white space is all alike, and what no
    two runs share (execution ids, durations, ages, dates) matches any of its sort."""
    pieces = []
    for line in output.splitlines():
        if line.strip() == "...":
            pieces.append(".*")
            continue
        words = re.escape(" ".join(line.split()))
        words = re.sub(r"\b6b[0-9a-f]{10}\b", "[0-9a-f]{12}", words)
        words = re.sub(r"\\?\b\d+\\\.\d\d\\ s(?=$|\W)", r"[0-9.]+\\ s", words)
        words = re.sub(r"\b2026\\-\d\d\\-\d\d(\\ |T)[0-9:\\.]+", r"[0-9-]+[ T][0-9:.]+", words)
        words = re.sub(r"mtime\\ \d+\\\.\d+", r"mtime\\ [0-9.]+", words)
        pieces.append(words)
    joined = r"\s*".join(piece for piece in pieces if piece)
    return re.compile(joined + r"\s*", re.DOTALL)


def plain(output: str, home: Path) -> str:
    """What a command printed, as the page would show it."""
    return " ".join(output.replace(str(home), HOME).split())


def scratch_clone(folder: Path) -> Path:
    """sync.yaml and examples/ in a folder of their own, as a reader who cloned the repository has them."""
    clone = folder / "sync-runner"
    clone.mkdir()
    shutil.copy2(ROOT / "sync.yaml", clone)
    shutil.copytree(ROOT / "examples", clone / "examples", symlinks=True)
    return clone


def run_shell(command: str, folder: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    """A command line as a reader would type it; `$?` is the status of the line before."""
    environment = {name: os.environ[name] for name in ("HOME", "LANG", "LC_ALL") if name in os.environ}
    environment["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), "/usr/bin", "/bin"])
    environment["COLUMNS"] = "240"
    environment["USER"] = "ada"
    return subprocess.run(
        ["/bin/bash", "-c", f"(exit {status})\n{command}"],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
