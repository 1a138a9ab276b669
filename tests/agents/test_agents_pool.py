"""Worker processes: real ones, real files, no sleeping to wait for them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.agents.jobs import WorkOrder
from runner.agents.limits import Bandwidth
from runner.agents.orders import decode_order, encode_order
from runner.agents.pool import WorkerPool
from runner.agents.shared import DRAIN, STOP, SharedPage, check_not_stopped
from runner.clock import Clock, SystemClock
from runner.errors import EntryCode, EntryError, LocationUnavailableError
from runner.locations.protocol import OpenSettings
from runner.locations.registry import Registry
from runner.model.action import Action, ActionKind, Outcome, OutcomeStatus, Stage
from runner.model.automation import Automation, Pings
from runner.model.difference import Reason
from runner.model.entry import Entry
from runner.model.task import FilterSettings, Guards, LocationSettings, Secret, Task, TaskOptions
from runner.model.wire import decode_line, encode_line
from runner.testing.fake_clock import FakeClock
from runner.transfer.batch import split_answer
from runner.transfer.perform import PerformSettings

MIB = 1 << 20
EXECUTION = "65000000abcd"


def task_between(source: str, destination: str, **more: Any) -> Task:
    left = LocationSettings("src", "local", {"path": source, **more}, "/")
    right = LocationSettings("dst", "local", {"path": destination}, "/")
    return Task("t", left, right, TaskOptions(), FilterSettings(), Guards(), None, (), "config", "filters")


class Bench:
    """A source folder with files, an empty destination, and a pool between them."""

    def __init__(self, folder: Path) -> None:
        self.source, self.destination = folder / "src", folder / "dst"
        self.source.mkdir()
        self.destination.mkdir()
        self.page = SharedPage()
        self.rate: int | None = 0
        self.ticks: list[Callable[[], None]] = []
        self.pool: WorkerPool

    def tick(self) -> None:
        for one in self.ticks:
            one()

    @contextlib.contextmanager
    def opened(self, size: int = 2, clock: Clock | None = None, threads: int = 1) -> Iterator[WorkerPool]:
        clock = clock or SystemClock()
        order = WorkOrder(
            task_between(str(self.source), str(self.destination)), PerformSettings(EXECUTION), 0, threads
        )
        bandwidth = Bandwidth(TaskOptions(), clock, lambda: self.rate)
        self.pool = WorkerPool(order, size, self.page, bandwidth, clock, self.tick)
        processes = [worker.process for worker in self.pool._workers]
        try:
            yield self.pool
        finally:
            self.pool.close()
            self.page.close()
            # Waited for, each of them: no process is left, not even as a zombie.
            assert [process.returncode is None for process in processes] == [False] * size
            for process in processes:
                assert not os.path.exists(f"/proc/{process.pid}")

    def copies(self, files: dict[str, bytes]) -> list[bytes]:
        """Write source files; the action lines that copy them."""
        for name, content in files.items():
            (self.source / name).write_bytes(content)
        location = (
            Registry()
            .driver("local")
            .open(
                LocationSettings("src", "local", {"path": str(self.source)}, "/"),
                OpenSettings(),
                create=False,
            )
        )
        entries = [location.stat(name) for name in files]
        location.close()
        return [_copy(number, entry) for number, entry in enumerate(entries, 1) if entry is not None]

    def written(self) -> list[str]:
        return sorted(os.listdir(self.destination))


def _copy(number: int, entry: Entry) -> bytes:
    action = Action(
        number,
        ActionKind.COPY,
        Stage.WRITE,
        entry.path,
        entry,
        None,
        (Reason.MISSING,),
        entry.size_bytes or 0,
    )
    return encode_line(action) + b"\n"


def _statuses(answer: bytes) -> list[OutcomeStatus]:
    _, lines = split_answer(answer)
    return [decode_line(line, Outcome).status for line in lines.splitlines()]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_every_request_has_one_answer_whatever_the_order(bench: Bench) -> None:
    files = {f"f{number:03d}": b"x" * number for number in range(60)}
    lines = bench.copies(files)
    requests = [b"".join(lines[start : start + 4]) for start in range(0, 60, 4)]
    with bench.opened() as pool:
        assert pool.ready(wait=True)
        answers = dict(pool.run("transfer", iter(requests)))
        assert sorted(answers) == list(range(15))
        assert {status for answer in answers.values() for status in _statuses(answer)} == {OutcomeStatus.DONE}
        agents = set()
        for number, answer in answers.items():
            summary, outcomes = split_answer(answer)
            found = [decode_line(line, Outcome) for line in outcomes.splitlines()]
            assert [outcome.action_id for outcome in found] == [4 * number + place for place in range(1, 5)]
            assert summary.bytes == sum(4 * number + place for place in range(4))
            agents |= {outcome.agent for outcome in found}
        assert agents == {"worker-0", "worker-1"}
        # Another job, with the same workers.
        assert list(pool.run("transfer", iter([]))) == []
    assert bench.written() == sorted(files)
    assert all((bench.destination / name).read_bytes() == content for name, content in files.items())


def test_threads_of_a_worker_answer_side_by_side(bench: Bench) -> None:
    """Each holds back a request until leave is given; all of them wait at once, then all are answered."""
    files = {f"f{number:03d}": b"x" * MIB for number in range(24)}
    lines = bench.copies(files)
    clock = FakeClock()
    bench.rate = 1
    most: list[int] = []

    def lift() -> None:
        most.append(len(bench.pool._grants))
        if most[-1] == 6:
            bench.rate = 0
            clock.advance(1)

    bench.ticks.append(lift)
    with bench.opened(clock=clock, threads=3) as pool:
        assert pool.slots == 6
        answers = dict(pool.run("transfer", iter(lines)))
        assert bench.page.bytes_moved(pool.slots) == 24 * MIB
    assert max(most) == 6
    assert sorted(answers) == list(range(24))
    assert all(_statuses(answer) == [OutcomeStatus.DONE] for answer in answers.values())
    outcomes = [decode_line(split_answer(answer)[1].splitlines()[0], Outcome) for answer in answers.values()]
    assert {answer: outcome.action_id for answer, outcome in zip(answers, outcomes, strict=True)} == {
        number: number + 1 for number in range(24)
    }
    assert bench.written() == sorted(files)


def test_threads_whose_locations_cannot_be_opened_end_the_run(bench: Bench) -> None:
    lines = bench.copies({"a": b"x"})
    (bench.source / "a").unlink()
    bench.source.rmdir()
    with bench.opened(threads=3) as pool, pytest.raises(LocationUnavailableError):
        list(pool.run("transfer", iter(lines)))


def test_threads_stop_in_the_middle_of_a_file(bench: Bench) -> None:
    lines = bench.copies({f"f{number}": b"x" * MIB for number in range(8)})
    bench.rate = 1

    def stop() -> None:
        if len(bench.pool._grants) == 4:
            bench.page.stop_level = STOP

    bench.ticks.append(stop)
    with bench.opened(clock=FakeClock(), threads=2) as pool:
        answers = dict(pool.run("transfer", iter(lines)))
    assert {status for answer in answers.values() for status in _statuses(answer)} == {
        OutcomeStatus.CANCELLED
    }
    assert bench.written() == []


def test_bytes_moved_are_seen_while_they_move(bench: Bench) -> None:
    lines = bench.copies(dict.fromkeys("abcd", b"x" * MIB))
    with bench.opened() as pool:
        list(pool.run("transfer", iter(lines)))
        assert bench.page.bytes_moved(pool.slots) == 4 * MIB


def test_a_worker_that_is_killed_takes_only_its_own_batches_along(bench: Bench) -> None:
    """Both workers wait for leave to move bytes when one of them is killed; the other does all the rest."""
    clock = FakeClock()
    lines = bench.copies({f"f{number}": b"x" * MIB for number in range(12)})
    bench.rate = 1
    killed: list[int] = []

    def kill_one() -> None:
        if not killed and len(bench.pool._grants) == 2 and all(one.requests for one in bench.pool._workers):
            victim = bench.pool._workers[0]
            killed.extend(victim.requests)
            os.kill(victim.process.pid, signal.SIGKILL)
            bench.rate = 0
            clock.advance(1)

    bench.ticks.append(kill_one)
    with bench.opened(clock=clock) as pool:
        answers = dict(pool.run("transfer", iter(lines)))
        assert len(pool._workers) == 1
    assert sorted(answers) == list(range(12))
    assert sorted(number for number, answer in answers.items() if answer == b"") == sorted(killed)
    assert 1 <= len(killed) <= 2
    assert all(_statuses(answer) == [OutcomeStatus.DONE] for answer in answers.values() if answer)
    whole = [name for name in bench.written() if not name.startswith(".")]
    assert set(whole) >= {f"f{number}" for number in range(12) if number not in killed}
    assert all((bench.destination / name).stat().st_size == MIB for name in whole)


def test_when_no_worker_is_left_every_request_is_answered_with_nothing(bench: Bench) -> None:
    lines = bench.copies({f"f{number}": b"x" for number in range(9)})
    with bench.opened() as pool:
        assert pool.ready(wait=True)
        for worker in pool._workers:
            os.kill(worker.process.pid, signal.SIGKILL)
        answers = list(pool.run("transfer", iter(lines)))
    assert sorted(answers) == [(number, b"") for number in range(9)]
    assert bench.written() == []


def test_a_location_that_cannot_be_opened_ends_the_run(bench: Bench) -> None:
    lines = bench.copies({"a": b"x"})
    (bench.source / "a").unlink()
    bench.source.rmdir()
    with bench.opened() as pool, pytest.raises(LocationUnavailableError):
        list(pool.run("transfer", iter(lines)))


def test_draining_finishes_what_is_in_flight_and_begins_nothing(bench: Bench) -> None:
    lines = bench.copies({f"f{number}": b"x" * MIB for number in range(6)})
    clock = FakeClock()
    bench.rate = 1

    def drain() -> None:
        if len(bench.pool._grants) == 2 and not bench.page.stop_level:
            bench.page.stop_level = DRAIN
            bench.rate = 0
            clock.advance(1)

    bench.ticks.append(drain)
    with bench.opened(clock=clock) as pool:
        answers = dict(pool.run("transfer", iter([b"".join(lines[:3]), b"".join(lines[3:])])))
    done, cancelled = OutcomeStatus.DONE, OutcomeStatus.CANCELLED
    assert [_statuses(answers[number]) for number in (0, 1)] == [[done, cancelled, cancelled]] * 2
    assert bench.written() == ["f0", "f3"]


def test_stopping_undoes_what_is_in_flight(bench: Bench) -> None:
    lines = bench.copies({f"f{number}": b"x" * MIB for number in range(6)})
    bench.rate = 1

    def stop() -> None:
        if len(bench.pool._grants) == 2:
            bench.page.stop_level = STOP

    bench.ticks.append(stop)
    with bench.opened(clock=FakeClock()) as pool:
        answers = dict(pool.run("transfer", iter([b"".join(lines[:3]), b"".join(lines[3:])])))
    assert [_statuses(answers[number]) for number in (0, 1)] == [[OutcomeStatus.CANCELLED] * 3] * 2
    assert bench.written() == []


def test_losing_interest_leaves_the_workers_usable(bench: Bench) -> None:
    lines = bench.copies({f"f{number}": b"x" for number in range(8)})
    with bench.opened() as pool:
        run = pool.run("transfer", iter(lines))
        next(run)
        run.close()  # type: ignore[attr-defined]
        again = dict(pool.run("transfer", iter(lines)))
        assert sorted(again) == list(range(8))
        assert all(_statuses(answer) == [OutcomeStatus.DONE] for answer in again.values())


PARENT = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_agents_pool import Bench
bench = Bench(Path({folder!r}))
lines = bench.copies({{name: b"x" * (1 << 20) for name in "abcdef"}})
bench.rate = 1
def tell():
    if len(bench.pool._grants) == 2:
        print(*[worker.process.pid for worker in bench.pool._workers], flush=True)
        bench.ticks.clear()
bench.ticks.append(tell)
with bench.opened() as pool:
    list(pool.run("transfer", iter(lines)))
"""


def test_workers_die_with_their_parent(tmp_path: Path) -> None:
    """Killed outright while its workers wait: they are gone, and nothing was published after it."""
    script = PARENT.format(tests=os.path.dirname(__file__), folder=str(tmp_path))
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    watched = [os.pidfd_open(int(pid)) for pid in parent.stdout.readline().split()]
    assert len(watched) == 2
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    for descriptor in watched:
        # A process that ends makes its descriptor readable: no guessing how long that takes.
        assert select.select([descriptor], [], [], 30)[0] == [descriptor]
        os.close(descriptor)
    assert [name for name in os.listdir(tmp_path / "dst") if not name.startswith(".")] == []


@pytest.mark.slow
def test_the_limit_is_kept_by_all_workers_together(bench: Bench) -> None:
    """Two workers, 4 MiB/s, 8 MiB: two seconds, within a tenth; and a lifted limit is felt at once."""
    lines = bench.copies({f"f{number}": os.urandom(MIB) for number in range(9)})
    bench.rate = 4 * MIB
    clock = SystemClock()
    with bench.opened() as pool:
        assert pool.ready(wait=True)
        began = clock.monotonic()
        for _, answer in pool.run("transfer", iter(lines)):
            assert _statuses(answer) == [OutcomeStatus.DONE]
        taken = clock.monotonic() - began
        # The last grant is paid by nobody: 9 MiB less 256 KiB for each of both workers, and the burst.
        assert 9 / 4 - 0.25 - 0.125 - 0.2 <= taken <= 9 / 4 * 1.1
        bench.page.stop_level = 0


def test_a_lifted_limit_ends_the_waits_that_have_begun(bench: Bench) -> None:
    lines = bench.copies({f"f{number}": b"x" * MIB for number in range(4)})
    bench.rate = 1
    clock = FakeClock()

    def lift() -> None:
        if len(bench.pool._grants) == 2:
            bench.rate = 0
            clock.advance(1)

    bench.ticks.append(lift)
    with bench.opened(clock=clock) as pool:
        answers = dict(pool.run("transfer", iter(lines)))
    assert all(_statuses(answer) == [OutcomeStatus.DONE] for answer in answers.values())
    assert clock.monotonic() - 1000.0 < 60


def test_an_order_crosses_the_border_with_its_secrets_wrapped() -> None:
    task = task_between("/s\udcff", "/d", keys={"password": Secret("hunter2", "env.P"), "list": [1]})
    order = WorkOrder(task, PerformSettings(EXECUTION), 5)
    assert "hunter2" not in repr(order)
    payload = encode_order(order)
    assert b"hunter2" in payload
    back = decode_order(payload)
    assert back == order
    secret = back.task.source.options["keys"]["password"]
    assert (str(secret), secret.reveal(), secret.reference) == ("***", "hunter2", "env.P")


def test_what_happens_around_executions_stays_outside() -> None:
    task = task_between("/s", "/d")
    around = Automation(pings=Pings(start=Secret("https://hc.example/hunter2", "env.P")))
    payload = encode_order(
        WorkOrder(msgspec.structs.replace(task, automation=around), PerformSettings(EXECUTION), 5)
    )
    assert b"hunter2" not in payload
    assert decode_order(payload).task == task


def test_the_page_is_shared_by_handle() -> None:
    page = SharedPage()
    other = SharedPage(os.dup(page.handle))
    page.stop_level = DRAIN
    page.limited = True
    other.add_bytes(0, 5)
    other.add_bytes(3, 7)
    assert (other.stop_level, other.limited, page.bytes_moved(4), page.bytes_moved(1)) == (DRAIN, True, 12, 5)
    check_not_stopped(other)
    page.stop_level = STOP
    with pytest.raises(EntryError) as stopped:
        check_not_stopped(other)
    assert stopped.value.entry_code is EntryCode.CANCELLED
    other.close()
    page.close()
