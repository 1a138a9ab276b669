"""SFTP servers without OpenSSH's extensions, made from asyncssh's own: what a small or old server is like."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh import sftp as internals


@dataclass(frozen=True)
class PoorServer:
    port: int
    folder: Path

    def options(self, root: Path) -> dict[str, Any]:
        public = (self.folder / "host.pub").read_text()
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "user": "someone",
            "path": str(root),
            "private_key": str(self.folder / "user"),
            "host_key": public,
            "timeout": "20s",
        }


@contextlib.contextmanager
def poor_server(
    folder: Path,
    *,
    offers: tuple[bytes, ...] = (),
    target_first: bool = False,
    server: Any = asyncssh.SFTPServer,
) -> Iterator[PoorServer]:
    """A server in a thread of this process. `offers`: its extensions; `target_first`: it takes the arguments of
    SYMLINK as OpenSSH does; `server`: how it behaves."""
    for name in ("host", "user"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(str(folder / name))
        key.write_public_key(str(folder / f"{name}.pub"))
    loop = asyncio.new_event_loop()

    async def start() -> Any:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[str(folder / "host")],
            authorized_client_keys=str(folder / "user.pub"),
            sftp_factory=server,
            server_version="Poor_1.0",
        )

    async def end() -> None:
        listener.close()
        await listener.wait_closed()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    handler: Any = internals.SFTPServerHandler
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handler, "_extensions", [(name, b"1") for name in offers])
        patch.setattr(handler, "_nonstandard_symlink_impls", ["AsyncSSH"] if target_first else [])
        listener = loop.run_until_complete(start())
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield PoorServer(listener.get_port(), folder)
        finally:
            asyncio.run_coroutine_threadsafe(end(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
