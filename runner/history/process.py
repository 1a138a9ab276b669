"""Whether a process that was written down is still the one that runs: pids are used again, also after a
reboot."""

from __future__ import annotations

import os


def process_key(pid: int) -> str | None:
    """What tells this process from every other of that pid: the kernel's boot id and the process's start
    tick.

    None when there is no such process, or the kernel does not say (no procfs).
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        with open(f"/proc/{pid}/stat", "rb") as stat_file:
            line = stat_file.read()
    except OSError:
        return None
    # The command's name, in parentheses, may hold spaces and parentheses: fields are counted behind it
    # (proc(5)).
    fields = line[line.rindex(b")") + 2 :].split()
    state, start_tick = fields[0], fields[19].decode("ascii")
    return None if state in (b"Z", b"X") else f"{boot}:{start_tick}"


def process_is_gone(pid: int, key: str | None) -> bool:
    """True when the process with this pid and key has surely ended on this host. A zombie has ended."""
    if key is not None:
        return process_key(pid) != key
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
