"""What a declaration names: the schemas of all types, and the options of one location as a value."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from runner.model.entry import path_bytes
from runner.model.task import LocationSettings
from runner.units import parse_duration, parse_size

from .session import Endpoint

_GROUPS_AT_MOST = 16  # RFC 5531, appendix A: AUTH_SYS
_STEP_OF = {"fsx_lustre": "1s"}  # its servers keep whole seconds
_STEPS = {"ns": 1, "us": 1000, "ms": 1_000_000, "s": 1_000_000_000}


@functools.cache
def _parts() -> dict[str, Any]:
    parts: dict[str, Any] = json.loads(
        Path(__file__).with_name("options.schema.json").read_text(encoding="utf-8")
    )
    return parts


@functools.cache
def schema_of(location_type: str) -> Mapping[str, Any]:
    """The JSON Schema of a type's options."""
    parts = _parts()
    own = parts["types"][location_type]
    mounted_only = ["mount_options", "fs_types", "mount_source"]
    one_way: dict[str, Any] = {"required": ["mounted_at"], "properties": {"mount": {"const": False}}}
    mounts = {
        "required": ["mount"],
        "properties": {"mount": {"const": True}},
        "not": {"required": ["mounted_at"]},
    }
    ways: list[dict[str, Any]] = [one_way, mounts]
    expected = "mounted_at (where it is mounted), or mount: true, and not both"
    if "without_mount" in own:
        ways = [
            {**way, "not": {"anyOf": [way.get("not", False), *_present(own["without_mount"])]}}
            for way in ways
        ]
        no_mount = {
            "properties": {"mount": {"const": False}, "version": {"enum": ["automatic", "3"]}},
            "not": {"anyOf": _present(["mounted_at", *mounted_only])},
        }
        ways.append(no_mount)
        expected = (
            "mounted_at or mount: true for a mount (not both; with version, "
            + ", ".join(mounted_only)
            + "), or none of these for NFSv3 without a mount (with "
            + ", ".join(own["without_mount"])
            + ")"
        )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": own["title"],
        "description": own["description"],
        "type": "object",
        "additionalProperties": False,
        "required": own["required"],
        "examples": own["examples"],
        "allOf": [{"x-expected": expected, "anyOf": ways}],
        "properties": {
            **{
                name: parts["repeated"][one] if isinstance(one, str) else one
                for name, one in own["properties"].items()
            },
            **parts["shared"],
        },
    }


def _present(names: list[str]) -> list[dict[str, Any]]:
    return [{"required": [name]} for name in names]


class Options(msgspec.Struct, frozen=True):
    """The options that all types share. `is_mounted`: reached through the kernel."""

    path: str
    mounted_at: str | None
    mount: bool
    mount_options: tuple[str, ...]
    fs_types: tuple[str, ...] | None
    mount_source: str | None
    time_step_ns: int
    concurrency: int

    @property
    def is_mounted(self) -> bool:
        return self.mount or self.mounted_at is not None

    @classmethod
    def of(cls, settings: LocationSettings) -> Options:
        given = settings.options
        fs_types = given.get("fs_types")
        return cls(
            path=str(given.get("path", "")).strip("/"),
            mounted_at=given.get("mounted_at"),
            mount=given.get("mount", False),
            mount_options=tuple(given.get("mount_options", ())),
            fs_types=None if fs_types is None else tuple(fs_types),
            mount_source=given.get("mount_source"),
            time_step_ns=_step(given.get("mtime_resolution", _STEP_OF.get(settings.type, "1ns"))),
            concurrency=given.get("concurrency", 16),
        )


def root_names(options: Options) -> tuple[bytes, ...]:
    """The names from the export to the location's root."""
    return tuple(path_bytes(options.path).split(b"/")) if options.path else ()


def endpoint_of(settings: LocationSettings) -> Endpoint:
    """How to reach an export without a mount."""
    given = settings.options
    uid = given.get("uid")
    groups = given.get("groups")
    if groups is None:
        groups = os.getgroups() if uid is None else ()
    return Endpoint(
        server=given["server"],
        export=path_bytes(given["export"]),
        nfs_port=given.get("nfs_port"),
        mount_port=given.get("mount_port"),
        uid=os.geteuid() if uid is None else uid,
        gid=given.get("gid", os.getegid()),
        groups=tuple(groups)[:_GROUPS_AT_MOST],
        timeout_seconds=parse_duration(given.get("timeout", "60s")).total_seconds(),
        connect_seconds=parse_duration(given.get("connect_timeout", "10s")).total_seconds(),
        read_bytes=parse_size(given.get("read_size", "1MiB")),
        write_bytes=parse_size(given.get("write_size", "1MiB")),
    )


def _step(text: str) -> int:
    digits = text.rstrip("nums")
    return max(1, int(digits)) * _STEPS[text[len(digits) :]]
