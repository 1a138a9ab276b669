"""For every test: what needs root is left out where there is none, and says so; the fixtures of the real servers."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

# Before any of them is imported: their assertions are rewritten, too.
pytest.register_assert_rewrite("servers")

# Each module tests/servers/serve_NAME.py holds the session fixture `NAME`.
pytest_plugins = [
    f"servers.{module.stem}" for module in sorted((Path(__file__).parent / "servers").glob("serve_*.py"))
]


ROOT_REQUIRED = os.environ.get("SYNC_RUNNER_ROOT") == "required"
"""Set by .ci/run: there a test that needs root and is left out has failed. The suite that every driver passes may leave
out what a kind of storage does not have: that is no fault of the machine."""
SUITE = os.path.join("runner", "testing", "")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    left_out = report.skipped and not hasattr(report, "wasxfail")
    if left_out and isinstance(report.longrepr, tuple) and SUITE in report.longrepr[0]:
        left_out = False
    if ROOT_REQUIRED and left_out and item.get_closest_marker("root") is not None:
        report.outcome = "failed"
        report.longrepr = f"it needs root, and was left out: {call.excinfo and call.excinfo.value}"
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for test in items:
        if test.get_closest_marker("root") is not None:
            test.add_marker(pytest.mark.skip(reason="needs root"))
