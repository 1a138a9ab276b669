"""SPNEGO: the Authorization header that proves a Kerberos principal to a NameNode's HTTP server (RFC 4559)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from runner.errors import EntryCode, LocationUnavailableError

from .faults import RemoteFault

if TYPE_CHECKING:
    from .address import HdfsOptions


def negotiate_header(options: HdfsOptions, host: str) -> str:
    """`Negotiate ...` for HTTP@host. Raises LocationUnavailableError without the packages, RemoteFault without a
    ticket."""
    try:
        import spnego
        from spnego.exceptions import SpnegoError
    except ImportError as error:
        raise _missing(options) from error
    try:
        context = spnego.client(
            _credential(spnego, options), hostname=host, service="HTTP", protocol="kerberos"
        )
        token = context.step()
    except ImportError as error:
        raise _missing(options) from error
    except SpnegoError as error:
        raise RemoteFault(
            EntryCode.PERMISSION_DENIED, f"no Kerberos ticket for HTTP@{host}: {error}"
        ) from error
    return "Negotiate " + base64.b64encode(token or b"").decode("ascii")


def _credential(spnego: Any, options: HdfsOptions) -> Any:
    if options.kerberos_keytab is not None:
        return spnego.KerberosKeytab(options.kerberos_keytab, options.kerberos_principal)
    if options.kerberos_cache is not None:
        return spnego.KerberosCCache(options.kerberos_cache, options.kerberos_principal)
    return options.kerberos_principal


def _missing(options: HdfsOptions) -> LocationUnavailableError:
    return LocationUnavailableError(
        f'location "{options.name}": Kerberos over HTTP needs the packages pyspnego, gssapi and krb5',
        remedy="Install them: pip install 'pyspnego[kerberos]'. Or use transport: native.",
    )
