"""A plugin for pytest: the tests meet what the environment asks to be spoiled (mutations.py)."""

from __future__ import annotations

from .mutations import mutate


def pytest_configure() -> None:
    mutate()
