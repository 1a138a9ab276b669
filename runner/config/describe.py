"""A task as plain JSON values, without secrets: for plan headers, reports, and the digests."""

from __future__ import annotations

import enum
import os
from typing import Any

import msgspec

from runner.filters.datasync import split_patterns
from runner.model.hashing import sha256_hex
from runner.model.task import FilterSettings, LocationSettings, Secret, Task, TaskOptions

_PACE = frozenset({"bandwidth", "bandwidth_timezone", "attempts", "retry_delay_seconds", "workers"})
"""Options that change how fast a plan is carried out, never what it contains."""


def describe_task(task: Task) -> dict[str, Any]:
    """All settings of a task: canonical, complete, deterministic. A Secret is "***".

    Texts may hold surrogate escapes: encode with runner.model.wire.
    """
    return {
        "task": task.name,
        "description": task.description,
        "enabled": task.enabled,
        "source": _location(task.source),
        "destination": _location(task.destination),
        "options": _complete(task.options),
        "filters": _complete(task.filters),
        "guards": _complete(task.guards),
        "schedule": None if task.schedule is None else _complete(task.schedule),
        "reports": [report.value for report in task.reports],
        "config_digest": task.config_digest,
        "filter_digest": task.filter_digest,
    }


def config_digest(
    endpoints: tuple[tuple[LocationSettings, str], tuple[LocationSettings, str]],
    options: TaskOptions,
    filters: FilterSettings,
) -> str:
    """SHA-256 over all that decides what a plan contains. `endpoints`: source and destination, each with its
    address as the driver tells it (relative paths resolved). Secrets count by their reference.

    Not in it: guards, schedule, reports, descriptions, names of locations, and the pace of the transfer.
    """
    return _digest(
        {
            "format": 1,
            "endpoints": [
                {
                    "type": settings.type,
                    "address": address,
                    "options": _plain(settings.options, show_references=True),
                }
                for settings, address in endpoints
            ],
            "options": {key: value for key, value in _complete(options).items() if key not in _PACE},
            "filters": _filter_facts(filters, endpoints[0][0].base_directory),
        }
    )


def filter_digest(filters: FilterSettings, base_directory: str) -> str:
    """SHA-256 over the filters alone. Filters that later versions add do not change it while unused."""
    return _digest({"format": 1, "filters": _filter_facts(filters, base_directory)})


def _filter_facts(filters: FilterSettings, base_directory: str) -> Any:
    facts = msgspec.to_builtins(filters)
    # The order of include and exclude means nothing; the order of rules and of a manifest does.
    for key in ("include", "exclude"):
        if key in facts:
            facts[key] = sorted({pattern.text for pattern in split_patterns(facts[key])})
    if "kinds" in facts:
        facts["kinds"] = sorted(facts["kinds"])
    if filters.manifest is not None and filters.manifest.file is not None:
        # Moving the whole configuration elsewhere is no change of filters.
        facts["manifest"]["file"] = os.path.relpath(filters.manifest.file, base_directory)
    return facts


def _location(settings: LocationSettings) -> dict[str, Any]:
    return {"name": settings.name, "type": settings.type, "options": _plain(settings.options)}


def _complete(value: msgspec.Struct) -> dict[str, Any]:
    """Every field, defaults included: what a report shows has to be all that held."""
    return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}


def _plain(value: Any, *, show_references: bool = False) -> Any:
    if isinstance(value, Secret):
        return {"secret": value.reference} if show_references else "***"
    if isinstance(value, msgspec.Struct):
        return _complete(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, dict):
        return {
            str(key): _plain(value[key], show_references=show_references) for key in sorted(value, key=str)
        }
    if isinstance(value, (list, tuple)):
        return [_plain(child, show_references=show_references) for child in value]
    return value


def _digest(facts: Any) -> str:
    import json

    # ASCII escapes: also names that are not UTF-8 (surrogate escapes) have one form.
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return sha256_hex(text.encode("ascii"))
