"""The power goes as soon as the command has said that it is done, and at a few other moments. At many more:
`python -m tests.faults power --stops 40`."""

from __future__ import annotations

import subprocess
import sys

import pytest
from servers.process import missing

from .disks import CUTS, Cut, missing_programs
from .power import NOT_HERE, scenes
from .zygote import ROOT

STOPS = 2


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_after_a_power_cut_all_files_are_whole_and_after_exit_0_history_tells_of_them(cut: Cut) -> None:
    if packages := missing_programs():
        missing("what makes file systems", "apt-get install " + " ".join(packages))
    done = subprocess.run(
        # The mounts are gone with this process, however it ends.
        [
            "unshare",
            "-m",
            sys.executable,
            "-m",
            "tests.faults",
            "power",
            "--cut",
            str(cut),
            "--stops",
            str(STOPS),
        ],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode == NOT_HERE:
        missing("a machine that mounts images", done.stderr)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    ends = [line for line in lines if ":end: " in line]
    assert ends == [f"{cut}:{scene.name}:end: right" for scene in scenes()]
    assert lines[-1] == f"{(1 + STOPS) * len(scenes())} power cuts, 0 wrong"
