"""For every test: what needs root is left out where there is none, and says so; the fixtures of the real servers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before any of them is imported: their assertions are rewritten, too.
pytest.register_assert_rewrite("servers")

# Each module tests/servers/serve_NAME.py holds the session fixture `NAME`.
pytest_plugins = [
    f"servers.{module.stem}" for module in sorted((Path(__file__).parent / "servers").glob("serve_*.py"))
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for test in items:
        if test.get_closest_marker("root") is not None:
            test.add_marker(pytest.mark.skip(reason="needs root"))
