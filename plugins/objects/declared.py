"""Options that object-store drivers share, as their schemas declare them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from runner.errors import LocationUnavailableError
from runner.model.task import LocationSettings, Secret
from runner.units import parse_duration, parse_size

from .rest import Rest
from .uploads import PartSettings
from .writing import Sizes


def folder_prefix(settings: LocationSettings) -> str:
    """A prefix always ends a folder: 'photos' -> 'photos/', '' -> ''."""
    prefix = str(settings.options.get("prefix", ""))
    return prefix if prefix == "" or prefix.endswith("/") else f"{prefix}/"


def revealed(value: Secret | str) -> str:
    """Only where a driver connects."""
    return value.reveal() if isinstance(value, Secret) else value


def file_option(settings: LocationSettings, name: str) -> str | None:
    """A file that an option names; relative paths start at the declaring file's folder."""
    file = settings.options.get(name)
    return None if file is None else os.path.join(settings.base_directory, os.path.expanduser(file))


def sizes_of(settings: LocationSettings, *, part_size: str, part_concurrency: int) -> Sizes:
    """The sizes in the options, with a driver's defaults."""
    options: Mapping[str, Any] = settings.options
    parts = PartSettings(
        parse_size(options.get("part_size", part_size)),
        int(options.get("part_concurrency", part_concurrency)),
    )
    return Sizes(parse_size(options.get("multipart_threshold", "16MiB")), parts)


def rest_of(settings: LocationSettings, url: str) -> Rest:
    """The endpoint at `url`. Raises LocationUnavailableError for an address or a ca_file that is none."""
    ca_file = file_option(settings, "ca_file")
    seconds = parse_duration(settings.options.get("timeout", "60s")).total_seconds()
    try:
        return Rest(url, timeout_seconds=seconds, ca_file=ca_file)
    except ValueError as error:
        raise LocationUnavailableError(f"{settings.name}: {error}") from error
    except OSError as error:
        raise LocationUnavailableError(f"{settings.name}: cannot read ca_file {ca_file}: {error}") from error
