"""The process that `serve` starts for one execution. Not a command: only the service knows what to tell it."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Entry point: the arguments are the service's process id, and the task's name for people."""
    from runner.service.child import die_with_parent, execute

    die_with_parent(int(sys.argv[1]))
    from runner.cli.logs import configure_logging
    from runner.cli.output import Output
    from runner.clock import SystemClock
    from runner.service.handover import decode_handover

    order = decode_handover(sys.stdin.buffer.readline())
    output = Output(sys.stdout, sys.stderr, sys.stdin, os.environ)
    configure_logging(output.tell, order.log_level, order.log_format)
    raise SystemExit(execute(order, sys.stdout.buffer, SystemClock(), os.environ))
