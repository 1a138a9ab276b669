"""Schemas, addresses, the mount table and what proves a mount: no server and no mount needed."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from runner_plugins.nfs import library
from runner_plugins.nfs.driver import EFS, FSX_LUSTRE, FSX_ONTAP, FSX_OPENZFS, NFS
from runner_plugins.nfs.mount_table import Mount, parsed
from runner_plugins.nfs.options import Options, endpoint_of
from runner_plugins.nfs.sources import expected_mount

from runner.errors import MissingExtraError
from runner.locations.protocol import Driver, OpenSettings
from runner.model.task import LocationSettings

ALL = [NFS, EFS, FSX_OPENZFS, FSX_ONTAP, FSX_LUSTRE]
EFS_NAME = "fs-0123456789abcdef0.efs.eu-central-1.amazonaws.com"
FSX_NAME = "fs-0123456789abcdef0.fsx.eu-central-1.amazonaws.com"
NAS = {"server": "nas", "export": "/e"}
OVER = {**NAS, "mount": True}
PLAIN_EFS = {"dns_name": EFS_NAME, "mount": True}


def settings_of(location_type: str, options: dict[str, Any]) -> LocationSettings:
    return LocationSettings("x", location_type, options, "/")


@pytest.mark.parametrize("driver", ALL, ids=lambda driver: driver.type)
def test_the_examples_hold(driver: Driver) -> None:
    schema = driver.options_schema()
    for example in schema["examples"]:
        jsonschema.Draft202012Validator(schema).validate(example)
        settings = settings_of(driver.type, example)
        assert driver.describe(settings).startswith(driver.type + " ")
        assert driver.capabilities(settings).remote
        assert driver.overlaps(settings, settings)


@pytest.mark.parametrize(
    ("driver", "options", "holds"),
    [
        (NFS, NAS, True),
        (NFS, {**NAS, "uid": 0, "version": "3"}, True),
        (NFS, {**NAS, "version": "4.1"}, False),
        (NFS, {**NAS, "version": "4.1", "mount": True}, True),
        (NFS, {**NAS, "mount": True, "mounted_at": "/mnt/x"}, False),
        (NFS, {**NAS, "mounted_at": "/mnt/x"}, True),
        (NFS, {**NAS, "mounted_at": "/mnt/x", "uid": 5}, False),
        (NFS, {**NAS, "mount": True, "nfs_port": 2049}, False),
        (NFS, {**NAS, "fs_types": ["nfs"]}, False),
        (NFS, {**NAS, "path": "../x"}, False),
        (NFS, {**NAS, "path": "a/../x"}, False),
        (NFS, {**NAS, "mount": True, "mount_options": ["ro,bind"]}, False),
        (NFS, {**NAS, "mount": True, "mount_options": ["-o"]}, False),
        (NFS, {**NAS, "server": "nas/x"}, False),
        (EFS, {"dns_name": EFS_NAME}, False),
        (EFS, {"dns_name": EFS_NAME, "mount": True}, True),
        (EFS, {"dns_name": "evil.example.org", "mount": True}, False),
        (FSX_OPENZFS, {"dns_name": FSX_NAME, "subdirectory": "/other", "mount": True}, False),
        (FSX_ONTAP, {"dns_name": FSX_NAME, "subdirectory": "/", "mount": True}, False),
        (FSX_LUSTRE, {"dns_name": FSX_NAME, "mount_name": "abc", "mount": True}, True),
    ],
)
def test_what_options_go_together(driver: Driver, options: dict[str, Any], holds: bool) -> None:
    assert jsonschema.Draft202012Validator(driver.options_schema()).is_valid(options) is holds


def test_the_mount_table_is_read_with_its_escapes() -> None:
    line = r"36 35 0:45 /a\040b /mnt/x\134y\012z rw,noatime shared:1 master:2 - nfs4 nas:/e\040f rw,vers=4.1,port=20049"
    mount = parsed(line + "\n")
    assert mount == Mount(36, "/a b", "/mnt/x\\y\nz", "nfs4", "nas:/e f", ("rw", "vers=4.1", "port=20049"))
    assert mount.full_source == "nas:/e f/a b"


def shown(fs_type: str, source: str, options: str = "rw", folder: str = "/") -> Mount:
    return Mount(1, folder, "/mnt", fs_type, source, tuple(options.split(",")))


EFS_TLS = {"dns_name": EFS_NAME, "in_transit_encryption": "TLS1_2", "mount": True}
LUSTRE = {"dns_name": FSX_NAME, "mount_name": "fzu4xbev", "mount": True}
TUNNELS = ["fs-0123456789abcdef0.mnt.efs.20123", "fs-0aaaaaaaaaaaaaaaa.mnt.efs.20124", "stunnel-config.x"]


@pytest.mark.parametrize(
    ("description", "location_type", "options", "mount", "holds"),
    [
        ("as declared", "nfs", OVER, shown("nfs4", "nas:/e"), True),
        ("a slash at the end", "nfs", OVER, shown("nfs", "nas:/e/"), True),
        (
            "a bind mount of a part",
            "nfs",
            {**NAS, "export": "/e/f", "mount": True},
            shown("nfs", "nas:/e", folder="/f"),
            True,
        ),
        ("another server", "nfs", OVER, shown("nfs4", "nas2:/e"), False),
        ("another export", "nfs", OVER, shown("nfs4", "nas:/ee"), False),
        ("another type", "nfs", OVER, shown("ext4", "nas:/e"), False),
        ("IPv6", "nfs", {**NAS, "server": "fd00::1", "mount": True}, shown("nfs4", "[fd00::1]:/e"), True),
        ("EFS", "efs", PLAIN_EFS, shown("nfs4", f"{EFS_NAME}:/"), True),
        ("EFS over v3", "efs", PLAIN_EFS, shown("nfs", f"{EFS_NAME}:/"), False),
        (
            "a tunnel nobody asked for",
            "efs",
            {"dns_name": EFS_NAME, "mount": True},
            shown("nfs4", "127.0.0.1:/", "rw,port=20123"),
            False,
        ),
        ("its tunnel", "efs", EFS_TLS, shown("nfs4", "127.0.0.1:/", "rw,port=20123"), True),
        (
            "another file system's tunnel",
            "efs",
            EFS_TLS,
            shown("nfs4", "127.0.0.1:/", "rw,port=20124"),
            False,
        ),
        ("a tunnel without a port", "efs", EFS_TLS, shown("nfs4", "127.0.0.1:/"), False),
        ("its tunnel, another folder", "efs", EFS_TLS, shown("nfs4", "127.0.0.1:/x", "rw,port=20123"), False),
        ("Lustre by name", "fsx_lustre", LUSTRE, shown("lustre", f"{FSX_NAME}@tcp:/fzu4xbev"), True),
        ("Lustre by address", "fsx_lustre", LUSTRE, shown("lustre", "192.0.2.7@tcp:/fzu4xbev"), True),
        ("Lustre's other address", "fsx_lustre", LUSTRE, shown("lustre", "192.0.2.8@tcp:/fzu4xbev"), False),
        ("another Lustre there", "fsx_lustre", LUSTRE, shown("lustre", "192.0.2.7@tcp:/other"), False),
    ],
)
def test_what_proves_a_mount(
    description: str, location_type: str, options: dict[str, Any], mount: Mount, holds: bool
) -> None:
    settings = settings_of(location_type, options)
    expected = expected_mount(settings, Options.of(settings))
    reason = expected.difference(mount, lambda: TUNNELS, lambda name: ["192.0.2.7"])
    assert (reason is None) is holds, reason


@pytest.mark.parametrize(
    ("location_type", "options", "command"),
    [
        (
            "nfs",
            {**NAS, "mount": True, "version": "3"},
            "mount -t nfs -o nosuid,nodev,noexec,vers=3,nolock nas:/e /mnt",
        ),
        (
            "nfs",
            {**NAS, "mount": True, "export": "/a b"},
            "mount -t nfs -o nosuid,nodev,noexec 'nas:/a b' /mnt",
        ),
        (
            "efs",
            {**EFS_TLS, "access_point": "fsap-0123456789abcdef0", "iam": True},
            f"mount -t efs -o nosuid,nodev,noexec,tls,iam,accesspoint=fsap-0123456789abcdef0 {EFS_NAME}:/ /mnt",
        ),
        (
            "fsx_openzfs",
            {"dns_name": FSX_NAME, "subdirectory": "/fsx/v", "version": "4.2", "mount": True},
            f"mount -t nfs -o nosuid,nodev,noexec,vers=4.2 {FSX_NAME}:/fsx/v /mnt",
        ),
        (
            "fsx_lustre",
            {**LUSTRE, "mount_options": ["flock"]},
            f"mount -t lustre -o nosuid,nodev,noexec,relatime,flock {FSX_NAME}@tcp:/fzu4xbev /mnt",
        ),
    ],
)
def test_the_command_that_mounts(location_type: str, options: dict[str, Any], command: str) -> None:
    settings = settings_of(location_type, options)
    assert expected_mount(settings, Options.of(settings)).shown_command("/mnt") == command


@pytest.mark.parametrize(
    ("left", "right", "overlap"),
    [
        ({"path": "a"}, {"path": "a/b"}, True),
        ({"path": "a"}, {"path": "ab"}, False),
        ({"export": "/e/a"}, {"export": "/e", "path": "a"}, True),
        ({}, {"server": "NAS"}, True),
        ({}, {"server": "other"}, False),
    ],
)
def test_which_locations_share_entries(left: dict[str, Any], right: dict[str, Any], overlap: bool) -> None:
    settings = [settings_of("nfs", {**NAS, **options}) for options in (left, right)]
    assert NFS.overlaps(*settings) is overlap
    assert NFS.overlaps(*reversed(settings)) is overlap


def test_who_is_at_the_server() -> None:
    endpoint = endpoint_of(settings_of("nfs", {**NAS, "uid": 7, "gid": 8, "groups": [9], "timeout": "90s"}))
    assert (endpoint.uid, endpoint.gid, endpoint.groups, endpoint.timeout_seconds) == (7, 8, (9,), 90.0)
    assert endpoint_of(settings_of("nfs", {**NAS, "uid": 7})).groups == ()


def test_without_libnfs_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "SONAMES", ("libnfs-that-nobody-has.so.1",))
    library.library.cache_clear()
    try:
        with pytest.raises(MissingExtraError, match="apt install libnfs13"):
            NFS.open(settings_of("nfs", NAS), OpenSettings(), create=True)
    finally:
        library.library.cache_clear()
