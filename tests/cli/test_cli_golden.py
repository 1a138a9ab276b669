from __future__ import annotations

import time

import pytest
from cli_golden import CASES, FOLDER, PAGE, text_of

from runner.cli.show_plan import plan_text
from runner.cli.text import Page, cell_width


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("name", CASES)
def test_text_is_as_reviewed(name):
    assert text_of(name) == (FOLDER / f"{name}.txt").read_text(encoding="utf-8")


def test_no_golden_file_is_left_over():
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(CASES)


@pytest.mark.parametrize("name", CASES)
def test_no_control_character_gets_through(name):
    assert [
        character for character in text_of(name) if not (character.isprintable() or character == "\n")
    ] == []


@pytest.mark.parametrize("name", CASES)
def test_lines_fit_the_page_but_for_what_is_to_be_copied(name):
    wide = [line for line in text_of(name).splitlines() if cell_width(line) > PAGE.width]

    assert [line for line in wide if "sync-runner " not in line] == []


def test_colours_stand_around_the_same_words():
    from cli_fakes import make_summary
    from cli_golden import ACCEPTED, ACTIONS, LOSSES, PROBLEMS, REFUSAL, TOTALS

    summary = make_summary(
        TOTALS, actions=ACTIONS, losses=LOSSES, guards=(REFUSAL, ACCEPTED), problems=PROBLEMS, complete=False
    )
    plain = plan_text(summary, PAGE)
    coloured = "\n".join(plan_text(summary, Page(width=PAGE.width, colour=True)))
    codes = {piece.split("m", 1)[0] for piece in coloured.split("\x1b[")[1:]}
    for code in codes:
        coloured = coloured.replace(f"\x1b[{code}m", "")

    assert len(codes) > 3
    assert coloured == "\n".join(plain)
