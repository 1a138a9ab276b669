"""How long executions are remembered: what is past its time goes, in the database and in the state folder."""

from __future__ import annotations

from datetime import timedelta

from runner.clock import Clock
from runner.history.state import StateDirectory
from runner.history.store import History
from runner.model.task import Configuration


def prune_history(
    configuration: Configuration, history: History, state: StateDirectory, clock: Clock
) -> list[str]:
    """Apply settings.retention now. Returns the ids of the executions that were forgotten, oldest first.

    What history does not know yet is taken over first, so that a database that was lost costs no execution its
    place among the latest. Folders that tell of no execution (a kill within its first moment, a report that cannot
    be read) go when they are as old as their id says. Raises HistoryUnavailable: then nothing was removed.
    """
    retention = configuration.retention
    history.backfill(state)
    forgotten = history.prune(retention.keep_days, retention.keep_last, state)
    # Ids start with the second of the execution's start.
    before = (clock.now() - timedelta(days=retention.keep_days)).timestamp()
    for execution_id in state.execution_ids():
        if int(execution_id[:8], 16) >= before:
            break
        if history.get(execution_id) is None:
            state.discard_execution(execution_id)
            forgotten.append(execution_id)
    return sorted(forgotten)
