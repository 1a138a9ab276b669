"""Where the keys come from that sign requests.

Keys that sync.yaml or the environment give are used as they are. Every other source is botocore's own (imported only
then), one of its providers at a time: never its whole chain, which would ask metadata services at link-local addresses
that nobody told it about.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import msgspec

from runner.errors import LocationUnavailableError

from .options import CredentialSource, S3Options


class Keys(msgspec.Struct, frozen=True):
    """What a request is signed with. Secret."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        return "Keys(***)"


KeySource = Callable[[], Keys | None]
"""Gives the keys that are valid now; None: requests are anonymous. Thread-safe."""

_PROFILE_PROVIDERS = (
    "assume-role",
    "sso",
    "login",
    "shared-credentials-file",
    "custom-process",
    "config-file",
)
_PROVIDERS: dict[CredentialSource, tuple[str, ...]] = {
    CredentialSource.AUTO: (*_PROFILE_PROVIDERS, "assume-role-with-web-identity"),
    CredentialSource.PROFILE: _PROFILE_PROVIDERS,
    CredentialSource.WEB_IDENTITY: ("assume-role-with-web-identity",),
    CredentialSource.INSTANCE: ("container-role", "iam-role"),
}
"""botocore's providers for each source. Only `instance` asks the metadata services of ECS, EKS and EC2."""


def key_source(options: S3Options, where: str) -> KeySource:
    """The source that the options name. Raises LocationUnavailableError when it has no keys."""
    source = options.credentials
    if options.access_key_id is not None and options.secret_access_key is not None:
        given = Keys(options.access_key_id, options.secret_access_key, options.session_token)
        return lambda: given
    if source is CredentialSource.ANONYMOUS:
        return lambda: None
    if source in (CredentialSource.AUTO, CredentialSource.ENVIRONMENT) and options.profile is None:
        found = _from_environment()
        if found is not None:
            return lambda: found
    if source in _PROVIDERS:
        credentials = _from_botocore(options, _PROVIDERS[source], where)
        if credentials is not None:
            return _frozen(credentials)
    raise LocationUnavailableError(
        f"{where}: there are no credentials (credentials: {source.value})", remedy=_REMEDIES[source]
    )


_REMEDIES = {
    CredentialSource.AUTO: "Set access_key_id and secret_access_key, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a "
    "profile; on an AWS machine with a role: credentials: instance; for a public bucket: credentials: anonymous.",
    CredentialSource.ENVIRONMENT: "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    CredentialSource.PROFILE: "Name a profile of ~/.aws/config or ~/.aws/credentials.",
    CredentialSource.WEB_IDENTITY: "Set AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN, as EKS does.",
    CredentialSource.INSTANCE: "Give the machine, task or pod a role, or use another source.",
}


def _from_environment() -> Keys | None:
    # The names are AWS's own; the option `credentials` is what asks for them.
    access_key_id = os.environ.get("AWS_ACCESS_KEY_ID")
    secret_access_key = os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not access_key_id or not secret_access_key:
        return None
    return Keys(access_key_id, secret_access_key, os.environ.get("AWS_SESSION_TOKEN") or None)


def _from_botocore(options: S3Options, methods: tuple[str, ...], where: str) -> Any:
    """botocore's credentials object from the first of its providers that has any, None otherwise."""
    import botocore.credentials  # type: ignore[import-untyped]
    import botocore.exceptions  # type: ignore[import-untyped]
    import botocore.session  # type: ignore[import-untyped]

    try:
        session = botocore.session.Session(profile=options.profile)
        if options.region is not None:
            session.set_config_variable("region", options.region)
        resolver = botocore.credentials.create_credential_resolver(session, region_name=options.region)
        for provider in resolver.providers:
            if provider.METHOD in methods:
                credentials = provider.load()
                if credentials is not None:
                    return credentials
    except botocore.exceptions.BotoCoreError as error:
        raise LocationUnavailableError(f"{where}: no credentials: {error}") from error
    return None


def _frozen(credentials: Any) -> KeySource:
    def now() -> Keys:
        frozen = credentials.get_frozen_credentials()
        return Keys(frozen.access_key, frozen.secret_key, frozen.token)

    return now
