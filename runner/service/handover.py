"""What the service hands to the process of one execution: one JSON line through a pipe, secrets included.

The execution keeps what it was handed, whatever becomes of sync.yaml meanwhile. Secrets travel through the pipe only:
they are in no argument, no environment and no file.
"""

from __future__ import annotations

from typing import Any

import msgspec

from runner.model.entry import Phase
from runner.model.events import Event, Listed, Message, PhaseStarted, Planned, Progressed
from runner.model.execution import Trigger
from runner.model.secret import Secret
from runner.model.task import Configuration
from runner.model.wire import decode_line, encode_line, to_json_value


class Order(msgspec.Struct, frozen=True):
    """One execution: `configuration` holds its task and that task's locations only. `slot`: RFC 3339 UTC."""

    configuration: Configuration
    task: str
    trigger: Trigger
    accept: tuple[str, ...] = ()
    slot: str | None = None
    log_level: str = "warning"
    log_format: str = "human"


class Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of an execution about itself. One of its parts is set; `ended` comes last."""

    execution_id: str | None = None
    phase: Phase | None = None
    listed: tuple[int, int] | None = None
    planned: tuple[int, int] | None = None
    progress: tuple[int, int, int, int, int] | None = None
    path: str | None = None
    message: tuple[str, str] | None = None
    ended: Ending | None = None


class Ending(msgspec.Struct, frozen=True):
    """How it ended: `status` is SUCCESS, ERROR or CANCELLED; `reported` False: without a report."""

    status: Phase
    exit_code: int
    summary: str
    reported: bool = True


def encode_handover(order: Order) -> bytes:
    """The order as one line, secrets revealed: for a private pipe only."""
    return encode_line(to_json_value(msgspec.to_builtins(order, enc_hook=_revealed))) + b"\n"


def decode_handover(line: bytes) -> Order:
    """The order that `encode_handover` wrote, secrets wrapped again. Raises msgspec.MsgspecError."""
    order = msgspec.convert(decode_line(line, dict[str, Any]), Order, dec_hook=_wrapped)
    configuration = order.configuration
    tasks = {
        name: msgspec.structs.replace(
            task,
            source=msgspec.structs.replace(task.source, options=_wrapped_in(task.source.options)),
            destination=msgspec.structs.replace(
                task.destination, options=_wrapped_in(task.destination.options)
            ),
        )
        for name, task in configuration.tasks.items()
    }
    return msgspec.structs.replace(order, configuration=msgspec.structs.replace(configuration, tasks=tasks))


def said_of(event: Event, execution_id: str | None) -> Said | None:
    """An event of the engine as a line; None for what the service need not know."""
    if isinstance(event, PhaseStarted):
        return Said(execution_id=event.execution_id, phase=event.phase)
    if isinstance(event, Listed):
        return Said(execution_id=execution_id, listed=(event.source_entries, event.destination_entries))
    if isinstance(event, Planned):
        return Said(execution_id=execution_id, planned=(event.actions, event.size_bytes))
    if isinstance(event, Progressed):
        figures = (event.actions_done, event.actions_total, event.bytes_done, event.bytes_total, event.failed)
        return Said(execution_id=execution_id, phase=event.phase, progress=figures, path=event.current_path)
    if isinstance(event, Message):
        return Said(execution_id=execution_id, message=(event.level, event.text))
    return None


def event_of(said: Said, task: str) -> Event | None:
    """The line as an event again, for a display in another process."""
    if said.progress is not None and said.phase is not None:
        done, total, bytes_done, bytes_total, failed = said.progress
        return Progressed(said.phase, done, total, bytes_done, bytes_total, failed, said.path)
    if said.phase is not None:
        return PhaseStarted(task, said.execution_id or "", said.phase)
    if said.listed is not None:
        return Listed(*said.listed)
    if said.planned is not None:
        return Planned(*said.planned)
    if said.message is not None:
        return Message(*said.message)
    return None


def _revealed(value: object) -> Any:
    if isinstance(value, Secret):
        return {"$secret": value.reveal(), "reference": value.reference}
    raise NotImplementedError(f"{type(value).__name__} cannot be handed over")


def _wrapped(wanted: type, value: Any) -> Any:
    if wanted is Secret:
        return Secret(value["$secret"], value["reference"])
    raise NotImplementedError(f"{wanted.__name__} cannot be taken over")


def _wrapped_in(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"$secret", "reference"}:
            return Secret(value["$secret"], value["reference"])
        return {key: _wrapped_in(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_wrapped_in(inner) for inner in value]
    return value
