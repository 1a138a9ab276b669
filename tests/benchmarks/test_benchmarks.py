"""The benchmark runs, wrong results are found out, and tables say what was measured. How fast is not for a test."""

from __future__ import annotations

import json
import os
import select
import signal
import stat
import subprocess
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from servers.process import module, program

from benchmarks import __main__ as command
from benchmarks.chart import chart
from benchmarks.contest import Contestant, Ground, Job, WrongResult, compete, same_content
from benchmarks.data import (
    LEVELS,
    TINY_BYTES,
    change,
    grow,
    grow_big,
    grow_deep,
    grow_flat,
    grow_wide,
    stats_of,
)
from benchmarks.jobs import jobs
from benchmarks.page import write_section
from benchmarks.results import Ratio, ratios, tables
from benchmarks.s3 import Contest, section_of
from benchmarks.s3_peers import Contestant as S3Contestant
from benchmarks.watch import peak_memory, run

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.mark.slow
@pytest.mark.root
def test_every_job_is_done_rightly_by_all(tmp_path: Path) -> None:
    """As root: one job mounts a file system of its own."""
    for peer in ("rsync", "cp", "fpsync", "mkfs.xfs"):
        program(peer, f"apt-get install {'fpart' if peer == 'fpsync' else peer}")
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--check", "--folder", str(tmp_path), "--disk", str(tmp_path),
         "--write", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    kept = json.loads((tmp_path / "benchmarks.json").read_text())
    assert list(kept) == sorted(job.name for job in jobs())
    names = {one["name"] for one in kept["first-copy"]["contestants"]}
    assert {"sync-runner", "rsync -a", "rclone sync", "cp -a", "fpsync"} == names
    page = (tmp_path / "benchmarks.md").read_text()
    assert all(f"### {job.title}" in page for job in jobs())
    assert str(tmp_path) not in page
    # The scratch folders are gone, and so is what was mounted in one.
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "benchmarks.json",
        "benchmarks.md",
        "benchmarks.svg",
    ]


@pytest.mark.servers
def test_the_contest_over_s3_writes_its_table(tmp_path: Path) -> None:
    module("ministack", "pip install ministack")
    page = tmp_path / "page.md"
    page.write_text("# Numbers\n\n<!-- s3: begin -->\nold\n<!-- s3: end -->\n\nThe end.\n")
    words = ["--files", "30", "--many", "50", "--big", "40000000", "--rounds", "1", "--write", str(page)]
    subprocess.run(
        [sys.executable, "-m", "benchmarks.s3", *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    text = page.read_text()
    assert text.startswith("# Numbers\n\n<!-- s3: begin -->\n## ")
    assert text.endswith("\n<!-- s3: end -->\n\nThe end.\n")
    jobs = [line for line in text.splitlines() if line.startswith("### ")]
    assert len(jobs) == 7
    assert text.count("| sync-runner |") == len(jobs)


def test_a_section_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    write_section(str(page), "one", "first")
    write_section(str(page), "two", "second\n")
    write_section(str(page), "one", "third")
    assert page.read_text() == (
        "<!-- one: begin -->\nthird\n<!-- one: end -->\n\n<!-- two: begin -->\nsecond\n<!-- two: end -->\n"
    )


@pytest.mark.parametrize(
    ("files", "many", "big", "section"),
    [(10, 5, 1, "s3"), (10, 0, 0, "s3"), (0, 5, 1, "s3-many"), (0, 0, 1, "s3-large")],
)
def test_jobs_that_are_measured_alone_stand_alone(files: int, many: int, big: int, section: str) -> None:
    assert section_of(Namespace(files=files, many=many, big=big))[0] == section


def test_what_differs_is_told() -> None:
    contest = Contest("http://nowhere", 0, [])
    one = S3Contestant("peer", (), (), {}, "")
    contest.is_equal(one, "up", {"a": (1, "x")}, {"a": (1, "x")})
    for found in ({}, {"a": (1, "y")}, {"a": (2, "x")}, {"a": (1, "x"), "b": (1, "x")}):
        with pytest.raises(SystemExit, match="not the source's"):
            contest.is_equal(one, "up", found, {"a": (1, "x")})


# -- contests ----------------------------------------------------------------------------------------------------


def _job(folder: Path, before: Any = lambda ground: None) -> tuple[Job, Ground]:
    ground = Ground(folder, 1)
    grow(ground.source, 3, 1)
    return Job("job", "A job", lambda _: "", lambda _: [], before, same_content), ground


def _contestant(name: str, script: str, *, exact: bool = True) -> Contestant:
    return Contestant(name, ("sh", "-c", script), exact=exact)


COPY = "rm -rf dst && cp -a src dst"


@pytest.mark.parametrize(
    "mistake",
    [
        "true",  # nothing at all
        f"{COPY} && rm dst/d0000/s00/f001.bin",
        f"{COPY} && touch dst/more",
        f"{COPY} && echo x >> dst/d0000/s00/f000.bin",
        f"{COPY} && touch dst/d0000/s00/f002.bin",
        f"{COPY} && chmod 700 dst/d0000",
    ],
)
def test_a_contestant_that_does_not_do_the_work_is_found_out(tmp_path: Path, mistake: str) -> None:
    job, ground = _job(tmp_path)
    with pytest.raises(WrongResult, match="the destination is not the source"):
        compete(job, ground, [_contestant("bad", mistake)], 1, print)


def test_content_alone_counts_where_that_is_all_that_is_carried(tmp_path: Path) -> None:
    job, ground = _job(tmp_path)
    compete(job, ground, [_contestant("plain", f"{COPY} && chmod 700 dst/d0000", exact=False)], 1, print)
    with pytest.raises(WrongResult):
        wrong = f"{COPY} && echo x >> dst/d0000/s00/f000.bin"
        compete(job, ground, [_contestant("plain", wrong, exact=False)], 1, print)


def test_a_command_that_fails_ends_the_contest(tmp_path: Path) -> None:
    job, ground = _job(tmp_path)
    with pytest.raises(subprocess.CalledProcessError):
        compete(job, ground, [_contestant("fails", "exit 3")], 1, print)


def test_rounds_are_interleaved_and_each_begins_with_another(tmp_path: Path) -> None:
    told: list[str] = []
    prepared: list[Ground] = []
    job, ground = _job(tmp_path, prepared.append)
    competing = [_contestant(name, COPY) for name in ("a", "b", "c")]
    times = compete(job, ground, competing, 2, told.append)
    assert [line.split(": ")[1].split()[0] for line in told] == ["a", "b", "c", "b", "c", "a"]
    assert len(prepared) == 6
    assert all(len(one.wall) == len(one.processor) == 2 for one in times.values())


@pytest.mark.parametrize("measure", [partial(run, server=None), peak_memory])
def test_nothing_outlives_a_command_that_takes_too_long(tmp_path: Path, measure: Any) -> None:
    """What it began holds the pipe open as long as it lives."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with open(descriptor, "rb", buffering=0):
        with pytest.raises(subprocess.TimeoutExpired):
            measure(("sh", "-c", "(echo begun; exec sleep 60) > pipe & wait"), tmp_path, {}, timeout=0.3)
        assert select.select([descriptor], [], [], 10)[0]
        assert os.read(descriptor, 100) == b"begun\n"
        assert select.select([descriptor], [], [], 10)[0], "something still holds the pipe"
        assert os.read(descriptor, 100) == b""


@pytest.mark.parametrize(
    ("description", "script", "status", "said"),
    [
        ("a result that is wrong", "mkdir -p dst", 1, "the destination is not the source"),
        ("a command that fails", "exit 3", 1, "exit status 3"),
        ("all is well", COPY, 0, ""),
    ],
)
def test_the_command_says_in_a_line_what_went_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    description: str, script: str, status: int, said: str,
) -> None:  # fmt: skip
    def prepare(ground: Ground) -> str:
        grow(ground.source, 3, 1)
        return "3 files"

    job = Job("job", "A job", prepare, lambda _: [_contestant("one", script)], check=same_content)
    monkeypatch.setattr(command, "jobs", lambda: [job])
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--check", "--folder", str(tmp_path)])
    handler = signal.getsignal(signal.SIGTERM)
    try:
        assert command.main() == status, description
    finally:
        signal.signal(signal.SIGTERM, handler)
    error = capsys.readouterr().err
    assert (said in error) if said else (error == "")
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_what_is_lacking_leaves_a_job_out_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def prepare(_: Ground) -> str:
        raise AssertionError("prepared nevertheless")

    job = Job("job", "A job", prepare, lambda _: [], lacks=lambda: "there is no moon")
    monkeypatch.setattr(command, "jobs", lambda: [job])
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--folder", str(tmp_path)])
    handler = signal.getsignal(signal.SIGTERM)
    try:
        assert command.main() == 0
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert "job: left out, there is no moon" in capsys.readouterr().out


def test_the_scratch_folder_goes_whatever_happens(tmp_path: Path) -> None:
    def fails(_: Ground) -> str:
        raise RuntimeError("no data")

    with pytest.raises(RuntimeError):
        command.held(Job("job", "A job", fails, lambda _: []), tmp_path, 1, 1)
    assert list(tmp_path.iterdir()) == []


# -- data --------------------------------------------------------------------------------------------------------


def test_data_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        grow(tmp_path / name, 250, seed)
    one, two, other = (stats_of(tmp_path / name) for name in "abc")
    assert one == two
    assert one != other
    assert len(one) == 250 + 3 + 1
    change(tmp_path / "b", 250, 100, 1)
    changed = stats_of(tmp_path / "b")
    assert len([path for path in one if one[path] != changed[path]]) == 3
    grow_big(tmp_path / "big" / "one", 70 << 20, 1)
    assert (tmp_path / "big" / "one").stat().st_size == 70 << 20
    grow_flat(tmp_path / "flat", 10)
    grow_wide(tmp_path / "wide", 110)
    assert len(stats_of(tmp_path / "flat")) == 10
    assert len(stats_of(tmp_path / "wide")) == 2 + 110 + 110
    grow_deep(tmp_path / "deep", 2)
    assert len(stats_of(tmp_path / "deep")) == 2 * LEVELS * 2
    grow(tmp_path / "tiny", 10, 1, tiny=True)
    sizes = [size for mode, size, _ in stats_of(tmp_path / "tiny").values() if stat.S_ISREG(mode)]
    assert sorted(sizes) == [0] * 5 + [TINY_BYTES] * 5


# -- pages -------------------------------------------------------------------------------------------------------


def _result(measures: str = "seconds", beside_first: bool = False) -> dict[str, Any]:
    def one(name: str, wall: list[float], target: float | None) -> dict[str, Any]:
        return {
            "name": name, "command": f"{name} src dst", "version": "1.0", "target": target, "wall": wall,
            "processor": wall, "peak_bytes": [int(value * 1e6) for value in wall],
        }  # fmt: skip

    return {
        "title": "Some work", "data": "3 files", "place": "tmpfs", "measures": measures,
        "beside_first": beside_first, "machine": "a machine", "absent": ["fpsync"],
        "contestants": [one("sync-runner", [2.0, 9.0, 1.0], None), one("quick", [4.0, 4.0, 5.0], 0.5),
                        one("slow & old", [8.0, 8.0, 8.0], 0.2)],
    }  # fmt: skip


def test_ratios_are_of_medians_and_know_their_aims() -> None:
    assert list(ratios("job", _result())) == [
        Ratio("job", "Some work", "quick", 0.5, 0.5),
        Ratio("job", "Some work", "slow & old", 0.25, 0.2),
    ]
    assert [one.met for one in ratios("job", _result())] == [True, False]
    assert [one.value for one in ratios("job", _result(beside_first=True))] == [2.0, 4.0]
    assert list(ratios("job", _result("bytes"))) == []


def test_tables_say_what_was_measured() -> None:
    text = tables({"job": _result(), "memory": _result("bytes")}, ["memory", "absent", "job"])
    assert text.index("9.0 MB") < text.index("### Some work", 5)
    assert "| quick | 4.000 | 4.000 - 5.000 | 4.00 | 0.50 | 0.50 met |" in text
    assert "| slow & old | 8.000 | 8.000 - 8.000 | 8.00 | 0.25 | 0.20 not met |" in text
    assert "- quick: `quick src dst` (1.0)" in text
    assert "- not installed there: fpsync" in text
    assert "3 files, on tmpfs; 3 rounds. a machine." in text


def test_memory_is_held_against_its_aim_and_that_of_fewer_files() -> None:
    few, many = _result("bytes"), _result("bytes")
    for result, peak in ((few, 100_000_000), (many, 140_000_000)):
        result["contestants"] = result["contestants"][:1]
        result["contestants"][0] |= {"peak_bytes": [peak - 1, peak], "target": 120e6}
    many["grows_from"] = ["few", 1.3]
    text = tables({"few": few, "many": many}, ["few", "many"])
    assert "| sync-runner | 100.0 MB | 120 MB met |" in text
    assert "| sync-runner | 140.0 MB | 120 MB not met |" in text
    assert "- 1.40 times that of `few`; target 1.30 not met" in text
    many["grows_from"] = ["few", 1.4]
    assert "target 1.40 met" in tables({"few": few, "many": many}, ["many"])
    assert "times that of" not in tables({"many": many}, ["many"])


def test_the_chart_is_sound_whatever_the_ratios() -> None:
    shown = [*ratios("job", _result()), Ratio("far", "Far & wide", "<slow>", 7.5, None)]
    root = ElementTree.fromstring(chart(shown))
    words = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Some work", "Far & wide", "<slow>", "7.50", "0.25"} <= set(words)
    bars = [node for node in root.iter("{http://www.w3.org/2000/svg}rect") if node.get("rx")]
    widths = [float(node.get("width", "0")) for node in bars]
    assert len(bars) == 3
    assert widths[1] < widths[0] < widths[2] <= 500 + 1e-6
    assert len({node.get("fill") for node in bars}) == 3
    assert "Z" not in chart([])


def test_what_is_published_is_made_from_what_is_kept(tmp_path: Path) -> None:
    for name in ("benchmarks.json", "benchmarks.md"):
        (tmp_path / name).write_bytes((DOCS / name).read_bytes())
    command.render(tmp_path, [job.name for job in jobs()])
    for name in ("benchmarks.md", "benchmarks.svg"):
        assert (tmp_path / name).read_text("utf-8") == (DOCS / name).read_text("utf-8")
