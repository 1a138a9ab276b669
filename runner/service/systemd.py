"""What systemd is told: readiness, reloading, the end, that the service is alive (sd_notify(3)). Nothing elsewhere."""

from __future__ import annotations

import socket
from collections.abc import Mapping


class Systemd:
    """Datagrams to $NOTIFY_SOCKET; without one every call does nothing."""

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the abstract namespace's NUL.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        microseconds = environment.get("WATCHDOG_USEC", "")
        meant = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
        self.watchdog_seconds = int(microseconds) / 1e6 if microseconds.isdigit() and meant else None

    def tell(self, *lines: str) -> None:
        """Send these assignments, such as READY=1. Never fails: a service manager that is gone harms nobody."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.connect(self._address)
                sender.sendall("\n".join(lines).encode("utf-8", "replace"))
        except OSError:
            return


def without_notify_socket(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for children: they must not speak for the service."""
    hidden = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
    return {key: value for key, value in environment.items() if key not in hidden}
