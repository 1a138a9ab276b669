"""Options, addresses, names and times: what can be said without a server, and without the driver's packages."""

from __future__ import annotations

import json
import subprocess
import sys

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner_plugins.smb.driver import FSX_WINDOWS, SMB
from runner_plugins.smb.messages import to_nanoseconds, to_ticks
from runner_plugins.smb.names import RULES, can_exist, check_path, is_reserved, temporary_execution
from runner_plugins.smb.options import SmbOptions

from runner.errors import EntryCode, EntryError
from runner.locations.protocol import Driver
from runner.model.task import LocationSettings, Secret


def smb(**options: object) -> LocationSettings:
    return LocationSettings("nas", "smb", {"server": "files.example.com", "share": "s", **options}, "/base")


@pytest.mark.parametrize("driver", [SMB, FSX_WINDOWS])
def test_examples_pass_their_schema_and_can_be_described(driver: Driver) -> None:
    schema = driver.options_schema()
    for example in schema["examples"]:
        jsonschema.Draft202012Validator(schema).validate(example)
        settings = LocationSettings("x", driver.type, example, "/")
        assert driver.capabilities(settings).remote
        assert driver.describe(settings).startswith(f"{driver.type} //")
        assert "PASSWORD" not in driver.describe(settings)
    for name, option in schema["properties"].items():
        assert option.get("examples"), f"option {name!r} has no example"


def test_both_types_take_the_same_options_but_for_the_server_s_name() -> None:
    here = dict(SMB.options_schema()["properties"])
    there = dict(FSX_WINDOWS.options_schema()["properties"])
    assert set(here) - {"server"} == set(there) - {"file_system"}
    for name in set(here) & set(there) - {"share"}:
        assert here[name] == there[name]


def test_defaults() -> None:
    options = SmbOptions.of(smb())
    assert (options.port, options.auth, options.root) == (445, "ntlm", "")
    assert options.dialects == (0x0210, 0x0300, 0x0302, 0x0311)
    assert (options.require_signing, options.require_encryption) == (True, False)
    assert (options.connect_seconds, options.timeout_seconds) == (10.0, 60.0)
    fsx = LocationSettings("x", "fsx_windows", {"file_system": "fs.example.com", "user": "u"}, "/")
    assert (SmbOptions.of(fsx).server, SmbOptions.of(fsx).share) == ("fs.example.com", "share")


def test_what_is_chosen_arrives() -> None:
    options = SmbOptions.of(
        smb(
            path="/a//b/", dialect_min="3.0", dialect_max="3.0.2", timeout="2m", keytab="k", carried_attributes="RA"
        )
    )  # fmt: skip
    assert (options.root, options.dialects, options.timeout_seconds) == ("a\\b", (0x0300, 0x0302), 120.0)
    assert (options.keytab, options.attribute_mask) == ("/base/k", 0x21)


def test_secrets_are_never_shown() -> None:
    settings = smb(password=Secret("hunter2", "ref"), user="u")
    options = SmbOptions.of(settings)
    assert "hunter2" not in repr(options) + SMB.describe(settings) + str(options)
    assert "hunter2" not in repr(SmbOptions.of(smb(password="hunter2")))


@pytest.mark.parametrize(
    ("what", "left", "right", "expected"),
    [
        ("the same folder", {"path": "a"}, {"path": "a"}, True),
        ("case does not tell folders apart", {"path": "A/b"}, {"path": "a/B"}, True),
        ("one inside the other", {"path": "a"}, {"path": "a/b"}, True),
        ("the whole share", {}, {"path": "a"}, True),
        ("beside one another", {"path": "a"}, {"path": "ab"}, False),
        ("another share", {"path": "a"}, {"path": "a", "share": "t"}, False),
        ("another server", {"path": "a"}, {"path": "a", "server": "other"}, False),
        ("another port", {"path": "a"}, {"path": "a", "port": 1445}, False),
    ],
)
def test_overlaps(what: str, left: dict[str, object], right: dict[str, object], expected: bool) -> None:
    assert SMB.overlaps(smb(**left), smb(**right)) is expected, what
    assert SMB.overlaps(smb(**right), smb(**left)) is expected, what


def test_drives_are_wide_roots() -> None:
    assert SMB.wide_root(smb(share="C$"))
    assert SMB.wide_root(smb(share="admin$"))
    assert SMB.wide_root(smb(share="C$", path="data")) is None
    assert SMB.wide_root(smb(share="home$")) is None
    assert SMB.wide_root(smb()) is None


@pytest.mark.parametrize(
    "path",
    ["..", "a/../b", "/a", "a//b", "a/.", "a\\b", "a:b", "a*", "a?", 'a"', "a<", "a>", "a|", "a\0", "a\udcff", "\ud800"],
)  # fmt: skip
def test_what_would_lead_elsewhere_is_never_sent(path: str) -> None:
    with pytest.raises(EntryError) as caught:
        check_path(path)
    assert caught.value.entry_code is EntryCode.NAME_NOT_ALLOWED


@pytest.mark.parametrize(
    "name",
    ["a.", "a ", "con", "NUL.txt", "com1", "Lpt9.x", "com\u00b9", "a\x1f", "a\x7f", "a:b", "a\\b", "u" * 256,
     "\U0001f600" * 128],
)  # fmt: skip
def test_names_that_cannot_be_held(name: str) -> None:
    assert RULES.refusal(name) is not None


@pytest.mark.parametrize(
    "name",
    [" a", ".a", "..a", "a.b", "console", "com", "com10", "-rf", "$(x)", "%s", "u" * 255, "\U0001f600" * 127, "\u202e"],
)  # fmt: skip
def test_names_that_can(name: str) -> None:
    assert RULES.refusal(name) is None
    assert check_path(f"d/{name}") == ["d", name]
    assert can_exist(name)


def test_our_own_names() -> None:
    assert temporary_execution(".sync-runner-0123456789ab-a1.part") == "0123456789ab"
    assert temporary_execution(".sync-runner-0123456789ab-a1.part2") is None
    assert is_reserved(".sync-runner", is_directory=True, at_top=False)
    assert is_reserved(".sync-runner-quarantine", is_directory=True, at_top=True)
    assert not is_reserved(".sync-runner-quarantine", is_directory=True, at_top=False)
    assert is_reserved(".sync-runner-lock", is_directory=False, at_top=True)
    assert not is_reserved(".sync-runner-lock", is_directory=False, at_top=False)


@given(st.integers(-11_000_000_000_000_000_000, 2**63 - 1))
def test_times_are_cut_to_100_ns_and_come_back(nanoseconds: int) -> None:
    ticks = to_ticks(nanoseconds)
    assert ticks is not None and ticks > 0
    assert to_nanoseconds(ticks) == nanoseconds - nanoseconds % 100


def test_times_that_cannot_be_held() -> None:
    assert to_ticks(-11_644_473_600_000_000_000) is None  # 1601 itself would mean "leave it as it is"
    assert to_ticks(-(10**20)) is None
    assert to_ticks(10**22) is None


def test_schemas_and_capabilities_need_no_package() -> None:
    """What `validate` and the documentation ask for works where the extra is not installed."""
    script = """
import json, sys
for name in ("smbprotocol", "spnego", "cryptography"):
    sys.modules[name] = None
from runner_plugins.smb.driver import SMB
from runner.model.task import LocationSettings
settings = LocationSettings("x", "smb", SMB.options_schema()["examples"][0], "/")
print(json.dumps([SMB.describe(settings), SMB.capabilities(settings).remote, list(SMB.requires), SMB.extra]))
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    described, remote, requires, extra = json.loads(done.stdout)
    assert described == "smb //files.example.com/projects/2024/reports"
    assert (remote, requires, extra) == (True, ["smbprotocol", "spnego", "cryptography"], "smb")
