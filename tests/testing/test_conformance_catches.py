"""A suite that lets a broken driver pass proves nothing: each mutant must fail the test made for it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from conformance_mutants import MUTANTS

HERE = Path(__file__).parent


def test_every_mutant_is_caught() -> None:
    file = str(HERE / "conformance_mutants.py")
    tests = [f"{file}::Test{mutant.__name__}::{test}" for mutant, test in MUTANTS.items()]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=no", "-q", "-rfE", *tests],
        capture_output=True,
        text=True,
        cwd=HERE.parents[1],
    )
    failed = {match[1] for match in re.finditer(r"^FAILED \S+::Test(\w+)::", run.stdout, re.MULTILINE)}
    assert failed == {mutant.__name__ for mutant in MUTANTS}, run.stdout[-3000:]
    assert "ERROR" not in run.stdout
