"""Without a mount: a server that stops, dies, restarts, refuses, is cut off; and links that want to lead elsewhere."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nfs_support import EVERYTHING, FREE, names_in, opened, paths
from servers.serve_ganesha import MOUNT_PORT, NFS_PORT, Ganesha, started

from runner.errors import Disposition, EntryCode, EntryError, LocationUnavailableError
from runner.locations.protocol import OpenSettings
from runner.model.entry import Entry, Kind, Problem
from runner.testing.conformance_base import content_of, file_entry, folder_entry, put_file, refused, stated
from runner.testing.fault_proxy import FaultProxy, cuts, flips, resets, swallows

pytestmark = [pytest.mark.servers, pytest.mark.root]

BIG = os.urandom(5_000_000)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Ganesha]:
    """A server that a test may stop."""
    with started(tmp_path) as server:
        yield server


def raised(
    code: EntryCode, act: Callable[[], Any], disposition: Disposition = Disposition.RETRY
) -> EntryError:
    with pytest.raises(EntryError) as caught:
        act()
    assert (caught.value.entry_code, caught.value.disposition) == (code, disposition), caught.value
    return caught.value


# -- a server that stops -------------------------------------------------------------------------------------


def test_a_stopped_server_is_a_timeout_in_bounded_time(own_server: Ganesha) -> None:
    """TIMEOUT, to be tried again; the same object goes on when the server does, and nothing is left behind."""
    settings = own_server.settings(timeout="1s", connect_timeout="1s")
    with opened(settings) as location:
        entry = put_file(location, "a", BIG)
        stream = iter(location.read(entry))
        next(stream)
        acts: list[Callable[[], Any]] = [
            lambda: location.stat("a"),
            lambda: list(location.read(entry)),
            lambda: list(location.scan()),
            lambda: location.put(file_entry("b", BIG), [BIG], None, FREE),
            lambda: location.remove(entry),
            lambda: location.identity(),
        ]
        own_server.pause()
        try:
            for act in acts:
                began = time.monotonic()
                raised(EntryCode.TIMEOUT, act)
                assert time.monotonic() - began < 5
        finally:
            own_server.go_on()
        assert paths(location) == ["a"]
        assert content_of(location, "a") == BIG
        put_file(location, "b", b"now")
    assert names_in(own_server.folder_of(settings)) == ["a", "b"]


def test_a_server_stopped_in_the_middle_of_a_file(own_server: Ganesha) -> None:
    settings = own_server.settings(timeout="1s", connect_timeout="1s")

    def content() -> Iterator[bytes]:
        yield BIG[:2_000_000]
        own_server.pause()
        yield BIG[2_000_000:]

    with opened(settings) as location:
        put_file(location, "old")
        try:
            raised(EntryCode.TIMEOUT, lambda: location.put(file_entry("a", BIG), content(), None, FREE))
        finally:
            own_server.go_on()
        location.put(file_entry("a", BIG), [BIG], None, FREE)
        assert content_of(location, "a") == BIG
        assert paths(location) == ["a", "old"]
    # The name that could not be removed while the server slept went with the next connection.
    assert names_in(own_server.folder_of(settings)) == ["a", "old"]


# -- a server that dies --------------------------------------------------------------------------------------


def test_a_killed_server_that_comes_back(own_server: Ganesha) -> None:
    """UNAVAILABLE, to be tried again; after the restart the same object converges and leaves nothing behind."""
    settings = own_server.settings()

    def content() -> Iterator[bytes]:
        yield BIG[:2_000_000]
        own_server.kill()
        yield BIG[2_000_000:]

    with opened(settings) as location:
        kept = put_file(location, "kept")
        identity = location.identity()
        raised(EntryCode.UNAVAILABLE, lambda: location.put(file_entry("d/a", BIG), content(), None, FREE))
        for act in (
            lambda: location.stat("kept"),
            lambda: list(location.scan()),
            lambda: location.remove(kept),
        ):
            raised(EntryCode.UNAVAILABLE, act)
        own_server.start()
        location.put(file_entry("d/a", BIG), [BIG], None, FREE)
        assert content_of(location, "d/a") == BIG
        assert paths(location) == ["d/", "d/a", "kept"]
        assert stated(location, "kept") == kept
        assert location.identity() == identity
    assert names_in(own_server.folder_of(settings)) == ["d", "d/a", "kept"]


def test_a_server_killed_while_it_is_listed_or_read(own_server: Ganesha) -> None:
    """A folder that could not be listed is a problem that may pass; a file is never short."""
    settings = own_server.settings()
    with opened(settings) as location:
        for name in ("a/x", "b/x", "c/x"):
            put_file(location, name)
        big = put_file(location, "z", BIG)
        listing = location.scan()
        assert [next(listing).path for _ in range(3)] == ["", "a/", "a/x"]
        stream = location.read(big)
        next(stream)
        own_server.kill()
        raised(EntryCode.UNAVAILABLE, lambda: list(stream))
        rest = list(listing)
        problems = [found for found in rest if isinstance(found, Problem)]
        assert [(found.path, found.code, found.retryable) for found in problems] == [
            ("b/", EntryCode.NOT_LISTED, True),
            ("c/", EntryCode.NOT_LISTED, True),
        ]
        own_server.start()
        assert [found.path for found in location.scan("b/")] == ["b/", "b/x"]
        assert content_of(location, "z") == BIG


# -- a connection that breaks --------------------------------------------------------------------------------


def through(ganesha: Ganesha, proxy: FaultProxy, door: FaultProxy, **options: Any) -> Any:
    """Settings that lead through proxies of both services, to a folder of its own."""
    return ganesha.settings(server="127.0.0.1", nfs_port=proxy.port, mount_port=door.port, **options)


@pytest.mark.parametrize(
    "fault",
    [
        resets(said=b".part", after_bytes=0),
        cuts(said=b".part", after_bytes=300),
        cuts(said=b"a-name-that-cuts", after_bytes=600),
    ],
    ids=["reset", "cut at once", "cut when published"],
)
def test_a_connection_that_breaks_in_a_put(ganesha: Ganesha, fault: Any) -> None:
    """Either nothing happened or all of it; the second attempt ends with the file, and with nothing else."""
    name = "a-name-that-cuts"
    with (
        FaultProxy(MOUNT_PORT, host=ganesha.address) as door,
        FaultProxy(NFS_PORT, host=ganesha.address) as proxy,
    ):
        settings = through(ganesha, proxy, door)
        with opened(settings) as location:
            put_file(location, "first")
            proxy.script(fault)
            entry = file_entry(name, BIG)
            raised(EntryCode.UNAVAILABLE, lambda: location.put(entry, [BIG], None, FREE))
            standing = location.stat(name)
            if standing is None:
                location.put(entry, [BIG], None, FREE)
            assert content_of(location, name) == BIG
            assert paths(location) == [name, "first"]
            assert stated(location, name).link_group is None
        proxy.assert_all_fired()
    assert names_in(ganesha.folder_of(settings)) == [name, "first"]


def test_a_connection_that_swallows_everything(ganesha: Ganesha) -> None:
    with (
        FaultProxy(MOUNT_PORT, host=ganesha.address) as door,
        FaultProxy(NFS_PORT, host=ganesha.address) as proxy,
    ):
        settings = through(ganesha, proxy, door, timeout="500ms", connect_timeout="1s")
        with opened(settings) as location:
            put_file(location, "a")
            proxy.script(swallows(said=b"\0\0\0\1a"))
            raised(EntryCode.TIMEOUT, lambda: location.stat("a"))
            assert paths(location) == ["a"]
        proxy.assert_all_fired()


def test_bytes_that_change_on_the_way_back_are_noticed(ganesha: Ganesha) -> None:
    """Read back and compared before the file gets its name."""
    with (
        FaultProxy(MOUNT_PORT, host=ganesha.address) as door,
        FaultProxy(NFS_PORT, host=ganesha.address) as proxy,
    ):
        settings = through(ganesha, proxy, door)
        with opened(settings) as location:
            put_file(location, "first")
            proxy.script(flips(said=BIG[-64:], after_bytes=1_000_000))
            raised(EntryCode.CHECKSUM_FAILURE, lambda: location.put(file_entry("a", BIG), [BIG], None, FREE))
            assert paths(location) == ["first"]
        proxy.assert_all_fired()
    assert names_in(ganesha.folder_of(settings)) == ["first"]


# -- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("description", "options", "said"),
    [
        ("an export that is not there", {"export": "/nope"}, "cannot be mounted"),
        ("a port where nobody listens", {"mount_port": 1}, "cannot be reached"),
        ("an NFS port where nobody listens", {"nfs_port": 1}, "cannot be reached"),
        ("a name that nobody has", {"server": "no-such-host.invalid"}, "cannot be reached"),
        ("a folder that is missing", {"path": "not/there"}, "has no folder"),
    ],
)
def test_what_cannot_be_opened_says_why(
    ganesha: Ganesha, description: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(LocationUnavailableError, match=said):
        with opened(ganesha.settings(connect_timeout="2s", **options), create=False):
            pass


def test_without_ports_the_portmapper_is_asked(ganesha: Ganesha) -> None:
    settings = ganesha.settings()
    for option in ("nfs_port", "mount_port"):
        del settings.options[option]
    with opened(settings) as location:
        put_file(location, "a")
        assert paths(location) == ["a"]


def test_a_read_only_export_stops_the_execution(ganesha: Ganesha) -> None:
    with opened(ganesha.settings(export="/frozen")) as location:
        raised(
            EntryCode.READ_ONLY,
            lambda: location.put(file_entry("a", b"x"), [b"x"], None, FREE),
            Disposition.ABORT,
        )


def test_what_a_user_may_not_read_or_list(ganesha: Ganesha) -> None:
    settings = ganesha.settings()
    with opened(settings) as root:
        for path in ("closed/a", "open/secret", "open/b"):
            put_file(root, path)
        folder = ganesha.folder_of(settings)
        for path, mode in (("", 0o755), ("closed", 0o711), ("open", 0o755), ("open/secret", 0o600)):
            (folder / path).chmod(mode)
    options = {"path": settings.options["path"], "uid": 4321, "gid": 4321}
    with opened(ganesha.settings(**options), create=False) as location:
        found = list(location.scan())
        problems = [one for one in found if isinstance(one, Problem)]
        assert [(one.path, one.code, one.retryable) for one in problems] == [
            ("closed/", EntryCode.NOT_LISTED, False)
        ]
        raised(
            EntryCode.PERMISSION_DENIED,
            lambda: content_of(location, "open/secret"),
            Disposition.SKIP,
        )
        raised(
            EntryCode.PERMISSION_DENIED,
            lambda: location.put(file_entry("open/c", b"x"), [b"x"], None, FREE),
            Disposition.SKIP,
        )
        raised(
            EntryCode.PERMISSION_DENIED,
            lambda: location.remove(stated(location, "open/b")),
            Disposition.SKIP,
        )


# -- links and folders that move -----------------------------------------------------------------------------


def test_no_link_leads_out_of_the_root(ganesha: Ganesha) -> None:
    """A folder that becomes a link to somewhere else, also while its handle is known: nothing is done there."""
    settings = ganesha.settings()
    outside = ganesha.settings()
    with opened(outside) as elsewhere, opened(settings) as location, opened(settings) as other:
        put_file(elsewhere, "x", b"theirs")
        put_file(elsewhere, "d/x", b"theirs")
        entry = put_file(location, "d/x", b"theirs")
        for name in ("d/x", "d/"):
            other.remove(stated(other, name))
        link = Entry("d", Kind.SYMLINK, link_target=f"../{outside.options['path']}")
        other.put(link, None, None, FREE)
        assert location.stat("d/x") is None
        assert list(location.scan("d/")) == []
        with refused(EntryCode.STALE, EntryCode.CHANGED_DURING_TRANSFER):
            list(location.read(entry))
        acts: list[Callable[[], Any]] = [
            lambda: location.put(file_entry("d/y", b"ours"), [b"ours"], None, FREE),
            lambda: location.put(file_entry("d/x", b"ours"), [b"ours"], entry, FREE),
            lambda: location.put(folder_entry("d/new/"), None, None, FREE),
            lambda: location.remove(entry),
            lambda: location.set_attributes(entry, entry),
            lambda: location.rename(entry, "z"),
            lambda: location.link("d/l", "d/x", None),
        ]
        for act in acts:
            with refused(EntryCode.STALE):
                act()
        assert paths(location) == ["d"]
        assert paths(elsewhere) == ["d/", "d/x", "x"]
        assert content_of(elsewhere, "x") == b"theirs"


def test_what_was_moved_away_is_not_written_into(ganesha: Ganesha) -> None:
    settings = ganesha.settings()
    with opened(settings) as location, opened(settings) as other:
        put_file(location, "a/b/one")
        other.rename(stated(other, "a/b/"), "moved/")
        put_file(location, "a/b/two")
        assert paths(location) == ["a/", "a/b/", "a/b/two", "moved/", "moved/one"]


def test_a_root_that_was_replaced_stops_the_execution(ganesha: Ganesha) -> None:
    """An empty folder where the data was looks like data that was deleted: it is another folder."""
    settings = ganesha.settings(path="top/root")
    above = ganesha.settings(path="top")
    with opened(settings) as location, opened(above) as other:
        entry = put_file(location, "a")
        other.rename(stated(other, "root/"), "away/")
        raised(
            EntryCode.UNAVAILABLE,
            lambda: location.put(file_entry("b", b"x"), [b"x"], None, FREE),
            Disposition.ABORT,
        )
        other.put(folder_entry("root/"), None, None, FREE)
        acts: list[Callable[[], Any]] = [
            lambda: list(location.scan()),
            lambda: location.stat("a"),
            lambda: location.remove(entry),
            lambda: location.put(file_entry("b", b"x"), [b"x"], None, FREE),
        ]
        for act in acts:
            raised(EntryCode.UNAVAILABLE, act, Disposition.ABORT)
        assert paths(other) == ["away/", "away/a", "root/"]


def test_files_that_change_behind_the_server(ganesha: Ganesha) -> None:
    """Handles the server no longer knows (NFS3ERR_STALE) are looked up anew, or said to be gone."""
    settings = ganesha.settings()
    folder = ganesha.folder_of(settings)
    with opened(settings) as location:
        entry = put_file(location, "d/a", BIG)
        stream = location.read(entry)
        next(stream)
        (folder / "d/a").unlink()
        (folder / "d").rmdir()
        with refused(EntryCode.CHANGED_DURING_TRANSFER):
            list(stream)
        put_file(location, "d/a", b"again")
        assert content_of(location, "d/a") == b"again"


# -- at once -------------------------------------------------------------------------------------------------


def test_many_objects_at_once(ganesha: Ganesha) -> None:
    """Each thread has its own; one file of a name wins."""
    settings = ganesha.settings()
    won: list[int] = []
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with opened(
                settings, OpenSettings(execution_id=f"{number:012x}", attributes=EVERYTHING)
            ) as location:
                for count in range(20):
                    put_file(location, f"d/{number}/{count}", bytes([number]) * 3000)
                try:
                    put_file(location, "the-one", bytes([number]))
                    won.append(number)
                except EntryError as error:
                    assert error.entry_code is EntryCode.STALE, error
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(won) == 1
    with opened(settings) as location:
        assert len(paths(location)) == 8 * 21 + 2
        assert content_of(location, "the-one") == bytes(won)
    assert not [name for name in names_in(ganesha.folder_of(settings)) if ".part" in name]
