"""Fixtures of this folder; config_cases holds what tests import by name."""

from __future__ import annotations

from config_cases import diagnose, load, registry

__all__ = ["diagnose", "load", "registry"]
