"""sync.yaml -> Configuration. Reads like the pipeline; every fault of every task is found in one go."""

from __future__ import annotations

import os
from collections.abc import Mapping as MappingABC
from urllib.parse import parse_qsl, urlsplit

import msgspec

from runner.config.aliases import canonical
from runner.config.automation import (
    TRIGGERS,
    build_automation,
    build_monitoring,
    build_notifications,
    build_retention,
    build_schedule,
    build_service,
    build_signing,
    channel_names,
)
from runner.config.check import Checked, check_document
from runner.config.crosscheck import check_endpoints, check_names, check_names_after, refuse_secrets
from runner.config.describe import config_digest, filter_digest
from runner.config.endpoints import Endpoints
from runner.config.filtering import build_filters
from runner.config.include import read_document
from runner.config.nodes import Faults, Mapping, Member, Node, Scalar, Sequence, Source, text_of
from runner.config.schema import base_schema, compose
from runner.config.sections import (
    Section,
    build_bandwidth,
    build_guards,
    build_options,
    build_reports,
    timezone_of,
)
from runner.config.template import render_templates
from runner.locations.registry import Registry
from runner.model.task import Configuration, LocationSettings, Task

DEFAULT_STATE = ".sync-runner"
_SQLITE = "sqlite:///"
_SECTIONS = ("options", "filters", "guards", "schedule", "reports")
_AUTOMATION = ("priority", "queueing", "max_duration", "max_age", "hooks", "notify", "pings")


def load_configuration(path: str, registry: Registry, environment: MappingABC[str, str]) -> Configuration:
    """Read, check and build what `path` and its includes declare. Opens no location and writes nothing.

    Relative paths in location options stay as written; LocationSettings name the folder they start from.
    Raises UsageError when the file cannot be read, ConfigurationError with every fault found, in file order.
    """
    faults = Faults()
    document = read_document(path, faults)
    if document is None:
        faults.raise_if_any()
        raise AssertionError("a document that cannot be read leaves a fault")
    source, root, files = document
    root = render_templates(root, environment, faults)
    schema = base_schema()
    root = canonical(root, schema, faults)
    endpoints = Endpoints(root, registry, faults)
    checked = check_document(root, compose(schema, endpoints.schemas), faults)
    configuration = _Builder(source, checked, endpoints, faults, files).build()
    faults.raise_if_any()
    return configuration


def merge_defaults(defaults: Node | None, own: Node | None) -> Node | None:
    """A task's section over that of `defaults`: maps key by key, everything else replaced.

    A schedule that says its own time takes none from the defaults.
    """
    if own is None or defaults is None:
        return defaults if own is None else own
    if not isinstance(own, Mapping) or not isinstance(defaults, Mapping):
        return own
    members = dict(defaults.members)
    if own.members.keys() & set(TRIGGERS):
        members = {key: member for key, member in members.items() if key not in TRIGGERS}
    for key, member in own.members.items():
        known = members.get(key)
        merged = member.node if known is None else merge_defaults(known.node, member.node)
        assert merged is not None
        members[key] = Member(member.key, merged)
    return own.with_members(members)


class _Builder:
    """Builds the typed values of the parts that passed the schema, and checks what stands between them."""

    def __init__(
        self, source: Source, checked: Checked, endpoints: Endpoints, faults: Faults, files: tuple[str, ...]
    ) -> None:
        self._source = source
        self._files = files
        self._root = checked.root
        self._faulty = checked.faulty
        self._endpoints = endpoints
        self._faults = faults
        self._locations: dict[str, LocationSettings] = {}
        self._addresses: dict[str, str] = {}

    def build(self) -> Configuration:
        refuse_secrets(self._root, self._faults)
        locations, tasks = self._root.get("locations"), self._root.get("tasks")
        declared = locations.members if isinstance(locations, Mapping) else {}
        for name, member in declared.items():
            if isinstance(member.node, Mapping):
                self._add_location(name, member.node, ("locations", name))
        built: dict[str, Task] = {}
        for name, member in (tasks.members if isinstance(tasks, Mapping) else {}).items():
            if isinstance(member.node, Mapping):
                check_names(member.node, name, declared, self._faults)
                task = self._task(name, member.node)
                if task is not None:
                    built[name] = task
        check_names_after(tasks, built, self._faults)
        settings = Section(self._sound("settings"), self._faults)
        notifications = build_notifications(Section(self._sound("notifications"), self._faults))
        self._check_channels(tasks, notifications.channels)
        return Configuration(
            file=os.path.abspath(self._source.name),
            locations=self._locations,
            tasks=built,
            state_directory=self._state_directory(),
            history_url=self._history_url(),
            files=self._files,
            bandwidth=build_bandwidth(settings),
            bandwidth_timezone=timezone_of(settings, "bandwidth_timezone"),
            service=build_service(settings.section("service")),
            retention=build_retention(settings.section("retention")),
            signing=build_signing(settings.section("signing")),
            notifications=notifications,
            monitoring=build_monitoring(settings.section("monitoring")),
        )

    def _check_channels(self, tasks: Node | None, channels: MappingABC[str, object]) -> None:
        """Rules name channels that are declared, in the defaults and in every task."""
        places = [self._root.get("defaults")]
        if isinstance(tasks, Mapping):
            places += [member.node for member in tasks.members.values()]
        for place in places:
            rules = place.get("notify") if isinstance(place, Mapping) else None
            for rule in rules.children if isinstance(rules, Sequence) else ():
                channel_names(Section(rule, self._faults), "to", channels)

    def _add_location(self, name: str, node: Mapping, path: tuple[str, ...]) -> None:
        settings = self._endpoints.settings(name, node)
        if settings is not None and not self._is_faulty(*path):
            self._locations[name] = settings
            self._addresses[name] = self._endpoints.registry.driver(settings.type).describe(settings)

    def _endpoint(self, task: str, side: str, node: Node | None) -> LocationSettings | None:
        if not isinstance(node, Mapping):
            return self._locations.get(text_of(node) or "")
        name = f"{task}.{side}"
        if name in self._locations:
            self._faults.add(
                node, f"a location named {name!r} is declared as well, and that is what this one is called"
            )
            return None
        self._add_location(name, node, ("tasks", task, side))
        return self._locations.get(name)

    def _task(self, name: str, node: Mapping) -> Task | None:
        source = self._endpoint(name, "source", node.get("source"))
        destination = self._endpoint(name, "destination", node.get("destination"))
        if source is not None and destination is not None:
            check_endpoints(source, destination, node, self._endpoints.registry, self._faults)
        sections = {
            key: merge_defaults(self._sound("defaults", key), self._sound("tasks", name, key))
            for key in (*_SECTIONS, *_AUTOMATION)
        }
        option_section = Section(sections["options"], self._faults)
        options = build_options(option_section)
        filters = build_filters(Section(sections["filters"], self._faults), option_section)
        guards = build_guards(Section(sections["guards"], self._faults))
        schedule = None
        if sections["schedule"] is not None:
            schedule = build_schedule(Section(sections["schedule"], self._faults))
        if options.bandwidth and options.bandwidth_timezone is None and schedule is not None:
            options = msgspec.structs.replace(options, bandwidth_timezone=schedule.timezone)
        if source is None or destination is None or self._is_faulty("tasks", name):
            return None
        endpoints = (
            (source, self._addresses[source.name]),
            (destination, self._addresses[destination.name]),
        )
        own = Section(node, self._faults)
        return Task(
            name=name,
            source=source,
            destination=destination,
            options=options,
            filters=filters,
            guards=guards,
            schedule=schedule,
            reports=build_reports(sections["reports"]),
            config_digest=config_digest(endpoints, options, filters),
            filter_digest=filter_digest(filters, self._source.directory),
            description=own.text("description") or "",
            enabled=own.flag("enabled", True),
            automation=build_automation({key: sections[key] for key in _AUTOMATION}, self._faults),
        )

    def _is_faulty(self, *path: str) -> bool:
        """Does the schema refuse anything at or below `path`?"""
        return any(found[: len(path)] == path for found in self._faulty)

    def _sound(self, *path: str) -> Node | None:
        """The node at `path`, unless the schema refuses something in it: that is told already, once."""
        node: Node | None = self._root
        for step in path:
            node = node.get(step) if isinstance(node, Mapping) else None
        return None if node is None or self._is_faulty(*path) else node

    def _setting(self, key: str) -> Scalar | None:
        settings = self._root.get("settings")
        node = settings.get(key) if isinstance(settings, Mapping) else None
        return node if isinstance(node, Scalar) and isinstance(node.value, str) else None

    def _state_directory(self) -> str:
        node = self._setting("state")
        directory = self._source.directory if node is None else node.source.directory
        text = DEFAULT_STATE if node is None else str(node.value)
        return os.path.normpath(os.path.join(directory, os.path.expanduser(text)))

    def _history_url(self) -> str | None:
        node = self._setting("history")
        if node is None:
            return None
        url = str(node.value)
        if node.template is None and _has_password(url):
            node.source.mask(node)
            self._faults.add(
                node,
                "the password in settings.history is written out",
                expected="secrets by reference only, such as {{ secret_file('/run/secrets/history') }}",
            )
        file = url.removeprefix(_SQLITE)
        # A relative path is relative to the file, as everywhere; an absolute one makes four slashes in a row.
        return url if file == url or not file else _SQLITE + os.path.join(node.source.directory, file)


def _has_password(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.password) or bool({"password", "sslpassword"} & dict(parse_qsl(parts.query)).keys())
    except ValueError:
        return False
