from __future__ import annotations

import contextlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.cli.output import Output
from runner.cli.text import Page, Style, cell_width, clipped, counted, padded, shortened, table

SHORTENED = [
    ("fits", "abc", 3, "abc"),
    ("the middle gives way", "abcdefghij", 9, "ab...ghij"),
    ("wide characters count twice", "日本語日本語", 9, "日...本語"),
    ("no room", "abcdef", 2, ".."),
]


@pytest.mark.parametrize(
    ("text", "cells", "expected"), [r[1:] for r in SHORTENED], ids=[r[0] for r in SHORTENED]
)
def test_shortened(text, cells, expected):
    assert shortened(text, cells) == expected


@given(st.text(), st.integers(min_value=0, max_value=40))
def test_shortening_never_takes_more_room_than_there_is(text, cells):
    assert cell_width(shortened(text, cells)) <= cells
    if cells >= 3:
        assert cell_width(clipped(text, cells)) <= cells


@given(st.text(alphabet="ab日̈"), st.integers(min_value=0, max_value=40))
def test_padding_fills_exactly(text, cells):
    assert cell_width(padded(text, cells)) == max(cells, cell_width(text))


def test_counted():
    assert [counted(1, "file"), counted(0, "file"), counted(1200, "entry", "entries")] == [
        "1 file",
        "0 files",
        "1,200 entries",
    ]


def test_table_aligns_under_colours():
    lines = table(
        ("a", "n"),
        [("x", "1"), ("long", "22")],
        Page(40, colour=True),
        right=frozenset({1}),
        styles=[[Style.GOOD, None], [None, None]],
        indent="",
    )

    assert lines == [
        "\x1b[2ma           \x1b[0m  \x1b[2m n\x1b[0m",
        "\x1b[32mx           \x1b[0m   1",
        "long          22",
    ]


class ClosedPipe(io.RawIOBase):
    """A pipe whose reader has gone."""

    def __init__(self):
        self.tried = 0

    def writable(self):
        return True

    def write(self, content):
        self.tried += 1
        raise BrokenPipeError


def test_a_reader_that_goes_away_stops_nothing():
    pipes = [ClosedPipe(), ClosedPipe()]
    out, err = (io.TextIOWrapper(io.BufferedWriter(pipe)) for pipe in pipes)
    output = Output(out, err, io.StringIO(), {})

    for _ in range(3):
        output.text("x\n")
        output.value({"a": 1})
        output.tell(["y"])

    assert [pipe.tried > 0 for pipe in pipes] == [True, True]
    for stream in (out, err):
        # Else Python 3.13 tries once more when it collects the stream, and complains.
        with contextlib.suppress(BrokenPipeError):
            stream.close()


def test_text_that_the_locale_cannot_show_is_escaped():
    raw = io.BytesIO()
    output = Output(io.TextIOWrapper(raw, encoding="ascii"), io.StringIO(), io.StringIO(), {})
    output.result(["日"])
    output.value({"name": "日"})

    assert raw.getvalue() == b'\\u65e5\n{"name":"\xe6\x97\xa5"}\n'


class Terminal(io.StringIO):
    def isatty(self):
        return True


COLOURS = [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)]


@pytest.mark.parametrize(("environment", "expected"), COLOURS)
def test_colours_on_terminals_only_and_not_against_the_users_will(environment, expected):
    output = Output(Terminal(), io.StringIO(), io.StringIO(), environment)

    assert output.page(output.stdout).colour is expected
    assert output.page(output.stderr).colour is False


def test_width_follows_columns():
    output = Output(Terminal(), io.StringIO(), io.StringIO(), {"COLUMNS": "60"})

    assert (output.page(output.stdout).width, output.page(output.stderr).width) == (60, 60)
