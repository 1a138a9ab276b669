"""What needs no cluster: options, names, codes, access lists, the process's one user, calls that end."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import jsonschema
import pytest
from hdfs_support import settings
from hypothesis import given
from hypothesis import strategies as st
from runner_plugins.hdfs.address import (
    HdfsOptions,
    capabilities,
    describe,
    options_schema,
    overlaps,
    wide_root,
)
from runner_plugins.hdfs.attributes import apply
from runner_plugins.hdfs.clients import SharedClients
from runner_plugins.hdfs.deadline import Deadline
from runner_plugins.hdfs.driver import DRIVER
from runner_plugins.hdfs.facts import version_of
from runner_plugins.hdfs.faults import RemoteFault, fault_of
from runner_plugins.hdfs.identity import UserClaims
from runner_plugins.hdfs.names import absolute, problem_with, temporary_execution
from runner_plugins.hdfs.native import configuration, fault_from
from runner_plugins.hdfs.transport import Status

from runner.errors import Disposition, EntryCode, LocationUnavailableError
from runner.locations.protocol import OpenSettings
from runner.model.entry import Attributes, Entry, Kind
from runner.model.task import Secret

PLAIN: dict[str, Any] = {"namenodes": ["nn.example.org:8020"], "path": "/data", "user": "backup"}


def faults_of(options: dict[str, Any]) -> list[str]:
    validator = jsonschema.Draft202012Validator(dict(options_schema()))
    return [error.message for error in validator.iter_errors(options)]


def test_every_example_is_valid_and_can_be_told_about() -> None:
    for example in options_schema()["examples"]:
        assert faults_of(example) == []
        assert DRIVER.capabilities(settings(example)).remote
        assert describe(settings(example)).count("\n") == 0
        assert HdfsOptions.of(settings(example)).path == "/data/archive"


@pytest.mark.parametrize(
    "changes",
    [
        {"user": None},
        {"namenodes": []},
        {"namenodes": ["nn.example.org"]},
        {"namenodes": ["http://nn.example.org:9870"]},
        {"namenodes": ["nn.example.org:8020/x?op=DELETE"]},
        {"path": "data"},
        {"user": "bob&doas=hdfs\n"},
        {"authentication": "kerberos"},
        {"authentication": "token"},
        {"authentication": "token", "delegation_token": "x"},
        {"https": True},
        {"xattrs": True},
        {"transport": "webhdfs", "ca_certificate": "./ca.pem"},
        {"replication": 0},
        {"replication": 513},
        {"data_transfer_protection": "some"},
        {"timeout": "60"},
        {"block_size": "128"},
        {"unknown": 1},
    ],
)
def test_options_that_cannot_be_meant_are_refused(changes: dict[str, Any]) -> None:
    options = {name: value for name, value in {**PLAIN, **changes}.items() if value is not None}
    assert faults_of(options)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"block_size": "1000000 B"}, "multiple of 512"),
        ({"block_size": "2 GiB"}, "multiple of 512"),
        ({"path": "/data/../etc"}, "leads elsewhere"),
        ({"path": "/a:b"}, "cannot be a root"),
        ({"path": "/data/.snapshot/x"}, "for itself"),
    ],
)
def test_what_a_schema_cannot_say_is_said_when_opening(changes: dict[str, Any], part: str) -> None:
    with pytest.raises(LocationUnavailableError, match=part):
        DRIVER.open(settings({**PLAIN, **changes}), OpenSettings(), create=True)


def test_secrets_stay_hidden() -> None:
    options = {
        **PLAIN,
        "transport": "webhdfs",
        "authentication": "token",
        "delegation_token": Secret("tell-nobody", "test"),
    }
    shown = [describe(settings(options)), repr(HdfsOptions.of(settings(options)))]
    assert not any("tell-nobody" in text for text in shown)


def test_the_native_configuration_of_a_highly_available_cluster() -> None:
    options = {**PLAIN, "namenodes": ["nn1:8020", "nn2:8020"], "nameservice": "prod", "timeout": "5s"}
    assert configuration(HdfsOptions.of(settings(options))) == (
        "hdfs://prod",
        {
            "hadoop.security.authentication": "simple",
            "dfs.client.socket-timeout": "5000",
            "dfs.client.failover.max.attempts": "1",
            "dfs.client.use.datanode.hostname": "false",
            "dfs.ha.namenodes.prod": "nn1,nn2",
            "dfs.namenode.rpc-address.prod.nn1": "nn1:8020",
            "dfs.namenode.rpc-address.prod.nn2": "nn2:8020",
        },
    )
    assert configuration(HdfsOptions.of(settings(PLAIN)))[0] == "hdfs://nn.example.org:8020"


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ({}, {}, True),
        ({}, {"path": "/data/inside"}, True),
        ({}, {"path": "/database"}, False),
        ({}, {"namenodes": ["other:8020"]}, False),
        ({}, {"namenodes": ["nn.example.org:9870"], "transport": "webhdfs"}, True),
        ({"nameservice": "p"}, {"nameservice": "p", "namenodes": ["other:8020"], "path": "/data/x"}, True),
        ({"path": "/"}, {"path": "/anything"}, True),
    ],
)
def test_overlaps(left: dict[str, Any], right: dict[str, Any], expected: bool) -> None:
    one, other = settings({**PLAIN, **left}), settings({**PLAIN, **right})
    assert (overlaps(one, other), overlaps(other, one)) == (expected, expected)


def test_wide_roots() -> None:
    wide = {
        path: wide_root(settings({**PLAIN, "path": path})) for path in ("/", "/user", "/user/eve", "/data")
    }
    assert [path for path, reason in wide.items() if reason is None] == ["/data"]


def test_what_costs_a_question_each_is_carried_only_when_asked_for() -> None:
    plain = capabilities(settings(PLAIN)).attributes
    asked = capabilities(settings({**PLAIN, "transport": "webhdfs", "acls": True, "xattrs": True})).attributes
    assert asked - plain == {"xattrs", "acls"}


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("", True),
        ("a", True),
        ("a/b/", True),
        (".hidden", True),
        ("...", True),
        ("a:b", False),
        (".snapshot", False),
        ("a/.snapshot/b", False),
        (".reserved/raw", False),
        ("x/.reserved", True),
        ("/", False),
        ("a//b", False),
        ("a/../b", False),
        ("a\0b", False),
        ("n" * 255, True),
        ("n" * 256, False),
        ("\udcff", False),
        ("/".join(["n" * 200] * 50), False),
    ],
)
def test_names(path: str, allowed: bool) -> None:
    assert (problem_with(path, "/") is None) == allowed


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_an_allowed_path_never_leaves_the_root(path: str) -> None:
    if problem_with(path, "/root") is None:
        place = absolute("/root", path)
        assert place == "/root" or place.startswith("/root/")
        assert os.path.normpath(place) == place


def test_only_our_own_temporary_names_are_ours() -> None:
    assert temporary_execution(".sync-runner-0123456789ab-cafe1.part") == "0123456789ab"
    for name in (
        ".sync-runner-0123456789ab-.part",
        ".sync-runner-0123456789AB-1.part",
        "x.part",
        ".sync-runner",
    ):
        assert temporary_execution(name) is None


@pytest.mark.parametrize(
    ("java", "message", "code", "disposition"),
    [
        ("java.io.FileNotFoundException", "x", EntryCode.NOT_FOUND, Disposition.SKIP),
        (
            "org.apache.hadoop.security.AccessControlException",
            "no",
            EntryCode.PERMISSION_DENIED,
            Disposition.SKIP,
        ),
        (
            "org.apache.hadoop.security.AccessControlException",
            "/a (is not a directory)",
            EntryCode.KIND_CONFLICT,
            None,
        ),
        ("a.SafeModeException", "x", EntryCode.UNAVAILABLE, Disposition.RETRY),
        ("a.StandbyException", "x", EntryCode.UNAVAILABLE, Disposition.RETRY),
        ("a.DSQuotaExceededException", "x", EntryCode.NO_SPACE, None),
        ("a.AlreadyBeingCreatedException", "x", EntryCode.LOCKED, None),
        ("a.SecretManager$InvalidToken", "x", EntryCode.PERMISSION_DENIED, None),
        ("a.FSLimitException$PathComponentTooLongException", "x", EntryCode.NAME_NOT_ALLOWED, None),
        ("java.io.IOException", "could only be written to 0 of 1", EntryCode.UNAVAILABLE, Disposition.RETRY),
        ("java.io.IOException", "what nobody knows", EntryCode.IO_ERROR, None),
    ],
)
def test_java_exceptions(java: str, message: str, code: EntryCode, disposition: Disposition | None) -> None:
    fault = fault_of(java, message + "\n\tat org.apache.hadoop.Secret(Secret.java:1)")
    assert fault.code is code
    assert "\n" not in fault.message and "Secret.java" not in fault.message
    if disposition is Disposition.RETRY:
        assert fault.disposition is disposition


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FileNotFoundError("/x"), EntryCode.NOT_FOUND),
        (FileExistsError("/x already exists"), EntryCode.STALE),
        (FileExistsError("because x is already the current lease holder"), EntryCode.LOCKED),
        (IsADirectoryError("/x"), EntryCode.STALE),
        (NotImplementedError("Erasure coding"), EntryCode.KIND_NOT_SUPPORTED),
        (OSError("Connection refused (os error 111)"), EntryCode.UNAVAILABLE),
        (OSError("Timed out connecting to DataNode"), EntryCode.TIMEOUT),
        (
            RuntimeError('RPCError("org.apache.hadoop.security.AccessControlException", "no\\n\\tat x")'),
            EntryCode.PERMISSION_DENIED,
        ),
        (
            RuntimeError('FatalRPCError("javax.security.sasl.SaslException", "no")'),
            EntryCode.PERMISSION_DENIED,
        ),
        (RuntimeError('GSSAPIError(GSS_S_FAILURE, 0, "No credentials")'), EntryCode.PERMISSION_DENIED),
        (RuntimeError("NoSASLMechanism"), EntryCode.PERMISSION_DENIED),
        (RuntimeError('DataTransferError("closed")'), EntryCode.UNAVAILABLE),
        (RuntimeError("ChecksumError"), EntryCode.IO_ERROR),
    ],
)
def test_what_the_native_client_raises(error: Exception, code: EntryCode) -> None:
    assert fault_from(error, "cluster").code is code


class _Recorder:
    """A transport that notes what is set, and refuses what it is told to."""

    def __init__(self, refuses: frozenset[str] = frozenset()) -> None:
        self.calls: list[tuple[object, ...]] = []
        self._refuses = refuses

    def __getattr__(self, name: str) -> Any:
        def note(*arguments: object) -> None:
            self.calls.append((name, *arguments[1:]))
            if name in self._refuses:
                raise RemoteFault(EntryCode.PERMISSION_DENIED, "no")

        return note


STANDING = Status("a", False, 1, 0o600, "us", "ours", 5, 6)


@pytest.mark.parametrize(
    ("description", "attributes", "calls", "refused"),
    [
        ("nothing to do", Attributes(mode=0o600, user="us", group="ours"), [], ()),
        ("mode", Attributes(mode=0o640), [("set_mode", 0o640)], ()),
        ("setuid is refused", Attributes(mode=0o4600), [], ("mode",)),
        ("group only", Attributes(user="us", group="theirs"), [("set_owner", None, "theirs")], ()),
        ("no list", Attributes(acls=()), [("remove_acl",)], ()),
        (
            "a list, its mask in the mode",
            Attributes(mode=0o670, acls=(("hdfs", b"group::r--,user:bob:rw-"),)),
            [
                ("set_mode", 0o670),
                ("set_acl", ("user::rw-", "group::r--", "user:bob:rw-", "mask::rwx", "other::---")),
            ],
            (),
        ),
        (
            "a default list alone",
            Attributes(acls=(("hdfs", b"default:user::rwx"),)),
            [("set_acl", ("user::rw-", "group::---", "default:user::rwx", "other::---"))],
            (),
        ),
        ("numeric lists", Attributes(acls=(("access", b"\2\0\0\0"),)), [], ("acls",)),
        ("foreign attributes", Attributes(xattrs=(("trusted.x", b""),)), [("set_xattrs", ())], ("xattrs",)),
        ("access time", Attributes(atime_ns=7_999_999), [("set_times", None, 7)], ()),
    ],
)
def test_applying_attributes(
    description: str, attributes: Attributes, calls: list[tuple[object, ...]], refused: tuple[str, ...]
) -> None:
    transport: Any = _Recorder()
    assert apply(transport, "/a", Entry("a", Kind.FILE, attributes=attributes), STANDING) == refused, (
        description
    )
    assert transport.calls == calls, description


def test_a_refused_owner_is_told_and_the_time_still_set() -> None:
    transport: Any = _Recorder(frozenset({"set_owner"}))
    entry = Entry("a", Kind.FILE, mtime_ns=1_999_999, attributes=Attributes(user="x", group="y"))
    assert apply(transport, "/a", entry, STANDING) == ("user", "group")
    assert transport.calls[-1] == ("set_times", 1, None)


def test_versions_need_an_inode() -> None:
    assert version_of(STANDING) is None
    assert version_of(STANDING._replace(file_id=9)) == "9:1:5"


def test_one_user_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HADOOP_USER_NAME", "before")
    claims = UserClaims()
    claims.take("bob", "one")
    claims.take("bob", "two")
    assert os.environ["HADOOP_USER_NAME"] == "bob"
    with pytest.raises(LocationUnavailableError, match="open as user bob"):
        claims.take("eve", "three")
    claims.give_back()
    assert os.environ["HADOOP_USER_NAME"] == "bob"
    claims.give_back()
    assert os.environ["HADOOP_USER_NAME"] == "before"
    claims.take("eve", "three")
    claims.give_back()


def test_clients_are_shared_while_they_are_held() -> None:
    clients = SharedClients()
    made: list[Any] = []

    def make() -> Any:
        made.append(object())
        return made[-1]

    for _ in range(2):
        clients.hold(("a",))
    first = clients.get(("a",), make)
    assert clients.get(("a",), make) is first
    clients.forget(("a",), first)
    second = clients.get(("a",), make)
    clients.forget(("a",), first)
    assert clients.get(("a",), make) is second is not first
    for _ in range(2):
        clients.let_go(("a",))
    clients.hold(("a",))
    assert clients.get(("a",), make) is not second
    assert len(made) == 3


def test_a_call_that_does_not_come_back_is_left_alone() -> None:
    deadline = Deadline(0.2)
    held, ended = threading.Event(), threading.Event()

    def hang() -> None:
        held.wait(10)
        ended.set()

    began = time.monotonic()
    with pytest.raises(TimeoutError, match="no answer within"):
        deadline(hang)
    assert time.monotonic() - began < 5
    assert deadline(lambda: 1) == 1
    held.set()
    assert ended.wait(10)
    with pytest.raises(KeyError):
        deadline({}.__getitem__, "x")
    deadline.close()
    deadline.close()
