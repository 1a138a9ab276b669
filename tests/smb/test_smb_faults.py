"""Locked files, other spellings, a server that refuses, restarts, stops or is cut off."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest
from runner_plugins.smb import messages
from runner_plugins.smb.driver import SMB
from servers.serve_samba import Samba, public_folder, started
from smb.smb_support import (
    EVERYTHING,
    FREE,
    content_of,
    file_entry,
    opened,
    paths,
    put,
    stated,
    wired,
)

from runner.errors import Disposition, EntryCode, EntryError, LocationUnavailableError
from runner.locations.protocol import OpenSettings
from runner.model.entry import Entry, Kind, Problem
from runner.model.task import LocationSettings, Secret
from runner.testing.conformance_base import refused
from runner.testing.fault_proxy import FaultProxy, cuts, flips, resets, swallows

pytestmark = pytest.mark.servers

BIG = os.urandom(5_000_000)


@pytest.fixture
def own_server() -> Iterator[Samba]:
    """A server that a test may stop."""
    with public_folder() as folder, started(folder) as server:
        yield server


def share_path(settings: LocationSettings, path: str) -> str:
    return settings.options["path"] + "\\" + path.replace("/", "\\")


# -- locked files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "access", "share"),
    [
        ("nobody else may read", messages.READ_DATA, messages.SHARE_NONE),
        ("it is being written", messages.WRITE_DATA, messages.SHARE_ALL),
    ],
)
def test_a_file_that_is_open_elsewhere_is_locked(samba: Samba, what: str, access: int, share: int) -> None:
    """LOCKED, skipped at once; readable and replaceable again when the other lets go."""
    settings = samba.settings()
    with opened(settings) as location, wired(samba) as other:
        entry = put(location, "a")
        name = share_path(settings, "a")
        answer = other.ask(messages.create(name, access, share, messages.OPEN, messages.NON_DIRECTORY_FILE))[
            0
        ]
        file = messages.opened(answer.require(), name).file
        for act in (
            lambda: list(location.read(entry)),
            lambda: location.remove(entry),
            lambda: location.put(file_entry("a", b"new"), [b"new"], entry, FREE),
            lambda: location.rename(entry, "b"),
        ):
            with pytest.raises(EntryError) as caught:
                act()
            assert caught.value.entry_code is EntryCode.LOCKED
            assert caught.value.disposition is Disposition.SKIP
        assert paths(location) == ["", "a"]
        other.ask(messages.close(file))[0].require()
        assert content_of(location, "a") == b"content"
        location.put(file_entry("a", b"new"), [b"new"], entry, FREE)
        assert content_of(location, "a") == b"new"


def test_a_file_that_others_only_read_is_read_and_replaced(samba: Samba) -> None:
    settings = samba.settings()
    with opened(settings) as location, wired(samba) as other:
        entry = put(location, "a")
        name = share_path(settings, "a")
        answer = other.ask(messages.create(name, messages.READ_DATA, messages.SHARE_ALL, messages.OPEN, 0))[0]
        file = messages.opened(answer.require(), name).file
        assert content_of(location, "a") == b"content"
        location.put(file_entry("a", b"new"), [b"new"], entry, FREE)
        assert content_of(location, "a") == b"new"
        other.ask(messages.close(file))


def test_listing_and_looking_need_no_open_file(samba: Samba) -> None:
    settings = samba.settings()
    with opened(settings, EVERYTHING) as location, wired(samba) as other:
        entry = put(location, "a")
        name = share_path(settings, "a")
        other.ask(messages.create(name, messages.READ_DATA, messages.SHARE_NONE, messages.OPEN, 0))[
            0
        ].require()
        assert stated(location, "a") == entry
        assert [found for found in location.scan() if found.path == "a"] == [entry]


# -- spelling ------------------------------------------------------------------------------------------------


def test_another_spelling_is_another_name(samba: Samba) -> None:
    """What the server would take for the same name is not there for us, and nothing happens to it."""
    with opened(samba.settings()) as location:
        entry = put(location, "Folder/Name")
        for path in ("folder/Name", "Folder/name", "FOLDER/NAME", "folder/"):
            assert location.stat(path) is None
        other = msgspec.structs.replace(entry, path="folder/name")
        with refused(EntryCode.NOT_FOUND, EntryCode.CHANGED_DURING_TRANSFER):
            list(location.read(msgspec.structs.replace(other, version=None)))
        with refused(EntryCode.NOT_FOUND):
            location.remove(other)
        with refused(EntryCode.NOT_FOUND):
            location.set_attributes(other, None)
        with refused(EntryCode.STALE):
            location.put(file_entry("Folder/NAME", b"x"), [b"x"], None, FREE)
        with refused(EntryCode.STALE):
            location.put(file_entry("Folder/NAME", b"x"), [b"x"], entry, FREE)
        with refused(EntryCode.STALE):
            location.put(file_entry("FOLDER/new", b"x"), [b"x"], None, FREE)
        with refused(EntryCode.STALE):
            location.put(Entry("FOLDER/", Kind.DIRECTORY), None, None, FREE)
        assert paths(location) == ["", "Folder/", "Folder/Name"]
        assert content_of(location, "Folder/Name") == b"content"


def test_a_name_changes_its_case_by_moving(samba: Samba) -> None:
    """Quarantine and restore may meet it: the same file under another spelling is no collision of two."""
    with opened(samba.settings()) as location:
        entry = put(location, "name")
        try:
            location.rename(entry, "NAME")
        except EntryError as error:
            assert error.entry_code is EntryCode.STALE
            assert paths(location) == ["", "name"]
        else:
            assert paths(location) == ["", "NAME"]


def test_a_stream_of_a_file_cannot_be_named(samba: Samba) -> None:
    """`a:b` would be a second content of `a`."""
    with opened(samba.settings()) as location:
        put(location, "a")
        for name in ("a:b", "a::$DATA", "a:b:$DATA"):
            assert location.stat(name) is None
            with refused(EntryCode.NAME_NOT_ALLOWED):
                location.put(file_entry(name, b"x"), [b"x"], None, FREE)
            with refused(EntryCode.NAME_NOT_ALLOWED):
                list(location.read(Entry(name, Kind.FILE)))
            with refused(EntryCode.NAME_NOT_ALLOWED):
                location.remove(Entry(name, Kind.FILE))
        assert content_of(location, "a") == b"content"


def test_a_link_on_the_server_that_leads_upward_ends(samba: Samba) -> None:
    """Samba shows a link's target in its place: one that leads to a parent would never end."""
    settings = samba.settings()
    with opened(settings) as location:
        put(location, "d/a")
        os.symlink("..", samba.folder_of(settings) / "d" / "up")
        found = list(location.scan())
    codes = [one.code for one in found if isinstance(one, Problem)]
    assert codes in ([], [EntryCode.LINK_LOOP])
    assert len(found) <= 6


def test_nothing_outside_the_root_is_reached_through_a_link(samba: Samba, tmp_path: Path) -> None:
    """Samba follows no link out of the share."""
    settings = samba.settings()
    (tmp_path / "secret").write_bytes(b"secret")
    with opened(settings) as location:
        put(location, "a")
        os.symlink(tmp_path, samba.folder_of(settings) / "out")
        assert [found.path for found in location.scan() if isinstance(found, Entry)] in (
            ["", "a"],
            ["", "a", "out/"],
        )
        with refused():
            location.put(file_entry("out/secret", b"evil"), [b"evil"], None, FREE)
    assert (tmp_path / "secret").read_bytes() == b"secret"


# -- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "options", "message"),
    [
        ("a wrong password", {"password": Secret("wrong secret", "test")}, "LOGON_FAILURE"),
        ("an unknown user", {"user": "no such user"}, "LOGON_FAILURE"),
        ("an unknown share", {"share": "nothing"}, "BAD_NETWORK_NAME"),
        ("a closed port", {"port": 1}, "refused"),
        ("an unknown server", {"server": "no-such-server.invalid"}, "cannot be reached"),
    ],
)
def test_what_cannot_be_opened_says_why(
    samba: Samba, what: str, options: dict[str, object], message: str
) -> None:
    settings = samba.settings()
    settings.options.update(options)
    with pytest.raises(LocationUnavailableError, match=message) as caught:
        SMB.open(settings, OpenSettings(), create=True)
    assert caught.value.remedy
    assert "secret" not in str(caught.value) + repr(caught.value.__cause__)


@pytest.mark.skipif(find_spec("gssapi") is not None, reason="Kerberos is installed")
@pytest.mark.parametrize("more", [{}, {"keytab": "k"}, {"ccache": "c"}])
def test_kerberos_without_its_package_says_what_to_install(samba: Samba, more: dict[str, str]) -> None:
    with pytest.raises(LocationUnavailableError, match="Kerberos needs a package") as caught:
        SMB.open(samba.settings(auth="kerberos", **more), OpenSettings(), create=True)
    assert "smbprotocol[kerberos]" in (caught.value.remedy or "")


def test_a_share_that_is_read_only_says_so(samba: Samba) -> None:
    with opened(samba.settings("frozen")) as location:
        with refused(EntryCode.PERMISSION_DENIED, EntryCode.READ_ONLY):
            location.put(file_entry("a", b"x"), [b"x"], None, FREE)


def test_a_path_that_is_a_file_is_no_root(samba: Samba) -> None:
    settings = samba.settings()
    (samba.shares["plain"] / settings.options["path"]).write_bytes(b"")
    for create in (False, True):
        with pytest.raises(LocationUnavailableError, match="no folder"):
            SMB.open(settings, OpenSettings(), create=create)


def test_old_dialects_are_refused_where_encryption_is_required(samba: Samba) -> None:
    with pytest.raises(LocationUnavailableError, match="encryption"):
        with opened(samba.settings(dialect_max="2.1", require_encryption=True)):
            pass
    with pytest.raises(LocationUnavailableError):
        with opened(samba.settings("sealed", dialect_max="2.1")):
            pass


@pytest.mark.parametrize("dialect", ["2.1", "3.0", "3.0.2", "3.1.1"])
@pytest.mark.parametrize("encrypted", [False, True])
def test_every_dialect_moves_content(samba: Samba, dialect: str, encrypted: bool) -> None:
    if encrypted and dialect == "2.1":
        pytest.skip("SMB 2.1 encrypts nothing")
    chosen = {"dialect_min": dialect, "dialect_max": dialect, "require_encryption": encrypted}
    with opened(samba.settings(**chosen)) as location:
        put(location, "d/big", BIG)
        put(location, "d/small")
        assert content_of(location, "d/big") == BIG
        assert paths(location) == ["", "d/", "d/big", "d/small"]


# -- a server that goes away ---------------------------------------------------------------------------------


def test_a_restarted_server_is_connected_anew(own_server: Samba) -> None:
    """The first call after it says UNAVAILABLE with RETRY, the next one works."""
    with opened(own_server.settings()) as location:
        entry = put(location, "a", BIG)
        stream = location.read(entry)
        next(stream)
        own_server.stop()
        with pytest.raises(EntryError) as caught:
            for _ in stream:
                pass
        assert (caught.value.entry_code, caught.value.disposition) == (
            EntryCode.UNAVAILABLE,
            Disposition.RETRY,
        )
        for act in (
            lambda: location.stat("a"),
            lambda: list(location.scan()),
            lambda: location.put(file_entry("b", b"x"), [b"x"], None, FREE),
        ):
            with pytest.raises(EntryError) as caught:
                act()
            assert (caught.value.entry_code, caught.value.disposition) == (
                EntryCode.UNAVAILABLE,
                Disposition.RETRY,
            )
        own_server.start()
        assert stated(location, "a").size_bytes == len(BIG)
        put(location, "b")
        assert content_of(location, "a") == BIG
        assert paths(location) == ["", "a", "b"]


def test_a_write_cut_off_in_the_middle_leaves_nothing_to_see(own_server: Samba) -> None:
    with opened(own_server.settings()) as location:
        put(location, "kept")

        def content() -> Iterator[bytes]:
            yield BIG
            own_server.stop()
            yield BIG

        with refused(EntryCode.UNAVAILABLE):
            location.put(file_entry("a", BIG * 2), content(), None, FREE)
        own_server.start()
        assert paths(location) == ["", "kept"]
        for path, execution_id in location.leftovers():
            assert execution_id == "000000000000"
            location.remove_leftover(path)
        root = own_server.shares["plain"]
        assert [entry.name for entry in os.scandir(next(root.iterdir()))] == ["kept"]


def test_a_client_that_dies_leaves_no_large_draft(samba: Samba) -> None:
    """The server removes it with the broken connection."""
    settings = samba.settings()
    with opened(settings) as watcher:
        put(watcher, "kept")
        with opened(settings) as location:

            def content() -> Iterator[bytes]:
                yield BIG
                list(watcher.scan())
                assert len(list(watcher.leftovers())) == 1
                wire = location._client.wire()
                wire.close()
                yield BIG

            with refused(EntryCode.UNAVAILABLE):
                location.put(file_entry("a", BIG * 2), content(), None, FREE)
        folder = samba.folder_of(settings)
        deadline = time.monotonic() + 10
        while len(os.listdir(folder)) > 1 and time.monotonic() < deadline:
            list(watcher.scan())
        assert os.listdir(folder) == ["kept"]


@pytest.mark.parametrize("what", ["stat", "scan", "read", "put", "set"])
def test_a_stopped_server_is_not_waited_for_forever(own_server: Samba, what: str) -> None:
    with opened(own_server.settings(timeout="1s", connect_timeout="1s")) as location:
        entry = put(location, "a", BIG)
        assert own_server.process is not None
        os.killpg(own_server.process.pid, signal.SIGSTOP)
        began = time.monotonic()
        try:
            for _ in range(2):
                with pytest.raises(EntryError) as caught:
                    if what == "stat":
                        location.stat("a")
                    elif what == "scan":
                        list(location.scan())
                    elif what == "read":
                        list(location.read(entry))
                    elif what == "put":
                        location.put(file_entry("b", BIG), [BIG], None, FREE)
                    else:
                        location.set_attributes(entry, entry)
                assert caught.value.entry_code is EntryCode.TIMEOUT
                assert caught.value.disposition is Disposition.RETRY
            assert time.monotonic() - began < 8
        finally:
            os.killpg(own_server.process.pid, signal.SIGCONT)
        assert content_of(location, "a") == BIG


def test_a_connection_cut_anywhere_loses_nothing(samba: Samba) -> None:
    """Each fault gives a classified error or the right bytes, and the same object goes on."""
    settings = samba.settings()
    with FaultProxy(samba.port) as proxy:
        settings.options["port"] = proxy.port
        settings.options["timeout"] = "2s"
        with opened(settings) as location:
            entry = put(location, "a", BIG)
            for fault in (
                cuts(after_bytes=2_000_000),
                resets(after_bytes=1_500_000),
                swallows(after_bytes=3_000_000),
                flips(after_bytes=2_500_000),
            ):
                proxy.reset_all()
                with refused(EntryCode.UNAVAILABLE):
                    location.stat("a")
                proxy.script(fault)
                with refused(EntryCode.UNAVAILABLE, EntryCode.TIMEOUT):
                    b"".join(bytes(chunk) for chunk in location.read(entry))
                assert content_of(location, "a") == BIG
        proxy.assert_all_fired()


def test_a_flipped_bit_in_a_listing_is_noticed(samba: Samba) -> None:
    """Every answer is signed: what was changed on the way is not believed."""
    settings = samba.settings()
    with opened(settings) as location:
        for number in range(200):
            put(location, f"file-{number}")
    with FaultProxy(samba.port, [flips(after_bytes=12_000)]) as proxy:
        settings.options["port"] = proxy.port
        with opened(settings) as location:
            try:
                found = list(location.scan())
            except EntryError as error:
                assert error.entry_code is EntryCode.UNAVAILABLE
            else:
                assert [one.code for one in found if isinstance(one, Problem)] == [EntryCode.NOT_LISTED]
            assert len(list(location.scan())) == 201
        proxy.assert_all_fired()


def test_a_lock_is_taken_again_on_a_new_connection(own_server: Samba) -> None:
    settings = own_server.settings()
    with opened(settings) as holder, opened(settings) as other:
        put(holder, "a")
        assert holder.lock()
        own_server.stop()
        own_server.start()
        with refused(EntryCode.UNAVAILABLE):
            holder.stat("a")
        holder.stat("a")
        with refused(EntryCode.UNAVAILABLE):
            other.lock()
        assert not other.lock()


def test_a_lock_that_another_took_meanwhile_ends_the_run(own_server: Samba) -> None:
    settings = own_server.settings()
    with opened(settings) as holder:
        put(holder, "a")
        assert holder.lock()
        own_server.stop()
        own_server.start()
        with opened(settings) as other:
            assert other.lock()
            with refused(EntryCode.UNAVAILABLE):
                holder.stat("a")
            with pytest.raises(EntryError) as caught:
                holder.put(file_entry("b", b"x"), [b"x"], None, FREE)
            assert caught.value.disposition is Disposition.ABORT
            assert paths(other) == ["", "a"]
