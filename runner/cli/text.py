"""Text for terminals: colours, widths, tables, numbers. Pure; every name passes through `safe`.

A name comes from a file system and is hostile until escaped; colours are added after that, never before.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence

import msgspec

from runner.model.wire import terminal_safe

WIDEST_COLUMN = 32


class Style(enum.StrEnum):
    """What a piece of text means to the reader; the value is its SGR code."""

    HEADING = "1"
    GOOD = "32"
    CHANGE = "33"
    BAD = "31"
    DIM = "2"
    COMMAND = "36"


class Page(msgspec.Struct, frozen=True):
    """Where text goes: how many cells wide it is, and whether it shows colours."""

    width: int = 100
    colour: bool = False

    def paint(self, text: str, *styles: Style) -> str:
        """`text` in these styles, or as it is where colours do not show. `text` must be safe already."""
        if not self.colour or not styles or not text:
            return text
        return f"\x1b[{';'.join(styles)}m{text}\x1b[0m"


def safe(text: str) -> str:
    """One name or word on one line, with everything that could steer a terminal made visible."""
    return terminal_safe(text)


def safe_lines(text: str) -> list[str]:
    """A message of several lines, each made safe on its own."""
    return [terminal_safe(line.replace("\t", " ")) for line in text.split("\n")]


def cell_width(text: str) -> int:
    """How many terminal cells `text` takes: wide East Asian characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    import unicodedata

    cells = 0
    for character in text:
        if unicodedata.combining(character):
            continue
        cells += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return cells


def shortened(text: str, cells: int) -> str:
    """`text` in at most `cells` cells: the middle gives way, for the ends of a path say most."""
    if cell_width(text) <= cells:
        return text
    if cells <= 3:
        return "." * max(cells, 0)
    room = cells - 3
    tail = _fitting(reversed(text), room - room // 3)[::-1]
    head = _fitting(text, room - cell_width(tail))
    return f"{head}...{tail}"


def clipped(text: str, cells: int) -> str:
    """`text` in at most `cells` cells: the end gives way, for a sentence starts with what matters."""
    if cell_width(text) <= cells:
        return text
    return _fitting(text, max(0, cells - 3)) + "..."


def _fitting(characters: Iterable[str], cells: int) -> str:
    taken: list[str] = []
    for character in characters:
        cells -= cell_width(character)
        if cells < 0:
            break
        taken.append(character)
    return "".join(taken)


def padded(text: str, cells: int, *, right: bool = False) -> str:
    """`text` filled with spaces to `cells` cells; `right` puts it at the right edge."""
    filling = " " * max(0, cells - cell_width(text))
    return filling + text if right else text + filling


def number(count: int) -> str:
    """12345 -> '12,345'."""
    return f"{count:,}"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """(1, 'file') -> '1 file'; (12000, 'file') -> '12,000 files'."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    page: Page,
    *,
    right: frozenset[int] = frozenset(),
    styles: Sequence[Sequence[Style | None]] | None = None,
    indent: str = "  ",
) -> list[str]:
    """Aligned columns, two spaces apart; the last left-aligned column ends at the page's width.

    `right` are the indexes of right-aligned columns; `styles` gives a style per cell.
    """
    widths = [
        min(WIDEST_COLUMN, max(cell_width(row[column]) for row in [headings, *rows]))
        for column in range(len(headings))
    ]
    flexible = max((column for column in range(len(headings)) if column not in right), default=0)
    taken = len(indent) + sum(widths) - widths[flexible] + 2 * (len(widths) - 1)
    longest = max(cell_width(row[flexible]) for row in [headings, *rows])
    widths[flexible] = max(12, min(longest, page.width - taken))

    def line(cells: Sequence[str], cell_styles: Sequence[Style | None]) -> str:
        pieces = []
        for column, cell in enumerate(cells):
            cut = clipped if column == flexible else shortened
            fitted = padded(cut(cell, widths[column]), widths[column], right=column in right)
            style = cell_styles[column]
            pieces.append(page.paint(fitted, style) if style else fitted)
        return (indent + "  ".join(pieces)).rstrip()

    lines = []
    if any(headings):
        lines.append(line(headings, [Style.DIM] * len(headings)))
    for position, row in enumerate(rows):
        lines.append(line(row, styles[position] if styles else [None] * len(row)))
    return lines


def advice(text: str, page: Page, *, first: str, rest: str) -> list[str]:
    """A remedy. Where it holds commands, one sentence a line, never broken, so that they can be copied."""
    if "sync-runner " not in text:
        return wrapped(text, page, first=first, rest=rest)
    import re

    sentences = re.split(r"\.\s+(?=[A-Z])", text.removesuffix("."))
    return [(rest if position else first) + sentence for position, sentence in enumerate(sentences)]


def wrapped(text: str, page: Page, *, first: str = "", rest: str = "") -> list[str]:
    """A paragraph broken at spaces to the page's width; `first` and `rest` start its lines."""
    import textwrap

    return textwrap.wrap(
        text,
        width=max(page.width, 40),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]
