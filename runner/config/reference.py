"""The composed schema -> docs/sync-yaml.md: every key, its type, default, meaning, example, DataSync name.

A golden test holds the committed page against `render_reference`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from runner.config.aliases import NO_COUNTERPART
from runner.config.sample import yaml_value
from runner.config.schema import Schema, base_schema, resolve
from runner.config.template import FILTERS
from runner.locations.registry import Registry

_SECTIONS = (
    ("options", "options", "How a task compares, writes, deletes and checks."),
    ("options.metadata", "metadata", "Which metadata is compared and carried."),
    ("options.bandwidth", "bandwidth_window", "One window of a bandwidth timetable."),
    ("options.retries", "retries", "How often a failed action is tried."),
    ("filters", "filters", "Which paths matter."),
    ("filters.manifest", "manifest", "A list of files instead of patterns."),
    ("guards", "guards", "What stops an execution before its first write."),
    ("guards.max_deletions, guards.max_overwrites", "caps", "Caps; every one that is given holds."),
    ("guards.max_deletions_per_folder", "folder_caps", "Caps for each folder of the top level."),
    ("schedule", "schedule", "When `serve` runs the task by itself."),
    ("schedule.not_between", "quiet_window", "Hours in which no execution starts."),
    ("hooks", "hooks", "Programs to start around an execution."),
    (
        "hooks.before, hooks.after, hooks.on_error",
        "hook_settings",
        "One hook; a list of arguments is one, too.",
    ),
    ("notify", "notify_rule", "Which channels hear of what."),
    ("pings", "pings", "URLs of a health-check service."),
)
_SETTINGS = (
    ("settings.service", "service", "How `serve` works."),
    ("settings.retention", "retention", "How long executions are remembered."),
    ("settings.signing", "signing", "SSH keys that vouch for reports."),
    ("settings.monitoring", "monitoring", "Where figures and traces go."),
    ("notifications", "notifications", "Who is told what happened."),
    ("notifications.digest", "digest", "A regular summary of all tasks."),
)

_HEAD = """\
# sync.yaml, key by key

<!-- Generated from schemas/sync.schema.json and the drivers' option schemas: do not edit. -->

One file declares locations, tasks, filters, limits and schedules. It is YAML (so JSON works, too), checked
against a [JSON Schema](../schemas/sync.schema.json) before anything is opened; `sync-runner schema` prints
that schema with the options of every installed driver. Unknown keys are errors. Every fault is shown with its
file, line and column, and all faults of all tasks are shown at once.

- **Units are required**: sizes `512KiB`, `20MB`, `4GiB`; rates `20MiB/s`, `80Mbit/s`, `unlimited`; durations
  `90s`, `5m`, `1h30m`, `30d`.
- **Relative paths** start at the folder of the file that holds them.
- **YAML 1.2, without traps**: only `true` and `false` are booleans; `on`, `no`, `012`, `08:30` and dates are
  text. Keys given twice, custom tags and several documents are errors. Anchors, aliases (at most 100) and
  `<<` work. Keys that start with `x-` at the top level are ignored: a place for anchors.
- **DataSync's names and values** (`VerifyMode: ONLY_FILES_TRANSFERRED`) are accepted where a key lists one.
  A key together with its alias is an error.
"""

_TEMPLATES = """\
## Templates and secrets

A value that holds `{{ ... }}` is rendered after the YAML was read, so a value can never change the document's
shape. Keys and `include` are never rendered.

| in a template | gives |
|---|---|
| `env.NAME` | an environment variable; not set is an error unless `default(...)` follows |
| `vars.name` | a value of `vars` |
| `secret_file("path")` | a file's content without its last newline; ours or root's, mode 0600 or 0400 |
| `secret_env("NAME")` | an environment variable that is a secret |
| `credential("name")` | a systemd credential (`LoadCredential=`) |

Texts are joined with `~`; there are `x if y else z`, comparisons and the filters
FILTERS; there are no loops, assignments,
arithmetic and method calls. A value that is one template and nothing else may stand where a number or
a boolean is wanted: `workers: "{{ env.WORKERS }}"`.

Secrets are references, always: a value written out under a key that holds a secret is refused. A value that
touches a secret function is a secret as a whole; it prints as `***` and is in no plan, log, report or
history. Secrets may be used in the options of locations and in `settings.history`.
"""


def render_reference(registry: Registry) -> str:
    """The whole page as Markdown. The same for the same schemas."""
    base = base_schema()
    lines = [_HEAD, "## Top level", ""]
    lines += _table(base, base["properties"], set(base["required"]))
    lines += ["", "### settings", "", *_table(base, base["properties"]["settings"]["properties"], set())]
    lines += _sections(base, _SETTINGS)
    lines += ["", _TEMPLATES.replace("FILTERS", ", ".join(f"`{name}`" for name in FILTERS))]
    lines += ["## locations", "", *_table(base, base["$defs"]["location"]["properties"], {"type"})]
    lines += ["", "And the options of its type:", ""]
    for location_type in registry.types():
        lines.append(
            f"- [`{location_type}`](locations/{location_type}.md): {registry.driver(location_type).title}"
        )
    lines.append("")
    task = base["$defs"]["task"]
    lines += ["## tasks", "", *_table(base, task["properties"], set(task["required"]))]
    lines += _sections(base, _SECTIONS)
    lines += [
        "",
        "### reports",
        "",
        "A list of `html`, `json`, `csv`, `junit` and `md`; by default html and json.",
    ]
    lines += ["", "## Names of DataSync without a counterpart", "", "They are errors that say so.", ""]
    lines += ["| name | instead |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(why)} |" for name, why in NO_COUNTERPART.items()]
    return "\n".join(lines) + "\n"


def _sections(base: Schema, sections: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    for title, definition_name, text in sections:
        definition = base["$defs"][definition_name]
        yield from ("", f"### {title}", "", text, "")
        yield from _table(base, definition["properties"], set(definition.get("required", ())))


def location_options(driver_schema: Mapping[str, Any]) -> list[str]:
    """A driver's options as the lines of a Markdown table."""
    required = set(driver_schema.get("required", ()))
    return [*_table(dict(driver_schema), driver_schema["properties"], required)]


def _table(schema: Schema, properties: Mapping[str, Any], required: set[str]) -> Iterator[str]:
    yield "| key | type | default | meaning | example | DataSync |"
    yield "|---|---|---|---|---|---|"
    for key, node in properties.items():
        resolved = resolve(schema, node)
        default = (
            "required" if key in required else _code(resolved["default"]) if "default" in resolved else ""
        )
        examples = "<br>".join(_code({key: example}) for example in resolved.get("examples", ()))
        aliases = resolved.get("x-datasync", ())
        names = ", ".join(f"`{name}`" for name in ([aliases] if isinstance(aliases, str) else aliases))
        meaning = _cell(resolved.get("description", ""))
        yield f"| `{key}` | {_type_words(schema, resolved)} | {default} | {meaning} | {examples} | {names} |"


def _type_words(schema: Schema, node: Mapping[str, Any]) -> str:
    if "enum" in node:
        return ", ".join(f"`{word}`" for word in node["enum"])
    if "const" in node:
        return _code(node["const"])
    if "x-expected" in node:
        return _cell(str(node["x-expected"]))
    if "anyOf" in node:
        return " or ".join(_type_words(schema, resolve(schema, branch)) for branch in node["anyOf"])
    kind = node.get("type", "any")
    words = {"object": "map", "array": "list", "string": "text", "integer": "whole number"}
    low, high = node.get("minimum"), node.get("maximum")
    bounds = "" if low is None else f", {low} to {high}" if high is not None else f", at least {low}"
    return words.get(str(kind), str(kind)) + bounds


def _code(value: Any) -> str:
    """A value as code in a table's cell. A map of one key loses its braces: a line of the file."""
    text = yaml_value(value)
    if isinstance(value, dict) and len(value) == 1:
        text = text[1:-1]
    return "`` " + _cell(text) + " ``" if "`" in text else "`" + _cell(text) + "`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
