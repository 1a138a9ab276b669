"""A work order as JSON: the only place where secret values leave their wrapping, into a private socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from runner.agents.jobs import WorkOrder
from runner.model.automation import Automation
from runner.model.secret import Secret
from runner.model.wire import decode_line, to_json_value


def encode_order(order: WorkOrder) -> bytes:
    """The order as one JSON object; each secret as {"$secret": value, "reference": text}.

    What happens around executions stays here: a worker tells nobody anything and needs none of those secrets.
    """
    task = msgspec.structs.replace(order.task, automation=Automation())
    order = msgspec.structs.replace(order, task=task)
    return msgspec.json.encode(to_json_value(_with_options(order, _revealed)))


def decode_order(payload: bytes) -> WorkOrder:
    """The order that `encode_order` wrote, secrets wrapped again."""
    return _with_options(decode_line(payload, WorkOrder), _wrapped)


def _with_options(order: WorkOrder, changed: Callable[[Any], Any]) -> WorkOrder:
    sides = {}
    for side in ("source", "destination"):
        settings = getattr(order.task, side)
        sides[side] = msgspec.structs.replace(settings, options=changed(settings.options))
    return msgspec.structs.replace(order, task=msgspec.structs.replace(order.task, **sides))


def _revealed(value: Any) -> Any:
    if isinstance(value, Secret):
        return {"$secret": value.reveal(), "reference": value.reference}
    if isinstance(value, dict):
        return {key: _revealed(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_revealed(inner) for inner in value]
    return value


def _wrapped(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"$secret", "reference"}:
            return Secret(value["$secret"], value["reference"])
        return {key: _wrapped(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_wrapped(inner) for inner in value]
    return value
