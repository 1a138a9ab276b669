"""Every type of location is documented as it is: its examples pass its schema, and its driver can tell about them."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from runner.cli.reference_locations import PLANNED_FOR, sample_settings
from runner.config.schema import secret_paths
from runner.locations.protocol import Driver
from runner.locations.registry import Registry
from runner.model.task import LocationSettings, Secret

REGISTRY = Registry()
DRIVERS = [REGISTRY.driver(location_type) for location_type in REGISTRY.types()]
EXAMPLES = [
    pytest.param(driver, example, id=f"{driver.type}-{number}")
    for driver in DRIVERS
    for number, example in enumerate(driver.options_schema()["examples"])
]


def wrapped(driver: Driver, options: dict[str, Any]) -> LocationSettings:
    """The example as a driver gets it: secrets in their wrapping."""
    marked = {path[0] for path in secret_paths(driver.options_schema()) if len(path) == 1}
    given = {
        key: Secret("hidden-value", "test") if key in marked else value for key, value in options.items()
    }
    return LocationSettings("example", driver.type, given, "/srv")


def test_every_location_that_datasync_has_has_a_type() -> None:
    known = {driver.type for driver in DRIVERS}
    assert {one for types in PLANNED_FOR.values() for one in types} <= known


@pytest.mark.parametrize(("driver", "example"), EXAMPLES)
def test_an_example_passes_the_schema_and_is_described_without_its_secrets(
    driver: Driver, example: dict[str, Any]
) -> None:
    options = {key: value for key, value in example.items() if key != "type"}
    jsonschema.Draft202012Validator(dict(driver.options_schema())).validate(options)
    settings = wrapped(driver, options)
    assert driver.capabilities(settings).max_concurrency >= 1
    address = driver.describe(settings)
    assert address and "hidden-value" not in address and "\n" not in address
    assert driver.overlaps(settings, settings)
    driver.wide_root(settings)


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.type)
def test_every_option_is_described_with_an_example(driver: Driver) -> None:
    for name, node in driver.options_schema()["properties"].items():
        resolved = node
        if "$ref" in node:
            resolved = {**driver.options_schema()["$defs"][node["$ref"].rpartition("/")[2]], **node}
        assert resolved.get("description"), name
        assert resolved.get("examples"), name


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.type)
def test_capabilities_are_told_without_the_network(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **more: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    driver.capabilities(sample_settings(driver))
