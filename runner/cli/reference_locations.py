"""docs/locations.md and one page a location type, from the drivers' schemas and capabilities."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from runner.config.reference import location_options
from runner.config.schema import resolve
from runner.locations.pair import losses
from runner.locations.protocol import Capabilities, Driver
from runner.locations.registry import Registry
from runner.model.entry import Kind
from runner.model.task import LocationSettings, TaskOptions
from runner.units import format_resolution

GENERATED = "<!-- Generated from the drivers: python -m runner.cli.reference docs/ -->"
PLANNED_FOR = {
    "NFS": ("nfs",),
    "SMB": ("smb",),
    "HDFS": ("hdfs",),
    "Self-managed object storage": ("object_storage",),
    "Amazon EFS": ("efs",),
    "Amazon FSx for Windows File Server": ("fsx_windows",),
    "Amazon FSx for Lustre": ("fsx_lustre",),
    "Amazon FSx for OpenZFS": ("fsx_openzfs",),
    "Amazon FSx for NetApp ONTAP": ("fsx_ontap",),
    "Amazon S3": ("s3",),
    "Azure Blob Storage": ("azure_blob",),
    "Google Cloud Storage": ("gcs",),
}
"""DataSync's locations, as its users look for them."""

Told = Callable[[Capabilities, Capabilities], bool | None]
LETTERS: tuple[tuple[str, str, Told], ...] = (
    ("T", "modification times", lambda a, b: _times(a, b)),
    ("M", "permissions (mode)", lambda a, b: _both(a, b, "mode")),
    ("O", "owner and group, by number", lambda a, b: _both(a, b, "uid", "gid")),
    ("N", "owner and group, by name", lambda a, b: _both(a, b, "user", "group")),
    ("X", "extended attributes", lambda a, b: _both(a, b, "xattrs")),
    ("A", "POSIX ACLs", lambda a, b: _both(a, b, "acls")),
    ("L", "symbolic links", lambda a, b: Kind.SYMLINK in a.kinds & b.kinds),
    ("H", "hard links", lambda a, b: a.hard_links and b.hard_links),
    ("E", "empty folders", lambda a, b: a.empty_directories and b.empty_directories),
    ("G", "object tags", lambda a, b: _both(a, b, "tags")),
    ("C", "content headers", lambda a, b: _both(a, b, "content_headers")),
    ("U", "user metadata", lambda a, b: _both(a, b, "user_metadata")),
    ("D", "DOS attributes", lambda a, b: _both(a, b, "dos_attributes")),
    ("B", "creation times", lambda a, b: _both(a, b, "created_ns")),
    ("S", "owner and access list of SMB", lambda a, b: _both(a, b, "security")),
)


def pages(registry: Registry) -> dict[str, str]:
    """File name below docs/ -> content."""
    drivers = [registry.driver(location_type) for location_type in registry.types()]
    written = {"locations.md": _overview(drivers)}
    for driver in drivers:
        written[f"locations/{driver.type}.md"] = _page(driver)
    return written


def sample_settings(driver: Driver) -> LocationSettings:
    """A location as the schema's first example declares it."""
    options = dict(driver.options_schema()["examples"][0])
    options.pop("type", None)
    return LocationSettings("example", driver.type, options, "/")


def _capabilities(driver: Driver) -> Capabilities:
    return driver.capabilities(sample_settings(driver))


# -- the overview ------------------------------------------------------------------------------------------


def _overview(drivers: list[Driver]) -> str:
    known = {driver.type for driver in drivers}
    lines = [
        "# Locations",
        "",
        GENERATED,
        "",
        "A location is an endpoint that `sync.yaml` declares; its `type` names the driver. Any type can be the source",
        "and any can be the destination of a task: nothing has to be in a cloud. Where a type needs more packages,",
        "`pip install 'sync-runner[EXTRA]'` brings them.",
        "",
        "| Type | What it is | Extra |",
        "|---|---|---|",
        *(
            f"| [`{driver.type}`](locations/{driver.type}.md) | {driver.title} | {_extra(driver)} |"
            for driver in drivers
        ),
        "",
        "`sync-runner locations` shows which of your locations are ONLINE; `sync-runner locations check NAME` tries one",
        "out: reachable, credentials, clock, writable, and whether it keeps what its driver says. In another language,",
        "with another storage: [Writing a driver](driver-authors.md).",
        "",
        "## Coming from DataSync",
        "",
        "| DataSync's location | Type here |",
        "|---|---|",
        *(
            f"| {name} | {', '.join(f'[`{one}`](locations/{one}.md)' for one in types if one in known)} |"
            for name, types in PLANNED_FOR.items()
        ),
        "| Other clouds (Wasabi, DigitalOcean, OCI, IBM, Alibaba, ...) | [`object_storage`](locations/object_storage.md), "
        "or [`rclone`](locations/rclone.md) |",
        "",
        "DataSync wants one side in AWS; here any pair works.",
        "",
        "## What each pair of locations carries",
        "",
        "By the drivers' own declarations, with the default options; `sync-runner validate` says the same of your tasks,",
        "and [the pair matrix](pair-matrix.md) shows what tests saw between real servers. From the row to the column;",
        "content and names always.",
        "",
        *(f"- **{letter}** {meaning}" for letter, meaning, _ in LETTERS),
        "",
        "A small **t**: times become coarser on the way.",
        "",
        *_matrix(drivers),
    ]
    return "\n".join(lines) + "\n"


def _extra(driver: Driver) -> str:
    return f"`{driver.extra}`" if driver.extra else ""


def _matrix(drivers: list[Driver]) -> Iterator[str]:
    groups: dict[Capabilities, list[str]] = {}
    for driver in drivers:
        groups.setdefault(_comparable(_capabilities(driver)), []).append(driver.type)
    names = [", ".join(types) for types in groups.values()]
    yield "| from \\ to | " + " | ".join(names) + " |"
    yield "|---" * (len(names) + 1) + "|"
    for name, source in zip(names, groups, strict=True):
        cells = [
            "".join(_letter(letter, told(source, destination)) for letter, _, told in LETTERS)
            for destination in groups
        ]
        yield f"| **{name}** | " + " | ".join(cells) + " |"


def _letter(letter: str, told: bool | None) -> str:
    if told is None:
        return letter.lower()
    return letter if told else ""


def _comparable(capabilities: Capabilities) -> Capabilities:
    """Capabilities by what the matrix shows of them."""
    return Capabilities(
        kinds=capabilities.kinds,
        attributes=capabilities.attributes,
        mtime_resolution_ns=capabilities.mtime_resolution_ns,
        empty_directories=capabilities.empty_directories,
        hard_links=capabilities.hard_links,
    )


def _times(source: Capabilities, destination: Capabilities) -> bool | None:
    """None: carried, but coarser than the source has them."""
    if not _both(source, destination, "mtime") or destination.mtime_resolution_ns is None:
        return False
    if source.mtime_resolution_ns is None:
        return False
    return None if destination.mtime_resolution_ns > source.mtime_resolution_ns else True


def _both(source: Capabilities, destination: Capabilities, *names: str) -> bool:
    return set(names) <= source.attributes & destination.attributes


# -- one type ----------------------------------------------------------------------------------------------


def _page(driver: Driver) -> str:
    schema = driver.options_schema()
    capabilities = _capabilities(driver)
    lines = [f"# `{driver.type}`: {driver.title}", "", GENERATED, ""]
    if schema.get("description"):
        lines += [*textwrap.wrap(str(schema["description"]), 116), ""]
    if driver.extra:
        lines += [f"Needs the extra `{driver.extra}`: `pip install 'sync-runner[{driver.extra}]'`.", ""]
    lines += ["## Declaring it", "", "```yaml", "version: 1", "locations:"]
    for number, example in enumerate(schema["examples"], 1):
        lines += [f"  example-{number}:", f"    type: {driver.type}"]
        text = yaml.safe_dump(
            {key: value for key, value in example.items() if key != "type"},
            sort_keys=False,
            allow_unicode=True,
            width=1000,
        )
        lines += textwrap.indent(text, "    ").rstrip().split("\n")
    lines += ["```", "", "## Options", "", *location_options(schema), "", *_inner_keys(schema)]
    lines += ["## What it can hold", "", "Of the first example above:", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in _facts(capabilities)]
    lines += ["", "## From a local disk", "", "With the default options:", ""]
    rich = Registry().driver("local")
    told = losses(TaskOptions(), _capabilities(rich), capabilities)
    lines += [f"- {loss}" for loss in told] or ["- everything is carried"]
    lines += [
        "",
        "What its protocol leaves open (races, limits, how it was tested) stands in",
        f"[plugins/{_folder(driver)}/README.md](../../plugins/{_folder(driver)}/README.md).",
    ]
    return "\n".join(lines) + "\n"


def _inner_keys(schema: Mapping[str, Any]) -> Iterator[str]:
    """What is in options that are maps: their keys, and which of them hold secrets."""
    told: dict[str, tuple[dict[str, None], dict[str, None]]] = {}

    def walk(name: str, node: Mapping[str, Any]) -> None:
        node = resolve(schema, node)
        if isinstance(node.get("additionalProperties"), Mapping):
            walk(name, node["additionalProperties"])
        for key, inner in node.get("properties", {}).items():
            resolved = resolve(schema, inner)
            told.setdefault(name, ({}, {}))[bool(resolved.get("x-secret"))][key] = None
            walk(key, inner)

    for name, node in schema["properties"].items():
        walk(name, node)
    for name, (plain, secret) in told.items():
        if plain:
            yield f"Keys of `{name}`: {', '.join(f'`{key}`' for key in plain)}."
            yield ""
        if secret:
            yield (
                f"Keys of `{name}` that hold secrets, taken by reference only: "
                + ", ".join(f"`{key}`" for key in secret)
                + "."
            )
            yield ""


def _folder(driver: Driver) -> str:
    return driver.open.__module__.split(".")[1]


def _facts(capabilities: Capabilities) -> Iterator[tuple[str, str]]:
    resolution = capabilities.mtime_resolution_ns
    rules = capabilities.names
    yield "kinds", ", ".join(sorted(kind.value.replace("_", " ") for kind in capabilities.kinds))
    yield "metadata", ", ".join(f"`{name}`" for name in sorted(capabilities.attributes)) or "none"
    yield (
        "modification times",
        "none of ours" if resolution is None else f"to {format_resolution(resolution)}",
    )
    yield "empty folders", _yes(capabilities.empty_directories)
    yield "hard links", _yes(capabilities.hard_links)
    yield "all or nothing", _yes(capabilities.atomic_put)
    yield "reads from an offset", _yes(capabilities.range_read)
    yield "digests without reading", ", ".join(capabilities.digests) or "no"
    yield "upper and lower case differ", _yes(capabilities.case_sensitive)
    yield "a file beside a folder of its name", _yes(capabilities.file_beside_folder)
    yield "operations at once", f"up to {capabilities.max_concurrency}"
    limits = [
        f"{limit} {unit}"
        for limit, unit in (
            (rules.max_name_bytes, "bytes a name"),
            (rules.max_name_units, "UTF-16 units a name"),
            (rules.max_path_bytes, "bytes a path"),
            (rules.max_path_units, "UTF-16 units a path"),
            (rules.max_depth, "levels"),
        )
        if limit is not None
    ]
    yield "length of names", ", ".join(limits) or "no limit known"
    refused = [
        *(["names that are not UTF-8"] if rules.utf8 else []),
        *(["control characters"] if not rules.controls else []),
        *([f"any of {' '.join(map(_character, rules.forbidden))}"] if rules.forbidden else []),
        *(["a blank or a dot at the end"] if rules.forbidden_end else []),
        *(f"`{name}`" for name in sorted(rules.reserved_exactly)),
        *(["names of devices (`CON`, `NUL`, ...)"] if rules.reserved else []),
    ]
    yield "names refused in the plan", ", ".join(refused) or "none"


def _yes(told: bool) -> str:
    return "yes" if told else "no"


def _character(character: str) -> str:
    """One character as code in a table's cell."""
    shown = character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
    return f"<code>{shown.replace('|', '&#124;').replace('<', '&lt;')}</code>"
