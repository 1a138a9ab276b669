"""The harness notices what is done wrong on purpose."""

from __future__ import annotations

import subprocess
import sys

import pytest
from servers.process import missing, program

from .disks import missing_programs
from .mutants import LAYERS
from .zygote import ROOT


@pytest.mark.slow
@pytest.mark.root
def test_every_mutant_is_caught_and_what_is_right_is_not_objected_to() -> None:
    program("strace", "apt-get install strace")
    if packages := missing_programs():
        missing("what makes file systems", "apt-get install " + " ".join(packages))
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-m", "tests.faults", "mutants"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": caught: ") == len(LAYERS)
