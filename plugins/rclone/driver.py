"""The entry points: locations of type `rclone`, and of types `webdav` and `ftp` as presets of it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable

from runner.errors import EntryCode, EntryError, LocationUnavailableError
from runner.locations.protocol import Capabilities, Driver, Location, OpenSettings
from runner.model.task import LocationSettings

from .address import (
    Address,
    capabilities,
    describe,
    ftp_address,
    overlaps,
    rclone_address,
    schema_of,
    webdav_address,
    wide_root,
)
from .engine import ENGINES, Engine
from .remote import Remote
from .sections import BUCKET_BACKENDS, declare, read_file
from .wire import RefusedError, WireError

_REMEDIES = {
    EntryCode.PERMISSION_DENIED: "Are user, password and rights as the server wants them?",
    EntryCode.UNAVAILABLE: "Is the address right, and does the server run?",
    EntryCode.TIMEOUT: "Is the address right, and does the server run? A longer `timeout` may help.",
}


def open_address(address: Address, open_settings: OpenSettings, *, create: bool) -> Location:
    """Open a location. Raises LocationUnavailableError."""
    engine = ENGINES.take(address.tls)
    try:
        return _opened(address, engine, open_settings, create=create)
    except EntryError as error:
        ENGINES.give_back(engine)
        raise LocationUnavailableError(
            f"location {address.name!r} cannot be opened: {error.message}",
            remedy=_REMEDIES.get(error.entry_code),
        ) from error
    except LocationUnavailableError as error:
        ENGINES.give_back(engine)
        raise LocationUnavailableError(
            f"location {address.name!r}: {engine.redacted(error.message)}", remedy=error.remedy
        ) from error
    except (RefusedError, WireError) as error:
        ENGINES.give_back(engine)
        # Without a cause: rclone's answer may repeat what it was told.
        raise LocationUnavailableError(
            f"location {address.name!r}: rclone does not take its declaration: {engine.redacted(str(error))}"
        ) from None
    except BaseException:
        ENGINES.give_back(engine)
        raise


def _opened(address: Address, engine: Engine, open_settings: OpenSettings, *, create: bool) -> Location:
    from .content import OWN_HASH
    from .location import DigestingLocation, RcloneLocation
    from .writing import SpoolRemotes

    remotes = address.remotes
    if remotes is None:
        assert address.config_file is not None
        remotes = read_file(address.config_file, address.config_password)
    name, backends = declare(engine, remotes, address.remote, allow_commands=address.allow_commands)
    root = address.path
    if root and backends[-1] in BUCKET_BACKENDS:
        root += "/"  # without it rclone asks whether the root is an object, and hides what that question hit
    remote = Remote(engine, name, root, address.timeout_seconds)
    information = remote.information()
    if not create and not remote.has_root():
        raise LocationUnavailableError(
            f"its root {address.path or '/'!r} is not there", remedy="Is the path right, and on this remote?"
        )
    offers_digest = OWN_HASH[open_settings.digest] in information.Hashes and "hasher" not in backends
    kind = DigestingLocation if offers_digest else RcloneLocation
    return kind(
        address,
        engine,
        remote,
        information,
        backends,
        SpoolRemotes(*_spool_remotes(engine)),
        open_settings,
        create=create,
        token=secrets.token_hex(4),
    )


def _spool_remotes(engine: Engine) -> tuple[Remote, Remote]:
    """Remotes over the files that this process has open: with their content, and with their lengths alone."""
    folder = f"/proc/{os.getpid()}/fd"
    if not engine.knows("srlength"):
        engine.declare("srspool", "local", {"copy_links": "true"})
        engine.declare(
            "srlength",
            "crypt",
            {
                "remote": f"srspool:{folder}",
                "password": engine.obscured(engine.salt.hex()),
                "filename_encryption": "off",
                "directory_name_encryption": "false",
                "suffix": "none",
            },
        )
    return Remote(engine, "srspool", folder, 60.0), Remote(engine, "srlength", "", 60.0)


def _driver(
    type_name: str, title: str, schema: str, address: Callable[[LocationSettings], Address]
) -> Driver:
    def open_location(settings: LocationSettings, open_settings: OpenSettings, *, create: bool) -> Location:
        return open_address(address(settings), open_settings, create=create)

    def declared(settings: LocationSettings) -> Capabilities:
        return capabilities(address(settings))

    return Driver(
        type=type_name,
        title=title,
        options_schema=schema_of(schema),
        open=open_location,
        describe=lambda settings: describe(settings, address(settings)),
        capabilities=declared,
        overlaps=lambda left, right: overlaps(address(left), address(right)),
        wide_root=lambda settings: wide_root(settings, address(settings)),
        requires=("rclone_python",),
    )


DRIVER = _driver(
    "rclone",
    "Any storage that rclone speaks to (70 of them), also encrypted or split on the way",
    "options.schema.json",
    rclone_address,
)
WEBDAV = _driver(
    "webdav",
    "A folder of a WebDAV server: Nextcloud, ownCloud, Apache and others",
    "webdav.schema.json",
    webdav_address,
)
FTP = _driver("ftp", "A folder of an FTP server, plain or with TLS", "ftp.schema.json", ftp_address)
