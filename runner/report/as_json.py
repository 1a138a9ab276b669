"""JSON: the Report value, for machines and for people who look at it. Fits schemas/report.schema.json."""

from __future__ import annotations

from typing import BinaryIO

import msgspec

from runner.model.execution import Report
from runner.model.wire import encode_line


def json_content(report: Report) -> bytes:
    """Indented, one key a line, with a newline at the end. `encode_line(report)` is the same on one line."""
    return msgspec.json.format(encode_line(report), indent=2) + b"\n"


def write_json(report: Report, output: BinaryIO) -> None:
    """`json_content` onto a stream."""
    output.write(json_content(report))
