"""The entry point: locations of type `azure_blob`."""

from __future__ import annotations

from runner.clock import Clock, SystemClock
from runner.errors import LocationUnavailableError, MissingExtraError
from runner.locations.protocol import Driver, Location, OpenSettings
from runner.model.task import LocationSettings

from ..objects.declared import rest_of, revealed, sizes_of
from ..objects.location import ObjectLocation, ObjectSettings
from ..objects.metadata import UNDERSCORES
from .address import (
    Address,
    capabilities,
    connection_fields,
    describe,
    options_schema,
    overlaps,
    wide_root,
)
from .client import AzureClient, AzureSettings
from .requests import Requests
from .signing import Anonymous, EntraToken, SasToken, SharedKey, Signing


def open_location(settings: LocationSettings, open_settings: OpenSettings, *, create: bool) -> Location:
    """Open a container. Raises LocationUnavailableError: no container, refused credentials, no route."""
    options = settings.options
    address = Address.of(settings)
    clock = SystemClock()
    where = describe(settings)
    requests = Requests(
        rest_of(settings, address.service), _signing(settings, address, clock), address.container, clock
    )
    client = AzureClient(
        requests,
        AzureSettings(
            access_tier=_tier(options.get("access_tier")),
            delete_snapshots=bool(options.get("delete_snapshots", False)),
            tags="tags" in open_settings.attributes and bool(options.get("object_tags", True)),
        ),
    )
    return ObjectLocation(
        client,
        ObjectSettings(
            where=where,
            prefix=address.prefix,
            identity=f"{address.service}/{address.container}/{address.prefix}",
            create=bool(options.get("create_container", False)),
            posix=bool(options.get("posix_metadata", True)),
            markers=bool(options.get("directory_markers", True)),
            names=UNDERSCORES,
            sizes=sizes_of(settings, part_size="8MiB", part_concurrency=4),
            looks=min(int(options.get("concurrency", 32)), 32),
        ),
        open_settings,
        capabilities(settings),
        clock,
        create=create,
    )


def _tier(name: str | None) -> str | None:
    return None if name is None else name.title()


def _signing(settings: LocationSettings, address: Address, clock: Clock) -> Signing:
    options = settings.options
    account_key = sas_token = None
    if "connection_string" in options:
        fields = connection_fields(settings)
        account_key, sas_token = fields.get("accountkey"), fields.get("sharedaccesssignature")
    elif "account_key" in options:
        account_key = revealed(options["account_key"])
    elif "sas_token" in options:
        sas_token = revealed(options["sas_token"])
    if account_key is not None:
        try:
            return SharedKey(address.account, account_key, clock)
        except ValueError:
            # Not `from`: the cause would show the key.
            raise LocationUnavailableError(
                f"{settings.name}: the account key is not base64; copy it again from the portal"
            ) from None
    if sas_token is not None:
        return SasToken(sas_token)
    if options.get("credentials") == "default":
        return _default_credential(settings)
    return Anonymous()


def _default_credential(settings: LocationSettings) -> Signing:
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError as error:
        raise MissingExtraError(
            f"{settings.name}: credentials: default needs the package azure-identity",
            remedy="Install it with: pip install 'sync-runner[azure]'",
        ) from error
    return EntraToken(DefaultAzureCredential())


DRIVER = Driver(
    type="azure_blob",
    title="Azure Blob Storage: a container, or a prefix of one",
    options_schema=options_schema,
    open=open_location,
    describe=describe,
    capabilities=capabilities,
    overlaps=overlaps,
    wide_root=wide_root,
    requires=("urllib3",),
    extra="azure",
)
