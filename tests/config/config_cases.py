"""A registry of two small drivers, and a way to load a text as sync.yaml."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from runner.config.build import load_configuration
from runner.errors import ConfigurationError, Diagnostic
from runner.locations.protocol import Capabilities, Driver
from runner.locations.registry import Registry
from runner.model.entry import Kind
from runner.model.task import Configuration, LocationSettings

FOLDER_SCHEMA = {
    "description": "A folder.",
    "type": "object",
    "additionalProperties": False,
    "required": ["path"],
    "properties": {"path": {"type": "string", "minLength": 1, "examples": ["./photos"]}},
}
VAULT_SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["url"],
    "properties": {
        "url": {"type": "string"},
        "password": {"type": "string", "x-secret": True},
        "key": {"type": "string", "writeOnly": True},
        "port": {"$ref": "#/$defs/port"},
        "secure": {"type": "boolean"},
        "headers": {"type": "object", "additionalProperties": {"type": "string", "x-secret": True}},
    },
    "$defs": {"port": {"type": "integer", "minimum": 1, "maximum": 65535}},
}


def _root(settings: LocationSettings) -> str:
    return os.path.normpath(os.path.join(settings.base_directory, settings.options.get("path", "")))


def _overlaps(a: LocationSettings, b: LocationSettings) -> bool:
    first, second = _root(a) + "/", _root(b) + "/"
    return first.startswith(second) or second.startswith(first)


def _never_open(*_arguments: object, **_named: object) -> Any:
    raise AssertionError("configuration opens no location")


def _driver(name: str, schema: Mapping[str, Any], describe: Callable[[LocationSettings], str]) -> Driver:
    return Driver(
        type=name,
        title=name,
        options_schema=lambda: schema,
        open=_never_open,
        describe=describe,
        capabilities=lambda _: Capabilities(kinds=frozenset(Kind), attributes=frozenset()),
        overlaps=_overlaps if name == "folder" else lambda a, b: False,
        wide_root=lambda _: None,
    )


@pytest.fixture
def registry() -> Registry:
    return Registry(
        (
            _driver("folder", FOLDER_SCHEMA, _root),
            _driver("vault", VAULT_SCHEMA, lambda settings: str(settings.options["url"])),
        )
    )


Load = Callable[..., Configuration]
Diagnose = Callable[..., tuple[Diagnostic, ...]]


@pytest.fixture
def load(tmp_path: Path, registry: Registry) -> Load:
    """load(text, environment={}, **files): the configuration of sync.yaml with that text."""

    def load_text(
        text: str | bytes, environment: Mapping[str, str] | None = None, **files: str
    ) -> Configuration:
        for name, content in files.items():
            (tmp_path / f"{name}.yaml").write_text(content)
        path = tmp_path / "sync.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return load_configuration(str(path), registry, environment or {})

    return load_text


@pytest.fixture
def diagnose(load: Load) -> Diagnose:
    """diagnose(text, ...): the diagnostics that loading raises."""

    def faults_of(text: str | bytes, environment: Mapping[str, str] | None = None, **files: str) -> Any:
        with pytest.raises(ConfigurationError) as caught:
            load(text, environment, **files)
        return caught.value.diagnostics

    return faults_of


HEAD = """\
version: 1
locations:
  a: {type: folder, path: ./a}
  b: {type: folder, path: ./b}
"""


def task(body: str = "") -> str:
    """A file with one task `t` from a to b; `body` holds more lines of the task, unindented."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return f"{HEAD}tasks:\n  t:\n    source: a\n    destination: b\n{lines}"
