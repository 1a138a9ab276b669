"""Edits and faults made up by Hypothesis. More of them: `python -m tests.faults model --examples 1000`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .model import Counted, run_model
from .zygote import ROOT


def test_whatever_is_edited_and_whatever_fails_nothing_is_there_that_never_was_and_the_next_sync_ends_it() -> (
    None
):
    run_model(4, 3, derandomize=True, shrink=False)
    assert Counted.syncs >= 10
    assert Counted.faults_in_changes >= 2


@pytest.mark.slow
def test_more_of_them() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", "model", "--examples", "30", "--seed", "3", "--no-shrink"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
