"""JSON: the Report value, for machines and for people who look at it. Fits schemas/report.schema.json."""

from __future__ import annotations

from typing import BinaryIO

import msgspec

from runner.model.execution import Report
from runner.model.wire import encode_line


def write_json(report: Report, output: BinaryIO) -> None:
    """Indented, one key a line, with a newline at the end. `encode_line(report)` is the same on one line."""
    output.write(msgspec.json.format(encode_line(report), indent=2))
    output.write(b"\n")
