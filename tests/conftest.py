"""For every test: what needs root is left out where there is none, and says so."""

from __future__ import annotations

import os

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for test in items:
        if test.get_closest_marker("root") is not None:
            test.add_marker(pytest.mark.skip(reason="needs root"))
