"""Clusters that die, hang, refuse or move: a classified error in bounded time, and the object goes on."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hdfs_support import TRANSPORTS, file, opened, put, read, refusal
from servers.process import free_port
from servers.real_pair import MIRROR, RealPair, contents, local
from servers.serve_hdfs import Hdfs, serve_hdfs

from runner.errors import Disposition, EntryCode, EntryError
from runner.locations.protocol import OpenSettings
from runner.model.entry import Attributes, Entry, Kind, Problem
from runner.testing.conformance_base import Meter
from runner.testing.fault_proxy import FaultProxy, cuts
from runner.testing.trees import tree

pytestmark = pytest.mark.servers
both = pytest.mark.parametrize("transport", TRANSPORTS)

BIG = bytes(range(256)) * 16_000


@contextlib.contextmanager
def failing(*codes: EntryCode, retry: bool | None = None) -> Iterator[None]:
    with pytest.raises(EntryError) as caught:
        yield
    assert caught.value.entry_code in codes, caught.value
    if retry is not None:
        assert (caught.value.disposition is Disposition.RETRY) == retry


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hdfs]:
    """A cluster for what would disturb others: stopped, in safe mode, without DataNodes."""
    with serve_hdfs(tmp_path_factory.mktemp("own")) as cluster:
        yield cluster


@both
def test_a_stopped_namenode_is_a_timeout_in_bounded_time(own: Hdfs, transport: str) -> None:
    options = own.options(own.new_root(), transport)
    with opened(options) as location:
        put(location, "d/a", b"before")
    with opened({**options, "timeout": "1s", "connect_timeout": "1s"}) as location:
        own.process.send_signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            for _ in range(2):
                with failing(EntryCode.TIMEOUT, retry=True):
                    location.stat("d/a")
            problems = [one for one in location.scan() if isinstance(one, Problem)]
            assert [(one.path, one.code, one.retryable) for one in problems] == [
                ("", EntryCode.NOT_LISTED, True)
            ]
            assert "NameNode runs" in (refusal({**options, "timeout": "1s"}).remedy or "")
            assert time.monotonic() - began < 10
        finally:
            own.process.send_signal(signal.SIGCONT)
    with opened(options) as location:
        assert read(location, "d/a") == b"before"


@both
def test_a_cluster_without_datanodes(own: Hdfs, transport: str) -> None:
    """Names go on, content does not: an error to be tried again, and nothing half-written has a name."""
    options = own.options(own.new_root(), transport, timeout="5s")
    with opened(options) as location:
        entry = put(location, "a", b"before")
        own.tell("stop-datanodes")
        try:
            assert location.stat("a") == entry
            with failing(EntryCode.UNAVAILABLE, EntryCode.TIMEOUT, EntryCode.IO_ERROR, retry=True):
                list(location.read(entry))
            with failing(EntryCode.UNAVAILABLE, EntryCode.TIMEOUT, EntryCode.IO_ERROR, retry=True):
                put(location, "b", b"new")
            assert location.stat("b") is None
        finally:
            own.tell("start-datanodes")
        assert read(location, "a") == b"before"
        put(location, "b", b"new")
        assert [one.path for one in location.scan()] == ["", "a", "b"]
        assert list(location.leftovers()) == []


@both
def test_safe_mode_is_unavailable(own: Hdfs, transport: str) -> None:
    options = own.options(own.new_root(), transport)
    with opened(options) as location:
        put(location, "a", b"before")
        own.tell("safemode on")
        try:
            with failing(EntryCode.UNAVAILABLE, retry=True):
                put(location, "b", b"new")
            assert read(location, "a") == b"before"
        finally:
            own.tell("safemode off")
        put(location, "b", b"new")


@both
def test_a_killed_cluster_comes_back_and_a_rerun_converges(transport: str, tmp_path: Path) -> None:
    """While it is away: UNAVAILABLE at once. Then the same object goes on and removes what it could not."""
    ports = (free_port(), free_port())
    source = tmp_path / "source"
    tree({f"d{number}/f": BIG[: number * 1000] for number in range(8)}).write(source)
    cluster_folder = tmp_path / "cluster"
    cluster_folder.mkdir()
    ours = OpenSettings(execution_id="00000000dead")
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(serve_hdfs(cluster_folder, ports=ports))
        remote = {"type": "hdfs", **first.options("/root", transport, timeout="20s")}
        location = stack.enter_context(opened(remote, ours))
        put(location, "d0/kept", b"kept")

        def content() -> Iterator[bytes]:
            yield BIG[: len(BIG) // 2]
            first.process.kill()
            first.process.wait()
            yield BIG[len(BIG) // 2 :]

        with failing(EntryCode.UNAVAILABLE, EntryCode.IO_ERROR, EntryCode.TIMEOUT, retry=True):
            location.put(file("d0/big", BIG), content(), None, Meter())
        with failing(EntryCode.UNAVAILABLE, retry=True):
            location.stat("d0/kept")
        assert refusal(remote).message.startswith('location "tested": HDFS ')
        stack.enter_context(serve_hdfs(cluster_folder, ports=ports, keep=True))
        assert read(location, "d0/kept") == b"kept"
        assert location.stat("d0/big") is None
        put(location, "d0/again", b"and what the failed write left goes with it")
        pair = RealPair(tmp_path, local(source), remote, MIRROR)
        report = pair.run()
        assert report.execution.status.value == "SUCCESS", report.problems
        assert pair.second_plan() == []
        assert contents(remote) == contents(local(source))
        with opened(remote) as again:
            list(again.scan())
            assert list(again.leftovers()) == []


@both
def test_the_active_namenode_is_found_before_and_after_a_failover(transport: str, tmp_path: Path) -> None:
    ports = tuple(free_port() for _ in range(4))
    with serve_hdfs(tmp_path, ports=ports) as cluster:
        options = cluster.options("/root", transport, nameservice="prodcluster")
        # The standby stands first in the list.
        options["namenodes"] = options["namenodes"][::-1]
        with opened(options) as location:
            put(location, "a", b"before")
            cluster.tell("active 1")
            assert read(location, "a") == b"before"
            put(location, "b", b"after")
            cluster.tell("active 0")
            assert [one.path for one in location.scan()] == ["", "a", "b"]


@both
def test_what_a_user_may_not_do(hdfs: Hdfs, transport: str) -> None:
    """A folder that may not be listed is a problem in its place; other refusals are PERMISSION_DENIED."""
    root = hdfs.new_root()
    with opened(hdfs.options(root, transport)) as location:
        put(location, "open/a", b"a")
        put(location, "shut/b", b"b")
        for path, mode in (("", 0o755), ("open/", 0o755), ("shut/", 0o700)):
            entry = Entry(path, Kind.DIRECTORY, attributes=Attributes(mode=mode))
            location.put(entry, None, None, Meter())
    with opened(hdfs.options(root, transport, user="bob")) as location:
        found = [(type(one), one.path) for one in location.scan()]
        assert found == [
            (Entry, ""),
            (Entry, "open/"),
            (Entry, "open/a"),
            (Entry, "shut/"),
            (Problem, "shut/"),
        ]
        with failing(EntryCode.PERMISSION_DENIED):
            put(location, "open/new", b"new")
        with failing(EntryCode.PERMISSION_DENIED):
            location.remove(location.stat("open/a"))
        with failing(EntryCode.PERMISSION_DENIED):
            location.stat("shut/b")
        owner = Attributes(user="carol")
        written = location.set_attributes(
            Entry("open/a", Kind.FILE, attributes=owner), location.stat("open/a")
        )
        assert written.refused == ("user",)
    shut = refusal(hdfs.options(f"{root}/shut/deeper", transport, user="bob"))
    assert "cannot be used" in shut.message and "user" in (shut.remedy or "")


@both
def test_a_quota_that_is_used_up_is_no_space(own: Hdfs, transport: str) -> None:
    root = own.new_root()
    with opened(own.options(root, transport)) as location:
        put(location, "a", b"first")
        own.tell(f"quota {root} 3 {1 << 40}")
        with failing(EntryCode.NO_SPACE):
            put(location, "b", b"second")
            put(location, "c", b"third")
        if transport == "webhdfs":
            space = location.space()
            assert space.free_entries == 0 and space.free_bytes is not None
        own.tell(f"quota {root} 1000 {1 << 21}")
        with failing(EntryCode.NO_SPACE, EntryCode.UNAVAILABLE, EntryCode.IO_ERROR):
            put(location, "big", BIG)
        assert location.stat("big") is None


@both
def test_the_wrong_port_is_said(hdfs: Hdfs, transport: str) -> None:
    """Nobody listens; or the other protocol does."""
    nobody = refusal({**hdfs.options("/x", transport), "namenodes": [f"127.0.0.1:{free_port()}"]})
    assert "refused" in nobody.message
    swapped = hdfs.http if transport == "native" else hdfs.rpc
    other = refusal({**hdfs.options("/x", transport), "namenodes": swapped, "timeout": "5s"})
    assert other.remedy


def test_two_users_in_one_process_are_refused_natively(hdfs: Hdfs) -> None:
    """Never as the wrong user: the library has one for the whole process."""
    root = hdfs.new_root()
    with opened(hdfs.options(root)) as location:
        put(location, "a", b"a")
        assert "another HDFS location is open as user" in refusal(hdfs.options(root, user="bob")).message
        with opened(hdfs.options(root, "webhdfs", user="bob")):
            pass
    with opened(hdfs.options(hdfs.new_root(), user="bob")) as location:
        put(location, "a", b"a")
        with opened(hdfs.options("/", "webhdfs")) as root_location:
            del root_location


@both
def test_leftovers_of_dead_executions_are_found_and_removed(hdfs: Hdfs, transport: str) -> None:
    """Hidden from scans, told by execution, and removed only under their own names."""
    root = hdfs.new_root()
    name = "d/.sync-runner-0123456789ab-cafe1.part"
    with opened(hdfs.options(root, transport)) as location:
        put(location, "d/a", b"a")
        location.put(file(name, b"half"), [b"half"], None, Meter())
        assert [one.path for one in location.scan()] == ["", "d/", "d/a"]
        assert list(location.leftovers()) == [(name, "0123456789ab")]
        location.remove_leftover(name)
        assert location.stat(name) is None and list(location.leftovers()) == []
        with failing(EntryCode.NAME_NOT_ALLOWED):
            location.remove_leftover("d/a")


def test_a_listing_that_breaks_is_a_problem_and_never_short(hdfs: Hdfs) -> None:
    """Answers that end early, over HTTP, where a proxy sees where they begin."""
    root = hdfs.new_root()
    with opened(hdfs.options(root, "webhdfs")) as location:
        for name in ("a", "b"):
            put(location, f"{name}/inside", b"x")
    with FaultProxy(hdfs.ports[1]) as proxy:
        options = hdfs.options(root, "webhdfs")
        with opened({**options, "namenodes": [f"127.0.0.1:{proxy.port}"]}) as location:
            proxy.script(cuts(said=b"LISTSTATUS_BATCH", after_bytes=200))
            found = [(type(one), one.path) for one in location.scan()]
            assert (Problem, "") in found or (Problem, "a/") in found
            assert found.count((Entry, "")) == 1
            assert [one.path for one in location.scan()] == ["", "a/", "a/inside", "b/", "b/inside"]
        proxy.assert_all_fired()


def test_the_cluster_tells_itself_over_http(hdfs: Hdfs) -> None:
    """Identity with the cluster's id, free space, and a clock that is about ours."""
    with opened(hdfs.options(hdfs.new_root(), "webhdfs")) as location:
        put(location, "a", b"a")
        facts = dict(location.identity().facts)
        assert facts["cluster"] and facts["block pool"].startswith("BP-")
        assert location.space().free_bytes > 0
        assert abs(location.server_time_ns() - time.time_ns()) < 60 * 1_000_000_000


@both
def test_a_folder_of_many_pages_is_listed_whole(hdfs: Hdfs, transport: str) -> None:
    """The NameNode gives 1,000 names a page."""
    root = hdfs.new_root()
    with opened(hdfs.options(root, transport)) as location:
        for number in range(1203):
            location.put(Entry(f"f{number:05}/", Kind.DIRECTORY), None, None, Meter())
        assert [one.path for one in location.scan()][1:] == [f"f{number:05}/" for number in range(1203)]
