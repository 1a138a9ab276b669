"""A network that resets, cuts, swallows and refuses, for every location that has one: nothing is deleted on doubt,
every file is whole, what failed is told, waiting has an end, and the next run heals everything."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from matrix_support import Endpoints, present_types
from network_support import TIMEOUTS, Behind, behind
from servers.real_pair import MIRROR, RealPair, contents, local, with_options

from runner.model.entry import Phase
from runner.model.events import Event, Progressed
from runner.model.execution import Report
from runner.model.task import Secret
from runner.testing.fault_proxy import cuts, flips, resets, swallows

pytestmark = [pytest.mark.servers, pytest.mark.root]

TYPES = [name for name in present_types() if name in TIMEOUTS]
SECONDS = 120
"""No run of these tests may take longer, however silent the server is."""
FILES = {f"d{number % 4}/file {number:03}": b"%05d" % number * 4000 for number in range(48)}
LISTED = {f"folder/a file with a long name, number {number:04}": b"" for number in range(400)}
UP_BYTES = {"hdfs": 1_500}
"""HDFS sends content to its DataNodes: past the proxy, which sees the NameNode's calls."""


@pytest.fixture(params=TYPES)
def ground(
    request: pytest.FixtureRequest, endpoints: Endpoints, tmp_path: Path
) -> Iterator[tuple[str, Behind, Path]]:
    with behind(request.param, endpoints, request.getfixturevalue, tmp_path) as made:
        (tmp_path / "tree").mkdir()
        yield request.param, made, tmp_path


def write(folder: Path, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def held(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pair(folder: Path, source: dict[str, Any], destination: dict[str, Any], **options: Any) -> RealPair:
    state = folder / f"state{sum(1 for _ in folder.glob('state*'))}"
    state.mkdir()
    return RealPair(state, source, destination, with_options(MIRROR, **options))


def run_bounded(one: RealPair) -> Report:
    started = time.monotonic()
    report = one.run()
    assert time.monotonic() - started < SECONDS
    return report


def assert_went_well(report: Report) -> None:
    assert [problem.message for problem in report.problems] == []
    assert (report.execution.status, report.findings) == (Phase.SUCCESS, ())


def assert_told(report: Report) -> None:
    """It failed, and says so in words."""
    assert report.execution.status is Phase.ERROR
    assert report.execution.exit_code in (4, 7)
    assert report.problems or report.execution.exit_code == 7
    assert report.execution.summary


def test_connections_that_are_reset_while_writing(ground: tuple[str, Behind, Path]) -> None:
    name, made, folder = ground
    write(folder / "tree", FILES)
    made.proxy.script(resets(after_bytes=UP_BYTES.get(name, 30_000), upward=True, nth=2, times=2))
    run = pair(folder, local(folder / "tree"), made.through, retry_delay_seconds=0.1, workers=4)
    assert_went_well(run_bounded(run))
    made.proxy.assert_all_fired()
    assert contents(made.direct) == FILES
    assert run.second_plan() == []


def test_answers_that_end_early_while_reading(ground: tuple[str, Behind, Path]) -> None:
    name, made, folder = ground
    write(folder / "full", FILES)
    assert_went_well(pair(folder, local(folder / "full"), made.direct).run())
    if name == "s3":
        # More connections than files: the ones that content comes through are told by what is asked.
        made.proxy.script(
            *(
                cuts(said=b"GET /%s/d1/file%%20" % made.direct["bucket"].encode(), nth=nth, after_bytes=9_000)
                for nth in (1, 3)
            )
        )
    else:
        made.proxy.script(cuts(after_bytes={"hdfs": 4_000}.get(name, 50_000), nth=2, times=4))
    run = pair(folder, made.through, local(folder / "tree"), retry_delay_seconds=0.1, workers=4)
    assert_went_well(run_bounded(run))
    made.proxy.assert_all_fired()
    assert held(folder / "tree") == FILES
    assert run.second_plan() == []


@pytest.mark.parametrize("fault", [cuts, resets, swallows])
def test_a_listing_that_never_comes_to_its_end_deletes_nothing(
    fault: Any, ground: tuple[str, Behind, Path]
) -> None:
    _, made, folder = ground
    write(folder / "full", LISTED)
    assert_went_well(pair(folder, local(folder / "full"), made.direct).run())
    there = {**LISTED, "extra": b"goes when all is known"}
    write(folder / "tree", there)
    made.proxy.script(fault(after_bytes=12_000, times=None))
    report = run_bounded(pair(folder, made.through, local(folder / "tree"), attempts=2))
    made.proxy.assert_all_fired()
    assert_told(report)
    assert held(folder / "tree") == there
    healed = pair(folder, made.direct, local(folder / "tree"))
    assert_went_well(healed.run())
    assert held(folder / "tree") == LISTED
    assert healed.second_plan() == []


def test_a_server_that_says_nothing_any_more_while_writing(ground: tuple[str, Behind, Path]) -> None:
    name, made, folder = ground
    older = dict.fromkeys(list(FILES)[:20], b"older")
    write(folder / "full", older)
    assert_went_well(pair(folder, local(folder / "full"), made.direct).run())
    write(folder / "tree", FILES)
    made.proxy.script(swallows(after_bytes=UP_BYTES.get(name, 20_000), upward=True, times=None))
    report = run_bounded(pair(folder, local(folder / "tree"), made.through, attempts=2, workers=4))
    made.proxy.assert_all_fired()
    assert_told(report)
    for path, content in contents(made.direct).items():
        assert content in (older.get(path), FILES[path]), f"{path} is neither old nor new"
    healed = pair(folder, local(folder / "tree"), made.direct)
    assert_went_well(healed.run())
    assert contents(made.direct) == FILES
    assert healed.second_plan() == []


class _Away(list[Event]):
    """Hears the events of a run; soon after its work began, the server is away for a while, once."""

    def __init__(self, made: Behind) -> None:
        super().__init__()
        self._made = made
        self.thread: threading.Thread | None = None

    def append(self, event: Event) -> None:
        if self.thread is None and isinstance(event, Progressed) and event.actions_done:
            self.thread = threading.Thread(target=self._away)
            self.thread.start()

    def _away(self) -> None:
        with self._made.proxy.door_closed():
            self._made.proxy.reset_all()
            threading.Event().wait(1.5)


def test_a_server_that_is_away_for_a_moment(ground: tuple[str, Behind, Path]) -> None:
    _, made, folder = ground
    files = {f"d{number % 4}/file {number:03}": b"%05d" % number * 1000 for number in range(240)}
    write(folder / "tree", files)
    run = pair(folder, local(folder / "tree"), made.through, retry_delay_seconds=0.2, workers=4)
    away = _Away(made)
    run.events = away
    report = run_bounded(run)
    assert away.thread is not None, "the run was over before the server could go away"
    away.thread.join()
    assert_went_well(report)
    assert contents(made.direct) == files
    run.events = []
    assert run.second_plan() == []


def test_a_server_that_is_not_there(ground: tuple[str, Behind, Path]) -> None:
    _, made, folder = ground
    write(folder / "tree", {"kept": b"kept"})
    with made.proxy.door_closed():
        for source, destination in (
            (made.through, local(folder / "tree")),
            (local(folder / "tree"), made.through),
        ):
            report = run_bounded(pair(folder, source, destination))
            assert report.execution.exit_code == 7
            assert "127.0.0.1" in report.problems[0].message
    assert held(folder / "tree") == {"kept": b"kept"}


# HDFS: content goes to the DataNodes, past the proxy, and HDFS checks it itself.
@pytest.mark.parametrize("ground", [name for name in TYPES if name != "hdfs"], indirect=True)
def test_a_bit_that_flips_on_the_way_is_never_published(ground: tuple[str, Behind, Path]) -> None:
    _, made, folder = ground
    content = b"\0" * 300_000
    write(folder / "tree", {"only": content})
    made.proxy.script(flips(after_bytes=100_000, upward=True, nth=1, times=None))
    report = run_bounded(pair(folder, local(folder / "tree"), made.through, attempts=2))
    found = contents(made.direct)
    if report.execution.status is Phase.SUCCESS:
        assert found == {"only": content}
    else:
        assert found == {}
    made.proxy.assert_all_fired()


WRONG = {"smb": "password", "azure_blob": "account_key"}


@pytest.mark.parametrize("location_type", [name for name in WRONG if name in TYPES])
def test_credentials_that_are_refused(location_type: str, endpoints: Endpoints, tmp_path: Path) -> None:
    secret = "d3Jvbmcga2V5IG9mIHRoaXMgdGVzdA=="
    wrong = {**endpoints.fresh(location_type), WRONG[location_type]: Secret(secret, "test")}
    write(tmp_path / "tree", {"kept": b"kept"})
    for source, destination in ((wrong, local(tmp_path / "tree")), (local(tmp_path / "tree"), wrong)):
        report = run_bounded(pair(tmp_path, source, destination))
        assert report.execution.exit_code == 7
        assert secret not in repr(report)
        assert re.search(r"refuse|denied|credentials|password", report.problems[0].message)
    assert held(tmp_path / "tree") == {"kept": b"kept"}
