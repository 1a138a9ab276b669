"""The two clouds whose REST interfaces are spoken here, in one form for tests that hold for both."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers.real_pair import MIRROR, RealPair, local, with_options
from servers.serve_azurite import Azurite, serve_azurite
from servers.serve_fake_gcs import FakeGcs, serve_fake_gcs

SERVERS = {"azure_blob": "azurite", "gcs": "fake_gcs"}
SMALL_PARTS = {"multipart_threshold": "1MiB", "part_size": "512KiB"}
_states = itertools.count(1)


@dataclass(frozen=True)
class Cloud:
    """A running server, and what differs in how it is told of."""

    server: Azurite | FakeGcs

    @property
    def port(self) -> int:
        return self.server.port

    def location(self, port: int | None = None, **options: Any) -> dict[str, Any]:
        """Options of a fresh location; `port`: reached through a proxy there."""
        given = self.server.location(**options)
        if port is not None:
            given["endpoint_url"] = str(given["endpoint_url"]).replace(f":{self.server.port}", f":{port}")
        return given

    def put(self, options: dict[str, Any], key: str, content: bytes) -> None:
        """Behind the driver's back."""
        self.server.put(options.get("container") or options["bucket"], key, content)


def serve(cloud: str, folder: Path, port: int | None = None) -> AbstractContextManager[Azurite | FakeGcs]:
    """A server of its own."""
    start: Callable[..., AbstractContextManager[Azurite | FakeGcs]] = (
        serve_azurite if cloud == "azure_blob" else serve_fake_gcs
    )
    return start(folder, port)


def pair(
    folder: Path, source: dict[str, Any] | Path, destination: dict[str, Any] | Path, **options: Any
) -> RealPair:
    """A mirroring task with a state folder of its own."""
    state = folder / f"state{next(_states)}"
    state.mkdir()
    left, right = (local(one) if isinstance(one, Path) else one for one in (source, destination))
    return RealPair(state, left, right, with_options(MIRROR, **options))
