"""Where bearer tokens come from. Nobody but the endpoint is asked, unless `credentials: default` says so.

A service account's key signs its tokens here (self-signed JWTs, https://google.aip.dev/auth/4111): no token server is
needed.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from runner.errors import LocationUnavailableError
from runner.model.task import LocationSettings

from ..objects.declared import file_option, revealed
from .requests import Token

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
"""What the account may do with it is decided by its roles; reading metadata needs more than the storage scopes."""


def token_source(settings: LocationSettings) -> tuple[Token, str]:
    """The source, and whose tokens it gives. Raises LocationUnavailableError for a key that cannot be used."""
    options = settings.options
    if "access_token" in options:
        given = revealed(options["access_token"]).strip()
        return (lambda: given), "access_token"
    if options.get("credentials") == "anonymous":
        return (lambda: None), "anonymous"
    if options.get("credentials") == "default":
        return _Tokens(_default_credentials(settings)).current, "default"
    account = _service_account(settings)
    return _Tokens(_self_signed(account)).current, str(account.service_account_email)


def _service_account(settings: LocationSettings) -> Any:
    from google.oauth2 import service_account

    file = file_option(settings, "service_account_file")
    try:
        if file is not None:
            text = Path(file).read_text(encoding="utf-8")
        else:
            text = revealed(settings.options["service_account_key"])
        read: Any = service_account.Credentials.from_service_account_info  # without annotations
        credentials = read(json.loads(text), scopes=[SCOPE])
    except OSError as error:
        raise LocationUnavailableError(
            f"{settings.name}: cannot read service_account_file: {error}"
        ) from error
    except (ValueError, KeyError):
        # Not `from`: the cause may show the key.
        raise LocationUnavailableError(
            f"{settings.name}: the service account's key is not the JSON that Google gave"
        ) from None
    return credentials


def _self_signed(account: Any) -> Any:
    """Credentials that sign for themselves and never connect."""
    from google.auth import jwt

    make: Any = jwt.Credentials.from_signing_credentials  # without annotations
    return make(account, None, additional_claims={"scope": SCOPE})


def _default_credentials(settings: LocationSettings) -> Any:
    import google.auth
    from google.auth import exceptions

    try:
        credentials, _ = google.auth.default(scopes=[SCOPE])
    except exceptions.GoogleAuthError as error:
        raise LocationUnavailableError(
            f"{settings.name}: there are no default credentials: {error}",
            remedy="Run: gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS.",
        ) from error
    return credentials


class _Tokens:
    """A google-auth credential, renewed before it ends. Safe for several threads."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials
        self._lock = threading.Lock()

    def current(self) -> str:
        with self._lock:
            if not self._credentials.valid:
                self._renew()
            token: str | bytes = self._credentials.token
            return token.decode("ascii") if isinstance(token, bytes) else token

    def _renew(self) -> None:
        import google.auth.transport.urllib3
        import urllib3

        with urllib3.PoolManager() as pool:
            transport: Any = google.auth.transport.urllib3.Request  # without annotations
            self._credentials.refresh(transport(pool))
