"""The connection of one location object: made when it is needed, and again after it broke."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.errors import Disposition, EntryCode, EntryError, LocationUnavailableError

from .faults import BAD_NETWORK_NAME, STATUSES, ConnectionFault, of_fault, status_name
from .options import SmbOptions

if TYPE_CHECKING:
    from .wire import Wire

_REMEDIES = {
    0xC000006D: "Check user, domain and password.",
    0xC000006A: "Check the password.",
    0xC0000064: "Check user and domain.",
    0xC0000234: "The account is locked out: unlock it.",
    0xC0000072: "The account is disabled: enable it.",
    0xC0000071: "The password has expired: set a new one.",
    0xC0000193: "The account has expired.",
    0xC000015B: "The account may not log on over the network: grant it the right.",
    0xC00000CC: "Check the name of the share.",
    0xC0000022: "Give the user access to the share.",
}


class RefusedError(Exception):
    """The server answered, and said no: credentials, share, dialect or encryption. Trying again changes nothing."""

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.remedy = remedy


class Client:
    """Hands out a working connection. Belongs to one location object, hence to one thread at a time."""

    def __init__(self, options: SmbOptions) -> None:
        self.options = options
        self._wire: Wire | None = None
        self.made = 0
        """How many connections were made so far."""

    def open(self) -> Wire:
        """The first connection. Raises LocationUnavailableError."""
        try:
            return self._connected()
        except RefusedError as error:
            raise LocationUnavailableError(f"{self.options.address}: {error}", remedy=error.remedy) from error
        except ConnectionFault as fault:
            raise LocationUnavailableError(
                f"{self.options.address} cannot be reached: {fault}",
                remedy="Check that the server runs, its name and port, and what stands between (routes, firewalls).",
            ) from fault

    def wire(self, path: str = "", doing: str = "use") -> Wire:
        """A connection to use for one operation. Raises EntryError when there is none to be had."""
        wire = self._wire
        if wire is not None and wire.is_open:
            return wire
        try:
            return self._connected()
        except RefusedError as error:
            raise EntryError(
                EntryCode.PERMISSION_DENIED,
                path,
                f"{self.options.address}: {error}",
                disposition=Disposition.ABORT,
            ) from error
        except ConnectionFault as fault:
            raise of_fault(fault, path, doing) from fault

    def close(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.disconnect()

    def _connected(self) -> Wire:
        if self._wire is not None:
            self._wire.close()
        self._wire = _connect(self.options)
        self.made += 1
        return self._wire


def _connect(options: SmbOptions) -> Wire:
    """A new connection. Raises RefusedError or ConnectionFault."""
    from smbprotocol.exceptions import (
        SMBAuthenticationError,
        SMBConnectionClosed,
        SMBException,
        SMBResponseException,
    )

    from .handshake import Handshake
    from .wire import Wire

    wire = Wire(options.timeout_seconds)
    handshake = Handshake(
        options.server,
        options.port,
        require_signing=options.require_signing,
        dialects=options.dialects,
    )
    try:
        _set_up(wire, handshake, options)
    except BaseException as error:
        wire.close()
        if isinstance(error, ImportError):
            raise RefusedError(
                f"Kerberos needs a package that is not installed ({error})",
                "Install it: pip install 'smbprotocol[kerberos]' (built against the system's Kerberos libraries).",
            ) from error
        if isinstance(error, SMBAuthenticationError):
            raise RefusedError(str(error), "Check user, domain, password or ticket.") from error
        if isinstance(error, SMBResponseException):
            status = int(error.status)
            if STATUSES.get(status, ("", None))[1] is EntryCode.UNAVAILABLE and status != BAD_NETWORK_NAME:
                raise ConnectionFault(_said(status)) from error
            raise RefusedError(_said(status), _REMEDIES.get(status)) from error
        if isinstance(error, SMBConnectionClosed):
            raise ConnectionFault(str(error)) from error
        if isinstance(error, SMBException):
            raise RefusedError(str(error)) from error
        if isinstance(error, OSError | ValueError):
            raise ConnectionFault(str(error)) from error
        raise
    return wire


def _set_up(wire: Wire, handshake: Any, options: SmbOptions) -> None:
    from smbprotocol.session import Session
    from smbprotocol.tree import TreeConnect

    wire.negotiate(handshake, options.connect_seconds)
    if handshake.dialect not in options.dialects:
        raise RefusedError(
            f"the server speaks none of the SMB versions asked for (it chose {handshake.dialect:#06x})"
        )
    user, password = _credentials(options)
    session = Session(
        handshake,
        user,
        password,
        require_encryption=options.require_encryption,
        auth_protocol=options.auth,
    )
    session.connect()
    wire.authenticated(session)
    tree = TreeConnect(session, rf"\\{options.server}\{options.share}")
    tree.connect()
    wire.attached(session, tree)


def _credentials(options: SmbOptions) -> tuple[Any, str | None]:
    """What pyspnego takes: a name and a password, or a credential of a kind of its own."""
    import spnego

    user = options.user
    if options.auth == "kerberos":
        if user and options.domain and "@" not in user:
            user = f"{user}@{options.domain.upper()}"
        if options.keytab is not None:
            return [spnego.KerberosKeytab(options.keytab, user)], None
        if options.ccache is not None:
            return [spnego.KerberosCCache(options.ccache, user)], None
    elif user and options.domain and "\\" not in user and "@" not in user:
        user = f"{options.domain}\\{user}"
    return user, options.password.reveal() if options.password is not None else None


def _said(status: int) -> str:
    return f"the server refused it ({status_name(status)})"
