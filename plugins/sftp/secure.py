"""The SSH connection: the host key is checked against what was declared, then the credentials are offered.

Nothing is trusted on first use, ~/.ssh is not read unless asked for, and no address but the declared ones is spoken to.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from typing import Any

import asyncssh

from .address import PORT, HostOptions, SftpOptions
from .faults import RefusedError, WireError
from .packets import MalformedError
from .wire import Wire, close_loop

CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
)
"""GCM before ChaCha20, which took about 1.7 times the CPU (docs/decisions/0016); then what old servers have."""

_WINDOW_BYTES = 8 << 20  # room for all reads in flight, and as much again
_HANDSHAKES = threading.BoundedSemaphore(2)
"""How many log in at once from this process: servers turn away whoever comes in a crowd (MaxStartups)."""


class Opened:
    """A wire that is ready, and what is known of the server behind it."""

    def __init__(self, wire: Wire, host_key: str, server: str) -> None:
        """`host_key`: its SHA256 fingerprint. `server`: the software's own name and version."""
        self.wire = wire
        self.host_key = host_key
        self.server = server


def connect(options: SftpOptions) -> Opened:
    """Connect, log in and start SFTP. Raises RefusedError."""
    loop = asyncio.new_event_loop()
    connections: list[asyncssh.SSHClientConnection] = []
    wire = Wire(loop, options.timeout_seconds)
    try:
        with _HANDSHAKES:
            work = asyncio.wait_for(_connected(options, wire, connections), options.connect_timeout_seconds)
            opened = loop.run_until_complete(work)
        wire.greet(connections)
        return opened
    except (WireError, MalformedError) as error:
        close_loop(loop, connections)
        raise RefusedError(f"{_address(options.server)}: {error}", lasting=False) from error
    except TimeoutError as error:
        close_loop(loop, connections)
        message = f"{_address(options.server)} did not answer within {options.connect_timeout_seconds:g} s"
        remedy = (
            "Check host, port and firewall; a slow server needs a longer `connect_timeout`. Then run again."
        )
        raise RefusedError(message, remedy, lasting=False, timed_out=True) from error
    except BaseException:
        close_loop(loop, connections)
        raise


async def _connected(
    options: SftpOptions, wire: Wire, connections: list[asyncssh.SSHClientConnection]
) -> Opened:
    credentials = await _credentials(options)
    try:
        tunnel = None
        if options.jump is not None:
            tunnel = await _logged_in(options, options.jump, credentials, None)
            connections.insert(0, tunnel)
        connection = await _logged_in(options, options.server, credentials, tunnel)
        connections.insert(0, connection)
    finally:
        if credentials.agent is not None:
            credentials.agent.close()
    try:
        await connection.create_session(lambda: wire, subsystem="sftp", encoding=None, window=_WINDOW_BYTES)
    except (asyncssh.Error, OSError) as error:
        message = f"{_address(options.server)} offers no SFTP to this user: {error}"
        remedy = "Enable the subsystem sftp on the server (sshd_config: Subsystem sftp internal-sftp)."
        raise RefusedError(message, remedy) from error
    key = connection.get_server_host_key()
    assert key is not None
    server = str(connection.get_extra_info("server_version", ""))
    return Opened(wire, key.get_fingerprint(), server)


# -- who we are --------------------------------------------------------------------------------------------------


class _Credentials:
    """What is offered to the server. `keys` None = no keys at all; () = as ~/.ssh/config says."""

    def __init__(self, keys: Any, password: str | None, agent: asyncssh.SSHAgentClient | None) -> None:
        self.keys = keys
        self.password = password
        self.agent = agent


async def _credentials(options: SftpOptions) -> _Credentials:
    keys: list[Any] = []
    agent = None
    if options.private_key is not None:
        keys.append(_own_key(options.private_key, options))
    if options.agent:
        agent = await _agent(options.agent)
        keys += await agent.get_keys()
        if not keys:
            agent.close()
            raise RefusedError("the SSH agent holds no keys", "Add one: ssh-add KEYFILE. Then run again.")
    password = None if options.password is None else options.password.reveal()
    if not keys and password is None and options.use_ssh_config:
        return _Credentials((), None, None)
    return _Credentials(keys or None, password, agent)


def _own_key(file: str, options: SftpOptions) -> Any:
    """The private key, with its certificate if there is one."""
    passphrase = None if options.passphrase is None else options.passphrase.reveal()
    try:
        key = asyncssh.read_private_key(file, passphrase)
        if options.certificate is None:
            return key
        return key, asyncssh.read_certificate(options.certificate)
    except OSError as error:
        message = f"cannot read {error.filename}: {error.strerror}"
        raise RefusedError(
            message, "Check `private_key` and `certificate`, and the right to read them."
        ) from error
    except (asyncssh.KeyEncryptionError, asyncssh.KeyImportError) as error:
        if passphrase is None and "passphrase" in str(error).lower():
            message = f"the private key {file} is encrypted"
            raise RefusedError(
                message, "Give its `passphrase`, or add it to an agent and set `agent`."
            ) from error
        message = f"the private key {file} cannot be used: {error}"
        raise RefusedError(message, "Check `private_key` and `passphrase`.") from error


async def _agent(where: bool | str) -> asyncssh.SSHAgentClient:
    # The agent's own convention: a session tells where its agent is by this variable, and by nothing else.
    socket = where if isinstance(where, str) else os.environ.get("SSH_AUTH_SOCK", "")
    remedy = "Start one (ssh-agent, ssh-add KEYFILE), or set `agent` to its socket. Then run again."
    if not socket:
        raise RefusedError("no SSH agent: SSH_AUTH_SOCK is not set", remedy)
    try:
        return await asyncssh.connect_agent(socket)
    except OSError as error:
        raise RefusedError(f"no SSH agent answers at {socket}: {error.strerror}", remedy) from error


# -- who they are ------------------------------------------------------------------------------------------------


class _Watch(asyncssh.SSHClient):
    """Notes the host key that was not trusted, for the message."""

    def __init__(self) -> None:
        self.untrusted: asyncssh.SSHKey | None = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.untrusted = key
        return False


def _trusted(host: HostOptions) -> Any:
    """The declared host keys as asyncssh takes them. Never None, which would mean: any."""
    if host.host_keys:
        try:
            keys = [asyncssh.import_public_key(key.strip()) for key in host.host_keys]
        except asyncssh.KeyImportError as error:
            remedy = (
                "It looks like `ssh-ed25519 AAAA...`: what `ssh-keyscan HOST` prints after the host's name."
            )
            raise RefusedError(f"`host_key` of {host.host} is no public key: {error}", remedy) from error
        return keys, [], []
    assert host.known_hosts is not None
    try:
        return asyncssh.read_known_hosts(host.known_hosts)
    except OSError as error:
        message = f"cannot read known_hosts {host.known_hosts}: {error.strerror}"
        remedy = (
            f"Make it with: ssh-keyscan -p {host.port or PORT} {host.host}; then compare the key with what the "
            "server's owner says."
        )
        raise RefusedError(message, remedy) from error
    except (ValueError, asyncssh.Error) as error:
        raise RefusedError(f"known_hosts {host.known_hosts} cannot be read: {error}") from error


async def _logged_in(
    options: SftpOptions,
    host: HostOptions,
    credentials: _Credentials,
    tunnel: asyncssh.SSHClientConnection | None,
) -> asyncssh.SSHClientConnection:
    watch = _Watch()
    more: dict[str, Any] = {}
    if options.use_ssh_config:
        more["config"] = [os.path.expanduser("~/.ssh/config")]
    else:
        more.update(config=None, port=host.port or PORT)
    if host.port is not None:
        more["port"] = host.port
    if host.user is not None:
        more["username"] = host.user
    if tunnel is not None:
        more["tunnel"] = tunnel
    if credentials.keys != ():
        more["agent_path"] = None
    try:
        return await asyncssh.connect(
            host.host,
            client_factory=lambda: watch,
            known_hosts=_trusted(host),
            client_keys=credentials.keys,
            password=credentials.password,
            encryption_algs=list(options.ciphers or CIPHERS),
            compression_algs=["zlib@openssh.com", "none"] if options.compression else ["none"],
            keepalive_interval=options.keepalive_seconds,
            keepalive_count_max=3,
            connect_timeout=options.connect_timeout_seconds,
            login_timeout=options.connect_timeout_seconds,
            gss_auth=False,
            gss_kex=False,
            host_based_auth=False,
            x509_trusted_certs=None,
            x509_trusted_cert_paths=[],
            **more,
        )
    except asyncssh.HostKeyNotVerifiable as error:
        raise _host_key_refused(host, watch.untrusted, error) from error
    except asyncssh.PermissionDenied as error:
        message = f"{_address(host)} refuses the login{_offered(options)}"
        remedy = "Check `user` and the key or password, and that the server takes this way to log in."
        raise RefusedError(message, remedy) from error
    except asyncssh.KeyExchangeFailed as error:
        message = f"{_address(host)} and this side agree on no algorithm: {error}"
        remedy = "A known host key of another kind than the server's counts too: compare with `ssh-keyscan`."
        raise RefusedError(message, remedy) from error
    except TimeoutError:
        raise
    except (OSError, asyncssh.Error) as error:
        message = f"cannot connect to {_address(host)}: {_reason(error)}"
        remedy = "Check host, port and network, and that the server runs. Then run again."
        raise RefusedError(message, remedy, lasting=False) from error
    except ValueError as error:
        raise RefusedError(f"{_address(host)}: {error}", "Check the options of the location.") from error


def _host_key_refused(host: HostOptions, key: asyncssh.SSHKey | None, error: Exception) -> RefusedError:
    if key is None:
        return RefusedError(f"the host key of {_address(host)} cannot be checked: {error}")
    algorithm = key.get_algorithm()
    source = "`host_key`" if host.host_keys else f"known_hosts {host.known_hosts}"
    if host.host_keys or _is_known(host):
        message = f"the host key of {_address(host)} is not the one in {source}: it is {algorithm} {key.get_fingerprint()}"
        remedy = (
            "Somebody may stand between you and the server. If its owner confirms this new fingerprint, "
            f"replace the old key in {source}; otherwise do not connect."
        )
    else:
        message = (
            f"the host key of {_address(host)} is not in {source}: it is {algorithm} {key.get_fingerprint()}"
        )
        line = f"{_pattern(host)} {key.export_public_key().decode().strip()}"
        remedy = f"If the server's owner confirms this fingerprint, add this line to it:\n{line}"
    return RefusedError(message, remedy)


def _is_known(host: HostOptions) -> bool:
    """True when known_hosts has any key of this host."""
    assert host.known_hosts is not None
    matched: Sequence[Any] = asyncssh.match_known_hosts(
        asyncssh.read_known_hosts(host.known_hosts), host.host, "", host.port or PORT
    )
    return any(matched)


def _pattern(host: HostOptions) -> str:
    """The host as known_hosts names it."""
    port = host.port or PORT
    return host.host if port == PORT else f"[{host.host}]:{port}"


def _address(host: HostOptions) -> str:
    user = f"{host.user}@" if host.user else ""
    return f"{user}{host.host}:{host.port or PORT}"


def _offered(options: SftpOptions) -> str:
    """What was tried, without any of it."""
    ways = []
    if options.private_key is not None:
        ways.append(f"private_key {options.private_key}")
    if options.agent:
        ways.append("the agent's keys")
    if options.password is not None:
        ways.append("the password")
    return f" with {', '.join(ways)}" if ways else ": neither key, agent nor password is declared"


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
