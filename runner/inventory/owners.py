"""Owners as they are to be at the destination: the task's owner and group maps applied to source entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from runner.model.entry import Entry, Problem
from runner.model.task import MetadataOptions


def owner_mapping(metadata: MetadataOptions) -> Callable[[Entry], Entry] | None:
    """A function that applies the maps, None when there are none. A map's keys and values are names or numbers."""
    if not metadata.owner_map and not metadata.group_map:
        return None
    users, groups = dict(metadata.owner_map), dict(metadata.group_map)

    def mapped(entry: Entry) -> Entry:
        attributes = entry.attributes
        if attributes is None:
            return entry
        uid, user = _mapped(users, attributes.uid, attributes.user)
        gid, group = _mapped(groups, attributes.gid, attributes.group)
        changed = msgspec.structs.replace(attributes, uid=uid, user=user, gid=gid, group=group)
        return msgspec.structs.replace(entry, attributes=changed)

    return mapped


def mapped_owners(listing: Iterator[Entry | Problem], metadata: MetadataOptions) -> Iterator[Entry | Problem]:
    """A source's listing with owners as they are to be at the destination."""
    mapped = owner_mapping(metadata)
    if mapped is None:
        return listing
    return (mapped(found) if isinstance(found, Entry) else found for found in listing)


def _mapped(table: dict[str, str], number: int | None, name: str | None) -> tuple[int | None, str | None]:
    target = table.get(name) if name is not None else None
    if target is None and number is not None:
        target = table.get(str(number))
    if target is None:
        return number, name
    if target.isdigit():
        return int(target), None
    return None, target
