"""Finds drivers by entry point, and loads one only when a location of its type is used."""

from __future__ import annotations

import sys

from runner.errors import ConfigurationError, Diagnostic, MissingExtraError
from runner.locations.discovery import declared, load
from runner.locations.protocol import Driver

GROUP = "runner.locations"


class Registry:
    """Drivers by location type. One object per process; loading is cached in it."""

    def __init__(self, drivers: tuple[Driver, ...] = ()) -> None:
        """`drivers` are added to (and win over) those found by entry point: for tests and embedding."""
        self._loaded: dict[str, Driver] = {driver.type: driver for driver in drivers}
        self._declared: dict[str, str] | None = None

    def types(self) -> list[str]:
        """All known location types, sorted; loads nothing."""
        return sorted({*self._loaded, *self._found()})

    def driver(self, location_type: str) -> Driver:
        """The driver of a type. Raises ConfigurationError for an unknown one, MissingExtraError when its
        packages are not installed."""
        if location_type in self._loaded:
            return self._loaded[location_type]
        found = self._found().get(location_type)
        if found is None:
            import difflib

            close = difflib.get_close_matches(location_type, self.types(), n=1)
            raise ConfigurationError(
                [
                    Diagnostic(
                        file="sync.yaml",
                        line=1,
                        column=1,
                        message=f"unknown location type {location_type!r}",
                        expected="one of " + ", ".join(self.types()),
                        suggestion=f"did you mean {close[0]!r}?" if close else None,
                    )
                ]
            )
        try:
            driver = load(found)
        except ImportError as error:
            raise MissingExtraError(
                f"location type {location_type!r} needs the package {error.name!r}, which is not installed"
            ) from error
        if not isinstance(driver, Driver):
            raise MissingExtraError(
                f"the entry point {found!r} for location type {location_type!r} is not a Driver"
            )
        self._loaded[location_type] = driver
        return driver

    def _found(self) -> dict[str, str]:
        if self._declared is None:
            self._declared = declared(GROUP)
        return self._declared


def check_installed(driver: Driver) -> None:
    """Raises MissingExtraError, naming the extra, when a module that the driver needs is not installed."""
    if not driver.requires:
        return
    from importlib.util import find_spec

    for module in driver.requires:
        if module not in sys.modules and find_spec(module) is None:
            raise MissingExtraError(
                f"location type {driver.type!r} needs the package {module!r}, which is not installed",
                remedy=f"Install it: pip install 'sync-runner[{driver.extra}]'" if driver.extra else None,
            )
