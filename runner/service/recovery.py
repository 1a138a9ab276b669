"""What the last service left, read from the folders of its executions."""

from __future__ import annotations

import os
from datetime import datetime

from runner.history.records import SlotRecord
from runner.history.running import REPORT_FILE, cut_off
from runner.history.started import read_start
from runner.history.state import StateDirectory


class Survey:
    """Which execution met which slot, and which executions were cut off."""

    def __init__(self, state: StateDirectory, *, slots: bool) -> None:
        """`slots`: also look into the folders of executions that ended well, for slots that were on their way."""
        self.interrupted = [started.execution_id for started in cut_off(state)]
        self._met: dict[tuple[str, datetime], tuple[str, bool]] = {}
        for execution_id in state.execution_ids() if slots else ():
            folder = state.execution_folder(execution_id)
            started = read_start(folder)
            if started is not None and started.slot is not None:
                reported = os.path.exists(os.path.join(folder, REPORT_FILE))
                self._met[started.task, datetime.fromisoformat(started.slot)] = (execution_id, reported)

    def execution_of(self, record: SlotRecord) -> tuple[str, bool] | None:
        """(the execution that met this slot, whether it left a report); None when none began."""
        return self._met.get((record.task, record.slot))
