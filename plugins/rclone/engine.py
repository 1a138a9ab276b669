"""The one private rclone daemon of this process: started when first needed, shared by all locations, ended with the
last of them, and by the kernel with this process.

It listens on a unix socket in a folder that only we can enter, takes a password that only its environment holds, and
keeps the remotes that it is told of in memory: no secret is written to a file or stands in a command line.
"""

from __future__ import annotations

import atexit
import base64
import collections
import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from typing import Any

import msgspec

from runner.clock import SystemClock
from runner.errors import LocationUnavailableError

from . import binary
from .wire import Connections, RefusedError, WireError

_START_SECONDS = 20.0
_ENDING_SECONDS = 0.5
_CALL_SECONDS = 30.0
_END_SECONDS = 3.0
_SOCKET = "rclone.sock"

# PR_SET_PDEATHSIG is the thread's that starts the child: set in the child itself, before it becomes rclone.
_TRAMPOLINE = (
    "import ctypes,os,sys\n"
    f"ctypes.CDLL(None).prctl(1,{int(signal.SIGKILL)},0,0,0)\n"
    "if os.getppid()!=int(sys.argv[1]): os._exit(1)\n"
    "os.execv(sys.argv[2],sys.argv[2:])\n"
)


class TlsOptions(msgspec.Struct, frozen=True):
    """TLS settings that rclone only knows for a whole process: another set of them is another daemon."""

    ca_file: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    verify: bool = True

    def arguments(self) -> list[str]:
        arguments = []
        for flag, value in (
            ("--ca-cert", self.ca_file),
            ("--client-cert", self.client_certificate),
            ("--client-key", self.client_key),
        ):
            if value is not None:
                arguments += [flag, value]
        return arguments if self.verify else [*arguments, "--no-check-certificate"]


class _Option(msgspec.Struct):
    Name: str
    IsPassword: bool = False


class _Provider(msgspec.Struct):
    Name: str
    Options: list[_Option] = []


class _Providers(msgspec.Struct):
    providers: list[_Provider]


class Engine:
    """A daemon and what it was told. Thread-safe."""

    def __init__(self, tls: TlsOptions) -> None:
        self._tls = tls
        self._guard = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None
        self._connections: Connections | None = None
        self._folder: str | None = None
        self._folder_fd: int | None = None
        self._sections: dict[str, tuple[str, dict[str, str]]] = {}
        self._providers: dict[str, dict[str, bool]] = {}
        self._hidden: set[str] = set()
        self._log: collections.deque[str] = collections.deque(maxlen=40)
        self.salt = secrets.token_bytes(16)
        """Names of remotes are digests with this: they say nothing about the secrets in them."""

    @property
    def process_id(self) -> int | None:
        """The daemon's, for tests that end it."""
        return self._process.pid if self._process is not None else None

    @property
    def folder(self) -> str:
        """A folder of our own that lives as long as the engine."""
        assert self._folder is not None
        return self._folder

    def connections(self) -> Connections:
        """The way to the running daemon; starts it when it is not there. Raises LocationUnavailableError."""
        with self._guard:
            if self._process is None or self._process.poll() is not None or self._connections is None:
                self._end()
                self._start()
            assert self._connections is not None
            return self._connections

    def call(self, command: str, parameters: dict[str, Any], seconds: float = _CALL_SECONDS) -> bytes:
        """The raw answer. Raises RefusedError and WireError; after the latter the next call finds a new daemon."""
        connections = self.connections()
        try:
            return connections.call(command, parameters, seconds)
        except WireError as error:
            self.note_failure(error)
            raise

    def note_failure(self, error: WireError) -> None:
        """A call has failed so. A daemon that is killed closes its sockets a moment before the kernel calls it dead."""
        process = self._process
        if process is not None and not error.timed_out:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_ENDING_SECONDS)

    def declare(self, name: str, backend: str, parameters: dict[str, str]) -> None:
        """Make a remote known under `name`, also to daemons that follow this one. Raises RefusedError, WireError."""
        with self._guard:
            if name in self._sections:
                return
        connections = self.connections()
        _create(connections, name, backend, parameters)
        with self._guard:
            self._sections[name] = (backend, parameters)

    def knows(self, name: str) -> bool:
        """Whether a remote was declared under this name."""
        with self._guard:
            return name in self._sections

    def obscured(self, password: str) -> str:
        """A password in the form in which rclone keeps it. Raises RefusedError and WireError."""
        answer = self.call("core/obscure", {"clear": password})
        return msgspec.json.decode(answer, type=dict[str, str])["obscured"]

    def settings_of(self, backend: str) -> dict[str, bool] | None:
        """Each setting of a backend with whether it is a password; None for a backend this rclone lacks."""
        if not self._providers:
            told = msgspec.json.decode(self.call("config/providers", {}), type=_Providers)
            self._providers = {
                one.Name: {option.Name: option.IsPassword for option in one.Options} for one in told.providers
            }
        return self._providers.get(backend)

    def hide(self, value: str) -> None:
        """`redacted` leaves this value out from now on."""
        if len(value) >= 3:
            self._hidden.add(value)

    def redacted(self, text: str) -> str:
        for value in sorted(self._hidden, key=len, reverse=True):
            text = text.replace(value, "***")
        return text

    def end(self) -> None:
        with self._guard:
            self._end()

    # -- the process -----------------------------------------------------------------------------------------

    def _start(self) -> None:
        program = binary.find()
        self._folder = tempfile.mkdtemp(prefix="sync-runner-rclone-")  # mkdtemp makes it 0700
        self._folder_fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        user, password = "sync-runner", secrets.token_urlsafe(24)
        arguments = [
            *(sys.executable, "-I", "-S", "-c", _TRAMPOLINE, str(os.getpid())),
            # Relative to its own folder: the path of a unix socket may have 107 bytes and no more.
            *(program, "rcd", "--rc-addr", f"unix://{_SOCKET}", "--rc-serve"),
            *("--config", "", "--cache-dir", os.path.join(self._folder, "cache")),
            *("--temp-dir", self._folder, "--ask-password=false"),
            *("--rc-server-read-timeout", "720h", "--rc-server-write-timeout", "720h"),
            *("--rc-job-expire-duration", "1h", "--low-level-retries", "3"),
            *("--contimeout", "10s", "--timeout", "60s", "--no-unicode-normalization"),
            *("--use-json-log", "--log-level", "NOTICE", *self._tls.arguments()),
        ]
        environment = {
            "PATH": "/usr/bin:/bin",
            "TZ": "UTC",
            "LANG": "C.UTF-8",
            "HOME": _home(),
            "TMPDIR": self._folder,
            "RCLONE_RC_USER": user,
            "RCLONE_RC_PASS": password,
        }
        self._log.clear()
        started = threading.Event()
        self._keeper = threading.Thread(
            target=self._keep, args=(arguments, environment, started), name="rclone", daemon=True
        )
        self._keeper.start()
        started.wait()
        atexit.register(self.end)
        basic = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
        self._connections = Connections(self._connect, f"Basic {basic}")
        try:
            self._wait_until_ready()
            for name, (backend, parameters) in self._sections.items():
                _create(self._connections, name, backend, parameters)
        except (RefusedError, WireError) as error:
            self._end()
            raise LocationUnavailableError(f"the rclone daemon does not start: {error}") from error
        except BaseException:
            self._end()
            raise

    def _keep(self, arguments: list[str], environment: dict[str, str], started: threading.Event) -> None:
        """Start the daemon, and stay: it ends when the thread that started it does."""
        try:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=environment,
                cwd=self._folder,
                start_new_session=True,
            )
        except OSError as error:
            self._log.append(str(error))
            started.set()
            return
        self._process = process
        started.set()
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self._log.append(line.decode("utf-8", "replace").rstrip())
        process.wait()

    def _wait_until_ready(self) -> None:
        assert self._connections is not None
        clock = SystemClock()
        deadline = clock.monotonic() + _START_SECONDS
        pause = threading.Event()
        while True:
            if self._process is None or self._process.poll() is not None:
                raise LocationUnavailableError(
                    "the rclone daemon ended at once: " + self.redacted(" ".join(self._log))[-600:]
                )
            try:
                answer = self._connections.call("core/version", {}, _CALL_SECONDS)
                break
            except WireError as error:
                if clock.monotonic() > deadline:
                    raise LocationUnavailableError("the rclone daemon does not answer") from error
            pause.wait(0.005)
        told = msgspec.json.decode(answer)
        binary.check_version(told.get("decomposed"), told.get("version"))

    def _connect(self) -> socket.socket:
        fd = self._folder_fd
        if fd is None:
            raise ConnectionRefusedError("the daemon has ended")
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(_CALL_SECONDS)
            connection.connect(f"/proc/self/fd/{fd}/{_SOCKET}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _end(self) -> None:
        if self._connections is not None:
            self._connections.close()
            self._connections = None
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._keeper is not None:
            self._keeper.join(_END_SECONDS)
            self._keeper = None
        if self._folder_fd is not None:
            os.close(self._folder_fd)
            self._folder_fd = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        atexit.unregister(self.end)


class Engines:
    """The engines of this process, with how many locations use each."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._used: dict[tuple[int, TlsOptions], tuple[Engine, int]] = {}

    def take(self, tls: TlsOptions) -> Engine:
        """The engine for these settings; `give_back` it when done."""
        key = (os.getpid(), tls)
        with self._guard:
            engine, users = self._used.get(key) or (Engine(tls), 0)
            self._used[key] = engine, users + 1
            return engine

    def give_back(self, engine: Engine) -> None:
        with self._guard:
            key = next((key for key, (known, _) in self._used.items() if known is engine), None)
            if key is None:
                return
            _, users = self._used[key]
            if users > 1:
                self._used[key] = engine, users - 1
                return
            del self._used[key]
        engine.end()


# State of the module, for once: a daemon belongs to the process, and so do locations of different tasks.
ENGINES = Engines()


def _create(connections: Connections, name: str, backend: str, parameters: dict[str, str]) -> None:
    connections.call(
        "config/create",
        {
            "name": name,
            "type": backend,
            "parameters": parameters,
            "opt": {"nonInteractive": True, "noObscure": True},
        },
        _CALL_SECONDS,
    )


def _home() -> str:
    """Where `~` in a key file's path leads: from the user database, not from the environment."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return "/"
