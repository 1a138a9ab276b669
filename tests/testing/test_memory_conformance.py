"""The location in memory passes the suite it is meant to model, as rich and as poor as it can be made."""

from __future__ import annotations

import pytest

from runner.locations.protocol import Capabilities, Driver, Location, OpenSettings
from runner.model.task import LocationSettings
from runner.testing.conformance import ConformanceSuite
from runner.testing.faults import FaultScript, not_listed
from runner.testing.memory import (
    CASE_INSENSITIVE,
    OBJECT_STORE,
    ONE_SECOND,
    RICH,
    UNSORTED,
    MemoryTree,
    memory_driver,
)


class MemorySuite(ConformanceSuite):
    capabilities: Capabilities = RICH
    roles: frozenset[str] | None = None

    @pytest.fixture(autouse=True)
    def _fresh_tree(self) -> None:
        self.tree = MemoryTree(exists=False)
        roles = {} if self.roles is None else {"roles": self.roles}
        self.driver: Driver | None = memory_driver({"tested": self.tree}, self.capabilities, **roles)

    def settings(self) -> LocationSettings:
        return LocationSettings("tested", "memory", {"tree": "tested"}, "/")

    def write_behind(self, path: str, content: bytes) -> None:
        self.tree.write(path, content)


class TestRich(MemorySuite):
    pass


class TestOneSecond(MemorySuite):
    capabilities = ONE_SECOND


class TestCaseInsensitive(MemorySuite):
    capabilities = CASE_INSENSITIVE


class TestUnsorted(MemorySuite):
    capabilities = UNSORTED


class TestObjectStore(MemorySuite):
    capabilities = OBJECT_STORE
    roles = frozenset({"identity"})


class TestUnderAFaultScript(MemorySuite):
    """Wrapping changes nothing but what is scripted: roles and promises are those of what is wrapped."""

    def open(self, *, create: bool = True, open_settings: OpenSettings | None = None) -> Location:
        script = FaultScript([not_listed("m/")])
        return script.wrap(super().open(create=create, open_settings=open_settings))

    def make_unlistable(self, path: str) -> bool:
        return path == "m/"


class TestThroughASecondObject(MemorySuite):
    """The suite's own way to change things behind a location's back."""

    write_behind = ConformanceSuite.write_behind
