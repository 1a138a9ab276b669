"""How long executions are remembered: what is past its time goes, in the database and in the state folder."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta

from runner.clock import Clock, iso_utc
from runner.errors import RunnerError
from runner.history.chain import ChainDamagedError, retire
from runner.history.started import read_start
from runner.history.state import StateDirectory
from runner.history.store import History
from runner.model.task import Configuration


def prune_history(
    configuration: Configuration, history: History, state: StateDirectory, clock: Clock
) -> list[str]:
    """Apply settings.retention now. Returns the ids of the executions that were forgotten, oldest first.

    What history does not know yet is taken over first, so that a database that was lost costs no execution its
    place among the latest. Folders that tell of no execution (a kill within its first moment, a report that cannot
    be read) go when they are as old as their id says. The chains of reports are told before anything goes. Raises
    HistoryUnavailable: then nothing was removed.
    """
    retention = configuration.retention
    chains = _Chains(state, f"keep {retention.keep_days:g}d, keep_last {retention.keep_last}", clock)
    history.backfill(state)
    forgotten = history.prune(
        retention.keep_days,
        retention.keep_last,
        state,
        lambda rows: chains.tell((row.task, row.execution_id) for row in rows),
    )
    # Ids start with the second of the execution's start.
    before = (clock.now() - timedelta(days=retention.keep_days)).timestamp()
    for execution_id in state.execution_ids():
        if int(execution_id[:8], 16) >= before:
            break
        if history.get(execution_id) is None:
            started = read_start(state.execution_folder(execution_id))
            if started is not None:
                chains.tell([(started.task, execution_id)])
            state.discard_execution(execution_id)
            forgotten.append(execution_id)
    chains.finish()
    return sorted(forgotten)


class _Chains:
    """Tells each task's chain which of its reports go. On a full disk that succeeds only once something has gone."""

    def __init__(self, state: StateDirectory, rule: str, clock: Clock) -> None:
        self._state = state
        self._rule = rule
        self._clock = clock
        self._untold: list[tuple[str, list[str]]] = []

    def tell(self, executions: Iterable[tuple[str, str]]) -> None:
        of_tasks: dict[str, list[str]] = {}
        for task, execution_id in executions:
            of_tasks.setdefault(task, []).append(execution_id)
        for task, execution_ids in of_tasks.items():
            try:
                self._retire(task, execution_ids)
            except OSError:
                self._untold.append((task, execution_ids))

    def finish(self) -> None:
        for task, execution_ids in self._untold:
            try:
                self._retire(task, execution_ids)
            except OSError as error:
                raise RunnerError(
                    f"the chain of task {task}'s reports was not told what retention removed: {error.strerror}",
                    remedy=f"report --verify-chain will miss {', '.join(execution_ids)}.",
                ) from error

    def _retire(self, task: str, execution_ids: list[str]) -> None:
        # One that is damaged is broken already, and says so when it is verified.
        with suppress(ChainDamagedError):
            retire(self._state, task, execution_ids, self._rule, iso_utc(self._clock.now()))
