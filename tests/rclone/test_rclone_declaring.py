"""What a declaration may name: no programs, no inline remotes, no misspelt settings; and what it says of itself."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from runner_plugins.rclone import binary
from runner_plugins.rclone.driver import DRIVER, FTP, WEBDAV

from runner.errors import LocationUnavailableError
from runner.locations.protocol import Driver, OpenSettings
from runner.model.task import LocationSettings, Secret
from runner.testing.conformance_base import content_of, put_file


def located(options: dict[str, Any], location_type: str = "rclone") -> LocationSettings:
    return LocationSettings("tested", location_type, options, "/")


def refusal_of(options: dict[str, Any]) -> str:
    with pytest.raises(LocationUnavailableError) as caught:
        DRIVER.open(located(options), OpenSettings(), create=True)
    return str(caught.value)


@pytest.mark.parametrize(
    ("description", "options", "expected"),
    [
        ("an unknown backend", {"backend": "nosuch"}, "no backend 'nosuch'"),
        ("a misspelt setting", {"backend": "webdav", "settings": {"vender": "x"}}, "no setting 'vender'"),
        (
            "a setting that starts a program",
            {"backend": "webdav", "settings": {"url": "http://127.0.0.1:1", "bearer_token_command": "id"}},
            "starts a program",
        ),
        (
            "a setting that starts a program, of a wrapped remote",
            {
                "backend": "alias",
                "settings": {"remote": "base:x"},
                "remotes": {"base": {"backend": "sftp", "settings": {"host": "h", "ssh": "id"}}},
            },
            "starts a program",
        ),
        (
            "an inline remote",
            {"backend": "alias", "settings": {"remote": ":local:/etc"}},
            "neither `remote:path` nor an absolute path",
        ),
        (
            "settings in a remote's name",
            {
                "backend": "alias",
                "settings": {"remote": "base,ssh=id:/etc"},
                "remotes": {"base": {"backend": "sftp", "settings": {"host": "h"}}},
            },
            "neither `remote:path` nor an absolute path",
        ),
        (
            "an undeclared remote",
            {"backend": "alias", "settings": {"remote": "other:x"}},
            "no rclone remote 'other'",
        ),
        (
            "a remote that wraps itself",
            {
                "backend": "alias",
                "settings": {"remote": "a:x"},
                "remotes": {"a": {"backend": "alias", "settings": {"remote": "a:y"}}},
            },
            "wraps itself",
        ),
        ("a line break", {"backend": "local", "settings": {"encoding": "a\ntype = sftp"}}, "line break"),
        (
            "a global setting",
            {"backend": "local", "settings": {"global.dump": "bodies"}},
            "no setting 'global.dump'",
        ),
        ("a root with ..", {"backend": "local", "path": "/tmp/../etc"}, "cannot be a root"),
        (
            "a missing file",
            {"config_file": "/nonexistent/rclone.conf", "remote": "a"},
            "there is no rclone config",
        ),
    ],
)
def test_refused(description: str, options: dict[str, Any], expected: str) -> None:
    assert expected in refusal_of(options)


def test_a_missing_root_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(LocationUnavailableError, match="is not there"):
        DRIVER.open(
            located({"backend": "local", "path": str(tmp_path / "none")}), OpenSettings(), create=False
        )


@pytest.mark.parametrize("encrypted", [False, True])
def test_remotes_of_a_configuration_file(tmp_path: Path, encrypted: bool) -> None:
    """Also of an encrypted one, with what they wrap; the file itself stays as it is."""
    configuration = tmp_path / "rclone.conf"
    run = [binary.find(), "--config", str(configuration), "--ask-password=false"]
    subprocess.run([*run, "config", "create", "disk", "local"], check=True, capture_output=True)
    arguments = ["vault", "crypt", f"remote=disk:{tmp_path}/vault", "password=of the vault"]
    subprocess.run([*run, "config", "create", *arguments], check=True, capture_output=True)
    options: dict[str, Any] = {"config_file": str(configuration), "remote": "vault", "path": "in"}
    if encrypted:
        subprocess.run(
            [*run, "config", "encryption", "set", "--password-command", "echo of-the-file"],
            check=True,
            capture_output=True,
        )
        assert "cannot be read" in refusal_of(options)
        options["config_password"] = Secret("of-the-file", "test")
    before = configuration.read_bytes()
    location = DRIVER.open(located(options), OpenSettings(), create=True)
    try:
        put_file(location, "a", b"content")
        assert content_of(location, "a") == b"content"
        names = [path.name for path in (tmp_path / "vault").rglob("*")]
        assert len(names) == 2
        assert "a" not in names
    finally:
        location.close()
    assert configuration.read_bytes() == before
    assert "declared are: disk, vault" in refusal_of({**options, "remote": "other"})


@pytest.mark.parametrize("driver", [DRIVER, WEBDAV, FTP])
def test_the_first_example_is_enough_for_what_is_told_without_opening(driver: Driver) -> None:
    for example in driver.options_schema()["examples"]:
        settings = located(example, driver.type)
        assert driver.capabilities(settings).remote
        assert driver.describe(settings)
        assert driver.overlaps(settings, settings)


def test_secrets_do_not_show() -> None:
    settings = located(
        {
            "url": "https://h/dav",
            "user": "u",
            "password": Secret("hunter22", "x"),
            "path": Secret("s3cret", "y"),
        },
        "webdav",
    )
    assert WEBDAV.describe(settings) == "webdav https://h/dav/***"
    assert "hunter22" not in repr(settings)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ({"backend": "local", "path": "/a"}, {"backend": "local", "path": "/a/b"}, True),
        ({"backend": "local", "path": "/a"}, {"backend": "local", "path": "/ab"}, False),
        ({"backend": "local", "path": "/a"}, {"backend": "alias", "settings": {"remote": "/a/c"}}, True),
        (
            {"backend": "sftp", "settings": {"host": "h"}, "path": "x"},
            {"backend": "sftp", "settings": {"host": "other"}, "path": "x"},
            False,
        ),
    ],
)
def test_overlaps(left: dict[str, Any], right: dict[str, Any], expected: bool) -> None:
    assert DRIVER.overlaps(located(left), located(right)) is expected
    assert DRIVER.overlaps(located(right), located(left)) is expected


@pytest.mark.parametrize(
    ("driver", "options", "is_wide"),
    [
        (DRIVER, {"backend": "drive"}, True),
        (DRIVER, {"backend": "drive", "path": "photos"}, False),
        (DRIVER, {"backend": "alias", "settings": {"remote": "/srv/x"}}, False),
        (WEBDAV, {"url": "https://host/"}, True),
        (WEBDAV, {"url": "https://host/dav/files/anna"}, False),
        (FTP, {"host": "h"}, True),
        (FTP, {"host": "h", "path": "p"}, False),
    ],
)
def test_wide_roots(driver: Driver, options: dict[str, Any], is_wide: bool) -> None:
    assert (driver.wide_root(located(options, driver.type)) is not None) == is_wide
