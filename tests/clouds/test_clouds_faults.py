"""Servers that fail: each error is classified, bounded in time, and the location works again afterwards."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from clouds_support import SMALL_PARTS, Cloud, pair, serve
from servers.process import free_port
from servers.real_pair import contents, opened

from runner.clock import SystemClock
from runner.errors import Disposition, EntryCode, EntryError, LocationUnavailableError
from runner.locations.protocol import Location
from runner.model.entry import Entry, Kind, Problem
from runner.testing.conformance_base import Meter, content_of, file_entry, put_file
from runner.testing.fault_proxy import FaultProxy, cuts, flips, resets

pytestmark = pytest.mark.servers

CLOUDS = ("azure_blob", "gcs")
BIG = bytes(range(256)) * 12_000


@contextmanager
def failing(code: EntryCode) -> Iterator[None]:
    """The block raises an EntryError of this code, which the engine tries again."""
    with pytest.raises(EntryError) as caught:
        yield
    assert (caught.value.entry_code, caught.value.disposition) == (code, Disposition.RETRY), caught.value


def files_of(location: Location) -> dict[str, bytes]:
    return {
        found.path: content_of(location, found.path)
        for found in location.scan()
        if isinstance(found, Entry) and found.kind is Kind.FILE
    }


def test_a_port_where_nobody_listens(cloud: Cloud) -> None:
    options = cloud.location(port=free_port())
    with pytest.raises(LocationUnavailableError, match="cannot be reached"):
        opened(options).__enter__()


def test_a_bucket_that_is_not_there(cloud: Cloud) -> None:
    missing = (
        cloud.location(container="nobody-made-it")
        if "account" in cloud.location()
        else cloud.location(bucket="nobody-made-it")
    )
    with pytest.raises(LocationUnavailableError, match="no such bucket"):
        opened(missing).__enter__()
    # A destination neither, unless the options allow to make it.
    with pytest.raises(LocationUnavailableError, match="no such bucket"):
        opened(missing, create=True).__enter__()


def test_the_answer_of_a_read_is_cut(cloud: Cloud) -> None:
    with FaultProxy(cloud.port) as proxy:
        options = cloud.location(port=proxy.port)
        with opened(options, create=True) as location:
            entry = put_file(location, "big", BIG)
        proxy.script(cuts(after_bytes=1_000_000))
        with opened(options) as location:
            with failing(EntryCode.UNAVAILABLE):
                list(location.read(entry))
            assert content_of(location, "big") == BIG
        proxy.assert_all_fired()


def test_the_connection_is_lost_while_content_is_sent(cloud: Cloud) -> None:
    with FaultProxy(cloud.port, [resets(after_bytes=1_000_000, upward=True)]) as proxy:
        with opened(cloud.location(port=proxy.port), create=True) as location:
            put_file(location, "other")
            with failing(EntryCode.UNAVAILABLE):
                put_file(location, "big", BIG)
            assert files_of(location) == {"other": b"content"}
            put_file(location, "big", BIG)
            assert content_of(location, "big") == BIG
        proxy.assert_all_fired()


def test_an_idle_connection_that_the_server_closed(cloud: Cloud) -> None:
    """Not even an error: the next request uses a new one."""
    with FaultProxy(cloud.port) as proxy, opened(cloud.location(port=proxy.port), create=True) as location:
        put_file(location, "a")
        before = proxy.connections
        proxy.reset_all()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                assert content_of(location, "a") == b"content"
                break
            except EntryError as error:
                assert error.disposition is Disposition.RETRY
        assert proxy.connections > before


def test_a_damaged_byte_on_the_way_up_is_never_published(cloud: Cloud) -> None:
    with FaultProxy(cloud.port, [flips(after_bytes=1_000_000, upward=True)]) as proxy:
        with opened(cloud.location(port=proxy.port), create=True) as location:
            put_file(location, "other")
            with failing(EntryCode.CHECKSUM_FAILURE):
                put_file(location, "big", BIG)
            assert files_of(location) == {"other": b"content"}
        proxy.assert_all_fired()


def test_a_damaged_byte_in_a_part_is_never_published(cloud: Cloud) -> None:
    """Azure refuses the part, which is sent again; of a session only the whole can be refused."""
    with FaultProxy(cloud.port, [flips(after_bytes=300_000, upward=True)]) as proxy:
        with opened(cloud.location(port=proxy.port, **SMALL_PARTS), create=True) as location:
            put_file(location, "other")
            try:
                put_file(location, "big", BIG)
            except EntryError as error:
                assert (error.entry_code, error.disposition) == (
                    EntryCode.CHECKSUM_FAILURE,
                    Disposition.RETRY,
                )
                assert files_of(location) == {"other": b"content"}
            else:
                assert files_of(location) == {"other": b"content", "big": BIG}
        proxy.assert_all_fired()


def test_a_part_that_was_lost_on_the_way_is_sent_again_or_the_whole(cloud: Cloud) -> None:
    """Azure takes the part again. fake-gcs-server cannot be asked what it holds of a session: all begins anew."""
    with FaultProxy(cloud.port, [resets(after_bytes=300_000, upward=True)]) as proxy:
        with opened(cloud.location(port=proxy.port, **SMALL_PARTS), create=True) as location:
            try:
                put_file(location, "big", BIG)
            except EntryError as error:
                assert (error.entry_code, error.disposition) == (EntryCode.UNAVAILABLE, Disposition.RETRY)
                assert files_of(location) == {}
                put_file(location, "big", BIG)
            assert files_of(location) == {"big": BIG}
        proxy.assert_all_fired()


def test_a_listing_that_breaks_off_is_a_problem_not_an_end(cloud: Cloud, tmp_path: Path) -> None:
    options = cloud.location()
    with opened(options, create=True) as location:
        for number in range(300):
            put_file(location, f"d/{number:03}", b"x")
    with FaultProxy(cloud.port) as proxy:
        through = {
            **options,
            "endpoint_url": options["endpoint_url"].replace(str(cloud.port), str(proxy.port)),
        }
        proxy.script(cuts(after_bytes=20_000))
        with opened(through) as location:
            try:
                problems = [found for found in location.scan() if isinstance(found, Problem)]
            except EntryError as error:
                assert error.disposition is Disposition.RETRY
            else:
                assert [(one.code, one.retryable) for one in problems] == [(EntryCode.NOT_LISTED, True)]
        proxy.assert_all_fired()


def test_a_stopped_server_is_a_timeout(tmp_path: Path) -> None:
    for cloud in CLOUDS:
        folder = tmp_path / cloud
        folder.mkdir()
        with serve(cloud, folder) as server, opened(server.location(timeout="1s"), create=True) as location:
            entry = put_file(location, "a")
            os.kill(server.process.pid, signal.SIGSTOP)
            until_stopped(server.process.pid)
            try:
                began = time.monotonic()
                with failing(EntryCode.TIMEOUT):
                    location.stat("a")
                with failing(EntryCode.TIMEOUT):
                    put_file(location, "b")
                with pytest.raises(LocationUnavailableError, match="did not answer"):
                    opened(server.location(container="x", bucket="x", timeout="1s")).__enter__()
                assert time.monotonic() - began < 15
            finally:
                os.kill(server.process.pid, signal.SIGCONT)
            assert location.stat("a") == entry


def test_a_server_that_was_killed_and_comes_back(tmp_path: Path) -> None:
    port = free_port()
    for cloud in CLOUDS:
        folder = tmp_path / cloud
        folder.mkdir()
        with serve(cloud, folder, port) as server:
            options = server.location(timeout="5s")
            location_context = opened(options, create=True)
            location = location_context.__enter__()
            put_file(location, "a")
            server.process.kill()
            server.process.wait()
        try:
            with failing(EntryCode.UNAVAILABLE):
                location.stat("a")
            with serve(cloud, folder, port) as again:
                # In memory, it comes back empty: make the same bucket once more.
                again.ask(*remade(cloud, options))
                assert location.stat("a") is None
                put_file(location, "a", b"again")
                assert files_of(location) == {"a": b"again"}
        finally:
            location_context.__exit__(None, None, None)


def until_stopped(pid: int) -> None:
    """A process on another core may finish what it is at."""
    while any(
        (task / "stat").read_text().rpartition(")")[2].split()[0] != "T"
        for task in Path(f"/proc/{pid}/task").iterdir()
    ):
        SystemClock().sleep(0.01)


def remade(cloud: str, options: dict[str, Any]) -> tuple[str, str, bytes]:
    if cloud == "azure_blob":
        return "PUT", f"/{options['container']}?restype=container", b""
    return "POST", "/storage/v1/b?project=test", b'{"name": "%s"}' % options["bucket"].encode()


def test_runs_through_a_bad_network_converge(cloud: Cloud, tmp_path: Path) -> None:
    left = tmp_path / "left"
    left.mkdir()
    for number in range(60):
        (left / f"file-{number:02}").write_bytes(os.urandom(20_000))
    with FaultProxy(cloud.port) as proxy:
        there = cloud.location(port=proxy.port)
        proxy.script(*(resets(after_bytes=3_000, nth=2 + number * 3) for number in range(3)))
        for _ in range(3):
            report = pair(tmp_path, left, there).run()
            if not report.problems:
                break
        assert contents(there) == {file.name: file.read_bytes() for file in left.iterdir()}


def test_content_of_another_length_is_told_before_it_is_published(cloud: Cloud) -> None:
    with opened(cloud.location(**SMALL_PARTS), create=True) as location:
        for said in (BIG + b"x", BIG[:-1]):
            with pytest.raises(EntryError):
                location.put(file_entry("big", said), [BIG], None, Meter())
        assert files_of(location) == {}
