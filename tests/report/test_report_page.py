"""The HTML page: what it says, that it loads nothing, that names stay text, that it stays bounded."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import tracemalloc
from collections.abc import Callable
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from report_stories import (
    HOSTILE_NAMES,
    START,
    Story,
    calm_story,
    embedded_rows,
    hostile_story,
    make_execution,
    make_outcome,
    make_report,
    many_story,
    store,
    troubled_story,
)

from runner.model.action import ActionKind, OutcomeStatus
from runner.model.entry import Phase
from runner.model.execution import Counters, Counts, GuardVerdict, PhaseTiming
from runner.model.task import ReportFormat
from runner.model.wire import terminal_safe
from runner.report.charts import listed_segments, phase_bars, throughput_area
from runner.report.page_rows import RowTable
from runner.report.render import render
from runner.report.rows import Row, RowState, stream_pieces, stream_rows
from runner.report.statistics import TOP, gather_statistics

Stored = Callable[[Story], str]


def page_of(folder: str) -> str:
    output = io.BytesIO()
    render(folder, ReportFormat.HTML, output)
    return output.getvalue().decode("utf-8")


class Elements(HTMLParser):
    """Start tags with their attributes, and the text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._silent = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._silent = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))


def test_a_calm_page_says_so(stored: Stored) -> None:
    text = Elements(page_of(stored(calm_story()))).text
    assert "Done photos-to-archive 2 of 2 files copied (3.0 KiB) and verified; nothing deleted." in text
    assert "/srv/photos → /mnt/archive/photos" in text
    assert "2026-11-22 17:03:00 UTC" in text
    assert "Files transferred 2 of 4 listed" in text
    assert "Rate 128 B/s" in text
    assert "What became of 4 listed files" in text
    assert "2 transferred 1 skipped 1 excluded by filters 0 failed" in text
    assert "local:dev=2049:ino=131073" in text
    assert "Destination identity unknown" in text
    assert "Settings used (4)" in text
    assert "options.metadata.owner_map []" in text
    assert "What to do next" not in text
    assert "Problems" not in text.replace("0 problems", "")


def test_a_troubled_page_shows_problems_before_figures(stored: Stored) -> None:
    text = Elements(page_of(stored(troubled_story()))).text
    order = [
        "Verification found differences photos-to-archive",
        "What to do next",
        "Files transferred",
        "Guards that spoke",
        "filter_change accepted filters changed",
        "Problems 2",
        "private/ not_listed PREPARING · source Permission denied",
        "Verification found 3",
        "2026/hills.jpg metadata_failure mode 0644 0600 uid 1000 0",
        "stranger.txt file_added not at the source",
        "What became of 6 listed files",
        "Where the time went",
        "Sizes of the files written",
        "Files 7",
        "Proof",
    ]
    positions = [text.find(piece) for piece in order]
    assert -1 not in positions, order[positions.index(-1)]
    assert positions == sorted(positions)


@pytest.mark.parametrize(
    ("exit_code", "status", "expected"),
    [
        (0, Phase.SUCCESS, "tone-good"),
        (3, Phase.SUCCESS, "tone-warn"),
        (4, Phase.ERROR, "tone-bad"),
        (5, Phase.ERROR, "tone-bad"),
        (6, Phase.ERROR, "tone-warn"),
        (7, Phase.ERROR, "tone-bad"),
        (130, Phase.CANCELLED, "tone-warn"),
    ],
)
def test_the_outcome_has_a_tone(exit_code: int, status: Phase, expected: str, stored: Stored) -> None:
    refused = (GuardVerdict("max_deletions", "too many", "sync-runner run t --accept max_deletions"),)
    report = make_report(
        execution=make_execution(exit_code=exit_code, status=status),
        guards=refused,
        phases=(),
        counters=Counters(),
    )
    page = page_of(stored(Story(report)))
    assert f'class="card outcome {expected}"' in page
    assert "No action was taken, so there is no path to list." in page
    assert "No phase began." in page
    assert 'id="rows"' not in page


@pytest.mark.parametrize("story", [calm_story(), troubled_story(), hostile_story()])
def test_nothing_is_loaded_and_no_name_becomes_markup(story: Story, stored: Stored) -> None:
    page = page_of(stored(story))
    elements = Elements(page)
    names = {tag for tag, _ in elements.tags}
    assert names.isdisjoint({"img", "iframe", "object", "embed", "link", "base", "video", "audio", "use"})
    for tag, attributes in elements.tags:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        assert "style" not in attributes and "src" not in attributes, (tag, attributes)
        assert (attributes.get("href") or "#").startswith("#"), (tag, attributes)
    assert [tag for tag, _ in elements.tags].count("script") == 3
    assert all(character.isprintable() or character == "\n" for character in page)
    assert "url(" not in page and "@import" not in page


def test_the_policy_allows_exactly_our_script_and_style(stored: Stored) -> None:
    page = page_of(stored(hostile_story()))
    policy = next(
        attributes["content"]
        for tag, attributes in Elements(page).tags
        if tag == "meta" and "http-equiv" in attributes
    )
    style = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert (len(style), len(script)) == (1, 1)
    digests = [
        "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
        for text in (style[0], script[0])
    ]
    assert policy == (
        f"default-src 'none'; style-src {digests[0]}; script-src {digests[1]}; "
        "base-uri 'none'; form-action 'none'"
    )


def test_hostile_names_are_shown_as_text(stored: Stored) -> None:
    page = page_of(stored(hostile_story()))
    text = Elements(page).text
    for name in HOSTILE_NAMES:
        assert re.sub(r"\s+", " ", terminal_safe(name)) in text
    assert "49" not in re.findall(r"<h1[^>]*>(.*?)</h1>", page, re.DOTALL)[0]
    block = re.findall(r'<script type="application/json" id="rows">(.*?)</script>', page, re.DOTALL)[0]
    assert "<" not in block
    assert [row[1] for row in embedded_rows(page)][-len(HOSTILE_NAMES) :] == [
        terminal_safe(name) for name in HOSTILE_NAMES
    ]


def test_rows_hold_what_the_table_shows(stored: Stored) -> None:
    rows = embedded_rows(page_of(stored(troubled_story())))
    states, kinds = list(RowState), list(ActionKind)
    assert [(row[1], states[row[2]], kinds[row[3]] if row[3] >= 0 else None) for row in rows] == [
        ("2026/beach.jpg", "differs", "copy"),
        ("2026/hills.jpg", "differs", "replace"),
        ("locked.db", "failed", "copy"),
        ("moved.txt", "stale", "copy"),
        ("stranger.txt", "differs", None),
        ("private/", "problem", None),
        ("old.txt", "done", "delete"),
    ]
    assert rows[1][4:9] == [2048, 250.0, 9000, 1, "xxh3_128:" + "0" * 31 + "2"]
    assert rows[2][4:] == [0, 250.0, 9000, 3, "", "locked", "held by pid 4242"]
    assert rows[6][4:] == [0, 250.0, 9000, 1, "", "", "", "agent-1"]


def test_paths_share_beginnings_that_javascript_counts_alike(stored: Stored) -> None:
    paths = ["a/\U0001f4f7/1", "a/\U0001f4f7/2", "a/\u00e4/2", "a/", "", "b"]
    story = Story(make_report(), tuple(make_outcome(number, path) for number, path in enumerate(paths)))
    page = page_of(stored(story))
    block = re.findall(r'id="rows">(.*?)</script>', page, re.DOTALL)[0]
    assert [row[0] for row in msgspec.json.decode(block)] == [0, 2, 2, 2, 0, 0]
    assert [row[1] for row in embedded_rows(page)] == [*paths[:4], "/", "b"]


def test_a_page_has_room_for_what_needs_attention_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("runner.report.as_html.RowTable", partial(RowTable, at_most=50))
    report, outcomes = many_story(1000, failed_every=50)
    page = page_of(store(str(tmp_path), report, outcomes=outcomes))
    states = [list(RowState)[row[2]] for row in embedded_rows(page)]
    assert (states.count(RowState.FAILED), states.count(RowState.DONE)) == (20, 30)
    assert "This page holds 50 of 1,000 rows: those that need attention first." in page


def test_rows_by_the_piece_are_as_one_by_one(tmp_path: Path) -> None:
    names = ["d/a", "d/b\udc80", "", "d/e/\x1b[31m", "\u00fc/f", "d/<script>", "\u00fc/g"]
    outcomes = [
        make_outcome(
            number,
            names[number % len(names)] + ("" if number < 7 else f"{number}"),
            status=OutcomeStatus.FAILED if number % 11 == 3 else OutcomeStatus.DONE,
            note="noted" if number % 13 == 5 else None,
            agent=(None, "worker-0", "worker-\x07")[number % 3],
            digest=None if number % 4 else "xxh3-128:00",
            housekeeping=number % 17 == 1,
            bytes=number * number,
            started_at=0.0 if number % 19 == 0 else 1_800_000_000 + number / 7,
            duration_seconds=number / 3,
        )
        for number in range(3000)
    ]
    report = make_report()
    folder = store(str(tmp_path), report, outcomes=outcomes)
    with RowTable(report) as by_piece, RowTable(report) as one_by_one:
        assert gather_statistics(by_piece.gather(stream_pieces(folder, report)), report) == gather_statistics(
            one_by_one.gather(stream_rows(folder, report)), report
        )
        assert (by_piece.static_rows, by_piece.shown) == (one_by_one.static_rows, one_by_one.shown)
        assert "".join(by_piece.lines()) == "".join(one_by_one.lines())


def test_more_trouble_than_room(tmp_path: Path) -> None:
    report, outcomes = many_story(100, failed_every=2)
    folder = store(str(tmp_path), report, outcomes=outcomes)
    with RowTable(report, at_most=10) as table:
        assert len(list(table.gather(stream_rows(folder, report)))) == 100
        rows = msgspec.json.decode(f"[{''.join(table.lines())}]")
    assert table.shown == 10
    assert [row[2] for row in rows] == [list(RowState).index(RowState.FAILED)] * 10


def test_without_script_the_first_rows_are_a_table(tmp_path: Path) -> None:
    report, outcomes = many_story(300, failed_every=299)
    page = page_of(store(str(tmp_path), report, outcomes=outcomes))
    static = re.findall(r'<div class="static-rows">(.*?)</table>', page, re.DOTALL)[0]
    states = re.findall(r"state-(\w+)", static)
    assert (len(states), states[:3]) == (200, ["failed", "failed", "done"])
    assert "The first 200 of 300 rows." in page


def test_memory_does_not_grow_with_the_number_of_outcomes(tmp_path: Path) -> None:
    class Sink(io.RawIOBase):
        def write(self, content: bytes) -> int:  # type: ignore[override]
            return len(content)

    def peak(count: int) -> int:
        report, outcomes = many_story(count)
        folder = store(str(tmp_path / str(count)), report, outcomes=outcomes)
        tracemalloc.start()
        try:
            render(folder, ReportFormat.HTML, Sink())  # type: ignore[arg-type]
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)
    small, large = peak(500), peak(5000)
    assert large < small * 1.2


def test_statistics() -> None:
    outcomes = [
        make_outcome(1, "empty", bytes=0),
        make_outcome(2, "kibi", bytes=1024),
        make_outcome(3, "more", bytes=1025, duration_seconds=3.0),
        make_outcome(4, "huge", bytes=2 * 1024**3, kind=ActionKind.REPLACE, duration_seconds=1.0),
        make_outcome(5, "not written", bytes=9, status=OutcomeStatus.FAILED),
        make_outcome(6, "gone", kind=ActionKind.DELETE, bytes=7),
    ]
    rows = [Row(outcome.path, RowState(outcome.status), outcome, None, None) for outcome in outcomes]
    statistics = gather_statistics(rows, make_report())
    assert [(size.label, size.files) for size in statistics.sizes if size.files] == [
        ("empty", 1),
        ("up to 1 KiB", 1),
        ("1 – 16 KiB", 1),
        ("over 1 GiB", 1),
    ]
    assert [measured.path for measured in statistics.largest] == ["huge", "more", "kibi", "empty"]
    assert [measured.path for measured in statistics.slowest] == ["more", "huge", "empty", "kibi"]
    assert statistics.states == {RowState.FAILED: 1, RowState.DONE: 5}
    total = sum(
        rate * statistics.throughput_seconds / len(statistics.throughput) for rate in statistics.throughput
    )
    assert total == pytest.approx(2 * 1024**3 + 1025 + 1024)


def test_the_largest_are_kept_whatever_the_order() -> None:
    outcomes = [make_outcome(number, f"f{number}", bytes=number * 7919 % 1009) for number in range(500)]
    rows = [Row(outcome.path, RowState(outcome.status), outcome, None, None) for outcome in outcomes]
    expected = sorted((outcome.bytes for outcome in outcomes), reverse=True)[:TOP]
    assert [measured.size_bytes for measured in gather_statistics(rows, make_report()).largest] == expected


def test_chart_geometry() -> None:
    counters = Counters(
        listed=Counts(8), transferred=Counts(4), skipped=Counts(2), excluded=Counts(1), failed=Counts(1)
    )
    assert [(segment.start, segment.width) for segment in listed_segments(counters)] == [
        (0.0, 50.0),
        (50.0, 25.0),
        (75.0, 12.5),
        (87.5, 12.5),
    ]
    assert [segment.width for segment in listed_segments(Counters())] == [0.0] * 4
    bars = phase_bars(make_report())
    assert [round(bar.start, 2) for bar in bars] == [0.0, 1.18, 20.0, 76.47]
    assert [round(bar.width, 2) for bar in bars] == [1.18, 18.82, 56.47, 23.53]


def test_charts_stay_inside_whatever_the_clock_did() -> None:
    strange = (
        PhaseTiming(Phase.PREPARING, "2026-11-22T17:03:00Z", 0.0, Phase.SUCCESS),
        PhaseTiming(Phase.TRANSFERRING, "not an instant", 2.0, Phase.ERROR),
        PhaseTiming(Phase.VERIFYING, "2026-11-22T17:03:00Z", 0.0, Phase.CANCELLED),
    )
    report = make_report(phases=strange)
    for bar in phase_bars(report):
        assert 0 <= bar.start <= 100
        assert 0 < bar.width <= 100.0001 - bar.start
    outcome = make_outcome(1, "a", started_at=START - 1e9, duration_seconds=1e12)
    row = Row("a", RowState.DONE, outcome, None, None)
    statistics = gather_statistics([row], make_report())
    assert throughput_area(statistics) is None or min(statistics.throughput) >= 0
