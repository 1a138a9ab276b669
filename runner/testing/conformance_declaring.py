"""Promises of the driver value: its schema, its description, its capabilities, a root that is missing."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from runner.errors import LocationUnavailableError
from runner.locations.protocol import Driver
from runner.model.entry import Attributes, Kind
from runner.model.task import Secret
from runner.testing.conformance_base import ConformanceBase, put_file


class DeclaringPromises(ConformanceBase):
    """What a driver says of itself before and while a location is open."""

    def _declared(self) -> Driver:
        if self.driver is None:
            pytest.skip("the suite was given no driver value")
        return self.driver

    def test_options_schema_is_strict_and_explains_itself(self) -> None:
        """Unknown options are errors, and each option has a description for editors and the documentation."""
        schema = self._declared().options_schema()
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema.get("type") == "object"
        assert schema.get("additionalProperties") is False or schema.get("unevaluatedProperties") is False
        for name, option in schema.get("properties", {}).items():
            assert option.get("description"), f"option {name!r} has no description"
        jsonschema.Draft202012Validator(schema).validate(_as_written(self.settings().options))

    def test_description_is_one_line(self) -> None:
        """`describe` gives one line for people."""
        description = self._declared().describe(self.settings())
        assert description.strip() and "\n" not in description

    def test_declared_capabilities_are_the_open_location_s(self) -> None:
        """`Driver.capabilities` holds before anything is opened; an open location may only know better."""
        declared = self._declared().capabilities(self.settings())
        assert self._opened().capabilities.kinds <= declared.kinds
        assert self._opened().capabilities.sorted_scan == declared.sorted_scan

    def test_a_location_overlaps_itself(self) -> None:
        """`overlaps` tells whether two locations share entries: a location with itself surely does."""
        assert self._declared().overlaps(self.settings(), self.settings()) is True

    def test_capabilities_name_real_fields(self) -> None:
        """`attributes` are fields of Attributes, or "mtime"; "mtime" and the resolution agree."""
        capabilities = self._opened().capabilities
        assert capabilities.attributes <= {*Attributes.__struct_fields__, "mtime"}
        assert ("mtime" in capabilities.attributes) == (capabilities.mtime_resolution_ns is not None)
        assert Kind.FILE in capabilities.kinds
        assert capabilities.max_concurrency >= 1

    def test_a_missing_root_cannot_be_opened_to_read(self) -> None:
        """`create=False`: a missing root raises LocationUnavailableError."""
        if not self.root_is_made_on_first_write:
            pytest.skip("this storage is never missing")
        with pytest.raises(LocationUnavailableError):
            self._opened(create=False)

    def test_opening_with_create_makes_nothing_until_the_first_write(self) -> None:
        """`create=True`: the root is made on the first write, not before."""
        if not self.root_is_made_on_first_write:
            pytest.skip("this storage is never missing")
        location = self._opened()
        assert list(location.scan()) == []
        assert location.stat("a") is None
        with pytest.raises(LocationUnavailableError):
            self._opened(create=False)
        put_file(location, "a")
        self._opened(create=False)

    def test_closing_twice_is_harmless(self) -> None:
        """close() may come twice."""
        location = self.open()
        location.close()
        location.close()


def _as_written(value: Any) -> Any:
    """Options as the schema sees them, before their secrets were wrapped."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, dict):
        return {key: _as_written(one) for key, one in value.items()}
    return [_as_written(one) for one in value] if isinstance(value, list) else value
