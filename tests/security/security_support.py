"""A folder with a sync.yaml in which commands are run, and peers on the loopback that answer what they are told to."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.cli.main import run_command
from runner.cli.output import Output
from runner.cli.parser import wants_json
from runner.cli.services import Services
from runner.clock import SystemClock


@dataclass(frozen=True)
class Ran:
    code: int
    out: bytes
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Workplace:
    """Locations `src` and `dst` (folders, unless others are declared) and task `t` between them."""

    folder: Path
    locations: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("src", "dst"):
            (self.folder / name).mkdir(exist_ok=True)
        self.configure()

    def configure(self) -> None:
        document = {
            "version": 1,
            "settings": self.settings,
            "locations": {
                "src": {"type": "local", "path": "src"},
                "dst": {"type": "local", "path": "dst"},
                **self.locations,
            },
            "tasks": {"t": {"source": "src", "destination": "dst", **self.task}},
            **self.more,
        }
        (self.folder / "sync.yaml").write_text(json.dumps(document), encoding="utf-8")

    def run(self, *words: str) -> Ran:
        """In this process, as the command line would."""
        streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(3)]
        environment = {"COLUMNS": "100", **self.environment}
        output = Output(*streams, environment, json=wants_json(words, environment))
        with contextlib.chdir(self.folder):
            code = run_command(words, output, environment, Services(), SystemClock())
        out, err = (stream.buffer.getvalue() for stream in streams[:2])  # type: ignore[attr-defined]
        return Ran(code, out, err.decode())

    @property
    def state(self) -> Path:
        return self.folder / ".sync-runner"

    def execution(self) -> Path:
        """The folder of the last one."""
        return sorted((self.state / "executions").iterdir())[-1]


@dataclass
class Asked:
    """One request that a peer got: its first line, its headers in lower case."""

    line: str
    headers: dict[str, str]


class Peer:
    """A server that reads one request after another and answers each with what `answer` makes of it.

    `answer` yields pieces, as long as the other side takes them; then the connection is closed.
    """

    def __init__(
        self, answer: Callable[[Asked], Iterator[bytes]], context: ssl.SSLContext | None = None
    ) -> None:
        self.asked: list[Asked] = []
        self._answer = answer
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), connection:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as lines:
                first = lines.readline().decode("latin-1").strip()
                headers = {}
                while line := lines.readline().decode("latin-1").strip():
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                self.asked.append(Asked(first, headers))
                for piece in self._answer(self.asked[-1]):
                    connection.sendall(piece)


def reply(body: bytes, status: str = "200 OK", headers: Mapping[str, str] | None = None) -> bytes:
    head = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    return (
        f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{head}connection: close\r\n\r\n".encode() + body
    )


def chunked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """A body whose length nobody announces."""
    yield b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    for piece in pieces:
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def store(kind: str, url: str, **more: Any) -> dict[str, Any]:
    """A location of an object store at a peer."""
    secret = "{{ secret_env('CANARY') }}"
    declared: dict[str, dict[str, Any]] = {
        "object_storage": {
            "bucket": "bucket",
            "addressing": "path",
            "access_key_id": "{{ env.KEY_ID }}",
            "secret_access_key": secret,
            "region": "us-east-1",
        },
        "gcs": {"bucket": "bucket", "access_token": secret},
        "azure_blob": {"container": "container", "account": "account", "account_key": secret},
    }
    return {"type": kind, "endpoint_url": url, "prefix": "p/", "timeout": "20s", **declared[kind], **more}
