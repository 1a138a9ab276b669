"""`run` while a service works with the same state folder: the service queues and runs it, here it is watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from runner.cli.session import Session
from runner.cli.signals import draining
from runner.errors import LocationUnavailableError, LockHeldError, RunnerError, UsageError
from runner.model.events import Message
from runner.model.execution import Report
from runner.service.answers import ELSEWHERE, Refused
from runner.service.door import Client, Request
from runner.service.handover import Said, event_of


def service_client(session: Session) -> Client | None:
    """A connection to the service of this state folder; None when none runs."""
    return Client.connect(session.services.state(session.configuration()).service_socket)


def run_in_service(
    session: Session, client: Client, task: str, accept: Sequence[str], bandwidth: int | None
) -> Report | None:
    """Have the service run a task and wait for its end; the first Ctrl-C cancels it, the second at once.

    None when the service works with another configuration: then it is not for it.

    Raises LockHeldError, UsageError when the service refuses; LocationUnavailableError when it goes away meanwhile.
    """
    request = Request(
        "run",
        task=task,
        configuration_file=session.configuration().file,
        accept=tuple(accept),
        follow=True,
        bandwidth_bytes_per_second=bandwidth,
    )
    execution_id: str | None = None
    ended = False
    with session.watching() as display, draining(_Cancels(session, task), display.notice):
        try:
            for answer in client.ask(request, patient=True):
                if "error" in answer:
                    refused = msgspec.convert(answer, Refused)
                    if refused.code == ELSEWHERE:
                        return None
                    raise _error_of(refused)
                if "accepted" in answer:
                    if answer.get("waits_for"):
                        display(Message("info", f"task {task} waits: {answer['waits_for']}"))
                    continue
                said = _said(answer)
                execution_id = said.execution_id or execution_id
                event = event_of(said, task)
                if event is not None:
                    display(event)
                if said.ended is not None:
                    ended = True
                    if not said.ended.reported:
                        raise UsageError(said.ended.summary)
        except OSError:
            ended = False
    if not ended or execution_id is None:
        raise LocationUnavailableError(
            f"the service went away before task {task!r} had ended",
            remedy="To see how it stands: sync-runner status",
        )
    state = session.services.state(session.configuration())
    return session.services.load_report(state.execution_folder(execution_id))


class _Cancels:
    """Ctrl-C for an execution that runs elsewhere."""

    def __init__(self, session: Session, task: str) -> None:
        self._session = session
        self._task = task
        self._level = 0

    def request(self) -> int:
        self._level += 1
        client = service_client(self._session)
        if client is not None:
            try:
                for _ in client.ask(Request("cancel", task=self._task, now=self._level > 1)):
                    pass
            except OSError:
                pass
            finally:
                client.close()
        return self._level


def _said(answer: Mapping[str, Any]) -> Said:
    return msgspec.convert(answer, Said)


def _error_of(refused: Refused) -> RunnerError:
    if refused.code == "lock_held":
        return LockHeldError(refused.error, remedy="Wait, or see: sync-runner status")
    return UsageError(refused.error)
